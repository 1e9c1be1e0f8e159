import type { PgBoss } from 'pg-boss';
import type { Outgoing } from '../src/outgoing/index.ts';

/** Sends endpoints what they missed. A recovery that must wait gets another job for later. `shutdown` ends the work after a page. */
export async function workRecoverEndpoints(
  boss: PgBoss,
  outgoing: Pick<Outgoing, 'recover'>,
  shutdown: AbortSignal,
): Promise<void> {
  const polling = { pollingIntervalSeconds: 2, notifyPollingIntervalSeconds: 2 };
  await boss.work('recover-endpoints', { batchSize: 1, ...polling }, async (jobs) => {
    const signal = AbortSignal.any([shutdown, ...jobs.map((job) => job.signal)]);
    const seconds = await outgoing.recover(signal);
    if (seconds === null) return;
    await boss.send('recover-endpoints', {}, { startAfter: Math.max(1, seconds), singletonKey: 'again' });
  });
}
