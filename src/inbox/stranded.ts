import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, transaction } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import type { Logger } from '../log.ts';
import { deadLetterOf } from '../queues.ts';
import { enqueue, saveVerdicts } from './events.ts';

/** An event this old without a job to apply it has lost its job, however that came about. */
const STRANDED_AFTER_MS = 60_000;
const MAX_PER_RUN = 500;

/**
 * Makes new jobs for pending events that have none. The inbox is the truth and the queue only its work list, so a lost
 * or expired job loses nothing. An event whose job was dead-lettered without a word (its worker died on it again and
 * again) is parked instead. Nothing is done while the queue has work: then the jobs are simply not reached yet.
 * @returns how many events were enqueued again and how many parked
 */
export async function requeueStranded(
  pool: Pool,
  boss: PgBoss,
  clock: Clock,
  logger: Logger,
): Promise<{ enqueued: number; parked: number }> {
  const [queue] = await boss.getQueueStats('apply-provider-event', { force: true });
  invariant(queue !== undefined, 'the queue of provider events is gone');
  if (queue.readyCount + queue.activeCount > 0) return { enqueued: 0, parked: 0 };
  const now = clock.now();
  const { rows } = await autocommit(pool).query<{ event_id: string }>(
    "select event_id from provider_event where state = 'pending' and received_at < $1 order by received_at limit $2",
    [new Date(now.getTime() - STRANDED_AFTER_MS), MAX_PER_RUN],
  );
  const lost: string[] = [];
  const dead: string[] = [];
  for (const { event_id: eventId } of rows) {
    const [retrying] = await boss.findJobs('apply-provider-event', { data: { eventId }, queued: true });
    if (retrying !== undefined) continue;
    const [buried] = await boss.findJobs(deadLetterOf('apply-provider-event'), { data: { eventId } });
    (buried === undefined ? lost : dead).push(eventId);
  }
  await transaction(pool, async (tx) => {
    await enqueue(boss, tx, lost);
    const detail = 'its job was given up; the log says why';
    await saveVerdicts(
      tx,
      dead.map((eventId) => ({ eventId, state: 'parked', reason: 'apply_failed', detail, paymentId: null })),
      now,
    );
  });
  if (lost.length + dead.length > 0)
    logger.warn({ enqueued: lost.length, parked: dead.length }, 'events had lost their jobs');
  return { enqueued: lost.length, parked: dead.length };
}
