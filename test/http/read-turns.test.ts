import { expect, it } from 'vitest';
import { ReadTurns } from '../../src/http/kit/read-turns.ts';
import { TurnedAwayError } from '../../src/http/kit/turn-away.ts';

function reads(atOnce: number) {
  const noted: string[] = [];
  const turns = new ReadTurns(atOnce, ({ who, limit }, whom) => noted.push(`${who} ${limit} ${whom}`));
  const begun: string[] = [];
  const ask = (merchant: string, name: string) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const done = turns.take(merchant, () => {
      begun.push(name);
      return promise;
    });
    return { done, end: () => resolve(name), fail: () => reject(new Error(name)) };
  };
  return { noted, begun, ask };
}

it('reads are made a few at a time, and merchants take turns however much one of them asks', async () => {
  const { begun, ask } = reads(1);
  const all = ['a1', 'a2', 'a3', 'b1'].map((name) => ask(name.slice(0, 1), name));
  for (const one of all) one.end();
  expect(await Promise.all(all.map(({ done }) => done))).toEqual(['a1', 'a2', 'a3', 'b1']);
  expect(begun).toEqual(['a1', 'a2', 'b1', 'a3']);
});

it('a read that fails leaves its place to the next', async () => {
  const { begun, ask } = reads(1);
  const [first, second] = [ask('a', 'first'), ask('a', 'second')];
  first.fail();
  second.end();
  await expect(first.done).rejects.toThrow('first');
  expect(await second.done).toBe('second');
  expect(begun).toEqual(['first', 'second']);
});

it('a merchant of whom too much waits is turned away, and another is not', async () => {
  const { noted, ask } = reads(1);
  const all = Array.from({ length: 501 }, (_, n) => ask('a', `a${n}`));
  await expect(ask('a', 'one more').done).rejects.toThrow(TurnedAwayError);
  expect(noted).toEqual(['merchant reads a']);
  const other = ask('b', 'b');
  for (const one of [...all, other]) one.end();
  expect(await other.done).toBe('b');
});
