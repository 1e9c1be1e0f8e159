import type { Queryable, Tx } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Metadata } from '../ledger/entry.ts';
import { openWallets } from '../ledger/store.ts';

export interface Customer {
  readonly merchantId: string;
  readonly customerId: string;
  /** Empty, like the name, where a provider's event made the customer and did not say. */
  readonly email: string;
  readonly name: string;
  readonly phoneNumber: string | null;
  readonly metadata: Metadata;
  readonly createdAt: Date;
}

export interface CustomerInput {
  readonly email: string;
  readonly name: string;
  readonly phoneNumber?: string | null;
  readonly metadata?: Metadata;
}

interface CustomerRow {
  merchant_id: string;
  customer_id: string;
  email: string;
  name: string;
  phone_number: string | null;
  metadata: Metadata;
  created_at: Date;
}

const COLUMNS = 'merchant_id, customer_id, email, name, phone_number, metadata, created_at';

function toCustomer(row: CustomerRow): Customer {
  return {
    merchantId: row.merchant_id,
    customerId: row.customer_id,
    email: row.email,
    name: row.name,
    phoneNumber: row.phone_number,
    metadata: row.metadata,
    createdAt: row.created_at,
  };
}

/**
 * Makes customers and opens their wallets, one for each currency.
 * @returns the new ids, in the order of the inputs
 */
export async function createCustomers(
  tx: Tx,
  merchantId: string,
  inputs: readonly CustomerInput[],
  currencies: Iterable<string>,
  now: Date,
): Promise<string[]> {
  if (inputs.length === 0) return [];
  const ids = inputs.map(() => newId('customer'));
  await tx.query(
    `insert into customer (merchant_id, customer_id, email, name, phone_number, metadata, created_at)
     select $1, customer_id, email, name, phone_number, metadata::jsonb, $7
     from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) as n (customer_id, email, name, phone_number, metadata)`,
    [
      merchantId,
      ids,
      inputs.map((input) => input.email),
      inputs.map((input) => input.name),
      inputs.map((input) => input.phoneNumber ?? null),
      inputs.map((input) => JSON.stringify(input.metadata ?? {})),
      now.toISOString(),
    ],
  );
  await openWallets(
    tx,
    ids.map((customerId) => ({ merchantId, customerId })),
    currencies,
    now,
  );
  return ids;
}

export async function getCustomer(db: Queryable, merchantId: string, customerId: string): Promise<Customer | null> {
  const { rows } = await db.query<CustomerRow>(
    `select ${COLUMNS} from customer where merchant_id = $1 and customer_id = $2`,
    [merchantId, customerId],
  );
  return rows[0] === undefined ? null : toCustomer(rows[0]);
}

/** What a field keeps when it is left out; `phoneNumber: null` removes the number. */
export interface CustomerChange {
  readonly email?: string | undefined;
  readonly name?: string | undefined;
  readonly phoneNumber?: string | null | undefined;
  readonly metadata?: Metadata | undefined;
}

export async function updateCustomer(
  db: Queryable,
  merchantId: string,
  customerId: string,
  change: CustomerChange,
): Promise<Customer | null> {
  const { rows } = await db.query<CustomerRow>(
    `update customer
     set email = coalesce($3, email), name = coalesce($4, name), metadata = coalesce($5::jsonb, metadata),
       phone_number = case when $6 then $7 else phone_number end
     where merchant_id = $1 and customer_id = $2
     returning ${COLUMNS}`,
    [
      merchantId,
      customerId,
      change.email ?? null,
      change.name ?? null,
      change.metadata === undefined ? null : JSON.stringify(change.metadata),
      change.phoneNumber !== undefined,
      change.phoneNumber ?? null,
    ],
  );
  return rows[0] === undefined ? null : toCustomer(rows[0]);
}

export interface CustomerQuery {
  /** The whole address, in any case. */
  readonly email: string | null;
  /** Any part of the name, in any case. */
  readonly name: string | null;
  readonly createdFrom: Date | null;
  readonly createdTo: Date | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of the merchant's customers, newest first. */
export async function listCustomers(db: Queryable, merchantId: string, query: CustomerQuery): Promise<Customer[]> {
  const { rows } = await db.query<CustomerRow>(
    `select ${COLUMNS} from customer
     where merchant_id = $1
       and ($2::text is null or lower(email) = lower($2))
       and ($3::text is null or strpos(lower(name), lower($3)) > 0)
       and ($4::timestamptz is null or created_at >= $4)
       and ($5::timestamptz is null or created_at <= $5)
     order by created_at desc, customer_id desc
     limit $6 offset $7`,
    [
      merchantId,
      query.email,
      query.name,
      query.createdFrom?.toISOString() ?? null,
      query.createdTo?.toISOString() ?? null,
      query.pageSize,
      query.pageSize * query.pageNumber,
    ],
  );
  return rows.map(toCustomer);
}

/**
 * The customers that this id names: ours, or a provider's as any source of the merchant knows it. Sources are few, so
 * their ids are found one after another along the primary key of the links.
 */
export async function findByAnyId(db: Queryable, merchantId: string, id: string): Promise<Customer[]> {
  const { rows } = await db.query<CustomerRow>(
    `with recursive known (source_id) as (
       (select source_id from customer_link where merchant_id = $1 order by source_id limit 1)
       union all
       select (select l.source_id from customer_link l where l.merchant_id = $1 and l.source_id > known.source_id
         order by l.source_id limit 1)
       from known where known.source_id is not null),
     meant (customer_id) as (
       select $2::text
       union
       select l.customer_id from known
       join customer_link l on l.merchant_id = $1 and l.source_id = known.source_id and l.provider_customer_id = $2)
     select ${COLUMNS} from customer join meant using (customer_id)
     where merchant_id = $1 order by created_at desc, customer_id desc`,
    [merchantId, id],
  );
  return rows.map(toCustomer);
}

/** Which of these customers the merchant has. */
export async function findCustomers(db: Queryable, merchantId: string, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const { rows } = await db.query<{ customer_id: string }>(
    'select customer_id from customer where merchant_id = $1 and customer_id = any ($2)',
    [merchantId, ids],
  );
  return new Set(rows.map((row) => row.customer_id));
}

/** @throws {RefusalError} CUSTOMER_NOT_FOUND */
export async function requireCustomer(db: Queryable, merchantId: string, customerId: string): Promise<void> {
  if (!(await findCustomers(db, merchantId, [customerId])).has(customerId)) refuseUnknownCustomer(customerId);
}

/** @throws {RefusalError} CUSTOMER_NOT_FOUND */
export function refuseUnknownCustomer(customerId: string): never {
  return refuse('CUSTOMER_NOT_FOUND', `There is no customer ${customerId.slice(0, 100)}.`);
}

/** Our customers by the ids under which a source's provider knows them, for those that are linked. */
export async function findLinks(
  db: Queryable,
  merchantId: string,
  sourceId: string,
  providerCustomerIds: readonly string[],
): Promise<Map<string, string>> {
  if (providerCustomerIds.length === 0) return new Map();
  const { rows } = await db.query<{ provider_customer_id: string; customer_id: string }>(
    `select provider_customer_id, customer_id from customer_link
     where merchant_id = $1 and source_id = $2 and provider_customer_id = any ($3)`,
    [merchantId, sourceId, providerCustomerIds],
  );
  return new Map(rows.map((row) => [row.provider_customer_id, row.customer_id]));
}

/** Links customers with the provider's, as a source names them; who is linked already stays as it is. */
export async function linkCustomers(
  tx: Tx,
  merchantId: string,
  sourceId: string,
  pairs: readonly { readonly providerCustomerId: string; readonly customerId: string }[],
): Promise<void> {
  if (pairs.length === 0) return;
  await tx.query(
    `insert into customer_link (merchant_id, source_id, provider_customer_id, customer_id)
     select $1, $2, provider_customer_id, customer_id
     from unnest($3::text[], $4::text[]) as n (provider_customer_id, customer_id)
     order by 3
     on conflict do nothing`,
    [merchantId, sourceId, pairs.map((pair) => pair.providerCustomerId), pairs.map((pair) => pair.customerId)],
  );
}
