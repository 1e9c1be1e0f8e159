import pg from 'pg';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { sideBySide, transactionsAtOnce } from '../../src/db/apart.ts';
import { chooseBackend, onCitus } from '../../src/db/backend.ts';
import { Batcher } from '../../src/db/batcher.ts';
import { createPool } from '../../src/db/pool.ts';
import { createLogger } from '../../src/telemetry/log.ts';

/** A batcher that keeps owners apart, as on Citus: a batch is of one of them, and several have one under way beside each other. */

const ENDLESS = { items: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

interface Flush {
  readonly items: readonly string[];
  done(): void;
  fail(error: unknown): void;
}

/** Items are such as `a1`, of the owner `a`. Flushes end when the test says so; those under way are listed by their first item. */
function apartBatcher(apart = 2, maxItems = 100) {
  const underWay = new Map<string, Flush>();
  const all: (readonly string[])[] = [];
  const waits: number[] = [];
  const batcher = new Batcher<string, string>({
    ...{ maxBatch: { items: maxItems, bytes: 1_000 }, maxWaiting: { total: ENDLESS, each: ENDLESS } },
    ownerOf: (item) => item[0] ?? '',
    apart,
    onFlush: (size) => waits.push(size),
    flush: (items) => {
      const { promise, resolve, reject } = Promise.withResolvers<string[]>();
      const [first = ''] = items;
      all.push(items);
      const end = (how: () => void) => {
        underWay.delete(first);
        how();
      };
      underWay.set(first, {
        items,
        done: () => end(() => resolve(items.map((item) => item.toUpperCase()))),
        fail: (error) => end(() => reject(error)),
      });
      return promise;
    },
  });
  const flush = async (first: string) => {
    await vi.waitUntil(() => underWay.has(first), { interval: 1 });
    const found = underWay.get(first);
    if (found === undefined) throw new Error(`${first} is not under way`);
    return found;
  };
  const submit = (...items: string[]) => items.map((item) => batcher.submit(item));
  return { batcher, submit, flush, underWay, all, waits };
}

const turn = () => new Promise(setImmediate);

describe('a batcher that keeps owners apart', () => {
  it('flushes those of each owner together, so many owners beside each other, and no owner twice at once', async () => {
    const { batcher, submit, flush, underWay, all } = apartBatcher();
    const results = submit('a1', 'b1', 'c1', 'a2', 'b2');
    const [a] = [await flush('a1'), await flush('b1')];
    expect([[...underWay.keys()], batcher.depth]).toEqual([['a1', 'b1'], 1]);
    results.push(...submit('a3'));
    a.done();
    // The next in turn, though a is free again.
    await flush('c1');
    expect([...underWay.keys()]).toEqual(['b1', 'c1']);
    for (const first of ['b1', 'c1', 'a3']) (await flush(first)).done();
    expect(await Promise.all(results)).toEqual(['A1', 'B1', 'C1', 'A2', 'B2', 'A3']);
    expect(all).toEqual([['a1', 'a2'], ['b1', 'b2'], ['c1'], ['a3']]);
  });

  it('keeps nobody waiting for the length of another line', async () => {
    const { submit, flush, all } = apartBatcher(1, 2);
    const results = submit('a1', 'a2', 'a3', 'a4', 'a5', 'a6');
    await flush('a1');
    results.push(...submit('b1'));
    for (const first of ['a1', 'b1', 'a3', 'a5']) (await flush(first)).done();
    await Promise.all(results);
    expect(all).toEqual([['a1', 'a2'], ['b1'], ['a3', 'a4'], ['a5', 'a6']]);
  });

  it('begins again with whoever has more when it comes back, if nobody else waits', async () => {
    const { batcher, submit, flush } = apartBatcher();
    const results = submit('a1');
    const first = await flush('a1');
    results.push(...submit('a2', 'a3'));
    await turn();
    expect(batcher.depth).toBe(2);
    first.done();
    (await flush('a2')).done();
    expect(await Promise.all(results)).toEqual(['A1', 'A2', 'A3']);
    // And it is idle, not stuck.
    const late = submit('a4', 'b4');
    for (const one of ['a4', 'b4']) (await flush(one)).done();
    expect(await Promise.all(late)).toEqual(['A4', 'B4']);
  });

  it('fails the items of one owner, of whom each is tried by itself, and nobody else', async () => {
    const { submit, flush, all } = apartBatcher();
    const settled = Promise.allSettled(submit('a1', 'a2', 'b1', 'b2'));
    const [bad, good] = [await flush('a1'), await flush('b1')];
    good.done();
    bad.fail(new Error('poison'));
    (await flush('a1')).fail(new Error('poison'));
    (await flush('a2')).done();
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled', 'fulfilled']);
    expect(all).toEqual([['a1', 'a2'], ['b1', 'b2'], ['a1'], ['a2']]);
  });

  const answered = () => Object.assign(new pg.DatabaseError('a node is away', 0, 'error'), { code: '08006' });
  const unanswered = () => Object.assign(new Error('away'), { code: 'ECONNREFUSED' });
  it.each([
    ['an outage that the database tells of fails what has waited of its owner alone', answered, ['a2']],
    ['an outage of all of it fails whatever has waited', unanswered, ['a2', 'c1']],
  ])('%s', async (_, outage, taken) => {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
    onTestFinished(() => clock.mockRestore());
    const { submit, flush } = apartBatcher();
    const early = submit('a1', 'b1');
    const [a, b] = [await flush('a1'), await flush('b1')];
    const late = Promise.allSettled(submit('a2', 'c1'));
    clock.mockReturnValue(5_000);
    a.fail(outage());
    await expect(early[0]).rejects.toThrow('away');
    b.done();
    for (const first of ['c1', 'a2'].filter((one) => !taken.includes(one))) (await flush(first)).done();
    const ended = await late;
    expect(ended.map(({ status }) => status === 'rejected')).toEqual([taken.includes('a2'), taken.includes('c1')]);
  });

  it('drains: every owner, and what comes meanwhile', async () => {
    const { batcher, submit, flush, waits } = apartBatcher();
    const results = submit('a1', 'b1', 'c1', 'c2');
    let isDrained = false;
    const drained = batcher.drain().then(() => {
      isDrained = true;
    });
    for (const first of ['a1', 'b1', 'c1']) {
      await turn();
      expect(isDrained).toBe(false);
      (await flush(first)).done();
    }
    await Promise.all([...results, drained]);
    expect([batcher.depth, waits]).toEqual([0, [1, 1, 2]]);
  });
});

describe('work side by side', () => {
  it('is of so many parts at once, and begins no other after one has failed', async () => {
    const begun: string[] = [];
    const ends = new Map<string, PromiseWithResolvers<string>>();
    const all = sideBySide(['a', 'b', 'c', 'd'], 2, (part) => {
      begun.push(part);
      const end = Promise.withResolvers<string>();
      ends.set(part, end);
      return end.promise;
    });
    ends.get('a')?.resolve('A');
    await turn();
    expect(begun).toEqual(['a', 'b', 'c']);
    ends.get('c')?.reject(new Error('away'));
    await turn();
    let isOver = false;
    all.catch(() => {
      isOver = true;
    });
    await turn();
    expect([begun.length, isOver]).toEqual([3, false]);
    ends.get('b')?.resolve('B');
    await expect(all).rejects.toThrow('away');
  });
});

it('takes no more connections together than the pool holds, on Citus alone', async () => {
  const logger = createLogger('silent', 'test');
  const poolOf = (maxConnections: number) =>
    createPool({ databaseUrl: 'postgres://localhost/none', applicationName: 'none', maxConnections, logger });
  const before = onCitus() ? 'citus' : 'postgres';
  onTestFinished(() => chooseBackend(before));
  chooseBackend('postgres');
  expect(transactionsAtOnce(poolOf(12), 'web')).toBe(null);
  chooseBackend('citus');
  for (const [process, users] of [
    ['web', 4],
    ['worker', 9],
  ] as const)
    for (const size of [12, 20, 200]) {
      const atOnce = transactionsAtOnce(poolOf(size), process) ?? 0;
      expect(atOnce).toBeGreaterThan(0);
      expect(atOnce * users).toBeLessThanOrEqual(size);
    }
  expect(transactionsAtOnce(poolOf(4), 'web')).toBe(1);
  // Nor more memory, however many there are.
  expect(transactionsAtOnce(poolOf(200), 'web')).toBe(8);
});
