import { describe, expect, it } from 'vitest';
import { sinceOf } from '../../src/reconciliation/source-state.ts';

const day = (number: number) => new Date(Date.UTC(2026, 10, number));

describe('from when a source is compared', () => {
  it.each([
    ['known for long, compared without a gap', 1, 20, 17, 17],
    ['not compared for longer than the lookback, as when its key was wrong', 1, 10, 17, 10],
    ['never compared yet', 5, null, 17, 5],
    ['known since yesterday: what was paid before that may have been handled by others', 19, null, 17, 19],
    ['known since yesterday, and compared since', 19, 20, 17, 19],
  ])('%s', (_what, known, compared, lookback, since) => {
    const state = { knownSince: day(known), comparedUntil: compared === null ? null : day(compared) };
    expect(sinceOf(state, day(lookback))).toEqual(day(since));
  });
});
