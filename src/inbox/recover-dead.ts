import type { PgBoss } from 'pg-boss';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, nullable, text, uuid } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { bossDatabase, deadLetterOf } from '../db/queues.ts';
import { statement } from '../db/statement.ts';
import { transaction } from '../db/transaction.ts';
import { enqueue } from './enqueue.ts';
import { EVENT_KEY } from './events.ts';
import { withMerchants } from './whose-events.ts';

export interface Redriven {
  /** Events that will be applied again. */
  readonly redriven: number;
  /** Jobs that were taken away alone, because their events have been handled. */
  readonly settled: number;
}

/**
 * Applies the events again whose jobs were given up, the oldest first: once what made them fail is mended. Their jobs leave
 * the dead letter queue, also those of events that somebody has replayed or dismissed meanwhile. It cannot credit twice.
 */
export function redriveEvents(pool: Pool, boss: PgBoss, limit: number): Promise<Redriven> {
  const queue = deadLetterOf('apply-provider-event');
  return transaction(pool, async (tx) => {
    const jobs = await LOCK_DEAD.all(tx, { queue, limit });
    if (jobs.length === 0) return { redriven: 0, settled: 0 };
    const named = jobs.flatMap(({ merchantId, eventId }) => (eventId === null ? [] : [{ merchantId, eventId }]));
    const dead = await withMerchants(tx, named);
    const events = await ofEachMerchant(dead, (merchantId, own) =>
      MAKE_PENDING.all(tx, { merchantId, eventIds: own.map(({ eventId }) => eventId) }),
    );
    await enqueue(boss, tx, { events });
    await boss.deleteJob(
      queue,
      jobs.map(({ id }) => id),
      { db: bossDatabase(tx) },
    );
    return { redriven: events.length, settled: jobs.length - events.length };
  });
}

const LOCK_DEAD = statement({
  params: { queue: text, limit: bigint },
  row: { id: uuid, merchantId: nullable(text), eventId: nullable(text) },
  text: ({ queue, limit }) => `
    select id, data ->> 'merchantId' as merchant_id, data ->> 'eventId' as event_id
    from pgboss.job
    where name = ${queue} and state < 'active'
    order by created_on
    limit ${limit}
    for update skip locked`,
});

/** Events parked for another reason are left alone: another try would not help them. */
const MAKE_PENDING = statement({
  params: { merchantId: text, eventIds: array(text) },
  row: EVENT_KEY,
  text: ({ merchantId, eventIds }) => `
    update provider_event
    set state = 'pending', reason = null, detail = null, settled_at = null, replays = replays + 1
    where merchant_id = ${merchantId} and event_id = any (${eventIds})
      and (state = 'pending' or (state = 'parked' and reason = 'apply_failed'))
    returning merchant_id, event_id`,
});
