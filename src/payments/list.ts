import type { Queryable } from '../db/transaction.ts';
import type { Payment } from './payment.ts';
import { PAYMENT_COLUMNS, type PaymentRow, toPayment } from './store.ts';

export interface PaymentQuery {
  readonly state: Payment['state'] | null;
  readonly customerId: string | null;
  readonly sourceId: string | null;
  /** Only payments first heard of at this time or later; null for all. */
  readonly since: Date | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A payment without its refunds and disputes. */
export interface ListedPayment {
  readonly payment: Omit<Payment, 'parts'>;
  readonly provider: string;
  /** When it was first heard of. */
  readonly createdAt: Date;
}

/**
 * A page of the merchant's payments, newest first. Each source's payments are read backwards in time along their index, as
 * far as the page or `since` reaches, and then merged. State and customer have no index of their own: they change while a
 * payment is applied, which would make every application write to all indexes. So `since` bounds what a rare one costs.
 */
export async function listPayments(
  db: Queryable,
  merchantId: string,
  { state, customerId, sourceId, since, pageSize, pageNumber }: PaymentQuery,
): Promise<ListedPayment[]> {
  const sourceIds = sourceId === null ? await sourcesWithPayments(db, merchantId) : [sourceId];
  const { rows } = await db.query<PaymentRow & { provider: string; created_at: Date }>(LIST_PAYMENTS, [
    merchantId,
    sourceIds,
    since?.toISOString() ?? '-infinity',
    state,
    customerId,
    pageSize,
    pageSize * pageNumber,
  ]);
  return rows.map((row) => ({ payment: toPayment(row, []), provider: row.provider, createdAt: row.created_at }));
}

const LIST_PAYMENTS = `
  select p.*
  from unnest($2::text[]) as s (source_id)
  cross join lateral (
    select ${PAYMENT_COLUMNS}, p.provider, p.created_at from payment p
    where p.merchant_id = $1 and p.source_id = s.source_id and p.created_at >= $3::timestamptz
      and ($4::text is null or p.state = $4) and ($5::text is null or p.customer_id = $5)
    order by p.created_at desc, p.payment_id desc
    limit $6::bigint + $7::bigint) p
  order by p.created_at desc, p.source_id, p.payment_id desc
  limit $6 offset $7`;

/** Every source of the merchant that ever told of a payment, also one that is not configured any more. */
export async function sourcesWithPayments(db: Queryable, merchantId: string): Promise<string[]> {
  const { rows } = await db.query<{ source_id: string }>(
    `with recursive known (source_id) as (
       (select source_id from payment where merchant_id = $1 order by source_id limit 1)
       union all
       select (select p.source_id from payment p where p.merchant_id = $1 and p.source_id > known.source_id
         order by p.source_id limit 1)
       from known where known.source_id is not null)
     select source_id from known where source_id is not null`,
    [merchantId],
  );
  return rows.map((row) => row.source_id);
}
