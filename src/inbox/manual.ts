import type { PgBoss } from 'pg-boss';
import { requireCustomer } from '../customers/store.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { getEvent, type ProviderEvent } from './events.ts';
import { type Replay, replayEvent } from './replay.ts';

/** What people do with events, the same for the API and the command line. */

/** @throws {RefusalError} NO_SUCH_EVENT for one that the merchant does not have */
export async function findEvent(db: Queryable, merchantId: string, eventId: string): Promise<ProviderEvent> {
  return (await getEvent(db, merchantId, eventId)) ?? refuse({ code: 'NO_SUCH_EVENT' });
}

/**
 * Replays an event because somebody asks for it, who may name the customer.
 * @throws {RefusalError} what {@link replayEvent} throws; CUSTOMER_NOT_FOUND if the customer is not the merchant's
 */
export async function replayOnRequest(pool: Pool, boss: PgBoss, replay: Replay): Promise<ProviderEvent> {
  const { merchantId, customerId } = replay;
  if (customerId !== null) await requireCustomer(autocommit(pool), merchantId, customerId);
  return replayEvent(pool, boss, replay);
}
