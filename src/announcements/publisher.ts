import type { Tx } from '../db/transaction.ts';
import type { OutgoingMessage } from './outgoing.ts';

/**
 * What became of one wallet's messages.
 * `sent`: they may be marked as said. `deferred`: nobody's failure, such as a rate limit; again after the time given.
 * `failed`: again with back-off; `permanent` where trying the same again can hardly help and somebody should look.
 */
export type SendResult =
  | { readonly kind: 'sent' }
  | { readonly kind: 'deferred'; readonly retryAfterSeconds: number; readonly reason: string }
  | { readonly kind: 'failed'; readonly permanent: boolean; readonly reason: string };

/**
 * Where messages go. A wallet's messages pass through both steps, in this order: `send` outside of any transaction, then
 * `record` in the transaction that marks them as said. Both may run again for the same messages after a crash. Svix needs
 * the first, the embedded sender the second.
 */
export interface Publisher {
  /** How many wallets may be announced at once. */
  readonly concurrency: number;
  /** Seconds for which nothing should be sent at all; 0 for none. */
  pausedForSeconds(): number;
  /** Hands one wallet's messages over, in order. A failure of the other side is a result, not an exception. */
  send(messages: readonly OutgoingMessage[]): Promise<SendResult>;
  record(tx: Tx, messages: readonly OutgoingMessage[]): Promise<void>;
}
