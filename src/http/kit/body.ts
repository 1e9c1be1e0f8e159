import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { RefusalError, refusal, refuse } from '../../errors.ts';
import { isTooDeep, MAX_JSON_DEPTH } from '../../providers/shared/json-depth.ts';

/** A body somewhat too large is read to its end, so that the client gets to see the answer; beyond this it is cut off. */
const PATIENCE = 8;

/**
 * Reads a request's body once, as bytes. Hot routes pass here, hence events and no pipeline of parsers.
 * @throws {RefusalError} BODY_TOO_LARGE, or UNSUPPORTED_MEDIA_TYPE for a compressed body (it could inflate to anything)
 */
export function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    return Promise.reject(
      new RefusalError(
        refusal('UNSUPPORTED_MEDIA_TYPE', `The body must not be compressed (content-encoding: ${encoding}).`),
      ),
    );
  }
  if (request.destroyed) return Promise.reject(new ClientGoneError());
  return new Promise((resolve, reject) => {
    const tooLarge = () =>
      reject(new RefusalError(refusal('BODY_TOO_LARGE', `The body wants ${limitBytes} bytes or fewer.`)));
    const chunks: Buffer[] = [];
    let received = 0;
    request.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received <= limitBytes) chunks.push(chunk);
      else if (received > limitBytes * PATIENCE) tooLarge();
    });
    request.once('end', () => {
      if (received > limitBytes) tooLarge();
      else resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks));
    });
    request.once('error', reject);
    request.once('close', () => {
      if (!request.complete) reject(new ClientGoneError());
    });
  });
}

/** The client hung up before its request was complete; nobody is there to be answered. */
export class ClientGoneError extends Error {
  constructor() {
    super('the client closed the connection before its request was complete');
    this.name = 'ClientGoneError';
  }
}

/** @throws {RefusalError} unless the content is declared as JSON in UTF-8 */
export function requireJson(request: IncomingMessage): void {
  const type = request.headers['content-type'] ?? '';
  if (type === 'application/json' || /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) return;
  refuse('UNSUPPORTED_MEDIA_TYPE', 'The content-type wants to be application/json in UTF-8.');
}

/** @throws {RefusalError} INVALID_REQUEST_BODY */
export function parseJson(bytes: Buffer): unknown {
  if (bytes.length === 0) refuse('INVALID_REQUEST_BODY', 'body: wants a JSON object, is empty.');
  if (!isUtf8(bytes)) refuse('INVALID_REQUEST_BODY', 'body: wants JSON in UTF-8.');
  if (isTooDeep(bytes)) refuse('INVALID_REQUEST_BODY', `body: is nested more than ${MAX_JSON_DEPTH} levels deep.`);
  const text = bytes.toString('utf8');
  if (text.includes('"__proto__"')) refuse('INVALID_REQUEST_BODY', '__proto__: is not a usable name.');
  try {
    return JSON.parse(text);
  } catch {
    return refuse('INVALID_REQUEST_BODY', 'body: wants JSON; this is not well-formed.');
  }
}
