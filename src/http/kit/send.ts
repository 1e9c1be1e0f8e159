import type { Request, Response } from 'express';
import { BatcherFullError } from '../../db/batcher.ts';
import { ReadersBusyError, ReadTooSlowError } from '../../db/readers.ts';
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
  { request, response }: { readonly request: Request; readonly response: Response },
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
    response.setHeader('connection', 'close');
  send(response, failure);
}

/** The error that says that too much of somebody waits, if that is what it is. */
function fullOf(error: unknown): BatcherFullError | null {
  const cause = error instanceof KeylessError ? error.cause : error;
  return cause instanceof BatcherFullError ? cause : null;
}

/** Sends a reply, or 503 where there is no memory for one that may not be read soon. */
export function send(response: Response, reply: Reply): void {
  sendText(response, reply, textOf(reply));
}

/** The text of an answer, and its length as it is sent. */
interface Text {
  /** Bytes where it is long, or where the same answer goes to everybody: they are encoded once, and not copied for whoever does not read. */
  readonly text: string | Buffer;
  readonly bytes: number;
}

/** The same, where the text is made already. */
export function sendText(response: Response, reply: Reply, text: Text | null): void {
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
function write(response: Response, { status, headers }: Reply, text: Text | null): void {
  response.statusCode = status;
  if (hasMuchLeft(response.req)) response.setHeader('connection', 'close');
  if (headers !== undefined) for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (text === null) {
    response.end();
    return;
  }
  if (!response.hasHeader('content-type')) response.setHeader('content-type', 'application/json; charset=utf-8');
  response.setHeader('content-length', text.bytes);
  response.end(text.text);
}
