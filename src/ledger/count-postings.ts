import type { PostingCount } from '../telemetry/metrics.ts';
import type { Posting } from './entry.ts';
import type { PostingResult } from './post.ts';

/** Counts a batch's outcomes for metrics: a handful of counts, however large the batch. */
export function countPostings(
  postings: readonly Posting[],
  outcomes: readonly PostingResult[],
): readonly PostingCount[] {
  const counts: { -readonly [Name in keyof PostingCount]: PostingCount[Name] }[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    const direction = postings[index]?.isCredit === true ? 'credit' : 'debit';
    const code = outcome.kind === 'refused' ? outcome.refusal.code : '';
    const same = counts.find((one) => one.direction === direction && one.outcome === outcome.kind && one.code === code);
    if (same === undefined) counts.push({ direction, outcome: outcome.kind, code, count: 1 });
    else same.count += 1;
  }
  return counts;
}
