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

/** Works a queue of events, two batches at once. */
export async function workEvents<Claim>(
  boss: PgBoss,
  logger: Logger,
  { name, batchSize, claimOf, apply }: EventQueue<Claim>,
): Promise<void> {
  await boss.work(
    name,
    {
      batchSize,
      localConcurrency: 2,
      burstWhenBatchFull: true,
      ...BOUNDED_FETCH,
      perJobResults: true,
      includeMetadata: true,
      pollingIntervalSeconds: 2,
      // No notification comes when a retry becomes due, so the queue is looked at this often.
      notifyPollingIntervalSeconds: 2,
    },
    async (jobs) => {
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
    },
  );
}
