import { array, boolean, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, pick, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { SourceKey } from './source.ts';

/** Which sources were adopted by which, and who may work on their events meanwhile. */

const ADOPTION = table('source_adoption', {
  merchantId: text,
  sourceId: text,
  intoSourceId: text,
  adoptedAt: timestamptz,
});
type Adoption = SourceKey & { readonly intoSourceId: string };
const ADOPTED = pick(ADOPTION.shape, 'merchantId', 'sourceId', 'intoSourceId');

/**
 * Claims the right to apply events of these sources until the end of the transaction, as many may at once. Nobody is waited
 * for: an adoption may take minutes.
 * @returns the ids of those that are just being adopted, or are adopting
 */
export async function shareSources(tx: Tx, sourceIds: readonly string[]): Promise<ReadonlySet<string>> {
  if (sourceIds.length === 0) return new Set();
  const locks = await SHARE_SOURCES.all(tx, { sourceIds });
  return new Set(locks.filter(({ isFree }) => !isFree).map(({ sourceId }) => sourceId));
}

const lockKey = (id: string) => `hashtextextended('source ' || ${id}, 0)`;

const SHARE_SOURCES = statement({
  name: 'share-sources',
  params: { sourceIds: array(text) },
  row: { sourceId: text, isFree: boolean },
  text: ({ sourceIds }) => `
    select source_id, pg_try_advisory_xact_lock_shared(${lockKey('source_id')}) as is_free
    from (select distinct unnest(${sourceIds}::text[]) as source_id) s`,
});

/** The same for one who can be kept waiting: until none of these sources is being adopted, or adopts. */
export async function awaitSources(tx: Tx, sourceIds: readonly string[]): Promise<void> {
  await AWAIT_SOURCES.run(tx, { sourceIds });
}

/** Takes the locks in one order, so that two who want several of them cannot wait for each other. */
const lockSources = (lock: 'pg_advisory_xact_lock' | 'pg_advisory_xact_lock_shared') =>
  statement({
    params: { sourceIds: array(text) },
    text: ({ sourceIds }) => `
      select ${lock}(${lockKey('source_id')})
      from (select distinct unnest(${sourceIds}::text[]) as source_id order by 1 offset 0) s`,
  });

const AWAIT_SOURCES = lockSources('pg_advisory_xact_lock_shared');

/** Waits until nobody applies events of these sources, and keeps everybody from it until the end of the transaction. */
export async function seizeSources(tx: Tx, sourceIds: readonly string[]): Promise<void> {
  await SEIZE_SOURCES.run(tx, { sourceIds });
}

const SEIZE_SOURCES = lockSources('pg_advisory_xact_lock');

/** Those of these sources that were adopted. */
export async function adoptionsOf(db: Queryable, sources: readonly SourceKey[]): Promise<readonly Adoption[]> {
  if (sources.length === 0) return [];
  return ADOPTIONS_OF.all(db, { sources });
}

const ADOPTIONS_OF = statement({
  name: 'adoptions-of-sources',
  acrossMerchants: 'a batch of events is of several merchants',
  params: { sources: rowsOf({ merchantId: text, sourceId: text }) },
  row: ADOPTED,
  text: ({ sources }) => `
    select ${columns(ADOPTED, 'a')} from source_adoption a join ${sources('s')} using (merchant_id, source_id)`,
});

/** Notes the adoption, and of what the adopted one had adopted itself. Going back to a source undoes its own adoption. */
export async function noteAdoption(
  tx: Tx,
  { merchantId, from, into }: { readonly merchantId: string; readonly from: string; readonly into: string },
  now: Date,
): Promise<void> {
  await FORGET_ADOPTION.run(tx, { merchantId, sourceId: into });
  await PASS_ON.run(tx, { merchantId, from, into });
  await NOTE_ADOPTION.run(tx, { merchantId, from, into, now });
}

const FORGET_ADOPTION = statement({
  params: { merchantId: text, sourceId: text },
  text: ({ merchantId, sourceId }) =>
    `delete from source_adoption where merchant_id = ${merchantId} and source_id = ${sourceId}`,
});

const PASS_ON = statement({
  params: { merchantId: text, from: text, into: text },
  text: ({ merchantId, from, into }) => `
    update source_adoption set into_source_id = ${into} where merchant_id = ${merchantId} and into_source_id = ${from}`,
});

const NOTE_ADOPTION = statement({
  params: { merchantId: text, from: text, into: text, now: timestamptz },
  text: ({ merchantId, from, into, now }) => `
    insert into source_adoption (merchant_id, source_id, into_source_id, adopted_at)
    values (${merchantId}, ${from}, ${into}, ${now})
    on conflict (merchant_id, source_id) do update set into_source_id = excluded.into_source_id`,
});
