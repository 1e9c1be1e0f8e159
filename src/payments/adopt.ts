import { onCitus } from '../db/backend.ts';
import { bigint, text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { PaymentKey } from './tables.ts';

/** Moving all payments of a source to another one of the same merchant. Parts and movements go with them (migration 0022). */

export interface SourcePair {
  readonly merchantId: string;
  readonly from: string;
  readonly into: string;
}

const PAIR = { merchantId: text, from: text, into: text };

export async function countPayments(db: Queryable, { merchantId, from }: SourcePair): Promise<number> {
  return (await COUNT_PAYMENTS.one(db, { merchantId, from })).count;
}

const COUNT_PAYMENTS = statement({
  params: { merchantId: text, from: text },
  row: { count: bigint },
  text: ({ merchantId, from }) =>
    `select count(*) as count from payment where merchant_id = ${merchantId} and source_id = ${from}`,
});

/** Whether the payment of this alias has moved or held money, has completed a checkout, or was given to another customer, which is not to be forgotten. */
const hasPosted = (
  p: string,
) => `(${p}.postings > 0 or ${p}.moves > 0 or (${p}.purpose = 'checkout' and ${p}.agreed_amount is not null) or exists (
  select from payment_part t where t.merchant_id = ${p}.merchant_id and t.source_id = ${p}.source_id
    and t.payment_id = ${p}.payment_id and (t.postings > 0 or t.holds > 0)))`;

/** One by its key for each of the other, also where Postgres knows nothing of the tables yet. */
const atBoth = ({ merchantId, from, into }: Readonly<Record<'merchantId' | 'from' | 'into', string>>) => `
  from payment o cross join lateral (
    select n.* from payment n
    where n.merchant_id = o.merchant_id and n.source_id = ${into} and n.payment_id = o.payment_id offset 0) n
  where o.merchant_id = ${merchantId} and o.source_id = ${from}`;

/** The first `limit` payments, in order, that moved money at both sources. Only a person can decide about them. */
export async function postedAtBoth(db: Queryable, pair: SourcePair, limit: number): Promise<readonly string[]> {
  return (await POSTED_AT_BOTH.all(db, { ...pair, limit })).map(({ paymentId }) => paymentId);
}

const POSTED_AT_BOTH = statement({
  params: { ...PAIR, limit: bigint },
  row: { paymentId: text },
  text: (p) => `
    select o.payment_id ${atBoth(p)} and ${hasPosted('o')} and ${hasPosted('n')} order by 1 limit ${p.limit}`,
});

/**
 * Locks the payments that both sources know, so that nobody gives one of them to another customer while it is decided which
 * of the two is kept.
 */
export async function lockShared(tx: Tx, pair: SourcePair): Promise<void> {
  await LOCK_SHARED.run(tx, pair);
}

const LOCK_SHARED = statement({
  params: PAIR,
  row: { paymentId: text },
  text: (p) => `
    select l.payment_id from payment l
    where l.merchant_id = ${p.merchantId} and l.source_id in (${p.from}, ${p.into}) and exists (
      select from payment t
      where t.merchant_id = l.merchant_id and t.payment_id = l.payment_id
        and t.source_id = case when l.source_id = ${p.from} then ${p.into} else ${p.from} end
      offset 0)
    order by l.source_id, l.payment_id
    for update`,
});

/** A payment that both sources knew. What this source had of it was dropped, and its events must be read again. */
export interface DroppedPayment {
  readonly paymentId: string;
  readonly sourceId: string;
}

/**
 * Moves the payments. If both sources know a payment, the one that moved money is kept. No payment may have moved money at
 * both, and no events of the two sources may be applied meanwhile.
 */
export async function movePayments(
  tx: Tx,
  pair: SourcePair,
): Promise<{ readonly moved: number; readonly dropped: readonly DroppedPayment[] }> {
  await KEEP_HEARD_OF.run(tx, pair);
  const dropped = await DROP_UNPOSTED.all(tx, pair);
  await MOVE_TOKEN_USES.run(tx, pair);
  await MOVE_GROUPS.run(tx, pair);
  const moved = await MOVE_PAYMENTS.run(tx, pair);
  // One Postgres has moved them with their payments by now.
  if (onCitus()) for (const own of OF_PAYMENTS) await own.run(tx, pair);
  return { moved, dropped };
}

/** Of a group that both know, each has payments of its own. */
const MOVE_GROUPS = statement({
  params: PAIR,
  text: ({ merchantId, from, into }) => `
    with own as (
      delete from payment_group where merchant_id = ${merchantId} and source_id = ${from}
      returning group_id, payment_ids, customer_id, token_hash, series_id, created_at),
    moved as (
      insert into payment_group as g (merchant_id, source_id, group_id, payment_ids, customer_id, token_hash, series_id, created_at)
      select ${merchantId}, ${into}, group_id, payment_ids, customer_id, token_hash, series_id, created_at from own
      on conflict (merchant_id, source_id, group_id) do update
      set payment_ids = array(select distinct unnest(g.payment_ids || excluded.payment_ids) as id order by id),
        customer_id = coalesce(g.customer_id, excluded.customer_id), token_hash = coalesce(g.token_hash, excluded.token_hash),
        series_id = coalesce(g.series_id, excluded.series_id)
      returning 1)
    select 1 from moved`,
});

/** A token stays used by the payment that used it. */
const MOVE_TOKEN_USES = statement({
  params: PAIR,
  text: ({ merchantId, from, into }) => `
    update payment_token set used_source_id = ${into} where merchant_id = ${merchantId} and used_source_id = ${from}`,
});

/**
 * Moves what was handled by hand. To be called after the events are moved: whoever handles one of them meanwhile has stored it
 * by then.
 * @returns the payments with disputes of which anything was handled by hand: what those hold may have been told to the other source
 */
export async function moveHandled(tx: Tx, pair: SourcePair): Promise<readonly PaymentKey[]> {
  await MOVE_HANDLED.run(tx, pair);
  const { merchantId, into: sourceId } = pair;
  const disputed = await HANDLED_AND_DISPUTED.all(tx, { merchantId, sourceId });
  return disputed.map(({ paymentId }) => ({ merchantId, sourceId, paymentId }));
}

const HANDLED_AND_DISPUTED = statement({
  params: { merchantId: text, sourceId: text },
  row: { paymentId: text },
  text: ({ merchantId, sourceId }) => `
    select h.payment_id
    from (select distinct payment_id from handled_movement where merchant_id = ${merchantId} and source_id = ${sourceId}) h
    where exists (
      select from payment_part t
      where t.merchant_id = ${merchantId} and t.source_id = ${sourceId} and t.payment_id = h.payment_id
        and t.kind = 'dispute' and (t.hold_no is not null or t.state = 'open')
      offset 0)`,
});

const MOVE_HANDLED = statement({
  params: PAIR,
  text: ({ merchantId, from, into }) => `
    update handled_movement set source_id = ${into} where merchant_id = ${merchantId} and source_id = ${from}`,
});

/** If news of a payment is parked at either source, it counts as heard of, so that its refund does not count as an order's. */
const KEEP_HEARD_OF = statement({
  params: PAIR,
  text: (p) => `
    update payment p set heard_of = true
    from (select o.payment_id ${atBoth(p)} and (o.heard_of or n.heard_of)) h
    where p.merchant_id = ${p.merchantId} and p.payment_id = h.payment_id and p.source_id in (${p.from}, ${p.into})
      and not p.heard_of`,
});

const DROP_UNPOSTED = statement({
  params: PAIR,
  row: { paymentId: text, sourceId: text },
  text: (p) => `
    with shared as (select o.payment_id, ${hasPosted('n')} as is_kept ${atBoth(p)})
    delete from payment d using shared s
    where d.merchant_id = ${p.merchantId} and d.payment_id = s.payment_id
      and d.source_id = case when s.is_kept then ${p.from} else ${p.into} end
    returning d.payment_id, d.source_id`,
});

const MOVE_PAYMENTS = statement({
  params: PAIR,
  text: ({ merchantId, from, into }) => `
    update payment set source_id = ${into}, key_source = nullif(coalesce(key_source, source_id), ${into})
    where merchant_id = ${merchantId} and source_id = ${from}`,
});

/** On Citus no key cascades to the rows of other tables (src/db/spread.ts). */
const OF_PAYMENTS = [
  statement({
    params: PAIR,
    text: ({ merchantId, from, into }) =>
      `update payment_part set source_id = ${into} where merchant_id = ${merchantId} and source_id = ${from}`,
  }),
  statement({
    params: PAIR,
    text: ({ merchantId, from, into }) =>
      `update payment_movement set source_id = ${into} where merchant_id = ${merchantId} and source_id = ${from}`,
  }),
  statement({
    params: PAIR,
    text: ({ merchantId, from, into }) =>
      `update payment_move set source_id = ${into} where merchant_id = ${merchantId} and source_id = ${from}`,
  }),
];
