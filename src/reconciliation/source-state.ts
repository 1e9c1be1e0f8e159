import type { Queryable } from '../db/transaction.ts';

/** What Chokin answers for at a source. */
export interface SourceState {
  /** Since when it knows the source; what was paid before that may have been handled by others. */
  readonly knownSince: Date;
  /** Up to when everything was compared without a gap; null before the first time. */
  readonly comparedUntil: Date | null;
}

/** Notes that the source is there, at the first time, and tells what is known of it. */
export async function knowSource(
  db: Queryable,
  { merchantId, sourceId }: { readonly merchantId: string; readonly sourceId: string },
  now: Date,
): Promise<SourceState> {
  const { rows } = await db.query<{ known_since: Date; compared_until: Date | null }>(
    `insert into reconciliation_source as s (merchant_id, source_id, known_since) values ($1, $2, $3)
     on conflict (merchant_id, source_id) do update set known_since = s.known_since
     returning known_since, compared_until`,
    [merchantId, sourceId, now.toISOString()],
  );
  const [row] = rows;
  return { knownSince: row?.known_since ?? now, comparedUntil: row?.compared_until ?? null };
}

/** From when to compare: as far back as asked for or as anything was left out, but not before the source was known. */
export function sinceOf({ knownSince, comparedUntil }: SourceState, lookback: Date): Date {
  const since = comparedUntil === null || comparedUntil < lookback ? (comparedUntil ?? knownSince) : lookback;
  return since < knownSince ? knownSince : since;
}
