import type { PostingTally } from '../telemetry/metrics.ts';
import type { Posting } from './entry.ts';
import type { Outcome } from './post.ts';

/** Counts a batch's outcomes for metrics: a handful of tallies, however large the batch. */
export function tallyOutcomes(postings: readonly Posting[], outcomes: readonly Outcome[]): readonly PostingTally[] {
  const tallies: { -readonly [Name in keyof PostingTally]: PostingTally[Name] }[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    const direction = postings[index]?.isCredit === true ? 'credit' : 'debit';
    const code = outcome.kind === 'refused' ? outcome.refusal.code : '';
    const same = tallies.find(
      (one) => one.direction === direction && one.outcome === outcome.kind && one.code === code,
    );
    if (same === undefined) tallies.push({ direction, outcome: outcome.kind, code, count: 1 });
    else same.count += 1;
  }
  return tallies;
}
