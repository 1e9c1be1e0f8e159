import { array, bigint, nullable, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import type { Payment } from './payment.ts';
import { LISTED } from './tables.ts';

export interface PaymentQuery {
  readonly state: Payment['state'] | null;
  readonly customerId: string | null;
  readonly sourceId: string | null;
  /** Only payments that were first heard of at this time or later; null for all. */
  readonly since: Date | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A payment without its refunds and disputes. */
export interface ListedPayment {
  readonly payment: Omit<Payment, 'parts' | 'movements' | 'isUnread' | 'handled'>;
  readonly provider: string;
  /** When it was first heard of. */
  readonly createdAt: Date;
}

/**
 * A page of the merchant's payments, newest first. The payments of each source are read backwards in time by their index, as
 * far as the page or `since` reaches, and then merged. State and customer have no index: they change when an event is applied,
 * and each change would write to all indexes. So a search for a rare state reads much, and `since` limits how much.
 */
export async function listPayments(
  db: Queryable,
  merchantId: string,
  { state, customerId, sourceId, since, pageSize, pageNumber }: PaymentQuery,
): Promise<ListedPayment[]> {
  const sourceIds = sourceId === null ? await sourcesWithPayments(db, merchantId) : [sourceId];
  const listed = await LIST_PAYMENTS.all(db, {
    merchantId,
    sourceIds,
    since,
    state,
    customerId,
    pageSize,
    offset: pageSize * pageNumber,
  });
  return listed.map(({ provider, createdAt, ...payment }) => ({ payment, provider, createdAt }));
}

const LIST_PAYMENTS = statement({
  params: {
    merchantId: text,
    sourceIds: array(text),
    since: nullable(timestamptz),
    state: nullable(text),
    customerId: nullable(text),
    pageSize: bigint,
    offset: bigint,
  },
  row: LISTED,
  text: (p) => `
    select p.*
    from unnest(${p.sourceIds}::text[]) as s (source_id)
    cross join lateral (
      select ${columns(LISTED, 'p')} from payment p
      where p.merchant_id = ${p.merchantId} and p.source_id = s.source_id
        and p.created_at >= coalesce(${p.since}::timestamptz, '-infinity')
        and (${p.state}::text is null or p.state = ${p.state})
        and (${p.customerId}::text is null or p.customer_id = ${p.customerId})
      order by p.created_at desc, p.payment_id desc
      limit ${p.pageSize}::bigint + ${p.offset}::bigint) p
    order by p.created_at desc, p.source_id, p.payment_id desc
    limit ${p.pageSize} offset ${p.offset}`,
});

/** Every source of the merchant that has payments, also one that is not configured any more. */
export async function sourcesWithPayments(db: Queryable, merchantId: string): Promise<string[]> {
  return (await SOURCES_WITH_PAYMENTS.all(db, { merchantId })).map(({ sourceId }) => sourceId);
}

const SOURCES_WITH_PAYMENTS = statement({
  params: { merchantId: text },
  row: { sourceId: text },
  text: ({ merchantId }) => `
    with recursive known (source_id) as (
      (select source_id from payment where merchant_id = ${merchantId} order by source_id limit 1)
      union all
      select (select p.source_id from payment p where p.merchant_id = ${merchantId} and p.source_id > known.source_id
        order by p.source_id limit 1)
      from known where known.source_id is not null)
    select source_id from known where source_id is not null`,
});
