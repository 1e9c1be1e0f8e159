import { eachMerchant, ofEachMerchant } from '../../db/by-merchant.ts';
import { array, bigint, nullable, oneOf, text } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { assignments, columns, omit, pick } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import { invariant } from '../../errors.ts';
import { type CustomerKey, idempotencyText, type WalletKey } from '../entry.ts';
import { type Checkout, type CheckoutKey, endOfCheckout } from './checkout.ts';
import { CHECKOUT, CHECKOUT_DUE, CHECKOUT_PROGRESS, OWN_CHECKOUT, OWN_CHECKOUT_KEY } from './tables.ts';

/** The rows of checkouts. In the order of locks a checkout comes after payments and before rules of top-ups and wallets. */

/** Those that were opened under these keys, by {@link idempotencyText}. No statement is made for no key. */
export async function findCheckouts(
  tx: Tx,
  wanted: readonly (CustomerKey & Pick<Checkout, 'idempotencyKey'>)[],
): Promise<ReadonlyMap<string, Checkout>> {
  const keys = [...new Map(wanted.map((one) => [idempotencyText(one), one])).values()];
  const found = await ofEachMerchant(keys, (merchantId, own) => BY_KEYS.all(tx, { merchantId, keys: own }));
  return new Map(found.map((checkout) => [idempotencyText(checkout), checkout]));
}

/** Keys are looked up one by one, as those of entries are. */
const BY_KEYS = statement({
  name: 'find-checkouts-by-keys',
  params: { merchantId: text, keys: rowsOf(pick(CHECKOUT.shape, 'customerId', 'idempotencyKey')) },
  row: CHECKOUT.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(CHECKOUT.shape, 'c')}
    from ${keys('k')}
    cross join lateral (
      select * from checkout x
      where x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.idempotency_key = k.idempotency_key
      limit 1) c`,
});

/**
 * Writes new checkouts, whose wallets are locked, and puts those that are open on the work list.
 * @throws {DatabaseError} a unique violation, where another transaction has used the key for another wallet meanwhile
 */
export async function insertCheckouts(tx: Tx, checkouts: readonly Checkout[]): Promise<void> {
  await eachMerchant(checkouts, async (merchantId, opened) => {
    const open = opened.filter(({ state }) => state === 'open');
    const due = open.map((one) => ({ ...one, dueAt: endOfCheckout(one) }));
    await INSERT.run(tx, { merchantId, opened, due });
  });
}

/** How many of the wallet's checkouts are open. */
export async function countOpenCheckouts(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
): Promise<number> {
  return (await COUNT_OPEN.one(db, { merchantId, customerId, currency })).count;
}

/** Open ones are on the work list, and few; of a customer there may be thousands that have ended. */
const COUNT_OPEN = statement({
  params: { merchantId: text, customerId: text, currency: text },
  row: { count: bigint },
  text: (p) => `
    select count(*) as count
    from checkout_due d join checkout c using (merchant_id, customer_id, checkout_id)
    where d.merchant_id = ${p.merchantId} and d.customer_id = ${p.customerId} and c.currency = ${p.currency} and c.state = 'open'`,
});

const OWN_DUE = omit(CHECKOUT_DUE.shape, 'merchantId');

const INSERT = statement({
  name: 'open-checkouts',
  params: { merchantId: text, opened: rowsOf(OWN_CHECKOUT), due: rowsOf(OWN_DUE) },
  text: ({ merchantId, opened, due }) => `
    with opened as (
      insert into checkout (merchant_id, ${columns(OWN_CHECKOUT)})
      select ${merchantId}, ${columns(OWN_CHECKOUT, 'n')} from ${opened('n')}),
    waiting as (
      insert into checkout_due (merchant_id, ${columns(OWN_DUE)})
      select ${merchantId}, ${columns(OWN_DUE, 'n')} from ${due('n')}
      returning 1)
    select 1 from waiting`,
});

/** The merchant's checkouts of these ids, whoever's they are. */
export async function checkoutsByIds(db: Queryable, merchantId: string, ids: readonly string[]): Promise<Checkout[]> {
  return READ_BY_IDS.all(db, { merchantId, ids });
}

/** The same, locked, in one order for everybody. */
export async function lockCheckouts(tx: Tx, merchantId: string, ids: readonly string[]): Promise<Checkout[]> {
  return LOCK_BY_IDS.all(tx, { merchantId, ids });
}

/** By a condition on the key, and no join: a plan that was made while there were few, and is kept, read all of the merchant's checkouts for each. */
const selectByIds = (name: string, lock: '' | 'for update of c') =>
  statement({
    name,
    params: { merchantId: text, ids: array(text) },
    row: CHECKOUT.shape,
    text: ({ merchantId, ids }) => `
      select ${columns(CHECKOUT.shape, 'c')}
      from checkout c
      where c.merchant_id = ${merchantId} and c.checkout_id = any (${ids})
      order by c.merchant_id, c.checkout_id ${lock}`,
  });
const READ_BY_IDS = selectByIds('read-checkouts', '');
const LOCK_BY_IDS = selectByIds('lock-checkouts', 'for update of c');

/**
 * Writes what locked checkouts of a merchant have become, and has those that are open looked at when they end; the others are off the
 * work list.
 */
export async function saveCheckouts(tx: Tx, merchantId: string, checkouts: readonly Checkout[]): Promise<void> {
  if (checkouts.length === 0) return;
  const { saved } = await SAVE.one(tx, {
    merchantId,
    saved: checkouts,
    open: checkouts.flatMap((one) => (one.state === 'open' ? [{ ...one, dueAt: endOfCheckout(one) }] : [])),
    over: checkouts.filter(({ state }) => state !== 'open'),
  });
  invariant(saved === checkouts.length, 'a locked checkout was not there to be updated');
}

const SAVE = statement({
  name: 'save-checkouts',
  params: {
    merchantId: text,
    saved: rowsOf({ ...OWN_CHECKOUT_KEY, ...CHECKOUT_PROGRESS }),
    open: rowsOf(OWN_DUE),
    over: rowsOf(OWN_CHECKOUT_KEY),
  },
  row: { saved: bigint },
  text: ({ merchantId, saved, open, over }) => `
    with saved as (
      update checkout c set ${assignments(CHECKOUT_PROGRESS, 'n')}
      from ${saved('n', { merchantId })}
      where c.merchant_id = n.merchant_id and c.customer_id = n.customer_id and c.checkout_id = n.checkout_id
      returning 1),
    moved as (
      update checkout_due d set due_at = n.due_at
      from ${open('n', { merchantId })}
      where d.merchant_id = n.merchant_id and d.customer_id = n.customer_id and d.checkout_id = n.checkout_id
        and d.due_at <> n.due_at),
    gone as (
      delete from checkout_due d using ${over('n', { merchantId })}
      where d.merchant_id = n.merchant_id and d.customer_id = n.customer_id and d.checkout_id = n.checkout_id)
    select count(*) as saved from saved`,
});

export async function getCheckout(
  db: Queryable,
  { merchantId, customerId, checkoutId }: CheckoutKey,
): Promise<Checkout | null> {
  return GET.first(db, { merchantId, customerId, checkoutId });
}

const GET = statement({
  name: 'get-checkout',
  params: pick(CHECKOUT.shape, 'merchantId', 'customerId', 'checkoutId'),
  row: CHECKOUT.shape,
  text: ({ merchantId, customerId, checkoutId }) => `
    select ${columns(CHECKOUT.shape)} from checkout
    where merchant_id = ${merchantId} and customer_id = ${customerId} and checkout_id = ${checkoutId}`,
});

export interface CheckoutsQuery {
  readonly state: Checkout['state'] | null;
  readonly currency: string | null;
  /** Only those that were opened before this one: a cursor that new ones do not move. */
  readonly beforeId: string | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of a customer's checkouts, the newest first; their ids sort by time. */
export async function listCheckouts(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  query: CheckoutsQuery,
): Promise<readonly Checkout[]> {
  return LIST.all(db, { ...query, merchantId, customerId, offset: query.pageSize * query.pageNumber });
}

const LIST = statement({
  params: {
    merchantId: text,
    customerId: text,
    state: nullable(oneOf<Checkout['state']>()),
    currency: nullable(text),
    beforeId: nullable(text),
    pageSize: bigint,
    offset: bigint,
  },
  row: CHECKOUT.shape,
  text: (p) => `
    select ${columns(CHECKOUT.shape)} from checkout
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId}
      and (${p.beforeId}::text is null or checkout_id < ${p.beforeId})
      and (${p.state}::text is null or state = ${p.state}) and (${p.currency}::text is null or currency = ${p.currency})
    order by checkout_id desc
    limit ${p.pageSize} offset ${p.offset}`,
});

/** Strikes the texts of a customer's checkouts out, and the addresses of pages, on which a name may stand. */
export async function eraseCheckoutTexts(db: Queryable, { merchantId, customerId }: CustomerKey): Promise<void> {
  await ERASE.run(db, { merchantId, customerId });
}

const ERASE = statement({
  params: { merchantId: text, customerId: text },
  text: ({ merchantId, customerId }) => `
    update checkout set reason = null, metadata = null, session_url = null
    where merchant_id = ${merchantId} and customer_id = ${customerId}
      and (reason is not null or metadata is not null or session_url is not null)`,
});

/** Lets checkouts that are paid at one source, or were, be paid at another one of the same account from now on. */
export async function moveCheckouts(
  tx: Tx,
  { merchantId, from, into }: { readonly merchantId: string; readonly from: string; readonly into: string },
): Promise<void> {
  await MOVE.run(tx, { merchantId, from, into });
}

const MOVE = statement({
  params: { merchantId: text, from: text, into: text },
  text: ({ merchantId, from, into }) =>
    `update checkout set source_id = ${into} where merchant_id = ${merchantId} and source_id = ${from}`,
});
