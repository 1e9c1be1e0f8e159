import { expect, it } from 'vitest';
import { createFew, createSeldom } from '../../src/telemetry/seldom.ts';

it('a kind is due at once, then every ten seconds with how many there were, whatever other kinds do', () => {
  let nowMs = 0;
  const seldom = createSeldom(() => nowMs);
  expect([seldom('a'), seldom('a'), seldom('b'), seldom('a')]).toEqual([1, null, 1, null]);
  nowMs = 9_999;
  expect(seldom('a')).toBeNull();
  nowMs = 10_000;
  expect([seldom('a'), seldom('a')]).toEqual([4, null]);
});

it('however many kinds there are, few are remembered', () => {
  const seldom = createSeldom(() => 0);
  for (let n = 0; n < 1_000; n += 1) seldom(`${n}`);
  expect([seldom('999'), seldom('another'), seldom('0')]).toEqual([null, 1, 1]);
});

it('of events as many as are allowed are among the few of their ten seconds', () => {
  let nowMs = 0;
  const isAmongFew = createFew(2, () => nowMs);
  expect([isAmongFew(), isAmongFew(), isAmongFew()]).toEqual([true, true, false]);
  nowMs = 10_000;
  expect([isAmongFew(), isAmongFew(), isAmongFew()]).toEqual([true, true, false]);
});
