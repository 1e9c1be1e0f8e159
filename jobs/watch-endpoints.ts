import type { PgBoss } from 'pg-boss';
import type { Outgoing } from '../src/outgoing/index.ts';

/** Looks for endpoints that the sender gave up on without telling us. */
export async function workWatchEndpoints(
  boss: PgBoss,
  outgoing: Pick<Outgoing, 'lookAfterEndpoints'>,
  shutdown: AbortSignal,
): Promise<void> {
  await boss.work('watch-endpoints', { batchSize: 1, pollingIntervalSeconds: 10 }, async (jobs) => {
    await outgoing.lookAfterEndpoints(AbortSignal.any([shutdown, ...jobs.map((job) => job.signal)]));
  });
}
