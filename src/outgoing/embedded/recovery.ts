import { z } from 'zod';
import type { Clock } from '../../clock.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit, type Tx, transaction } from '../../db/transaction.ts';
import type { OutgoingMessage, WebhookEndpoint } from '../outgoing.ts';
import { knownMessagesIn } from '../recovery/known-messages.ts';
import type { KeptPage, MissedSent, RecoverySender } from '../recovery/recover.ts';
import type { ClaimedRecovery } from '../recovery/store.ts';
import { storeMessages } from './delivery-store.ts';
import { selectEndpoint } from './endpoint-store.ts';
import { fillRanges, hasMorePending, type KeptPlace, offerMessages, selectKept } from './kept-messages.ts';

const PAGE_SIZE = 200;
const FILLED_AT_A_TIME = 1000;
/** An endpoint with more deliveries under way gets no further page, so that new messages and other endpoints need not wait. */
const MAX_PENDING = 1000;
const BUSY_SECONDS = 5;

const placeText = z.object({ createdAt: z.coerce.date(), messageId: z.string() });

/** The embedded sender's part of a recovery: it makes deliveries for messages that are stored already or are stored now. */
export class DirectRecovery implements RecoverySender {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #onOffered: () => void;

  /** @param onOffered called when there may be deliveries that are due */
  constructor(pool: Pool, clock: Clock, onOffered: () => void) {
    this.#pool = pool;
    this.#clock = clock;
    this.#onOffered = onOffered;
  }

  endpoint(merchantId: string, endpointId: string): Promise<WebhookEndpoint | null> {
    return selectEndpoint(autocommit(this.#pool), { merchantId, endpointId });
  }

  async sendKept(recovery: ClaimedRecovery, { eventTypes }: WebhookEndpoint): Promise<KeptPage> {
    const { merchantId, since, until, place } = recovery;
    const db = autocommit(this.#pool);
    if (await hasMorePending(db, recovery, MAX_PENDING)) {
      return { kind: 'postponed', seconds: BUSY_SECONDS };
    }
    // Messages of an older release lack the range of their entries, by which the next phase finds them.
    const unfilled = { since, limit: FILLED_AT_A_TIME };
    while (place === null && (await fillRanges(db, merchantId, unfilled)) === FILLED_AT_A_TIME);
    const after: KeptPlace | null = place === null ? null : placeText.parse(JSON.parse(place));
    const kept = await selectKept(db, { merchantId, since, until, eventTypes }, { after, limit: PAGE_SIZE });
    const ids = kept.map(({ messageId }) => messageId);
    const resent = await transaction(this.#pool, (tx) => this.#offer(tx, recovery, ids));
    this.#onOffered();
    const last = kept.at(-1);
    const isLast = last === undefined || kept.length < PAGE_SIZE;
    return { kind: 'done', place: isLast ? null : JSON.stringify(last), resent };
  }

  findKnown() {
    return knownMessagesIn('webhook_message', autocommit(this.#pool));
  }

  async sendMissed(
    recovery: ClaimedRecovery,
    _endpoint: WebhookEndpoint,
    { known, made }: { readonly known: readonly string[]; readonly made: readonly OutgoingMessage[] },
  ): Promise<MissedSent> {
    if (await hasMorePending(autocommit(this.#pool), recovery, MAX_PENDING)) {
      return { kind: 'postponed', seconds: BUSY_SECONDS };
    }
    const resent = await transaction(this.#pool, async (tx) => {
      await storeMessages(tx, made, this.#clock.now());
      await this.#offer(
        tx,
        recovery,
        made.map(({ messageId }) => messageId),
      );
      return this.#offer(tx, recovery, known);
    });
    this.#onOffered();
    return { kind: 'done', resent };
  }

  async #offer(tx: Tx, recovery: ClaimedRecovery, messageIds: readonly string[]): Promise<number> {
    // The endpoint may have been deleted since the recovery was claimed.
    if ((await selectEndpoint(tx, recovery, 'for key share')) === null) return 0;
    return offerMessages(tx, recovery, messageIds);
  }
}
