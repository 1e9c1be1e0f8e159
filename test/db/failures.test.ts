import pg from 'pg';
import { afterEach, expect, it, vi } from 'vitest';
import { Failures, HeldUpTooLongError } from '../../src/db/failures.ts';

afterEach(() => void vi.restoreAllMocks());

const coded = (code: string) => Object.assign(new pg.DatabaseError(code, 0, 'error'), { code });

/** Parts of a walk, each of which fails after so many seconds. @returns which of them were begun, and what ended the walk */
async function walk(failures: Failures, parts: readonly (readonly [Error, number])[]) {
  let nowMs = 1_000;
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  let begun = 0;
  try {
    for (const [error, seconds] of parts)
      await failures.outlive(
        async () => {
          begun += 1;
          nowMs += seconds * 1000;
          throw error;
        },
        () => {},
      );
    failures.rethrow();
    return { begun, ended: null };
  } catch (error) {
    return { begun, ended: error };
  }
}

const timedOut = coded('57014');

it('the rest is left once so much time went to statements that were held up', async () => {
  const parts = Array.from({ length: 10 }, () => [timedOut, 15] as const);
  const { begun, ended } = await walk(new Failures(45_000), parts);
  expect(begun).toBe(3);
  expect(ended).toBeInstanceOf(HeldUpTooLongError);
  expect(ended).toMatchObject({ cause: timedOut });
  expect(await walk(new Failures(null), parts)).toEqual({ begun: 10, ended: timedOut });
});

it('short waits for locks leave room for more of them, and work before a time-out is not counted as lost', async () => {
  const locks = Array.from({ length: 100 }, () => [coded('55P03'), 0.25] as const);
  expect(await walk(new Failures(45_000), locks)).toMatchObject({ begun: 100, ended: { code: '55P03' } });
  const long = [
    [timedOut, 3600],
    [timedOut, 3600],
  ] as const;
  expect(await walk(new Failures(45_000), long)).toEqual({ begun: 2, ended: timedOut });
});

it('other failures are outlived, however long they took, and what failed first ends the run', async () => {
  const first = new Error('of one merchant');
  const others = Array.from({ length: 20 }, () => [coded('23514'), 15] as const);
  expect(await walk(new Failures(45_000), [[first, 15], ...others])).toEqual({ begun: 21, ended: first });
});
