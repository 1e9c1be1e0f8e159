import type { Pool } from '../db/pool.ts';
import { type Readiness, UNREADY } from '../db/readiness.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** Adds to the metrics of a process whether it could post now, what is in the way, its clock, and its connections. */
export function watchHealth(
  metrics: Metrics,
  { readiness, pool }: { readonly readiness: Readiness; readonly pool: Pool },
): void {
  const inTheWay = async () => new Set((await readiness.ask()).problems.map(({ why }) => why));
  metrics.watch('chokin_database_answers', 'Whether this process could post now: 1, or 0.', async () => {
    const why = await inTheWay();
    why.delete('draining');
    return why.size === 0 ? 1 : 0;
  });
  const unready = {
    name: 'chokin_unready',
    help: 'Why this process is not ready: 1 for each reason.',
    label: 'reason',
  };
  metrics.watchEach(unready, async () => {
    const why = await inTheWay();
    return new Map(UNREADY.map((reason) => [reason, why.has(reason) ? 1 : 0]));
  });
  metrics.watch(
    'chokin_clock_ahead_seconds',
    "By how much this process's clock is ahead of the database's; negative if it is behind.",
    async () => ((await readiness.ask()).clockAheadMs ?? Number.NaN) / 1000,
  );
  metrics.watch(
    'chokin_encryption_keys_missing',
    'Keys that stored secrets are encrypted with and this process lacks.',
    async () => (await readiness.ask()).missingKeys.length,
  );
  const connections = {
    name: 'chokin_pool_connections',
    help: 'Connections to the database, and who waits for one.',
    label: 'state',
  };
  metrics.watchEach(connections, async () => {
    const { totalCount, idleCount, waitingCount } = pool;
    return new Map([
      ['held', totalCount - idleCount],
      ['idle', idleCount],
      ['waiting', waitingCount],
    ]);
  });
}
