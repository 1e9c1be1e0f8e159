import type { JobWithMetadata, PgBoss } from 'pg-boss';
import { BOUNDED_FETCH } from '../src/db/queues.ts';
import type { ApplyResult } from '../src/inbox/apply-jobs.ts';
import type { Logger } from '../src/telemetry/log.ts';

/** How the jobs of a queue of events are taken up and applied. */
interface EventQueue<Claim> {
  readonly name: 'apply-provider-event' | 'apply-provider-events';
  readonly batchSize: number;
  /** A job as it is applied; null if its payload cannot be read. */
  readonly claimOf: (job: JobWithMetadata<unknown>) => Claim | null;
  readonly apply: (claims: readonly Claim[]) => Promise<readonly ApplyResult[]>;
}

const POLLING = { localConcurrency: 2, burstWhenBatchFull: true, ...BOUNDED_FETCH, pollingIntervalSeconds: 2 } as const;
// No notification comes when a retry becomes due, so a queue is looked at this often.
const OPTIONS = { ...POLLING, includeMetadata: true, notifyPollingIntervalSeconds: 2 } as const;

/** Works a queue of events, two batches at once. Any of its jobs may be given up, which only a handler can that says what came of each. */
export async function workEvents<Claim>(boss: PgBoss, logger: Logger, queue: EventQueue<Claim>): Promise<void> {
  const { name, batchSize } = queue;
  await boss.work(name, { ...OPTIONS, batchSize, perJobResults: true }, (jobs) => applyJobs(logger, queue, jobs));
}

/**
 * The same where no job is given up. What was applied is completed already, so pg-boss completes nothing after it; it looks for that by the ids alone. Of
 * a handler that says what came of each job it would look through all jobs of the queue, finished ones too, while the statistics of its table are old.
 */
export async function workSharedEvents<Claim>(boss: PgBoss, logger: Logger, queue: EventQueue<Claim>): Promise<void> {
  const { name, batchSize } = queue;
  await boss.work(name, { ...OPTIONS, batchSize }, async (jobs) => {
    const results = new Map((await applyJobs(logger, queue, jobs)).map((result) => [result.id, result]));
    for (const { id, retryCount } of jobs) {
      const result = results.get(id);
      // Of a job that is neither completed nor failed here, pg-boss would say that it is done.
      if (result?.status !== 'completed') await boss.fail(name, { id, retryCount }, result?.output);
    }
  });
}

async function applyJobs<Claim>(
  logger: Logger,
  { name, claimOf, apply }: EventQueue<Claim>,
  jobs: readonly JobWithMetadata<unknown>[],
): Promise<ApplyResult[]> {
  const claims: Claim[] = [];
  const unreadable: ApplyResult[] = [];
  for (const job of jobs) {
    const claim = claimOf(job);
    if (claim !== null) claims.push(claim);
    else {
      // Another release made the job, and may still read it. The other jobs of the batch must not fail with it.
      logger.error({ queue: name, jobId: job.id, retryCount: job.retryCount }, 'a job of events cannot be read');
      unreadable.push({ id: job.id, status: 'failed', output: { error: 'unreadable payload' } });
    }
  }
  return [...unreadable, ...(await apply(claims))];
}
