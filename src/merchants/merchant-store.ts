import { bigint, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, pick, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { KeyGuardMode } from './key-guard/key-guard.ts';

export interface Merchant {
  readonly merchantId: string;
  readonly name: string;
  /** Whether its wallets hold play money or real money; it never changes. */
  readonly mode: 'test' | 'live';
  /** Null unless its keys are refused for now. */
  readonly suspendedAt: Date | null;
  /** What is done about idempotency keys that hold the time. */
  readonly keyGuard: KeyGuardMode;
  readonly createdAt: Date;
}

const MERCHANT = table('merchant', {
  merchantId: text,
  name: text,
  mode: oneOf<Merchant['mode']>(),
  suspendedAt: nullable(timestamptz),
  keyGuard: oneOf<KeyGuardMode>(),
  createdAt: timestamptz,
});

/** @returns null if there is a merchant of this id already */
export async function insertMerchant(
  db: Queryable,
  merchant: Pick<Merchant, 'merchantId' | 'name' | 'mode'>,
  now: Date,
): Promise<Merchant | null> {
  return INSERT_MERCHANT.first(db, { ...merchant, createdAt: now });
}

const INSERT_MERCHANT = statement({
  params: pick(MERCHANT.shape, 'merchantId', 'name', 'mode', 'createdAt'),
  row: MERCHANT.shape,
  text: ({ merchantId, name, mode, createdAt }) => `
    insert into merchant (merchant_id, name, mode, created_at) values (${merchantId}, ${name}, ${mode}, ${createdAt})
    on conflict do nothing returning ${columns(MERCHANT.shape)}`,
});

interface MerchantQuery {
  /** Only merchants that come after this one in the list; null for all. */
  readonly after?: string | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of all merchants, oldest first. */
export async function listMerchants(
  db: Queryable,
  { after = null, pageSize, pageNumber }: MerchantQuery,
): Promise<readonly Merchant[]> {
  return LIST_MERCHANTS.all(db, { after, pageSize, offset: pageSize * pageNumber });
}

const LIST_MERCHANTS = statement({
  acrossMerchants: 'the operator sees all of them',
  params: { after: nullable(text), pageSize: bigint, offset: bigint },
  row: MERCHANT.shape,
  text: ({ after, pageSize, offset }) => `
    select ${columns(MERCHANT.shape)} from merchant
    where ${after}::text is null or (created_at, merchant_id) > (
      select c.created_at, c.merchant_id from merchant c where c.merchant_id = ${after})
    order by created_at, merchant_id limit ${pageSize} offset ${offset}`,
});

export async function getMerchant(db: Queryable, merchantId: string): Promise<Merchant | null> {
  return GET_MERCHANT.first(db, { merchantId });
}

const GET_MERCHANT = statement({
  name: 'get-merchant',
  params: { merchantId: text },
  row: MERCHANT.shape,
  text: ({ merchantId }) => `select ${columns(MERCHANT.shape)} from merchant where merchant_id = ${merchantId}`,
});

/**
 * The same, locked until the transaction ends. Rows that name the merchant may be added meanwhile: waiting for those who do would
 * have no end while there is traffic.
 */
export async function lockMerchant(tx: Tx, merchantId: string): Promise<Merchant | null> {
  return LOCK_MERCHANT.first(tx, { merchantId });
}

const LOCK_MERCHANT = statement({
  params: { merchantId: text },
  row: MERCHANT.shape,
  text: ({ merchantId }) =>
    `select ${columns(MERCHANT.shape)} from merchant where merchant_id = ${merchantId} for no key update`,
});

export async function renameMerchant(tx: Tx, merchantId: string, name: string): Promise<void> {
  await RENAME_MERCHANT.run(tx, { merchantId, name });
}

const RENAME_MERCHANT = statement({
  params: { merchantId: text, name: text },
  text: ({ merchantId, name }) => `update merchant set name = ${name} where merchant_id = ${merchantId}`,
});

/** @returns null if there is no such merchant */
export async function setKeyGuard(db: Queryable, merchantId: string, mode: KeyGuardMode): Promise<Merchant | null> {
  return SET_KEY_GUARD.first(db, { merchantId, mode });
}

const SET_KEY_GUARD = statement({
  params: { merchantId: text, mode: oneOf<KeyGuardMode>() },
  row: MERCHANT.shape,
  text: ({ merchantId, mode }) => `
    update merchant set key_guard = ${mode} where merchant_id = ${merchantId} returning ${columns(MERCHANT.shape)}`,
});

/**
 * Suspends a merchant from a time on, or ends its suspension with null; to do so twice changes nothing.
 * @returns null if there is none
 */
export async function setSuspended(db: Queryable, merchantId: string, from: Date | null): Promise<Merchant | null> {
  return SET_SUSPENDED.first(db, { merchantId, from });
}

const SET_SUSPENDED = statement({
  params: { merchantId: text, from: nullable(timestamptz) },
  row: MERCHANT.shape,
  text: ({ merchantId, from }) => `
    update merchant set suspended_at = case when ${from}::timestamptz is not null then coalesce(suspended_at, ${from}) end
    where merchant_id = ${merchantId} returning ${columns(MERCHANT.shape)}`,
});
