import type { Queryable, Tx } from '../db/transaction.ts';
import type { PaymentKey } from '../payments/store.ts';
import { type Item, OUTCOMES, type Outcome, type Run } from './run.ts';
import type { RunKey } from './store.ts';

/** What runs found, and what they look up to find it. */

/** What a run found, by kind and id. */
export async function listItems(
  db: Queryable,
  { merchantId, runId }: RunKey,
  { pageSize, pageNumber }: { readonly pageSize: number; readonly pageNumber: number },
  outcomes: readonly Outcome[] = OUTCOMES,
): Promise<readonly Item[]> {
  const { rows } = await db.query<ItemRow>(
    `select kind, object_id, payment_id, outcome, reason, event_id from reconciliation_item
     where merchant_id = $1 and run_id = $2 and outcome = any ($5) order by kind, object_id limit $3 offset $4`,
    [merchantId, runId, pageSize, pageNumber * pageSize, outcomes],
  );
  return rows.map(toItem);
}

export async function insertItems(
  tx: Tx,
  { merchantId, runId }: RunKey,
  items: readonly Item[],
  now: Date,
): Promise<void> {
  if (items.length === 0) return;
  await tx.query(
    `insert into reconciliation_item (merchant_id, run_id, kind, object_id, payment_id, outcome, reason, event_id, found_at)
     select $1, $2, kind, object_id, payment_id, outcome, left(reason, 500), event_id, $9
     from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
       as n (kind, object_id, payment_id, outcome, reason, event_id)
     on conflict do nothing`,
    [
      merchantId,
      runId,
      items.map((item) => item.kind),
      items.map((item) => item.objectId),
      items.map((item) => item.paymentId),
      items.map((item) => item.outcome),
      items.map((item) => item.reason),
      items.map((item) => item.eventId),
      now.toISOString(),
    ],
  );
}

/** What {@link settleItems} found out. */
export interface SettledItem extends Item {
  readonly outcome: 'healed' | 'differing';
}

/** Says what became of missing items whose events are settled by now, and returns them. */
export async function settleItems(tx: Tx, { merchantId, runId }: RunKey): Promise<readonly SettledItem[]> {
  const { rows } = await tx.query<ItemRow & { outcome: 'healed' | 'differing' }>(
    `update reconciliation_item i
     set outcome = case e.state when 'applied' then 'healed' else 'differing' end,
       reason = case e.state when 'applied' then null else left(concat_ws(': ', 'its event is ' || e.state, e.reason, e.detail), 500) end
     from provider_event e
     where i.merchant_id = $1 and i.run_id = $2 and i.outcome = 'missing' and e.event_id = i.event_id and e.merchant_id = i.merchant_id
       and e.state not in ('pending', 'waiting')
     returning i.kind, i.object_id, i.payment_id, i.outcome, i.reason, i.event_id`,
    [merchantId, runId],
  );
  return rows.map((row) => ({ ...toItem(row), outcome: row.outcome }));
}

/**
 * Payments of ours within the run's window that nobody has confirmed since the run began, by id.
 * A payment can be heard of long after it was made, so one that was made before the window may be among them.
 */
export async function unconfirmedPayments(
  db: Queryable,
  run: Run,
  after: string | null,
  limit: number,
): Promise<readonly string[]> {
  const { rows } = await db.query<{ payment_id: string }>(
    `select p.payment_id from payment p
     where p.merchant_id = $1 and p.source_id = $2 and p.state = 'succeeded' and p.created_at >= $3 and p.created_at < $4
       and (p.confirmed_at is null or p.confirmed_at < $5) and ($6::text is null or p.payment_id > $6)
       and not exists (select from reconciliation_item i
         where i.merchant_id = p.merchant_id and i.run_id = $7 and i.kind = 'payment' and i.object_id = p.payment_id)
     order by p.payment_id limit $8`,
    [
      run.merchantId,
      run.sourceId,
      run.since.toISOString(),
      run.until.toISOString(),
      run.createdAt.toISOString(),
      after,
      run.runId,
      limit,
    ],
  );
  return rows.map((row) => row.payment_id);
}

/** The newest parked event of each of these payments, by payment id. */
export async function parkedEvents(
  db: Queryable,
  { merchantId, sourceId }: Omit<PaymentKey, 'paymentId'>,
  paymentIds: readonly string[],
): Promise<ReadonlyMap<string, { readonly eventId: string; readonly reason: string }>> {
  const { rows } = await db.query<{ payment_id: string; event_id: string; reason: string }>(
    `select distinct on (payment_id) payment_id, event_id, reason from provider_event
     where merchant_id = $1 and source_id = $2 and payment_id = any ($3) and state = 'parked'
     order by payment_id, received_at desc, event_id desc`,
    [merchantId, sourceId, paymentIds],
  );
  return new Map(rows.map((row) => [row.payment_id, { eventId: row.event_id, reason: row.reason }]));
}

/** Which of these payments the run has found already. */
export async function foundPayments(
  db: Queryable,
  { merchantId, runId }: RunKey,
  paymentIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ object_id: string }>(
    `select object_id from reconciliation_item
     where merchant_id = $1 and run_id = $2 and kind = 'payment' and object_id = any ($3)`,
    [merchantId, runId, paymentIds],
  );
  return new Set(rows.map((row) => row.object_id));
}

/** Events that were taken in before, by their delivery keys. */
export async function eventsByKeys(
  db: Queryable,
  { merchantId, sourceId }: Omit<PaymentKey, 'paymentId'>,
  deliveryKeys: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await db.query<{ delivery_key: string; event_id: string }>(
    'select delivery_key, event_id from provider_event where merchant_id = $1 and source_id = $2 and delivery_key = any ($3)',
    [merchantId, sourceId, deliveryKeys],
  );
  return new Map(rows.map((row) => [row.delivery_key, row.event_id]));
}

interface ItemRow {
  kind: Item['kind'];
  object_id: string;
  payment_id: string | null;
  outcome: Outcome;
  reason: string | null;
  event_id: string | null;
}

function toItem(row: ItemRow): Item {
  return {
    kind: row.kind,
    objectId: row.object_id,
    paymentId: row.payment_id,
    outcome: row.outcome,
    reason: row.reason,
    eventId: row.event_id,
  };
}
