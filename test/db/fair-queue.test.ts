import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairQueue, type FairQueueLimits } from '../../src/db/fair-queue.ts';
import { Fifo } from '../../src/db/fifo.ts';

interface Item {
  readonly owner: string;
  readonly bytes: number;
  readonly number: number;
}

const ENDLESS = { items: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };
const UNBOUNDED: FairQueueLimits = { total: ENDLESS, each: ENDLESS };

const owner = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const added = fc.record({ kind: fc.constant('add' as const), owner, bytes: fc.nat(20) });
const taken = fc.record({
  kind: fc.constant('take' as const),
  items: fc.integer({ min: 1, max: 8 }),
  bytes: fc.nat(60),
});
const steps = fc.array(fc.oneof({ weight: 4, arbitrary: added }, taken), { maxLength: 200 });

/** Lines as plain arrays. */
function model() {
  const lines = new Map<string, Item[]>();
  const of = (name: string) => lines.get(name) ?? [];
  const all = () => [...lines.values()].flat();
  const bytes = (items: readonly Item[]) => items.reduce((sum, item) => sum + item.bytes, 0);
  const add = (item: Item) => lines.set(item.owner, [...of(item.owner), item]);
  return { lines, of, all, bytes, add };
}

describe('a fair queue', () => {
  it('loses nothing, keeps the order within an owner, and keeps a batch within its bounds', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const queue = new FairQueue<Item>(UNBOUNDED);
        const { lines, of, all, bytes, add } = model();
        for (const [number, step] of sequence.entries()) {
          if (step.kind === 'add') {
            const item = { owner: step.owner, bytes: step.bytes, number };
            expect(queue.add(item)).toBe(true);
            add(item);
          } else {
            const batch = queue.take(step);
            expect(batch.length).toBeLessThanOrEqual(step.items);
            if (batch.length > 1) expect(bytes(batch)).toBeLessThanOrEqual(step.bytes);
            if (all().length > 0) expect(batch.length).toBeGreaterThan(0);
            for (const item of batch) {
              const [first, ...rest] = of(item.owner);
              expect(item).toBe(first);
              lines.set(item.owner, rest);
            }
          }
          expect(queue.length).toBe(all().length);
        }
        expect(new Set(queue.take(ENDLESS))).toEqual(new Set(all()));
      }),
    );
  });

  it('serves everybody in every batch that has room for all, and as many of each as of any other while they last', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(lengths, fc.integer({ min: 20, max: 100 }), (lines, items) => {
        const queue = new FairQueue<Item>(UNBOUNDED);
        for (const [place, length] of lines.entries())
          for (let number = 0; number < length; number += 1) queue.add({ owner: `${place}`, bytes: 1, number });
        const batch = queue.take({ items, bytes: 1_000_000 });
        const share = Math.floor(items / lines.length);
        for (const [place, length] of lines.entries()) {
          const served = batch.filter((item) => item.owner === `${place}`).length;
          expect(served).toBeGreaterThanOrEqual(Math.min(length, share));
        }
      }),
    );
  });

  it('lets nobody wait longer than a turn of everybody else, however long their lines are', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 12 }), (others, items) => {
        const queue = new FairQueue<Item>(UNBOUNDED);
        for (let number = 0; number < 200; number += 1) queue.add({ owner: `${number % others}`, bytes: 1, number });
        queue.take({ items, bytes: 100 });
        queue.add({ owner: 'victim', bytes: 1, number: 0 });
        // One turn of each of the others, and what the cut-off turn of one of them still has.
        const ahead = others * Math.max(1, Math.floor(items / others)) + items;
        let waited = 0;
        for (
          let batch = queue.take({ items, bytes: 100 });
          batch.length > 0;
          batch = queue.take({ items, bytes: 100 })
        ) {
          const place = batch.findIndex((item) => item.owner === 'victim');
          waited += place === -1 ? batch.length : place;
          if (place !== -1) break;
        }
        expect(waited).toBeLessThanOrEqual(ahead);
      }),
    );
  });

  it('goes on in the next batch with the turn that a full batch cut off', () => {
    const queue = new FairQueue<Item>(UNBOUNDED);
    for (const name of ['a', 'b']) for (const number of [1, 2, 3, 4]) queue.add({ owner: name, bytes: 10, number });
    const take = () => queue.take({ items: 4, bytes: 30 }).map(({ owner: name, number }) => `${name}${number}`);
    // Two of each in a turn; the bytes cut off that of b, which comes first afterwards and has its other one.
    expect([take(), take(), take()]).toEqual([
      ['a1', 'a2', 'b1'],
      ['b2', 'a3', 'a4'],
      ['b3', 'b4'],
    ]);
  });

  it('bounds what one owner may have waiting in number and in bytes, and lets in everybody who has nothing waiting', () => {
    const limits = { total: { items: 12, bytes: 120 }, each: { items: 8, bytes: 60 } };
    fc.assert(
      fc.property(steps, (sequence) => {
        const queue = new FairQueue<Item>(limits);
        const { lines, of, all, bytes, add } = model();
        for (const [number, step] of sequence.entries()) {
          if (step.kind === 'take') {
            for (const item of queue.take(step)) lines.set(item.owner, of(item.owner).slice(1));
            continue;
          }
          const item = { owner: step.owner, bytes: step.bytes, number };
          const mine = of(item.owner);
          const isAdded = queue.add(item);
          if (mine.length === 0) expect(isAdded).toBe(true);
          if (isAdded) add(item);
          expect(of(item.owner).length).toBeLessThanOrEqual(8);
          expect(bytes(of(item.owner))).toBeLessThanOrEqual(60);
          expect(all().length).toBeLessThanOrEqual(2 * 12);
          expect(bytes(all())).toBeLessThanOrEqual(2 * 120);
        }
      }),
    );
  });

  it('takes from the front of every line what a condition holds for', () => {
    const queue = new FairQueue<Item>(UNBOUNDED);
    for (const number of [1, 2, 3]) for (const name of ['a', 'b']) queue.add({ owner: name, bytes: 1, number });
    queue.add({ owner: 'c', bytes: 1, number: 1 });
    const old = queue.takeWhile(({ number }) => number < 3);
    expect(old.map(({ owner: name, number }) => `${name}${number}`)).toEqual(['a1', 'a2', 'b1', 'b2', 'c1']);
    expect(queue.length).toBe(2);
    expect(queue.take(ENDLESS).map(({ owner: name, number }) => `${name}${number}`)).toEqual(['a3', 'b3']);
  });
});

describe('a fair queue whose batches are of one owner each', () => {
  const takenAlone = taken.map(({ items, bytes }) => ({ kind: 'take' as const, items, bytes }));
  const returned = fc.record({ kind: fc.constant('back' as const), owner });
  const sequences = fc.array(
    fc.oneof({ weight: 4, arbitrary: added }, { weight: 2, arbitrary: takenAlone }, returned),
    {
      maxLength: 200,
    },
  );

  it('loses nothing, takes nothing twice or past its owner, and serves everybody after one batch of each who was there before', () => {
    fc.assert(
      fc.property(sequences, (sequence) => {
        const queue = new FairQueue<Item>(UNBOUNDED);
        const { lines, of, all, bytes, add } = model();
        const away = new Set<string>();
        /** Who has a turn, in the order in which they came to it. */
        const turns: string[] = [];
        const comes = (name: string) => {
          if (of(name).length > 0 && !away.has(name) && !turns.includes(name)) turns.push(name);
        };
        for (const [number, step] of sequence.entries()) {
          if (step.kind === 'add') {
            const item = { owner: step.owner, bytes: step.bytes, number };
            expect(queue.add(item)).toBe(true);
            add(item);
            comes(step.owner);
          } else if (step.kind === 'back') {
            queue.back(step.owner);
            away.delete(step.owner);
            comes(step.owner);
          } else {
            expect(queue.hasTurn).toBe(turns.length > 0);
            const [next, batch] = [turns.shift(), queue.takeOfOne(step)];
            if (next === undefined) expect(batch).toEqual([]);
            else {
              const mine = of(next);
              expect(batch).toEqual(mine.slice(0, batch.length));
              expect(batch.length).toBeGreaterThan(0);
              expect(batch.length).toBeLessThanOrEqual(step.items);
              if (batch.length > 1) expect(bytes(batch)).toBeLessThanOrEqual(step.bytes);
              const more = mine.slice(0, batch.length + 1);
              if (more.length > batch.length && batch.length < step.items)
                expect(bytes(more)).toBeGreaterThan(step.bytes);
              lines.set(next, mine.slice(batch.length));
              away.add(next);
            }
          }
          expect(queue.length).toBe(all().length);
        }
        for (const name of away) queue.back(name);
        const rest: Item[] = [];
        for (let batch = queue.takeOfOne(ENDLESS); batch.length > 0; batch = queue.takeOfOne(ENDLESS))
          rest.push(...batch);
        expect(new Set(rest)).toEqual(new Set(all()));
      }),
    );
  });

  it('bounds what waits, also of whoever has a batch under way, and forgets whoever has nothing left', () => {
    const queue = new FairQueue<Item>({ total: { items: 4, bytes: 100 }, each: { items: 2, bytes: 100 } });
    const put = (name: string) => queue.add({ owner: name, bytes: 1, number: 0 });
    expect([put('a'), put('a'), put('a')]).toEqual([true, true, false]);
    expect(queue.takeOfOne(ENDLESS)).toHaveLength(2);
    expect([put('a'), put('a'), put('a'), queue.hasTurn]).toEqual([true, true, false, false]);
    // What failed by an outage leaves also the line of whoever is under way.
    expect(queue.takeWhile(() => true)).toHaveLength(2);
    queue.back('a');
    expect([queue.length, queue.hasTurn, put('a'), queue.hasTurn]).toEqual([0, false, true, true]);
  });
});

it('first in is first out, whatever comes and goes', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 300 }), (pushes) => {
      const fifo = new Fifo<number>();
      const plain: number[] = [];
      for (const [number, isPush] of pushes.entries()) {
        if (isPush) {
          fifo.push(number);
          plain.push(number);
        } else expect(fifo.shift()).toBe(plain.shift());
        expect([fifo.length, fifo.peek()]).toEqual([plain.length, plain[0]]);
      }
    }),
  );
});

it('what has left a queue is held by nobody, however much stays behind it', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const queue = new FairQueue<Item>(UNBOUNDED);
  for (let number = 0; number < 20; number += 1) queue.add({ owner: 'a', bytes: 1, number });
  const left = queue.take({ items: 19, bytes: Number.POSITIVE_INFINITY }).map((item) => new WeakRef(item));
  // A weak reference holds what it was asked for until the end of the turn.
  await new Promise(setImmediate);
  collect();
  expect(queue.length).toBe(1);
  expect(left.filter((ref) => ref.deref() !== undefined)).toEqual([]);
});
