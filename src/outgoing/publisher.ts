import { isUnavailable } from '../db/sqlstate.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { OutgoingMessage } from './outgoing.ts';

/**
 * What became of one wallet's messages.
 * `sent`: they may be marked as told. `deferred`: no failure, such as a rate limit; tried again after the time given.
 * `failed`: tried again with back-off; `permanent` if the same request will hardly succeed later, so that a person must look.
 */
export type SendResult =
  | { readonly kind: 'sent' }
  | { readonly kind: 'deferred'; readonly retryAfterSeconds: number; readonly reason: string }
  | { readonly kind: 'failed'; readonly permanent: boolean; readonly reason: string };

const FIRST_RETRY_SECONDS = 2;
/** The longest wait between two tries. Merchants hear of everything within 30 s after Svix is back; see `ticker.ts`. */
export const LAST_RETRY_SECONDS = 10;
const PERMANENT_RETRY_SECONDS = 900;
/** An error of our own after so many failures is a defect. */
const MAX_UNEXPECTED = 5;

/** Seconds until messages that could not be handed over are tried again; `attempts` is how often that failed before. */
export function secondsUntilRetry(sent: Exclude<SendResult, { kind: 'sent' }>, attempts: number): number {
  if (sent.kind === 'deferred') return sent.retryAfterSeconds;
  if (sent.permanent) return PERMANENT_RETRY_SECONDS;
  return Math.min(FIRST_RETRY_SECONDS * 2 ** Math.min(attempts, 10), LAST_RETRY_SECONDS);
}

/**
 * An exception as a result, so that it does not keep other messages from being sent. A database that is away or busy is no defect, however
 * often the other side failed before: it is tried again soon.
 */
export function failedUnexpectedly(error: unknown, attempts: number): SendResult & { kind: 'failed' } {
  const permanent = attempts >= MAX_UNEXPECTED && !isUnavailable(error);
  return { kind: 'failed', permanent, reason: 'an error of our own; the log has it' };
}

/**
 * Where messages go. A wallet's messages pass through two steps, in this order: `send` outside of any transaction, then
 * `record` in the transaction that marks them as told. Both may run again for the same messages after a crash. Svix sends in
 * the first; the embedded sender stores its deliveries in the second.
 */
export interface Publisher {
  /** How many wallets may be announced at once. */
  readonly concurrency: number;
  /** Seconds for which nothing should be sent at all; 0 for none. */
  pausedForSeconds(): number;
  /**
   * Which of these merchants nobody hears: what is told of them now would reach nobody and be kept nowhere. Left out by a sender
   * that cannot know it, for which everybody counts as heard.
   */
  unheard?(db: Queryable, merchantIds: readonly string[]): Promise<readonly string[]>;
  /** Hands one wallet's messages over, in order. A failure of the other side is a result, not an exception. */
  send(messages: readonly OutgoingMessage[]): Promise<SendResult>;
  record(tx: Tx, messages: readonly OutgoingMessage[]): Promise<void>;
  /** What was recorded is committed. */
  committed?(): void;
}
