import { bigint, text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/** The ids of the `most` newest sources, of every merchant. */
export async function selectSourceIds(db: Queryable, most: number): Promise<ReadonlySet<string>> {
  const rows = await SELECT_IDS.all(db, { most });
  return new Set(rows.map(({ sourceId }) => sourceId));
}

const SELECT_IDS = statement({
  acrossMerchants: "tells sources' ids from made-up ones before it is known whose they are",
  params: { most: bigint },
  row: { sourceId: text },
  text: ({ most }) => `select source_id from source order by source_id desc limit ${most}`,
});
