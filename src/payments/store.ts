import type { Queryable, Tx } from '../db/transaction.ts';
import type { PartState, Payment, PaymentPart } from './payment.ts';
import type { Purpose, RefundPolicy } from './purpose.ts';

export interface PaymentKey {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly paymentId: string;
}

export function paymentKeyText({ merchantId, sourceId, paymentId }: PaymentKey): string {
  return `${merchantId}\0${sourceId}\0${paymentId}`;
}

/**
 * Locks the lives of these payments in sorted order, opening those not heard of before, and returns them by
 * {@link paymentKeyText}. Payments are always locked before wallets, so that two batches cannot deadlock.
 */
export async function lockPayments(
  tx: Tx,
  keys: readonly (PaymentKey & { provider: string; refunds: RefundPolicy })[],
  now: Date,
): Promise<Map<string, Payment>> {
  const unique = [...new Map(keys.map((key) => [paymentKeyText(key), key])).values()];
  if (unique.length === 0) return new Map();
  const columns = [
    unique.map((key) => key.merchantId),
    unique.map((key) => key.sourceId),
    unique.map((key) => key.paymentId),
  ];
  await tx.query(OPEN_PAYMENTS, [
    ...columns,
    unique.map((key) => key.provider),
    now.toISOString(),
    unique.map((key) => key.refunds),
  ]);
  const { rows: payments } = await tx.query<PaymentRow>(LOCK_PAYMENTS, columns);
  const { rows: parts } = await tx.query<PartRow>(READ_PARTS, columns);
  return assemble(payments, parts);
}

const OPEN_PAYMENTS = {
  name: 'open-payments',
  text: `
    insert into payment (merchant_id, source_id, payment_id, provider, refunds, state, created_at, updated_at)
    select merchant_id, source_id, payment_id, provider, refunds, 'unknown', $5, $5
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $6::text[])
      as k (merchant_id, source_id, payment_id, provider, refunds)
    order by 1, 2, 3
    on conflict do nothing`,
};

export const PAYMENT_COLUMNS = `p.merchant_id, p.source_id, p.payment_id, p.state, p.purpose, p.customer_id, p.refunds, p.currency, p.amount_paid,
  p.credit_amount, p.waited_out, p.posted_credit, p.postings`;
const PART_COLUMNS = `t.merchant_id, t.source_id, t.payment_id, t.kind, t.part_id, t.ordinal, t.state, t.amount, t.currency,
  t.posted_credit, t.posted_take, t.postings`;
const BY_KEYS = `join unnest($1::text[], $2::text[], $3::text[]) as k (merchant_id, source_id, payment_id)
      using (merchant_id, source_id, payment_id)`;

const LOCK_PAYMENTS = {
  name: 'lock-payments',
  text: `
    select ${PAYMENT_COLUMNS} from payment p ${BY_KEYS}
    order by p.merchant_id, p.source_id, p.payment_id
    for update of p`,
};

const READ_PARTS = {
  name: 'read-payment-parts',
  text: `select ${PART_COLUMNS} from payment_part t ${BY_KEYS} order by t.ordinal`,
};

/** The lives of these payments as they stand, by {@link paymentKeyText}; those not heard of are missing. */
export async function readPayments(db: Queryable, keys: readonly PaymentKey[]): Promise<Map<string, Payment>> {
  const columns = [
    keys.map((key) => key.merchantId),
    keys.map((key) => key.sourceId),
    keys.map((key) => key.paymentId),
  ];
  const { rows: payments } = await db.query<PaymentRow>(
    `select distinct ${PAYMENT_COLUMNS} from payment p ${BY_KEYS}`,
    columns,
  );
  const { rows: parts } = await db.query<PartRow>(
    `select distinct ${PART_COLUMNS} from payment_part t ${BY_KEYS} order by t.ordinal`,
    columns,
  );
  return assemble(payments, parts);
}

/** Notes that the provider says the same of these payments as we do, the first time that it does. */
export async function confirmPayments(tx: Tx, keys: readonly PaymentKey[], now: Date): Promise<void> {
  if (keys.length === 0) return;
  await tx.query(
    `update payment p set confirmed_at = $4
     from unnest($1::text[], $2::text[], $3::text[]) as k (merchant_id, source_id, payment_id)
     where p.merchant_id = k.merchant_id and p.source_id = k.source_id and p.payment_id = k.payment_id
       and p.confirmed_at is null`,
    [
      keys.map((key) => key.merchantId),
      keys.map((key) => key.sourceId),
      keys.map((key) => key.paymentId),
      now.toISOString(),
    ],
  );
}

/** Writes the lives back, in one statement each for payments and parts. The payments must be locked. */
export async function savePayments(tx: Tx, payments: readonly Payment[], now: Date): Promise<void> {
  if (payments.length === 0) return;
  await tx.query(SAVE_PAYMENTS, [JSON.stringify(payments.map(paymentRow)), now.toISOString()]);
  const parts = payments.flatMap((payment) => payment.parts.map((part) => partRow(payment, part)));
  if (parts.length > 0) await tx.query(SAVE_PARTS, [JSON.stringify(parts), now.toISOString()]);
}

const SAVE_PAYMENTS = {
  name: 'save-payments',
  text: `
    update payment p
    set state = n.state, purpose = n.purpose, customer_id = n.customer_id, currency = n.currency, amount_paid = n.amount_paid,
      credit_amount = n.credit_amount, waited_out = n.waited_out, posted_credit = n.posted_credit, postings = n.postings, updated_at = $2
    from jsonb_to_recordset($1::jsonb) as n (merchant_id text, source_id text, payment_id text, state text, purpose text,
      customer_id text, currency text, amount_paid bigint, credit_amount bigint, waited_out boolean, posted_credit bigint, postings integer)
    where p.merchant_id = n.merchant_id and p.source_id = n.source_id and p.payment_id = n.payment_id`,
};

const SAVE_PARTS = {
  name: 'save-payment-parts',
  text: `
    insert into payment_part as t (merchant_id, source_id, payment_id, kind, part_id, ordinal, state, amount, currency,
      posted_credit, posted_take, postings, created_at, updated_at)
    select n.*, $2::timestamptz, $2::timestamptz
    from jsonb_to_recordset($1::jsonb) as n (merchant_id text, source_id text, payment_id text, kind text, part_id text,
      ordinal integer, state text, amount bigint, currency text, posted_credit bigint, posted_take bigint, postings integer)
    on conflict (merchant_id, source_id, payment_id, kind, part_id) do update
    set ordinal = excluded.ordinal, state = excluded.state, amount = excluded.amount, currency = excluded.currency,
      posted_credit = excluded.posted_credit, posted_take = excluded.posted_take, postings = excluded.postings,
      updated_at = excluded.updated_at`,
};

/** Every payment of the merchant with this id (two sources may have one each), as its life stands. */
export async function findPayments(db: Queryable, merchantId: string, paymentId: string): Promise<Payment[]> {
  const { rows: payments } = await db.query<PaymentRow>(
    `select ${PAYMENT_COLUMNS} from payment p where merchant_id = $1 and payment_id = $2 order by source_id`,
    [merchantId, paymentId],
  );
  const { rows: parts } = await db.query<PartRow>(
    `select ${PART_COLUMNS} from payment_part t where merchant_id = $1 and source_id = any ($2) and payment_id = $3 order by ordinal`,
    [merchantId, payments.map((row) => row.source_id), paymentId],
  );
  return [...assemble(payments, parts).values()];
}

export interface PaymentRow {
  merchant_id: string;
  source_id: string;
  payment_id: string;
  state: Payment['state'];
  purpose: Purpose | null;
  customer_id: string | null;
  refunds: RefundPolicy;
  currency: string | null;
  amount_paid: number | null;
  credit_amount: number | null;
  waited_out: boolean;
  posted_credit: number;
  postings: number;
}

interface PartRow {
  merchant_id: string;
  source_id: string;
  payment_id: string;
  kind: PaymentPart['kind'];
  part_id: string;
  ordinal: number;
  state: PartState;
  amount: number | null;
  currency: string | null;
  posted_credit: number;
  posted_take: number;
  postings: number;
}

function assemble(payments: readonly PaymentRow[], parts: readonly PartRow[]): Map<string, Payment> {
  const keyOf = (row: PaymentRow | PartRow) =>
    paymentKeyText({ merchantId: row.merchant_id, sourceId: row.source_id, paymentId: row.payment_id });
  const partsByPayment = Map.groupBy(parts, keyOf);
  return new Map(payments.map((row) => [keyOf(row), toPayment(row, partsByPayment.get(keyOf(row)) ?? [])]));
}

/** @param parts the payment's own, in their order */
export function toPayment(row: PaymentRow, parts: readonly PartRow[]): Payment {
  return {
    merchantId: row.merchant_id,
    sourceId: row.source_id,
    paymentId: row.payment_id,
    state: row.state,
    purpose: row.purpose,
    customerId: row.customer_id,
    refunds: row.refunds,
    currency: row.currency,
    amountPaid: row.amount_paid,
    creditAmount: row.credit_amount,
    waitedOut: row.waited_out,
    postedCredit: row.posted_credit,
    postings: row.postings,
    parts: parts.map((part) => ({
      kind: part.kind,
      partId: part.part_id,
      ordinal: part.ordinal,
      state: part.state,
      amountMinor: part.amount,
      currency: part.currency,
      postedCredit: part.posted_credit,
      postedTake: part.posted_take,
      postings: part.postings,
    })),
  };
}

function paymentRow(payment: Payment): PaymentRow {
  return {
    merchant_id: payment.merchantId,
    source_id: payment.sourceId,
    payment_id: payment.paymentId,
    state: payment.state,
    purpose: payment.purpose,
    customer_id: payment.customerId,
    refunds: payment.refunds,
    currency: payment.currency,
    amount_paid: payment.amountPaid,
    credit_amount: payment.creditAmount,
    waited_out: payment.waitedOut,
    posted_credit: payment.postedCredit,
    postings: payment.postings,
  };
}

function partRow(payment: Payment, part: PaymentPart): PartRow {
  return {
    merchant_id: payment.merchantId,
    source_id: payment.sourceId,
    payment_id: payment.paymentId,
    kind: part.kind,
    part_id: part.partId,
    ordinal: part.ordinal,
    state: part.state,
    amount: part.amountMinor,
    currency: part.currency,
    posted_credit: part.postedCredit,
    posted_take: part.postedTake,
    postings: part.postings,
  };
}
