import type { Queryable, Tx } from '../db/transaction.ts';
import { OLD_NEWS } from '../inbox/old-news.ts';
import type { PaymentKey } from '../payments/store.ts';
import { type Item, OUTCOMES, type Outcome } from './run.ts';
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

/**
 * Says what became of missing items whose events are settled by now. An event that told what was known by the time it
 * was applied leaves no item, and neither does one that somebody has dismissed.
 * @returns what was healed and what was parked
 */
export async function settleItems(tx: Tx, { merchantId, runId }: RunKey): Promise<readonly SettledItem[]> {
  await tx.query(
    `with known as (
       delete from reconciliation_item i
       using provider_event e
       where i.merchant_id = $1 and i.run_id = $2 and i.outcome = 'missing' and e.event_id = i.event_id and e.merchant_id = i.merchant_id
         and ((e.state = 'applied' and e.detail = $3) or e.state in ('ignored', 'dismissed'))
       returning e.state)
     update reconciliation r set matched = matched + (select count(*) from known where state = 'applied')
     where r.merchant_id = $1 and r.run_id = $2`,
    [merchantId, runId, OLD_NEWS],
  );
  const { rows } = await tx.query<ItemRow & { outcome: 'healed' | 'differing' }>(
    `update reconciliation_item i
     set outcome = case e.state when 'applied' then 'healed' else 'differing' end,
       reason = case e.state when 'applied' then null else left(concat_ws(': ', 'its event is ' || e.state, e.reason, e.detail), 500) end
     from provider_event e
     where i.merchant_id = $1 and i.run_id = $2 and i.outcome = 'missing' and e.event_id = i.event_id and e.merchant_id = i.merchant_id
       and e.state in ('applied', 'parked')
     returning i.kind, i.object_id, i.payment_id, i.outcome, i.reason, i.event_id`,
    [merchantId, runId],
  );
  return rows.map((row) => ({ ...toItem(row), outcome: row.outcome }));
}

/** An event that a person has to deal with, or has dealt with. */
export interface EventInHand {
  readonly eventId: string;
  readonly state: 'parked' | 'dismissed';
  readonly reason: string | null;
}

/** The newest parked event of each of these payments, else the newest dismissed one, by payment id. */
export async function eventsInHand(
  db: Queryable,
  { merchantId, sourceId }: Omit<PaymentKey, 'paymentId'>,
  paymentIds: readonly string[],
): Promise<ReadonlyMap<string, EventInHand>> {
  const { rows } = await db.query<{
    payment_id: string;
    event_id: string;
    state: EventInHand['state'];
    reason: string | null;
  }>(
    `select distinct on (payment_id) payment_id, event_id, state, reason from provider_event
     where merchant_id = $1 and source_id = $2 and payment_id = any ($3) and state in ('parked', 'dismissed')
     order by payment_id, state desc, received_at desc, event_id desc`,
    [merchantId, sourceId, paymentIds],
  );
  return new Map(rows.map((row) => [row.payment_id, { eventId: row.event_id, state: row.state, reason: row.reason }]));
}

/** Which of these payments the run has taken in. */
export async function takenPayments(
  db: Queryable,
  { merchantId, runId }: RunKey,
  paymentIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ object_id: string }>(
    `select object_id from reconciliation_item
     where merchant_id = $1 and run_id = $2 and kind = 'payment' and object_id = any ($3) and outcome in ('missing', 'healed')`,
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
