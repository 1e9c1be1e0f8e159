import { setTimeout as delay } from 'node:timers/promises';

/**
 * Resolves with the first value of `probe` that is not null, undefined or false; asks again shortly until then.
 * @throws after `deadlineMs`, naming what was waited for
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  deadlineMs = 15_000,
): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`waited ${deadlineMs} ms in vain for ${what}`);
    await delay(10);
  }
}
