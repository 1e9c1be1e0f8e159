import { array, boolean, json, nullable, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, omit, pick, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import type { CustomerKey, Metadata } from '../ledger/entry.ts';
import { openWallets, type WalletOpening } from '../ledger/open-wallets.ts';

export interface Customer extends CustomerKey {
  /** Empty, like the name, where a provider's event made the customer and did not say. */
  readonly email: string;
  readonly name: string;
  readonly phoneNumber: string | null;
  readonly metadata: Metadata;
  readonly createdAt: Date;
}

interface CustomerInput {
  /** Given where the caller had to know the id before; else a new one is made. */
  readonly customerId?: string;
  readonly email: string;
  readonly name: string;
  readonly phoneNumber?: string | null;
  readonly metadata?: Metadata;
}

export const CUSTOMER = table('customer', {
  merchantId: text,
  customerId: text,
  email: text,
  name: text,
  phoneNumber: nullable(text),
  metadata: json<Metadata>(),
  createdAt: timestamptz,
});
const NEW_CUSTOMER = omit(CUSTOMER.shape, 'merchantId', 'createdAt');

/** Customers that a merchant is to have. */
interface NewCustomers {
  readonly merchantId: string;
  readonly inputs: readonly CustomerInput[];
}

/**
 * Makes customers and opens their wallets, one for each currency.
 * @returns the new ids, in the order of the inputs
 */
export async function createCustomers(
  tx: Tx,
  { merchantId, inputs }: NewCustomers,
  opening: WalletOpening,
): Promise<string[]> {
  if (inputs.length === 0) return [];
  const customers = inputs.map(({ customerId = newId('customer'), email, name, phoneNumber = null, metadata = {} }) => {
    return { customerId, email, name, phoneNumber, metadata };
  });
  const ids = customers.map(({ customerId }) => customerId);
  await INSERT_CUSTOMERS.run(tx, { merchantId, customers, now: opening.now });
  await openWallets(
    tx,
    ids.map((customerId) => ({ merchantId, customerId })),
    opening,
  );
  return ids;
}

const INSERT_CUSTOMERS = statement({
  params: { merchantId: text, customers: rowsOf(NEW_CUSTOMER), now: timestamptz },
  text: ({ merchantId, customers, now }) => `
    insert into customer (merchant_id, ${columns(NEW_CUSTOMER)}, created_at)
    select ${merchantId}, ${columns(NEW_CUSTOMER, 'n')}, ${now} from ${customers('n')}`,
});

export async function getCustomer(db: Queryable, merchantId: string, customerId: string): Promise<Customer | null> {
  return GET_CUSTOMER.first(db, { merchantId, customerId });
}

const GET_CUSTOMER = statement({
  params: { merchantId: text, customerId: text },
  row: CUSTOMER.shape,
  text: ({ merchantId, customerId }) => `
    select ${columns(CUSTOMER.shape)} from customer where merchant_id = ${merchantId} and customer_id = ${customerId}`,
});

/** What a field keeps when it is left out; `phoneNumber: null` removes the number. */
export interface CustomerChange {
  readonly email?: string | undefined;
  readonly name?: string | undefined;
  readonly phoneNumber?: string | null | undefined;
  readonly metadata?: Metadata | undefined;
}

/** @returns the customer as it is then, or null if there is none */
export async function updateCustomer(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  change: CustomerChange,
): Promise<Customer | null> {
  const { email = null, name = null, metadata = null, phoneNumber } = change;
  return UPDATE_CUSTOMER.first(db, {
    merchantId,
    customerId,
    email,
    name,
    metadata,
    changesNumber: phoneNumber !== undefined,
    phoneNumber: phoneNumber ?? null,
  });
}

const UPDATE_CUSTOMER = statement({
  params: {
    merchantId: text,
    customerId: text,
    email: nullable(text),
    name: nullable(text),
    metadata: nullable(json<Metadata>()),
    changesNumber: boolean,
    phoneNumber: nullable(text),
  },
  row: CUSTOMER.shape,
  text: (p) => `
    update customer
    set email = coalesce(${p.email}, email), name = coalesce(${p.name}, name), metadata = coalesce(${p.metadata}, metadata),
      phone_number = case when ${p.changesNumber} then ${p.phoneNumber} else phone_number end
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId}
    returning ${columns(CUSTOMER.shape)}`,
});

/**
 * The customers that this id names: ours, or a provider's as any source of the merchant knows it. Sources are few, so
 * their ids are found one after another along the primary key of the links.
 */
export async function findByAnyId(db: Queryable, merchantId: string, id: string): Promise<Customer[]> {
  return FIND_BY_ANY_ID.all(db, { merchantId, id });
}

const FIND_BY_ANY_ID = statement({
  params: { merchantId: text, id: text },
  row: CUSTOMER.shape,
  text: ({ merchantId, id }) => `
    with recursive known (source_id) as (
      (select source_id from customer_link where merchant_id = ${merchantId} order by source_id limit 1)
      union all
      select (select l.source_id from customer_link l where l.merchant_id = ${merchantId} and l.source_id > known.source_id
        order by l.source_id limit 1)
      from known where known.source_id is not null),
    meant (customer_id) as (
      select ${id}::text
      union
      select l.customer_id from known
      join customer_link l on l.merchant_id = ${merchantId} and l.source_id = known.source_id and l.provider_customer_id = ${id})
    select ${columns(CUSTOMER.shape)} from customer join meant using (customer_id)
    where merchant_id = ${merchantId} order by created_at desc, customer_id desc`,
});

/** Which of these customers the merchant has. */
export async function findCustomers(db: Queryable, merchantId: string, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const found = await FIND_CUSTOMERS.all(db, { merchantId, ids });
  return new Set(found.map(({ customerId }) => customerId));
}

const FIND_CUSTOMERS = statement({
  name: 'find-customers',
  params: { merchantId: text, ids: array(text) },
  row: pick(CUSTOMER.shape, 'customerId'),
  text: ({ merchantId, ids }) =>
    `select customer_id from customer where merchant_id = ${merchantId} and customer_id = any (${ids})`,
});

/** @throws {RefusalError} CUSTOMER_NOT_FOUND */
export async function requireCustomer(db: Queryable, merchantId: string, customerId: string): Promise<void> {
  if (!(await findCustomers(db, merchantId, [customerId])).has(customerId)) refuseUnknownCustomer(customerId);
}

/** Keeps others who lock the customer waiting until the transaction ends; postings go on. @throws {RefusalError} CUSTOMER_NOT_FOUND */
export async function lockCustomer(tx: Tx, merchantId: string, customerId: string): Promise<void> {
  if ((await LOCK_CUSTOMER.all(tx, { merchantId, customerId })).length === 0) refuseUnknownCustomer(customerId);
}

const LOCK_CUSTOMER = statement({
  params: { merchantId: text, customerId: text },
  row: { customerId: text },
  text: ({ merchantId, customerId }) => `
    select customer_id from customer
    where merchant_id = ${merchantId} and customer_id = ${customerId}
    for no key update`,
});

/** @throws {RefusalError} CUSTOMER_NOT_FOUND */
export function refuseUnknownCustomer(customerId: string): never {
  return refuse({ code: 'CUSTOMER_NOT_FOUND', customerId });
}
