import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, boolean, nullable, oneOf, present, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, pick } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { CustomerKey } from '../ledger/entry.ts';
import type { HoldKey } from '../ledger/holds/hold.ts';
import type { Payment, PaymentPart } from './payment.ts';
import { withHistory } from './store.ts';
import { OWN_PAYMENT_KEY, PART, PAYMENT, PAYMENT_KEY, type PaymentKey, paymentKeyText } from './tables.ts';

/** Reads payments by something else than their keys. */

/** Locks these names of payments, so that others who want to post one of them wait. To be called before any payment is locked. */
export async function lockSharedPayments(tx: Tx, names: readonly string[]): Promise<void> {
  await LOCK_SHARED.run(tx, { names });
}

const LOCK_SHARED = statement({
  params: { names: array(text) },
  text: ({ names }) => `
    select pg_advisory_xact_lock(hashtextextended(name, 0))
    from (select distinct unnest(${names}::text[]) as name order by name) n`,
});

/** Which of these payments have moved money, by {@link paymentKeyText}. */
export async function paymentsThatPosted(db: Queryable, keys: readonly PaymentKey[]): Promise<ReadonlySet<string>> {
  const posted = await ofEachMerchant(keys, (merchantId, own) => THAT_POSTED.all(db, { merchantId, keys: own }));
  return new Set(posted.map(paymentKeyText));
}

const THAT_POSTED = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: PAYMENT_KEY,
  text: ({ merchantId, keys }) => `
    select distinct ${columns(PAYMENT_KEY, 'p')}
    from payment p join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    where p.postings > 0 or exists (
      select from payment_part t where t.merchant_id = p.merchant_id and t.source_id = p.source_id
        and t.payment_id = p.payment_id and t.postings > 0)`,
});

/** A place among the payments of a merchant. */
export type PaymentPlace = Pick<PaymentKey, 'sourceId' | 'paymentId'>;

/** How many payments a page looks at: no index leads from a customer to his payments, so all of the merchant's are looked at. */
const PAYMENTS_A_PAGE = 5_000;

/**
 * Of a page of the merchant's payments, those that are or were the customer's.
 * @returns them, and where the next page begins; null if this was the last
 */
export async function paymentsOfCustomer(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  place: PaymentPlace | null,
): Promise<{ readonly keys: readonly PaymentKey[]; readonly place: PaymentPlace | null }> {
  const after = place ?? { sourceId: '', paymentId: '' };
  const found = await OF_CUSTOMER.all(db, { merchantId, customerId, ...after, limit: PAYMENTS_A_PAGE });
  const last = found.find(({ position }) => position === PAYMENTS_A_PAGE);
  const keys = found
    .filter(({ isTheirs }) => isTheirs)
    .map(({ sourceId, paymentId }) => ({ merchantId, sourceId, paymentId }));
  return { keys, place: last === undefined ? null : { sourceId: last.sourceId, paymentId: last.paymentId } };
}

const OF_CUSTOMER = statement({
  params: { merchantId: text, customerId: text, sourceId: text, paymentId: text, limit: bigint },
  row: { sourceId: text, paymentId: text, isTheirs: boolean, position: bigint },
  text: (p) => `
    with page as materialized (
      select source_id, payment_id, customer_id, moves from payment
      where merchant_id = ${p.merchantId} and (source_id, payment_id) > (${p.sourceId}, ${p.paymentId})
      order by source_id, payment_id limit ${p.limit}),
    looked_at as (
      select source_id, payment_id, row_number() over (order by source_id, payment_id) as position,
        coalesce(customer_id = ${p.customerId}, false) or (moves > 0 and exists (
          select from payment_move m
          where m.merchant_id = ${p.merchantId} and m.source_id = page.source_id and m.payment_id = page.payment_id
            and m.from_customer_id = ${p.customerId} offset 0)) as is_theirs
      from page)
    select source_id, payment_id, is_theirs, position from looked_at
    where is_theirs or position = ${p.limit}
    order by position`,
});

/** Which of these payments have a dispute that is open, or a refund that is pending. */
export async function paymentsInDispute(db: Queryable, keys: readonly PaymentKey[]): Promise<readonly PaymentKey[]> {
  return ofEachMerchant(keys, (merchantId, own) => IN_DISPUTE.all(db, { merchantId, keys: own }));
}

const IN_DISPUTE = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: PAYMENT_KEY,
  text: ({ merchantId, keys }) => `
    select distinct ${columns(PAYMENT_KEY, 't')}
    from payment_part t join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    where t.state in ('open', 'pending')`,
});

/** The groups that these payments are of, as the keys under which events of a whole group are found. */
export async function groupsOfPayments(db: Queryable, keys: readonly PaymentKey[]): Promise<readonly PaymentKey[]> {
  const groups = await ofEachMerchant(keys, (merchantId, own) => GROUPS_OF.all(db, { merchantId, keys: own }));
  return groups.map(({ groupId: paymentId, ...key }) => ({ ...key, paymentId }));
}

const GROUPS_OF = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: { merchantId: text, sourceId: text, groupId: present(text) },
  text: ({ merchantId, keys }) => `
    select distinct p.merchant_id, p.source_id, p.group_id
    from payment p join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    where p.group_id is not null`,
});

/** Whether a source had payments before each of these times, in their order. */
export async function hadPaymentsBefore(
  db: Queryable,
  { merchantId, sourceId }: Pick<PaymentKey, 'merchantId' | 'sourceId'>,
  times: readonly Date[],
): Promise<readonly boolean[]> {
  const { first } = await FIRST_PAYMENT.one(db, { merchantId, sourceId });
  return times.map((time) => first !== null && first < time);
}

const FIRST_PAYMENT = statement({
  params: { merchantId: text, sourceId: text },
  row: { first: nullable(timestamptz) },
  text: ({ merchantId, sourceId }) =>
    `select min(created_at) as first from payment where merchant_id = ${merchantId} and source_id = ${sourceId}`,
});

/** The id of a payment that succeeded at the source and begins with these letters; null if there is none. */
export async function somePayment(
  db: Queryable,
  place: Pick<PaymentKey, 'merchantId' | 'sourceId'> & { readonly prefix: string },
): Promise<string | null> {
  const found = await SOME_PAYMENT.first(db, place);
  return found?.paymentId.startsWith(place.prefix) ? found.paymentId : null;
}

const SOME_PAYMENT = statement({
  params: { merchantId: text, sourceId: text, prefix: text },
  row: { paymentId: text },
  text: ({ merchantId, sourceId, prefix }) => `
    select payment_id from payment
    where merchant_id = ${merchantId} and source_id = ${sourceId} and payment_id > ${prefix} and state = 'succeeded'
    order by payment_id limit 1`,
});

/** Every payment of the merchant with this id; two sources may have one each. */
export async function findPayments(db: Queryable, merchantId: string, paymentId: string): Promise<Payment[]> {
  const payments = await FIND_PAYMENTS.all(db, { merchantId, paymentId });
  return [...(await withHistory(db, payments, { keys: payments })).values()];
}

const FIND_PAYMENTS = statement({
  params: { merchantId: text, paymentId: text },
  row: PAYMENT.shape,
  text: ({ merchantId, paymentId }) => `
    select ${columns(PAYMENT.shape, 'p')} from payment p
    where merchant_id = ${merchantId} and payment_id = ${paymentId} order by source_id`,
});

/** The payments of these refunds or disputes, by their ids: some news names nothing else. */
export async function paymentsOfParts(
  tx: Tx,
  { merchantId, sourceId, kind }: Pick<PaymentKey, 'merchantId' | 'sourceId'> & Pick<PaymentPart, 'kind'>,
  partIds: readonly string[],
): Promise<Map<string, string>> {
  const found = await PAYMENTS_OF_PARTS.all(tx, { merchantId, sourceId, kind, partIds });
  return new Map(found.map((one) => [one.partId, one.paymentId]));
}

/** Each by an index of its own, also where Postgres knows nothing of the table yet. */
const PAYMENTS_OF_PARTS = statement({
  params: { merchantId: text, sourceId: text, kind: oneOf<PaymentPart['kind']>(), partIds: array(text) },
  row: pick(PART.shape, 'partId', 'paymentId'),
  text: ({ merchantId, sourceId, kind, partIds }) => `
    select t.payment_id, t.part_id
    from unnest(${partIds}::text[]) as asked (id)
    cross join lateral (
      select t.payment_id, t.part_id from payment_part t
      where t.merchant_id = ${merchantId} and t.source_id = ${sourceId} and t.kind = ${kind} and t.part_id = asked.id
      offset 0) t`,
});

/** The payment whose dispute has this hold; null if none has it. */
export async function paymentHolding(db: Queryable, key: HoldKey): Promise<PaymentKey | null> {
  return HOLDING.first(db, { ...key });
}

const HOLDING = statement({
  params: { merchantId: text, customerId: text, currency: text, holdNo: bigint },
  row: PAYMENT_KEY,
  text: (p) => `
    select ${columns(PAYMENT_KEY, 't')}
    from payment_part t
    cross join lateral (
      select from payment p
      where p.merchant_id = t.merchant_id and p.source_id = t.source_id and p.payment_id = t.payment_id
        and p.customer_id = ${p.customerId} and p.currency = ${p.currency} offset 0) p
    where t.merchant_id = ${p.merchantId} and t.hold_no = ${p.holdNo}`,
});

/** Far more than are tried for one checkout. */
const MOST_UNDER_WAY = 50;

/** Payments that name the checkout and may not have come to their end, without a lock. */
export async function paymentsUnderWay(db: Queryable, merchantId: string, checkoutId: string): Promise<Payment[]> {
  const payments = await UNDER_WAY.all(db, { merchantId, checkoutId, limit: MOST_UNDER_WAY });
  return [...(await withHistory(db, payments, { keys: payments })).values()];
}

const UNDER_WAY = statement({
  params: { merchantId: text, checkoutId: text, limit: bigint },
  row: PAYMENT.shape,
  text: ({ merchantId, checkoutId, limit }) => `
    select ${columns(PAYMENT.shape, 'p')} from payment p
    where p.merchant_id = ${merchantId} and p.checkout_id = ${checkoutId} and (
        p.state in ('pending', 'succeeded') or p.heard_of or p.pending_at > coalesce(p.failed_at, '-infinity')
      )
      and p.agreed_amount is null
    limit ${limit}`,
});
