import { nullable, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable, Tx } from '../db/transaction.ts';

/** From when on Chokin is responsible for a source, and how far it was compared. */
export interface SourceState {
  /** Since when Chokin knows the source. Payments made before may have been handled by another program. */
  readonly knownSince: Date;
  /** Everything from `knownSince` up to this time was compared; null before the first finished run. */
  readonly comparedUntil: Date | null;
}

/** Returns the state of a source, and stores it with `now` as `knownSince` if there is none yet. */
export async function knowSource(
  db: Queryable,
  { merchantId, sourceId }: { readonly merchantId: string; readonly sourceId: string },
  now: Date,
): Promise<SourceState> {
  return KNOW_SOURCE.one(db, { merchantId, sourceId, now });
}

const KNOW_SOURCE = statement({
  params: { merchantId: text, sourceId: text, now: timestamptz },
  row: { knownSince: timestamptz, comparedUntil: nullable(timestamptz) },
  text: ({ merchantId, sourceId, now }) => `
    insert into reconciliation_source as s (merchant_id, source_id, known_since) values (${merchantId}, ${sourceId}, ${now})
    on conflict (merchant_id, source_id) do update set known_since = s.known_since
    returning known_since, compared_until`,
});

/** Where a window begins: at `lookback`, or earlier if a gap was left before it, but never before the source was known. */
export function sinceOf({ knownSince, comparedUntil }: SourceState, lookback: Date): Date {
  const since = comparedUntil === null || comparedUntil < lookback ? (comparedUntil ?? knownSince) : lookback;
  return since < knownSince ? knownSince : since;
}

/**
 * Lets the other source answer for what this one answered for. It counts as compared only as far as both do, and what
 * compared the adopted one ends: its payments are another's now.
 */
export async function moveSourceState(
  tx: Tx,
  pair: { readonly merchantId: string; readonly from: string; readonly into: string },
  now: Date,
): Promise<void> {
  const { merchantId, from, into } = pair;
  await MOVE_STATE.run(tx, pair);
  await DELETE_STATE.run(tx, { merchantId, from });
  await END_RUNS.run(tx, { merchantId, from, problem: `the source was adopted by ${into}`, now });
}

const MOVE_STATE = statement({
  params: { merchantId: text, from: text, into: text },
  text: ({ merchantId, from, into }) => `
    insert into reconciliation_source as s (merchant_id, source_id, known_since, compared_until)
    select merchant_id, ${into}, known_since, compared_until from reconciliation_source
    where merchant_id = ${merchantId} and source_id = ${from}
    on conflict (merchant_id, source_id) do update
    set known_since = least(s.known_since, excluded.known_since),
      compared_until = case when excluded.compared_until is not null then least(s.compared_until, excluded.compared_until) end`,
});

const DELETE_STATE = statement({
  params: { merchantId: text, from: text },
  text: ({ merchantId, from }) =>
    `delete from reconciliation_source where merchant_id = ${merchantId} and source_id = ${from}`,
});

const END_RUNS = statement({
  params: { merchantId: text, from: text, problem: text, now: timestamptz },
  text: ({ merchantId, from, problem, now }) => `
    update reconciliation
    set state = 'failed', problem = ${problem}, finished_at = ${now}, updated_at = ${now}, leased_by = null, leased_until = null
    where merchant_id = ${merchantId} and source_id = ${from} and state = 'running'`,
});
