import pg from 'pg';
import { describe, expect, it, vi } from 'vitest';
import { Batcher, BatcherFullError, ManyAnswers } from '../../src/db/batcher.ts';

const UNBOUNDED = { items: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };
const ROOMY = {
  maxBatch: { items: 100, bytes: 1_000 },
  maxWaiting: { total: UNBOUNDED, each: UNBOUNDED },
  ownerOf: () => 'one',
  apart: null,
};

/** A batcher whose flushes take as long as the test wants: each batch is listed, and settled by hand. */
function slowBatcher(limits: { maxBatch?: number; maxWaiting?: number } = {}) {
  const batches: { items: readonly string[]; done: () => void; fail: (error: unknown) => void }[] = [];
  const sizes: number[] = [];
  const batcher = new Batcher<string, string>({
    maxBatch: { items: limits.maxBatch ?? 100, bytes: 1_000 },
    maxWaiting: { total: UNBOUNDED, each: { items: limits.maxWaiting ?? 100, bytes: 1_000 } },
    ownerOf: (item) => item.split(' ')[1] ?? '',
    apart: null,
    onFlush: (size) => sizes.push(size),
    flush: (items) => {
      const { promise, resolve, reject } = Promise.withResolvers<string[]>();
      batches.push({ items, done: () => resolve(items.map((item) => item.toUpperCase())), fail: reject });
      return promise;
    },
  });
  const batch = async (index: number) => {
    await vi.waitUntil(() => batches.length > index, { interval: 1 });
    const found = batches[index];
    if (found === undefined) throw new Error(`no batch ${index}`);
    return found;
  };
  return { batcher, batch, batches, sizes };
}

/** A batcher that fails whatever batch holds one of the items named by `errors`. */
function faultyBatcher(errors: Readonly<Record<string, Error>>, rowOf?: (item: string) => string) {
  const batches: (readonly string[])[] = [];
  const hurried: (readonly string[])[] = [];
  const batcher = new Batcher<string, string>({
    ...ROOMY,
    ...(rowOf === undefined ? {} : { rowOf }),
    flush: async (items, isHurried) => {
      batches.push(items);
      if (isHurried) hurried.push(items);
      const bad = items.find((item) => item in errors);
      if (bad !== undefined) throw errors[bad];
      return items;
    },
  });
  const submitAll = async (items: readonly string[]) => {
    const settled = await Promise.allSettled(items.map((item) => batcher.submit(item)));
    return settled.map((one) => (one.status === 'fulfilled' ? one.value : `failed: ${one.reason.message}`));
  };
  return { submitAll, batches, hurried };
}

const heldUp = () => Object.assign(new pg.DatabaseError('held', 0, 'error'), { code: '55P03' });
const outage = () => Object.assign(new Error('away'), { code: 'ECONNREFUSED' });

describe('a batcher', () => {
  it('flushes an item that finds it idle at once, and what comes meanwhile together', async () => {
    const { batcher, batch, sizes } = slowBatcher();
    const first = batcher.submit('a');
    const [one] = [await batch(0)];
    const rest = ['b', 'c', 'd'].map((item) => batcher.submit(item));
    expect([one.items, batcher.depth]).toEqual([['a'], 3]);
    one.done();
    expect(await first).toBe('A');
    const two = await batch(1);
    expect([two.items, batcher.depth]).toEqual([['b', 'c', 'd'], 0]);
    two.done();
    expect(await Promise.all(rest)).toEqual(['B', 'C', 'D']);
    expect(sizes).toEqual([1, 3]);
  });

  it('lets items of the same turn leave together', async () => {
    const { batcher, batch } = slowBatcher();
    const both = [batcher.submit('a'), batcher.submit('b')];
    const { items, done } = await batch(0);
    expect(items).toEqual(['a', 'b']);
    done();
    expect(await Promise.all(both)).toEqual(['A', 'B']);
  });

  it('is idle again once it has nothing to do', async () => {
    const { batcher, batch } = slowBatcher();
    for (const [index, item] of ['a', 'b'].entries()) {
      const result = batcher.submit(item);
      (await batch(index)).done();
      expect(await result).toBe(item.toUpperCase());
    }
  });

  it('keeps to the largest batch', async () => {
    const { batcher, batch, batches } = slowBatcher({ maxBatch: 2 });
    const results = ['a', 'b', 'c', 'd', 'e'].map((item) => batcher.submit(item));
    for (const index of [0, 1, 2]) (await batch(index)).done();
    expect(await Promise.all(results)).toEqual(['A', 'B', 'C', 'D', 'E']);
    expect(batches.map(({ items }) => items.length)).toEqual([2, 2, 1]);
  });

  it('refuses more than may wait, and takes items again when some have left', async () => {
    const { batcher, batch } = slowBatcher({ maxWaiting: 2 });
    const first = batcher.submit('a');
    const running = await batch(0);
    const waiting = [batcher.submit('b'), batcher.submit('c')];
    await expect(batcher.submit('d')).rejects.toBeInstanceOf(BatcherFullError);
    running.done();
    const next = await batch(1);
    const late = batcher.submit('d');
    next.done();
    (await batch(2)).done();
    expect(await Promise.all([first, ...waiting, late])).toEqual(['A', 'B', 'C', 'D']);
  });

  it('answers somebody with many items once, when all are settled, each as it would be by itself', async () => {
    const { batcher, batch } = slowBatcher({ maxBatch: 2, maxWaiting: 3 });
    const first = batcher.submit('a');
    const one = await batch(0);
    const answers = new ManyAnswers<string>(4);
    // The fourth is more than may wait. What is answered stands at the place, in whatever order they came.
    for (const [index, item] of ['b', 'c', 'd', 'e'].entries()) batcher.submitFor(item, answers, 3 - index);
    expect(batcher.depth).toBe(3);
    let isSettled = false;
    const all = answers.all.finally(() => {
      isSettled = true;
    });
    one.done();
    await first;
    (await batch(1)).done();
    const last = await batch(2);
    expect([last.items, isSettled]).toEqual([['d'], false]);
    last.fail(new Error('bad'));
    expect(await all).toEqual([
      { status: 'rejected', reason: expect.any(BatcherFullError) },
      { status: 'rejected', reason: new Error('bad') },
      { status: 'fulfilled', value: 'C' },
      { status: 'fulfilled', value: 'B' },
    ]);
  });

  it('refuses what one merchant has too much of, and serves the other at once', async () => {
    const { batcher, batch } = slowBatcher({ maxWaiting: 50, maxBatch: 10 });
    const first = batcher.submit('first a');
    const running = await batch(0);
    const many = Array.from({ length: 60 }, (_, index) => batcher.submit(`${index} a`));
    const settled = Promise.allSettled(many);
    const other = batcher.submit('one b');
    expect([batcher.hasRoom('a'), batcher.hasRoom('b'), batcher.depth]).toEqual([false, true, 51]);
    running.done();
    const next = await batch(1);
    expect(next.items).toHaveLength(10);
    expect(next.items).toContain('one b');
    next.done();
    expect(await other).toBe('ONE B');
    for (const index of [2, 3, 4, 5, 6]) (await batch(index)).done();
    const refused = (await settled).filter(({ status }) => status === 'rejected');
    expect(await first).toBe('FIRST A');
    expect(refused).toHaveLength(10);
  });

  it('drains: resolves once everything submitted is settled', async () => {
    const { batcher, batch } = slowBatcher();
    await batcher.drain();
    const settled: string[] = [];
    const results = ['a', 'b'].map((item) => batcher.submit(item).then((result) => settled.push(result)));
    const drained = batcher.drain().then(() => settled.push('drained'));
    (await batch(0)).done();
    await Promise.all([...results, drained]);
    expect(settled).toEqual(['A', 'B', 'drained']);
  });
});

describe('a failing batch', () => {
  it('is tried apart, so that a bad item fails alone', async () => {
    const { submitAll, batches } = faultyBatcher({ bad: new Error('poison') });
    expect(await submitAll(['a', 'bad', 'c'])).toEqual(['a', 'failed: poison', 'c']);
    expect(batches).toEqual([['a', 'bad', 'c'], ['a'], ['bad'], ['c']]);
  });

  it('of one item fails without another try', async () => {
    const { submitAll, batches } = faultyBatcher({ bad: new Error('poison') });
    expect(await submitAll(['bad'])).toEqual(['failed: poison']);
    expect(batches).toHaveLength(1);
  });

  it.each([outage(), Object.assign(new pg.DatabaseError('away', 0, 'error'), { code: '57P01' })])(
    'fails as a whole and at once when the database is away',
    async (error) => {
      const { submitAll, batches } = faultyBatcher({ b: error });
      expect(await submitAll(['a', 'b', 'c'])).toEqual(['failed: away', 'failed: away', 'failed: away']);
      expect(batches).toHaveLength(1);
    },
  );

  it('is tried by row, where items share one: those of a row that is held fail together, at once', async () => {
    const { submitAll, batches, hurried } = faultyBatcher({ a2: heldUp() }, (item) => item[0] ?? '');
    expect(await submitAll(['a1', 'b1', 'a2', 'b2'])).toEqual(['failed: held', 'b1', 'failed: held', 'b2']);
    const rows = [
      ['a1', 'a2'],
      ['b1', 'b2'],
    ];
    expect(batches).toEqual([['a1', 'b1', 'a2', 'b2'], ...rows]);
    expect(hurried).toEqual(rows);
  });

  it('is tried by row and then by item, where one item of the row is bad', async () => {
    const { submitAll, batches, hurried } = faultyBatcher({ a2: new Error('poison') }, (item) => item[0] ?? '');
    expect(await submitAll(['a1', 'b1', 'a2'])).toEqual(['a1', 'b1', 'failed: poison']);
    expect(hurried).toEqual([]);
    expect(batches).toEqual([['a1', 'b1', 'a2'], ['a1', 'a2'], ['a1'], ['a2'], ['b1']]);
  });

  it('that meets an outage when it is tried apart fails what is left without trying it', async () => {
    const errors = { a1: new Error('poison'), b1: outage() };
    const { submitAll, batches } = faultyBatcher(errors);
    expect(await submitAll(['a1', 'b1', 'c1'])).toEqual(['failed: poison', 'failed: away', 'failed: away']);
    expect(batches).toEqual([['a1', 'b1', 'c1'], ['a1'], ['b1']]);
  });

  it('takes along what waited behind it while the database was away, and not what has only come', async () => {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
    const { batcher, batch } = slowBatcher();
    const first = batcher.submit('a');
    const { fail } = await batch(0);
    const late = [batcher.submit('b'), batcher.submit('c')];
    clock.mockReturnValue(5_000);
    const fresh = batcher.submit('d');
    fail(outage());
    for (const one of [first, ...late]) await expect(one).rejects.toThrow('away');
    const { items, done } = await batch(1);
    expect(items).toEqual(['d']);
    done();
    expect(await fresh).toBe('D');
    clock.mockRestore();
  });

  it('leaves the batcher as good as new', async () => {
    const { submitAll } = faultyBatcher({ bad: outage() });
    expect(await submitAll(['bad'])).toEqual(['failed: away']);
    expect(await submitAll(['a'])).toEqual(['a']);
  });

  it('is also one whose flush returns the wrong number of results', async () => {
    const batcher = new Batcher<string, string>({ ...ROOMY, flush: async () => [] });
    await expect(batcher.submit('a')).rejects.toThrow('another number of results');
  });
});
