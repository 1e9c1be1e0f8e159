import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { invariant } from '../../errors.ts';
import { hasMoreValues, isTooDeep, MAX_JSON_DEPTH } from '../../providers/shared/json-depth.ts';
import type { ByteBudget, BytesOf } from './byte-budget.ts';
import { NoRoomError } from './limited.ts';
import { TurnedAwayError, turnAway } from './turn-away.ts';

/** A body of up to this many times the limit is read to its end, so that the client sees the refusal. A larger one is cut off. */
const PATIENCE = 8;
/** A body that comes in pieces gets room for so much more at once, and then for as much again as it has. */
const FIRST_ROOM_BYTES = 16 * 1024;

/**
 * Looks at what a request says of its body before any of it is read.
 * @throws {TurnedAwayError} BODY_TOO_LARGE where it is far too large, or UNSUPPORTED_MEDIA_TYPE for a compressed body (it could
 *   inflate to anything)
 */
export function checkBodyHeaders({ headers }: IncomingMessage, limitBytes: number): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    turnAway('UNSUPPORTED_MEDIA_TYPE', `The body must not be compressed (content-encoding: ${encoding}).`);
  }
  if (Number(headers['content-length'] ?? 0) > limitBytes * PATIENCE) throw tooLarge(limitBytes);
}

/** So much of a body that was answered unread is passed over, so that the client gets to see the answer. */
const PASSED_OVER_BYTES = 256 * 1024;

/** Whether more of a body is to come than would be passed over for the next request. */
export function hasMuchLeft({ complete, headers }: IncomingMessage): boolean {
  if (complete) return false;
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > PASSED_OVER_BYTES;
}

/** So many pieces a body may come in, whatever their size; more must have so many bytes each on average. */
const FREE_PIECES = 256;
/** A piece of one byte costs us hundreds of times more than whoever sends it. */
const LEAST_BYTES_A_PIECE = 64;

export interface ReadBodyOptions {
  readonly limitBytes: number;
  readonly budget: ByteBudget;
  readonly of: BytesOf;
}

/** A body that was read. Its memory is counted until it is released. */
export interface HeldBody {
  readonly bytes: Buffer;
  release(): void;
}

/**
 * Reads a request's body once, as bytes. Busy routes use it, so it listens to events instead of building a chain of streams.
 * @throws {TurnedAwayError} BODY_TOO_LARGE, or SERVICE_UNAVAILABLE where there is no room for it
 */
export function readBody(request: IncomingMessage, options: ReadBodyOptions): Promise<HeldBody> {
  if (request.destroyed) return Promise.reject(new ClientGoneError());
  return isHere(request, options.limitBytes) ? takeWhole(request, options) : readOn(request, options);
}

/** Whether all of a body came along with its headers, as small ones do, and waits to be taken. */
function isHere({ headers, readableLength, readableFlowing }: IncomingMessage, limitBytes: number): boolean {
  if (readableLength === 0 || readableLength > limitBytes || readableFlowing !== null) return false;
  return headers['transfer-encoding'] === undefined && Number(headers['content-length']) === readableLength;
}

/** Takes what is there, without listening for more. */
async function takeWhole(request: IncomingMessage, { budget, of }: ReadBodyOptions): Promise<HeldBody> {
  const bytes: unknown = request.read();
  invariant(Buffer.isBuffer(bytes), 'what waited of a body was not there');
  let refused: Error | null = null;
  const claim = budget.open(of, (error) => {
    refused = error;
  });
  const release = () => claim.release();
  const isHeld = claim.hold(bytes.length);
  claim.complete();
  if (isHeld && refused === null) return { bytes, release };
  release();
  throw refused ?? new NoRoomError('bodies');
}

function readOn(request: IncomingMessage, { limitBytes, budget, of }: ReadBodyOptions): Promise<HeldBody> {
  return new Promise((resolve, reject) => {
    let body: Buffer = Buffer.alloc(0);
    let received = 0;
    let pieces = 0;
    let isOver = false;
    const claim = budget.open(of, (error) => {
      // Nothing more of it is taken in.
      request.pause();
      fail(error);
    });
    const release = () => claim.release();
    const fail = (error: Error) => {
      isOver = true;
      release();
      body = Buffer.alloc(0);
      reject(error);
    };
    const declared = Number(request.headers['content-length'] ?? limitBytes);
    const most = Math.min(limitBytes, declared);
    request.on('data', (chunk: Buffer) => {
      if (isOver) return;
      const before = received;
      received += chunk.length;
      pieces += 1;
      if (pieces > FREE_PIECES && received < pieces * LEAST_BYTES_A_PIECE) {
        fail(inCrumbs());
        return;
      }
      if (received > limitBytes) {
        if (received > limitBytes * PATIENCE) fail(tooLarge(limitBytes));
        return;
      }
      // Most bodies come in one piece, which is kept as it is. Pieces are put together, since many small ones weigh far more.
      const room = before === 0 ? chunk.length : roomFor(received, body.length, most);
      if (room !== body.length && !claim.hold(room)) return;
      if (before === 0) body = chunk;
      else {
        if (room !== body.length) body = grown(body, before, room);
        chunk.copy(body, before);
      }
    });
    request.once('end', () => {
      if (received > limitBytes) return fail(tooLarge(limitBytes));
      claim.complete();
      resolve({ bytes: body.subarray(0, received), release });
    });
    request.once('error', (error) => fail(request.complete ? error : new ClientGoneError()));
    request.once('close', () => {
      if (!request.complete) fail(new ClientGoneError());
    });
  });
}

/** How many bytes to have for a body of which `received` bytes came, where there are `have`. */
function roomFor(received: number, have: number, most: number): number {
  return received <= have ? have : Math.min(most, Math.max(received * 2, FIRST_ROOM_BYTES));
}

function grown(body: Buffer, used: number, room: number): Buffer {
  const larger = Buffer.allocUnsafe(room);
  body.copy(larger, 0, 0, used);
  return larger;
}

function inCrumbs(): TurnedAwayError {
  return new TurnedAwayError({
    code: 'BODY_TOO_LARGE',
    message: 'The body comes in too many pieces. Send larger ones.',
  });
}

function tooLarge(limitBytes: number): TurnedAwayError {
  return new TurnedAwayError({ code: 'BODY_TOO_LARGE', message: `The body wants ${limitBytes} bytes or fewer.` });
}

/** The client closed the connection before its request was complete, so it gets no answer. */
export class ClientGoneError extends Error {
  constructor() {
    super('the client closed the connection before its request was complete');
    this.name = 'ClientGoneError';
  }
}

/** @throws {TurnedAwayError} unless the content is declared as JSON in UTF-8 */
export function requireJson(request: IncomingMessage): void {
  const type = request.headers['content-type'] ?? '';
  if (type === 'application/json' || /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) return;
  turnAway('UNSUPPORTED_MEDIA_TYPE', 'Content-Type: wants application/json in UTF-8.');
}

/** More than a thousand entries have with fifty pairs of metadata each. A value may take a hundred times its bytes. */
const MAX_JSON_VALUES = 100_000;

/** @throws {TurnedAwayError} INVALID_REQUEST_BODY */
export function parseRequestJson(bytes: Buffer): unknown {
  if (bytes.length === 0) turnAway('INVALID_REQUEST_BODY', 'body: wants a JSON object, is empty.');
  if (!isUtf8(bytes)) turnAway('INVALID_REQUEST_BODY', 'body: wants JSON in UTF-8.');
  // What is well-formed closes what it opens.
  if (bytes.length > 2 * MAX_JSON_DEPTH && isTooDeep(bytes))
    turnAway('INVALID_REQUEST_BODY', `body: is nested more than ${MAX_JSON_DEPTH} levels deep.`);
  // Fewer bytes have fewer values.
  if (bytes.length > MAX_JSON_VALUES && hasMoreValues(bytes, MAX_JSON_VALUES))
    turnAway('INVALID_REQUEST_BODY', `body: has more than ${MAX_JSON_VALUES} values.`);
  const text = bytes.toString('utf8');
  if (text.includes('"__proto__"')) turnAway('INVALID_REQUEST_BODY', '__proto__: is not a usable name.');
  try {
    return JSON.parse(text);
  } catch {
    return turnAway('INVALID_REQUEST_BODY', 'body: wants JSON; this is not well-formed.');
  }
}
