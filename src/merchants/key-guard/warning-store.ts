import { bigint, boolean, nullable, oneOf, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns, omit, table } from '../../db/table.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { KeyWarning, KeyWarningKind } from './key-guard.ts';

const KEY_WARNING = table('key_warning', {
  merchantId: text,
  warningId: text,
  kind: oneOf<KeyWarningKind>(),
  customerId: nullable(text),
  idempotencyKey: nullable(text),
  otherKey: nullable(text),
  isRefused: boolean,
  apiKeyId: text,
  createdAt: timestamptz,
});
const OWN_WARNING = omit(KEY_WARNING.shape, 'merchantId');

/** So many are kept of each merchant. */
const MOST_KEPT = 1000;

/** Stores warnings of a merchant, and forgets those that are older than the newest {@link MOST_KEPT}. */
export async function storeWarnings(db: Queryable, merchantId: string, warnings: readonly KeyWarning[]): Promise<void> {
  await STORE.run(db, { merchantId, warnings, before: MOST_KEPT - warnings.length });
}

const STORE = statement({
  params: { merchantId: text, warnings: rowsOf(OWN_WARNING), before: bigint },
  text: ({ merchantId, warnings, before }) => `
    with old as (
      delete from key_warning
      where merchant_id = ${merchantId} and warning_id <= (
        select k.warning_id from key_warning k where k.merchant_id = ${merchantId}
        order by k.warning_id desc offset ${before} limit 1)),
    stored as (
      insert into key_warning (merchant_id, ${columns(OWN_WARNING)})
      select ${merchantId}, ${columns(OWN_WARNING, 'n')} from ${warnings('n')}
      on conflict do nothing
      returning 1)
    select 1 from stored`,
});

interface WarningsQuery {
  /** Only warnings before this one; null for the newest. */
  readonly before: string | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of a merchant's warnings, newest first. */
export async function listWarnings(
  db: Queryable,
  merchantId: string,
  { before, pageSize, pageNumber }: WarningsQuery,
): Promise<readonly KeyWarning[]> {
  return LIST.all(db, { merchantId, before, pageSize, offset: pageSize * pageNumber });
}

const LIST = statement({
  params: { merchantId: text, before: nullable(text), pageSize: bigint, offset: bigint },
  row: KEY_WARNING.shape,
  text: ({ merchantId, before, pageSize, offset }) => `
    select ${columns(KEY_WARNING.shape)} from key_warning
    where merchant_id = ${merchantId} and (${before}::text is null or warning_id < ${before})
    order by warning_id desc limit ${pageSize} offset ${offset}`,
});
