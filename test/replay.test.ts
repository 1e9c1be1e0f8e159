import fc from 'fast-check';
import { expect, it } from 'vitest';
import { assertCommands, commandsOf, type Replay, replayOf } from './support/replay.ts';

interface Sum {
  value: number;
}

/** A sum that must stay below 30, which a few additions end. @returns the message of its failure, and what was tried */
async function failureOf(repeated: Replay | null) {
  const tried: string[] = [];
  const add = fc.nat(9).map(
    (amount): fc.AsyncCommand<Sum, null> => ({
      check: ({ value }) => value % 2 === 0 || amount > 2,
      run: async (model) => {
        model.value += amount;
        if (model.value > 30) throw new Error(`it is ${model.value}`);
      },
      toString: () => `add ${amount}`,
    }),
  );
  const property = fc.asyncProperty(
    fc.nat(5),
    commandsOf([add], { maxCommands: 40, size: 'max' }, repeated),
    (_, all) => {
      tried.push(String(all));
      return fc.asyncModelRun(() => ({ model: { value: 0 }, real: null }), all);
    },
  );
  const message = await assertCommands(property, { numRuns: 50 }, repeated).then(
    () => 'it did not fail',
    (error: unknown) => String(error),
  );
  return { message, tried };
}

it('a property of commands that fails says how to repeat it, and that repeats it at once', async () => {
  const first = await failureOf(null);
  const [, told = ''] = /To repeat it: REPLAY='(.+)'/.exec(first.message) ?? [];
  const repeated = replayOf({ REPLAY: told });
  expect(repeated).toMatchObject({ replayPath: expect.stringMatching(/./) });
  const second = await failureOf(repeated);
  const counterexample = (message: string) => /Counterexample: (.+?) \/\*/.exec(message)?.[1];
  expect(counterexample(second.message)).toBe(counterexample(first.message));
  expect(counterexample(first.message)).toMatch(/add \d/);
  expect(second.tried).toHaveLength(1);
  expect(second.message).toContain(`REPLAY='${told}'`);
});

it('without REPLAY nothing is repeated', () => {
  expect(replayOf({})).toBeNull();
  expect(() => replayOf({ REPLAY: '{"seed":1}' })).toThrow();
});
