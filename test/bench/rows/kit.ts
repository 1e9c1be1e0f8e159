import type { Pool } from '../../../src/db/pool.ts';
import { forgetNews, newKey } from '../fill.ts';
import { drive, type LoadRequest, type LoadResult } from '../load.ts';
import type { Measured, Run } from '../row.ts';

/** What rows are built of. */

/** After that long the news that is left is given up, and said. */
const PATIENCE_MS = 6_000;
const WARM_UP_SECONDS = 1;

export function measured(result: LoadResult): Measured {
  const { requestsPerSecond: value, requests, p50Ms, p99Ms } = result;
  return { value, requests, p50Ms, p99Ms };
}

/**
 * Waits until the worker has told of what was done: that is part of a posting's cost, and must not be a part of what is measured next.
 * What it cannot do in some seconds is said and forgotten.
 */
export async function settle(pool: Pool): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  const untold = '(select from unannounced_wallet limit 1) union all (select from unsent_message limit 1)';
  while ((await pool.query(untold)).rowCount !== 0) {
    if (performance.now() > deadline) {
      const { rows } = await pool.query<{ wallets: number; entries: number }>(
        `select count(*) as wallets, coalesce(sum(w.version - greatest(w.announced_version, 0)), 0)::bigint as entries
         from unannounced_wallet u join wallet w using (merchant_id, customer_id, currency)`,
      );
      const [{ wallets, entries } = { wallets: 0, entries: 0 }] = rows;
      process.stderr.write(
        `  after ${PATIENCE_MS / 1000} s, ${entries} entries of ${wallets} wallets were not yet announced, or a message not sent\n`,
      );
      await forgetNews(pool);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** In its first minute of all, a service has plans of tables that were empty: Postgres looks at them within the next, and here at once. */
export async function lookAtTables(pool: Pool): Promise<void> {
  await pool.query('analyze');
}

const warm = new Set<string>();

/** A process that has just started compiles what it does: that is no part of a measurement. Once a process and kind of request. */
async function warmUp(url: string, concurrency: number, next: () => LoadRequest | null): Promise<void> {
  const kind = `${url} ${next()?.path.replaceAll(/\d+/g, '')}`;
  if (warm.has(kind)) return;
  warm.add(kind);
  await drive(url, concurrency, WARM_UP_SECONDS, next);
}

/** Our service under a load, and what it has to do afterwards. */
export async function ourSide({ rig, seconds }: Run, concurrency: number, next: () => LoadRequest | null) {
  const server = await rig.ours();
  const pool = rig.pool(await rig.main());
  await warmUp(server.url, concurrency, next);
  await settle(pool);
  return async (): Promise<Measured> => {
    const result = await drive(server.url, concurrency, seconds, next);
    await settle(pool);
    return measured(result);
  };
}

export async function baselineSide(
  { rig, seconds }: Run,
  strength: 'strong' | 'naive',
  { concurrency, next }: { concurrency: number; next: () => LoadRequest | null },
) {
  const { url } = await rig.server(`${strength}-web`, await rig.baseline());
  await warmUp(url, concurrency, next);
  return async (): Promise<Measured> => measured(await drive(url, concurrency, seconds, next));
}

export async function limitSide(
  { rig, seconds }: Run,
  limit: 'node-http' | 'express' | 'hmac',
  { concurrency, next }: { concurrency: number; next: () => LoadRequest | null },
) {
  const { url } = await rig.server(limit);
  await warmUp(url, concurrency, next);
  return async (): Promise<Measured> => measured(await drive(url, concurrency, seconds, next));
}

/** The most that processes had in memory together, by a measure in MB, while `work` went on. */
export async function peakOf(
  pids: readonly number[],
  measure: (pid: number) => Promise<number>,
  work: () => Promise<unknown>,
): Promise<number> {
  let peak = 0;
  const look = async () => {
    const sizes = await Promise.all(pids.map(measure));
    peak = Math.max(
      peak,
      sizes.reduce((sum, size) => sum + size, 0),
    );
  };
  const timer = setInterval(() => void look(), 100);
  await work();
  clearInterval(timer);
  await look();
  return peak;
}

/** Requests half of which were sent before: half of those at the same moment, by another caller. */
export function halfOfThemTwice(fresh: (key: string) => LoadRequest): { next: () => LoadRequest; fresh: () => number } {
  const sent: LoadRequest[] = [];
  let count = 0;
  let turn = 0;
  const statuses = [200, 409];
  return {
    fresh: () => count,
    next: () => {
      turn += 1;
      const last = sent.at(-1);
      if (turn % 2 === 0 && last !== undefined)
        return turn % 4 === 0 ? last : (sent[Math.floor(Math.random() * sent.length)] ?? last);
      count += 1;
      const request = { ...fresh(newKey()), statuses };
      sent.push(request);
      return request;
    },
  };
}
