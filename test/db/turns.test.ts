import { expect, it } from 'vitest';
import { Turns, type TurnsOptions } from '../../src/db/turns.ts';
import { eventually } from '../support/wait.ts';

/** Turns by owner: none keeps another waiting, and whoever waits in vain hears the true reason. */

class BusyError extends Error {}

const turns = (options: Partial<TurnsOptions> = {}) =>
  new Turns({
    ...{ atOnce: Number.POSITIVE_INFINITY, atOnceEach: 2, waitingEach: 10, patienceMs: 20 },
    busy: (owner) => new BusyError(owner),
    ...options,
  });

/** Work that goes on until it is let go, and how many of it began. */
function held() {
  const { promise, resolve } = Promise.withResolvers<void>();
  let begun = 0;
  const work = async () => {
    begun += 1;
    await promise;
  };
  return { work, letGo: resolve, begun: () => begun };
}

it('an owner alone has more than beside another, who begins at once all the same', async () => {
  const line = turns({ atOnceAlone: 4, patienceMs: 10_000 });
  const mine = held();
  const theirs = held();
  const asked = Array.from({ length: 6 }, () => line.take('me', mine.work));
  await eventually('as many as one alone may have', () => mine.begun() === 4);
  asked.push(...Array.from({ length: 3 }, () => line.take('you', theirs.work)));
  await eventually('the other', () => theirs.begun() === 2);
  expect(mine.begun()).toBe(4);
  mine.letGo();
  theirs.letGo();
  await Promise.all(asked);
  expect([mine.begun(), theirs.begun()]).toEqual([6, 3]);
});

it('whoever waits in vain is told of the outage that keeps the others, and else that too much waits', async () => {
  const line = turns({ atOnceEach: 1 });
  const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  await expect(line.take('me', () => Promise.reject(away))).rejects.toBe(away);
  // The line is forgotten with its last turn, so that an outage that is over is not told.
  const first = held();
  const holding = line.take('me', first.work);
  await expect(line.take('me', first.work)).rejects.toThrow(BusyError);
  first.letGo();
  await holding;

  const failing = Promise.withResolvers<void>();
  const asked = [
    line.take('me', () => failing.promise),
    line.take('me', () => new Promise<void>(() => {})),
    line.take('me', first.work),
  ];
  failing.reject(away);
  await expect(asked[0]).rejects.toBe(away);
  await expect(asked[2]).rejects.toBe(away);
});
