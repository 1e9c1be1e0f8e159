import type { IncomingMessage, ServerResponse } from 'node:http';
import { atEnd } from './answer-end.ts';
import type { ByteBudget, BytesOf } from './byte-budget.ts';
import { markLimited } from './limited.ts';

/** A smaller answer is not counted unless answers before it wait to be read: the number of connections bounds them. */
const FREE_BYTES = 4096;

/** For so long an answer may be under way before it has to go for another. Most are read long before. */
export const ANSWER_PATIENCE_MS = 2_000;

type Hold = (bytes: number) => boolean;
const holds = new WeakMap<ServerResponse, Hold>();

/**
 * Counts the answer of a request until its client has read it, since what a client does not read stays in our memory. The last
 * call for a response counts.
 * @param of for whom it is
 */
export function countAnswer(
  budget: ByteBudget,
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
  of: () => BytesOf,
): void {
  holds.set(response, (bytes) => {
    if (bytes < FREE_BYTES && request.socket.writableLength === 0) return true;
    const giveUp = () => {
      markLimited(response);
      if (response.writableEnded) request.socket.destroy();
    };
    // What was written must be told: a client that is refused the answer would ask for the same once more.
    const claim = budget.open(of(), giveUp, request.method !== 'GET');
    atEnd(response, () => claim.release());
    return claim.hold(bytes);
  });
}

/** Whether there is memory for an answer of so many bytes; if so it is counted. A response is asked for once. */
export function mayAnswer(response: ServerResponse, bytes: number): boolean {
  const hold = holds.get(response);
  // What stays in a WeakMap outlives small garbage collections, with its request: 8,000 requests of 12 kB left 120 MB behind.
  holds.delete(response);
  return hold?.(bytes) ?? true;
}
