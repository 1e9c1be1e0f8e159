import { Pool } from 'undici';
import { invariant } from '../../src/errors.ts';

export interface LoadRequest {
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Record<string, string>;
  readonly body?: string;
  /** What the same caller sends next, by what this was answered. */
  readonly follow?: (text: string) => LoadRequest;
}

export interface LoadResult {
  readonly requestsPerSecond: number;
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** @returns the answer's body */
async function send(pool: Pool, { method, path, headers, body }: LoadRequest): Promise<string> {
  const answer = await pool.request({ method, path, headers, ...(body === undefined ? {} : { body }) });
  const text = await answer.body.text();
  invariant(answer.statusCode === 200, `${method} ${path} was answered ${answer.statusCode}: ${text.slice(0, 300)}`);
  return text;
}

/**
 * Closed-loop load: `concurrency` callers, each sending its next request when the last was answered, until `next` has no
 * more or the time is up. Any answer but 200 fails the run: a fast error is not a fast service.
 */
export async function drive(
  baseUrl: string,
  concurrency: number,
  seconds: number,
  next: () => LoadRequest | null,
): Promise<LoadResult> {
  const pool = new Pool(baseUrl, { connections: concurrency, pipelining: 1 });
  const latencies: number[] = [];
  const startedAt = performance.now();
  const deadline = startedAt + seconds * 1000;
  const caller = async () => {
    let followed: LoadRequest | null = null;
    while (performance.now() < deadline) {
      const current: LoadRequest | null = followed ?? next();
      if (current === null) return;
      const sentAt = performance.now();
      const text: string = await send(pool, current);
      latencies.push(performance.now() - sentAt);
      followed = current.follow?.(text) ?? null;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  const elapsedSeconds = (performance.now() - startedAt) / 1000;
  await pool.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor((latencies.length - 1) * share)] ?? Number.NaN;
  return {
    requestsPerSecond: latencies.length / elapsedSeconds,
    requests: latencies.length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}
