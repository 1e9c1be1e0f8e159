import type { Clock } from '../../clock.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import type { OutgoingMessage } from '../outgoing.ts';
import type { Publisher, SendResult } from '../publisher.ts';
import { insertMessages } from './delivery-store.ts';
import { withoutEndpoint } from './endpoint-store.ts';

/** Publishes by storing messages and deliveries in the transaction that marks the wallet as announced. */
export class DirectPublisher implements Publisher {
  /** Nothing is sent here, so all wallets of a claim go into one transaction. */
  readonly concurrency = 500;
  readonly #clock: Clock;
  readonly #onCommitted: () => void;

  /** @param onCommitted called when there may be deliveries that are due */
  constructor(clock: Clock, onCommitted: () => void) {
    this.#clock = clock;
    this.#onCommitted = onCommitted;
  }

  pausedForSeconds(): number {
    return 0;
  }

  unheard(db: Queryable, merchantIds: readonly string[]): Promise<readonly string[]> {
    return withoutEndpoint(db, merchantIds);
  }

  send(): Promise<SendResult> {
    return Promise.resolve({ kind: 'sent' });
  }

  record(tx: Tx, messages: readonly OutgoingMessage[]): Promise<void> {
    return insertMessages(tx, messages, this.#clock.now());
  }

  committed(): void {
    this.#onCommitted();
  }
}
