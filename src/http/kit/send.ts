import type { IncomingMessage, ServerResponse } from 'node:http';
import { BatcherFullError } from '../../db/batcher.ts';
import { ReadersBusyError, ReadTooSlowError } from '../../db/readers.ts';
import { hasHeader, releaseHeaders, setHeader, writeHead } from './answer-headers.ts';
import { mayAnswer } from './answers.ts';
import { ClientGoneError, hasMuchLeft } from './body.ts';
import { failureOf, KeylessError, replyTo } from './failure.ts';
import { markLimited, NoRoomError } from './limited.ts';
import { requestIdOf } from './request-log.ts';
import type { Reply } from './route.ts';
import type { Services } from './services.ts';

/** Answers a failure, and logs it if it is unexpected. */
export function fail(
  services: Services,
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
  error: unknown,
): void {
  if (error instanceof ClientGoneError || response.headersSent) {
    response.destroy();
    return;
  }
  const failure = failureOf(error);
  const full = fullOf(error);
  if (full !== null) services.noteLimited({ who: full.sharedBy, limit: 'waiting' }, full.owner);
  const isSlow = error instanceof ReadTooSlowError;
  if (isSlow || error instanceof ReadersBusyError)
    services.noteLimited({ who: error.reader.who, limit: isSlow ? 'slow reads' : 'reads' }, error.reader.owner);
  const isLimited = error instanceof NoRoomError || full !== null || isSlow;
  if (isLimited || failure.status === 429) markLimited(response);
  if (failure.unexpected)
    services.logger.error({ err: error, requestId: requestIdOf(response) }, 'a request failed unexpectedly');
  else if (failure.status === 503 && !isLimited)
    services.logger.warn(
      { err: error, requestId: requestIdOf(response), reason: failure.message },
      'a request was turned away',
    );
  // Even little that is left of such a body is too much.
  if (!request.complete && (failure.status === 413 || error instanceof NoRoomError))
    setHeader(response, 'connection', 'close');
  send(response, failure);
}

/** The error that says that too much of somebody waits, if that is what it is. */
function fullOf(error: unknown): BatcherFullError | null {
  const cause = error instanceof KeylessError ? error.cause : error;
  return cause instanceof BatcherFullError ? cause : null;
}

/** Sends a reply, or 503 where there is no memory for one that may not be read soon. */
export function send(response: ServerResponse, reply: Reply): void {
  sendText(response, reply, textOf(reply));
}

/** The text of an answer, and its length as it is sent. */
interface Text {
  /** Bytes where it is long, or where the same answer goes to everybody: they are encoded once, and not copied for whoever does not read. */
  readonly text: string | Buffer;
  readonly bytes: number;
}

/** The same, where the text is made already. */
export function sendText(response: ServerResponse, reply: Reply, text: Text | null): void {
  if (text === null || mayAnswer(response, text.bytes)) {
    write(response, reply, text);
    return;
  }
  markLimited(response);
  const refused = replyTo(new NoRoomError('answers').refusal);
  write(response, refused, textOf(refused));
}

/** A longer text is encoded by ourselves: put together with the head and then encoded, it would be copied twice more. */
const LONG = 16 * 1024;

export function textOf({ body }: Reply): Text | null {
  if (body === null) return null;
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  // For terminals: without it their prompt would stand on the line of the answer.
  const lineEnd = typeof body === 'string' ? '' : '\n';
  const bytes = Buffer.byteLength(text) + lineEnd.length;
  if (text.length < LONG) return { text: text + lineEnd, bytes };
  const encoded = Buffer.allocUnsafe(bytes);
  encoded.write(lineEnd, encoded.write(text));
  return { text: encoded, bytes };
}

/** Writes a reply with as little work as possible: one serialisation, no etag, no content negotiation. */
function write(response: ServerResponse, { status, headers }: Reply, text: Text | null): void {
  if (hasMuchLeft(response.req)) setHeader(response, 'connection', 'close');
  for (const name in headers) setHeader(response, name, headers[name] ?? '');
  if (text === null) {
    releaseHeaders(response);
    response.statusCode = status;
    response.end();
    return;
  }
  if (!hasHeader(response, 'content-type')) setHeader(response, 'content-type', 'application/json; charset=utf-8');
  setHeader(response, 'content-length', text.bytes);
  writeHead(response, status);
  response.end(text.text);
}
