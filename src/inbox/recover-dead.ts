import type { PgBoss } from 'pg-boss';
import type { Pool } from '../db/pool.ts';
import { bossDatabase, deadLetterOf } from '../db/queues.ts';
import { transaction } from '../db/transaction.ts';
import { enqueue } from './events.ts';

export interface Redriven {
  /** Events that will be applied again. */
  readonly redriven: number;
  /** Jobs that were taken away alone, because their events have been dealt with. */
  readonly settled: number;
}

/**
 * Applies the events again whose jobs were given up, the oldest first: once what made them fail is mended. Their jobs leave
 * the dead letter queue, also those of events that somebody has replayed or dismissed meanwhile. It cannot credit twice.
 */
export function redriveEvents(pool: Pool, boss: PgBoss, limit: number): Promise<Redriven> {
  const dead = deadLetterOf('apply-provider-event');
  return transaction(pool, async (tx) => {
    const { rows } = await tx.query<{ id: string; event_id: string | null }>(LOCK_DEAD, [dead, limit]);
    if (rows.length === 0) return { redriven: 0, settled: 0 };
    const { rows: events } = await tx.query<{ event_id: string }>(MAKE_PENDING, [
      rows.flatMap((row) => row.event_id ?? []),
    ]);
    await enqueue(
      boss,
      tx,
      events.map((event) => event.event_id),
    );
    await boss.deleteJob(
      dead,
      rows.map((row) => row.id),
      { db: bossDatabase(tx) },
    );
    return { redriven: events.length, settled: rows.length - events.length };
  });
}

const LOCK_DEAD = `
  select id, data ->> 'eventId' as event_id
  from pgboss.job
  where name = $1 and state < 'active'
  order by created_on
  limit $2
  for update skip locked`;

/** Those parked for another reason want something else than another try. */
const MAKE_PENDING = `
  update provider_event
  set state = 'pending', reason = null, detail = null, settled_at = null, replays = replays + 1
  where event_id = any ($1) and (state = 'pending' or (state = 'parked' and reason = 'apply_failed'))
  returning event_id`;
