import type { PgBoss } from 'pg-boss';
import { boolean, nullable, text } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import { transaction } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { reopenHandled } from '../payments/handled-store.ts';
import { enqueue } from './enqueue.ts';
import { EVENT, EVENT_KEY, type ProviderEvent } from './events.ts';

/** Events that a person wants applied again. */

export interface Replay {
  readonly merchantId: string;
  readonly eventId: string;
  /** Whose payment it is, where the event itself does not say. */
  readonly customerId: string | null;
  /** Whether that customer is linked with the provider's, so that later payments are found as well. */
  readonly link?: boolean;
  /** Whether another amount than its checkout is of completes that. Said once, it holds for later replays too. */
  readonly acceptsAmount?: boolean;
  /** Also one that was handled by hand, so that it may post after all. */
  readonly reopens?: boolean;
}

/**
 * Applies a parked event again, once its cause is mended, or a waiting one before its time. Replaying cannot credit twice:
 * the ledger's keys are made of the payment, not of the event.
 * @returns the event as it now waits to be applied
 * @throws {RefusalError} NO_SUCH_EVENT, EVENT_BODY_REMOVED, EVENT_NOT_REPLAYABLE, EVENT_HANDLED_BY_HAND
 */
export async function replayEvent(pool: Pool, boss: PgBoss, replay: Replay): Promise<ProviderEvent> {
  return transaction(pool, async (tx) => {
    const { merchantId, eventId, customerId, link = false, acceptsAmount = false } = replay;
    const event = await LOCK_EVENT.first(tx, { merchantId, eventId });
    if (event === null) return refuse({ code: 'NO_SUCH_EVENT' });
    if (event.bodyRemovedAt !== null) refuse({ code: 'EVENT_BODY_REMOVED', removedAt: event.bodyRemovedAt });
    if (event.state !== 'parked' && event.state !== 'waiting' && event.state !== 'dismissed')
      refuse({ code: 'EVENT_NOT_REPLAYABLE', state: event.state });
    if (event.state === 'dismissed' && !replay.reopens) refuse({ code: 'EVENT_HANDLED_BY_HAND' });
    await reopenHandled(tx, merchantId, eventId);
    const replayed = await REPLAY.one(tx, { merchantId, eventId, customerId, link, acceptsAmount });
    await enqueue(boss, tx, { events: [{ merchantId, eventId }] });
    return replayed;
  });
}

const LOCK_EVENT = statement({
  params: EVENT_KEY,
  row: EVENT.shape,
  text: ({ merchantId, eventId }) =>
    `select ${columns(EVENT.shape)} from provider_event where merchant_id = ${merchantId} and event_id = ${eventId} for update`,
});

const REPLAY = statement({
  params: { ...EVENT_KEY, customerId: nullable(text), link: boolean, acceptsAmount: boolean },
  row: EVENT.shape,
  text: ({ merchantId, eventId, customerId, link, acceptsAmount }) => `
    update provider_event
    set state = 'pending', reason = null, detail = null, settled_at = null, replays = replays + 1, is_closed = false,
      assigned_customer_id = coalesce(${customerId}, assigned_customer_id),
      assigned_link = case when ${customerId}::text is null then assigned_link else ${link} end,
      accepts_amount = accepts_amount or ${acceptsAmount}
    where merchant_id = ${merchantId} and event_id = ${eventId} returning ${columns(EVENT.shape)}`,
});
