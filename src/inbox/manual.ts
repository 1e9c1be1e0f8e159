import type { PgBoss } from 'pg-boss';
import { requireCustomer } from '../customers/store.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import { type Refusal, RefusalError, refuse } from '../errors.ts';
import { type Dismissal, dismissEvent, getEvent, type ProviderEvent, type Replay, replayEvent } from './events.ts';

/**
 * What people do with events, the same for the API and the command line. Everything here throws a RefusalError: NOT_FOUND
 * for an event that the merchant does not have, CONFLICT for one whose state does not allow it.
 */

export async function findEvent(db: Queryable, merchantId: string, eventId: string): Promise<ProviderEvent> {
  return found(await getEvent(db, merchantId, eventId));
}

/** @throws {RefusalError} also CUSTOMER_NOT_FOUND, if the customer named is not the merchant's */
export async function replayByHand(pool: Pool, boss: PgBoss, replay: Replay): Promise<ProviderEvent> {
  const { merchantId, customerId } = replay;
  if (customerId !== null) await requireCustomer(autocommit(pool), merchantId, customerId);
  return found(await replayEvent(pool, boss, replay));
}

export async function dismissByHand(db: Queryable, dismissal: Dismissal, now: Date): Promise<ProviderEvent> {
  return found(await dismissEvent(db, dismissal, now));
}

function found(event: ProviderEvent | Refusal | null): ProviderEvent {
  if (event === null) return refuse('NOT_FOUND', 'There is no such event.');
  if ('code' in event) throw new RefusalError(event);
  return event;
}
