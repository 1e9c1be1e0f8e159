import type { Queryable } from '../db/transaction.ts';

export interface Merchant {
  readonly merchantId: string;
  readonly name: string;
  /** Whether its wallets hold play money or real money; it never changes. */
  readonly mode: 'test' | 'live';
  /** Null unless its keys are refused for now. */
  readonly suspendedAt: Date | null;
  readonly createdAt: Date;
}

/** @returns null if there is a merchant of this id already */
export async function insertMerchant(
  db: Queryable,
  merchant: Pick<Merchant, 'merchantId' | 'name' | 'mode'>,
  now: Date,
): Promise<Merchant | null> {
  const { rows } = await db.query<MerchantRow>(
    `insert into merchant (merchant_id, name, mode, created_at) values ($1, $2, $3, $4) on conflict do nothing
     returning ${COLUMNS}`,
    [merchant.merchantId, merchant.name, merchant.mode, now.toISOString()],
  );
  return rows[0] === undefined ? null : toMerchant(rows[0]);
}

/** A page of all merchants, oldest first. */
export async function listMerchants(
  db: Queryable,
  { pageSize, pageNumber }: { readonly pageSize: number; readonly pageNumber: number },
): Promise<readonly Merchant[]> {
  const { rows } = await db.query<MerchantRow>(
    `select ${COLUMNS} from merchant order by created_at, merchant_id limit $1 offset $2`,
    [pageSize, pageSize * pageNumber],
  );
  return rows.map(toMerchant);
}

export async function getMerchant(db: Queryable, merchantId: string): Promise<Merchant | null> {
  const { rows } = await db.query<MerchantRow>(`select ${COLUMNS} from merchant where merchant_id = $1`, [merchantId]);
  return rows[0] === undefined ? null : toMerchant(rows[0]);
}

/** Suspends a merchant or ends its suspension; to do so twice changes nothing. @returns null if there is none */
export async function setSuspended(
  db: Queryable,
  merchantId: string,
  isSuspended: boolean,
  now: Date,
): Promise<Merchant | null> {
  const { rows } = await db.query<MerchantRow>(
    `update merchant set suspended_at = case when $2 then coalesce(suspended_at, $3) end where merchant_id = $1
     returning ${COLUMNS}`,
    [merchantId, isSuspended, now.toISOString()],
  );
  return rows[0] === undefined ? null : toMerchant(rows[0]);
}

const COLUMNS = 'merchant_id, name, mode, suspended_at, created_at';

interface MerchantRow {
  merchant_id: string;
  name: string;
  mode: 'test' | 'live';
  suspended_at: Date | null;
  created_at: Date;
}

function toMerchant(row: MerchantRow): Merchant {
  return {
    merchantId: row.merchant_id,
    name: row.name,
    mode: row.mode,
    suspendedAt: row.suspended_at,
    createdAt: row.created_at,
  };
}
