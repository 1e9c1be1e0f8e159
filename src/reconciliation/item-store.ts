import { array, bigint, nullable, oneOf, present, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { PaymentKey } from '../payments/tables.ts';
import { COMPARISON_RESULTS, type ComparisonResult, type Item } from './run.ts';
import type { RunKey } from './store.ts';

/** The items of runs, and the events that are looked up for them. */

/** Which of a run's items to list; `pageNumber` counts from 0, and without `outcomes` all are listed. */
export interface ItemQuery {
  /** Only items that come after this one; all unless given. */
  readonly after?: { readonly kind: string; readonly objectId: string };
  readonly pageSize: number;
  readonly pageNumber: number;
  readonly outcomes?: readonly ComparisonResult[];
}

const FROM_THE_START = { kind: '', objectId: '' };

/** A page of what a run found, ordered by kind and id. */
export async function listItems(
  db: Queryable,
  { merchantId, runId }: RunKey,
  { after = FROM_THE_START, pageSize, pageNumber, outcomes = COMPARISON_RESULTS }: ItemQuery,
): Promise<readonly Item[]> {
  const page = { afterKind: after.kind, afterId: after.objectId, pageSize, offset: pageNumber * pageSize };
  return LIST_ITEMS.all(db, { merchantId, runId, ...page, outcomes });
}

const ITEM = table('reconciliation_item', {
  kind: oneOf<Item['kind']>(),
  objectId: text,
  paymentId: nullable(text),
  outcome: oneOf<ComparisonResult>(),
  reason: nullable(text),
  eventId: nullable(text),
});

const LIST_ITEMS = statement({
  params: {
    ...{ merchantId: text, runId: text, outcomes: array(text) },
    ...{ afterKind: text, afterId: text, pageSize: bigint, offset: bigint },
  },
  row: ITEM.shape,
  text: (p) => `
    select ${columns(ITEM.shape)} from reconciliation_item
    where merchant_id = ${p.merchantId} and run_id = ${p.runId} and outcome = any (${p.outcomes})
      and (kind, object_id) > (${p.afterKind}, ${p.afterId})
    order by kind, object_id limit ${p.pageSize} offset ${p.offset}`,
});

/** Stores what a run found; an item that is there already is left as it is. At most 500 characters of a reason are kept. */
export async function insertItems(
  tx: Tx,
  { merchantId, runId }: RunKey,
  { items, now }: { readonly items: readonly Item[]; readonly now: Date },
): Promise<void> {
  if (items.length === 0) return;
  await INSERT_ITEMS.run(tx, { merchantId, runId, items, now });
}

const INSERT_ITEMS = statement({
  params: { merchantId: text, runId: text, items: rowsOf(ITEM.shape), now: timestamptz },
  text: ({ merchantId, runId, items, now }) => `
    insert into reconciliation_item (merchant_id, run_id, kind, object_id, payment_id, outcome, reason, event_id, found_at)
    select ${merchantId}, ${runId}, kind, object_id, payment_id, outcome, left(reason, 500), event_id, ${now}
    from ${items('n')}
    on conflict do nothing`,
});

/** An item whose event was applied (`healed`) or parked (`differing`). */
export interface SettledItem extends Item {
  readonly outcome: 'healed' | 'differing';
}

/** Those of a payment together, since one message tells of them. */
export const SETTLED_AT_ONCE = 500;

/**
 * Settles missing items whose events were worked on since, {@link SETTLED_AT_ONCE} at most: an applied event makes its item `healed`,
 * a parked one `differing`. The item is deleted if its event changed nothing, since a webhook came first, or was ignored or dismissed.
 * @returns the items that were healed or parked
 */
export async function settleItems(tx: Tx, key: RunKey): Promise<readonly SettledItem[]> {
  await COUNT_KNOWN.run(tx, key);
  const settled = await SETTLED_ITEMS.all(tx, { ...key, limit: SETTLED_AT_ONCE });
  if (settled.length > 0) await SETTLE_ITEMS.run(tx, { ...key, settled });
  return settled;
}

const COUNT_KNOWN = statement({
  params: { merchantId: text, runId: text },
  text: ({ merchantId, runId }) => `
    with known as (
      delete from reconciliation_item i
      using provider_event e
      where i.merchant_id = ${merchantId} and i.run_id = ${runId} and i.outcome = 'missing' and e.event_id = i.event_id
        and e.merchant_id = i.merchant_id
         and ((e.state = 'applied' and e.effect = 'none') or e.state in ('ignored', 'dismissed'))
       returning e.state)
    update reconciliation r set matched = matched + (select count(*) from known where state = 'applied')
    where r.merchant_id = ${merchantId} and r.run_id = ${runId}`,
});

const SETTLED = {
  kind: ITEM.shape.kind,
  objectId: text,
  outcome: oneOf<SettledItem['outcome']>(),
  reason: nullable(text),
};

const SETTLED_ITEMS = statement({
  params: { merchantId: text, runId: text, limit: bigint },
  row: { ...ITEM.shape, outcome: SETTLED.outcome },
  text: ({ merchantId, runId, limit }) => `
    select i.kind, i.object_id, i.payment_id, case when e.state = 'applied' then 'healed' else 'differing' end as outcome,
      case when e.state = 'applied' then null else left(concat_ws(': ', 'its event is ' || e.state, e.reason, e.detail), 500) end as reason,
      i.event_id
    from reconciliation_item i
    join provider_event e on e.event_id = i.event_id and e.merchant_id = i.merchant_id
    where i.merchant_id = ${merchantId} and i.run_id = ${runId} and i.outcome = 'missing' and e.state in ('applied', 'parked')
    order by i.payment_id, i.kind, i.object_id limit ${limit}`,
});

const SETTLE_ITEMS = statement({
  params: { merchantId: text, runId: text, settled: rowsOf(SETTLED) },
  text: ({ merchantId, runId, settled }) => `
    update reconciliation_item i set outcome = s.outcome, reason = s.reason
    from ${settled('s')}
    where i.merchant_id = ${merchantId} and i.run_id = ${runId} and i.kind = s.kind and i.object_id = s.object_id`,
});

/** A parked event, which a person must handle, or a dismissed one, which a person has handled. */
export interface EventInHand {
  readonly eventId: string;
  readonly state: 'parked' | 'dismissed';
  readonly reason: string | null;
}

/**
 * The newest parked event of each of these payments, else the newest dismissed one, by payment id. Parked ones that could not be
 * read are left out: what the API says of the payment can.
 */
export async function eventsInHand(
  db: Queryable,
  { merchantId, sourceId }: Omit<PaymentKey, 'paymentId'>,
  paymentIds: readonly string[],
): Promise<ReadonlyMap<string, EventInHand>> {
  const events = await EVENTS_IN_HAND.all(db, { merchantId, sourceId, paymentIds });
  return new Map(events.map(({ paymentId, ...event }) => [paymentId, event]));
}

const EVENTS_IN_HAND = statement({
  params: { merchantId: text, sourceId: text, paymentIds: array(text) },
  row: { paymentId: present(text), eventId: text, state: oneOf<EventInHand['state']>(), reason: nullable(text) },
  text: ({ merchantId, sourceId, paymentIds }) => `
    select distinct on (payment_id) payment_id, event_id, state, reason from provider_event
    where merchant_id = ${merchantId} and source_id = ${sourceId} and payment_id = any (${paymentIds})
      and (state = 'dismissed'
        or (state = 'parked' and reason not in ('malformed', 'unsupported_payload', 'unknown_amount')))
    order by payment_id, state desc, received_at desc, event_id desc`,
});

/** Which of these payments the run has taken in, by payment id. */
export async function takenPayments(
  db: Queryable,
  { merchantId, runId }: RunKey,
  paymentIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const taken = await TAKEN_PAYMENTS.all(db, { merchantId, runId, paymentIds });
  return new Set(taken.map(({ objectId }) => objectId));
}

const TAKEN_PAYMENTS = statement({
  params: { merchantId: text, runId: text, paymentIds: array(text) },
  row: { objectId: text },
  text: ({ merchantId, runId, paymentIds }) => `
    select object_id from reconciliation_item
    where merchant_id = ${merchantId} and run_id = ${runId} and kind = 'payment' and object_id = any (${paymentIds})
      and outcome in ('missing', 'healed')`,
});

/** The ids of the source's events with these delivery keys, by delivery key. */
export async function eventsByKeys(
  db: Queryable,
  { merchantId, sourceId }: Omit<PaymentKey, 'paymentId'>,
  deliveryKeys: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const events = await EVENTS_BY_KEYS.all(db, { merchantId, sourceId, deliveryKeys });
  return new Map(events.map(({ deliveryKey, eventId }) => [deliveryKey, eventId]));
}

const EVENTS_BY_KEYS = statement({
  params: { merchantId: text, sourceId: text, deliveryKeys: array(text) },
  row: { deliveryKey: text, eventId: text },
  text: ({ merchantId, sourceId, deliveryKeys }) => `
    select delivery_key, event_id from provider_event
    where merchant_id = ${merchantId} and source_id = ${sourceId} and delivery_key = any (${deliveryKeys})`,
});
