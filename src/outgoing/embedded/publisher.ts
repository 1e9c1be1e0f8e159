import type { PgBoss } from 'pg-boss';
import type { Clock } from '../../clock.ts';
import { bossDatabase } from '../../db/queues.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import type { OutgoingMessage } from '../outgoing.ts';
import type { Publisher, SendResult } from '../publisher.ts';
import { type DeliveryKey, insertMessages } from './delivery-store.ts';
import { withoutEndpoint } from './endpoint-store.ts';

/** Publishes by storing messages and delivery jobs in the transaction that marks the wallet as announced. */
export class DirectPublisher implements Publisher {
  /** Nothing is sent here, so all wallets of a claim go into one transaction. */
  readonly concurrency = 500;
  readonly #boss: Pick<PgBoss, 'insert'>;
  readonly #clock: Clock;

  constructor(boss: Pick<PgBoss, 'insert'>, clock: Clock) {
    this.#boss = boss;
    this.#clock = clock;
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

  async record(tx: Tx, messages: readonly OutgoingMessage[]): Promise<void> {
    await insertDeliveryJobs({ boss: this.#boss, tx }, await insertMessages(tx, messages, this.#clock.now()));
  }
}

/** Adds the jobs that deliver, in the caller's transaction. One that names no time is due at once. */
export async function insertDeliveryJobs(
  { boss, tx }: { readonly boss: Pick<PgBoss, 'insert'>; readonly tx: Tx },
  deliveries: readonly (DeliveryKey & { readonly dueAt?: Date })[],
): Promise<void> {
  if (deliveries.length === 0) return;
  const jobs = deliveries.map(({ merchantId, messageId, endpointId, dueAt }) => ({
    data: { merchantId, messageId, endpointId },
    ...(dueAt === undefined ? {} : { startAfter: dueAt }),
  }));
  await boss.insert('deliver-webhook', jobs, { db: bossDatabase(tx) });
}
