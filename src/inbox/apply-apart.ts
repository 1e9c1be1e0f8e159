import { inTransactions, mayBeOfOneMerchant, sideBySide, transactionsAtOnce } from '../db/apart.ts';
import { HeldUp } from '../db/held-up.ts';
import type { ApplyResult } from './apply-jobs.ts';
import type { ApplyServices } from './event-work.ts';

interface Job {
  readonly id: string;
}

interface Applying<Run, Own> {
  /** Whose the events of a job are. */
  readonly merchantOf: (job: Own) => string;
  readonly apply: (run: Run, jobs: readonly Own[]) => Promise<readonly ApplyResult[]>;
}

/**
 * Applies the events of jobs that were taken up together: in one transaction, or on Citus in one for each merchant, which completes his jobs alone.
 * @throws {Error} if the database is away; pg-boss then retries every job that is not completed
 */
export async function applyApart<
  Run extends { readonly services: ApplyServices; readonly heldUp: HeldUp },
  Own extends Job,
>(run: Run, jobs: readonly Own[], { merchantOf, apply }: Applying<Run, Own>): Promise<readonly ApplyResult[]> {
  const { services } = run;
  const atOnce = transactionsAtOnce(services.pool, 'worker');
  if (atOnce === null) return apply(run, jobs);
  // A run of his own: what one of them waited for in vain hurries no other.
  const work = (part: readonly Own[]) => byItself(services, part, () => apply({ ...run, heldUp: new HeldUp() }, part));
  return (await sideBySide(inTransactions(jobs, merchantOf), atOnce, work)).flat();
}

/** What fails may be of the merchant alone whose jobs these are: then pg-boss tries them again, and those of others go on. */
export async function byItself(
  { logger }: ApplyServices,
  jobs: readonly Job[],
  work: () => Promise<readonly ApplyResult[]>,
): Promise<readonly ApplyResult[]> {
  try {
    return await work();
  } catch (error) {
    if (!mayBeOfOneMerchant(error)) throw error;
    logger.warn({ err: error, jobs: jobs.length }, 'the events of a merchant were not applied and are retried');
    const output = { error: error instanceof Error ? error.name : 'Error' };
    // Of what is completed already, pg-boss finds nothing to fail.
    return jobs.map(({ id }) => ({ id, status: 'failed', output }));
  }
}
