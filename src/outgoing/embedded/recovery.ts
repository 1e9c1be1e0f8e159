import type { PgBoss } from 'pg-boss';
import { z } from 'zod';
import type { Clock } from '../../clock.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit, type Tx, transaction } from '../../db/transaction.ts';
import type { OutgoingMessage, WebhookEndpoint } from '../outgoing.ts';
import type { KeptPage, MissedSent, RecoverySender } from '../recovery/recover.ts';
import type { ClaimedRecovery } from '../recovery/store.ts';
import { storeMessages } from './delivery-store.ts';
import { selectEndpoint } from './endpoint-store.ts';
import { fillRanges, hasMorePending, type KeptPlace, offerMessages, selectKept, selectKnown } from './kept-messages.ts';
import { insertDeliveryJobs } from './publisher.ts';

const PAGE_SIZE = 200;
const FILLED_AT_A_TIME = 1000;
/** An endpoint that has more on its way gets no further page: its own news, and others' endpoints, are to come through. */
const MAX_PENDING = 1000;
const BUSY_SECONDS = 5;

const placeText = z.object({ createdAt: z.coerce.date(), messageId: z.string() });

/** What the embedded sender does for a recovery: deliveries and jobs of messages that are stored, or are stored now. */
export class DirectRecovery implements RecoverySender {
  readonly #pool: Pool;
  readonly #boss: Pick<PgBoss, 'insert'>;
  readonly #clock: Clock;

  constructor(pool: Pool, boss: Pick<PgBoss, 'insert'>, clock: Clock) {
    this.#pool = pool;
    this.#boss = boss;
    this.#clock = clock;
  }

  endpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null> {
    return selectEndpoint(autocommit(this.#pool), merchantId, endpointId);
  }

  async sendKept(recovery: ClaimedRecovery, { eventTypes }: WebhookEndpoint): Promise<KeptPage> {
    const { merchantId, endpointId, since, until, place } = recovery;
    const db = autocommit(this.#pool);
    if (await hasMorePending(db, merchantId, endpointId, MAX_PENDING)) {
      return { kind: 'postponed', seconds: BUSY_SECONDS };
    }
    // Rows of an older release do not say it; once they do, the next phase knows of them.
    while (place === null && (await fillRanges(db, merchantId, since, FILLED_AT_A_TIME)) === FILLED_AT_A_TIME);
    const after: KeptPlace | null = place === null ? null : placeText.parse(JSON.parse(place));
    const kept = await selectKept(db, merchantId, { since, until, eventTypes }, after, PAGE_SIZE);
    const ids = kept.map(({ messageId }) => messageId);
    const resent = await transaction(this.#pool, (tx) => this.#offer(tx, recovery, ids));
    const last = kept.at(-1);
    const isLast = last === undefined || kept.length < PAGE_SIZE;
    return { kind: 'done', place: isLast ? null : JSON.stringify(last), resent };
  }

  findKnown() {
    const db = autocommit(this.#pool);
    return (wallet: Parameters<typeof selectKnown>[1], from: number, to: number) => selectKnown(db, wallet, from, to);
  }

  async sendMissed(
    recovery: ClaimedRecovery,
    _endpoint: WebhookEndpoint,
    { known, made }: { readonly known: readonly string[]; readonly made: readonly OutgoingMessage[] },
  ): Promise<MissedSent> {
    const { merchantId, endpointId } = recovery;
    if (await hasMorePending(autocommit(this.#pool), merchantId, endpointId, MAX_PENDING)) {
      return { kind: 'postponed', seconds: BUSY_SECONDS };
    }
    return transaction(this.#pool, async (tx) => {
      await storeMessages(tx, made, this.#clock.now());
      await this.#offer(
        tx,
        recovery,
        made.map(({ messageId }) => messageId),
      );
      return { kind: 'done', resent: await this.#offer(tx, recovery, known) };
    });
  }

  async #offer(tx: Tx, { merchantId, endpointId }: ClaimedRecovery, messageIds: readonly string[]): Promise<number> {
    // A recovery outlives its endpoint for a moment.
    if ((await selectEndpoint(tx, merchantId, endpointId, 'for key share')) === null) return 0;
    const offered = await offerMessages(tx, merchantId, endpointId, messageIds);
    await insertDeliveryJobs(this.#boss, tx, offered);
    return offered.length;
  }
}
