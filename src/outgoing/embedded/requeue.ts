import type { PgBoss } from 'pg-boss';
import type { Pool } from '../../db/pool.ts';
import { transaction } from '../../db/transaction.ts';
import { takeOverdue } from './delivery-store.ts';
import { insertDeliveryJobs } from './publisher.ts';

/** A job is taken up within seconds, so a delivery that is this late and has no job has lost it. */
const OVERDUE_SECONDS = 300;
const MAX_PER_RUN = 500;

/**
 * Makes new jobs for pending deliveries that have none, because the job failed too often by errors of our own or was lost. The
 * table of deliveries is the truth, and the queue is only a work list.
 * @returns how many there were
 */
export function requeueDeliveries(pool: Pool, boss: Pick<PgBoss, 'insert'>): Promise<number> {
  return transaction(pool, async (tx) => {
    const lost = await takeOverdue(tx, OVERDUE_SECONDS, MAX_PER_RUN);
    await insertDeliveryJobs({ boss, tx }, lost);
    return lost.length;
  });
}
