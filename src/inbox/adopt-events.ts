import type { PgBoss } from 'pg-boss';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, nullable, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { ParkReason } from '../payments/fact.ts';
import { enqueue } from './enqueue.ts';
import type { EventKey } from './events.ts';

/** Moving the events of a source to another one of the same merchant. */

interface EventMove {
  readonly merchantId: string;
  readonly from: string;
  readonly into: string;
  /** Payments of either source whose events are to be read again. */
  readonly reread: readonly { readonly sourceId: string; readonly paymentId: string }[];
  readonly now: Date;
}

const PAIR = { merchantId: text, from: text, into: text };

/** Reasons for which an event may be parked only because one account had two sources. */
const PARKED_BY_THE_SPLIT: readonly ParkReason[] = [
  'known_at_another_source',
  'foreign_account',
  'source_missing',
  'unknown_payment',
  'no_customer',
];
/** How many jobs one statement makes. */
const MOST_JOBS = 1_000;

/** How many events would be moved, and the provider of one of them. */
export async function countEvents(
  db: Queryable,
  pair: Pick<EventMove, 'merchantId' | 'from' | 'into'>,
): Promise<{ readonly count: number; readonly provider: string | null }> {
  return COUNT_EVENTS.one(db, pair);
}

/** The same delivery at the other source. */
const twinOf = (e: string, into: string) =>
  `t.merchant_id = ${e}.merchant_id and t.source_id = ${into} and t.delivery_key = ${e}.delivery_key`;

const COUNT_EVENTS = statement({
  params: PAIR,
  row: { count: bigint, provider: nullable(text) },
  text: ({ merchantId, from, into }) => `
    select count(*) filter (where not exists (select from provider_event t where ${twinOf('e', into)} offset 0)) as count,
      min(e.provider) as provider
    from provider_event e where e.merchant_id = ${merchantId} and e.source_id = ${from}`,
});

/**
 * Moves the events, and applies those again that waited, or were parked because one account had two sources. A delivery that
 * both sources received is not moved: it is applied once, at the source that adopts.
 * @returns how many were moved
 */
export async function moveEvents(boss: PgBoss, tx: Tx, move: EventMove): Promise<number> {
  const { merchantId, from, into, reread, now } = move;
  const pair = { merchantId, from, into };
  await SETTLE_TWINS.run(tx, { ...pair, now });
  await DISMISS_TWINS.run(tx, { ...pair, now });
  const again = await READ_AGAIN.all(tx, { merchantId, payments: reread });
  await APPLY_TWINS.run(tx, { ...pair, now });
  const moved = await MOVE_EVENTS.run(tx, pair);
  const woken = await WAKE_SPLIT.all(tx, { merchantId, into, reasons: PARKED_BY_THE_SPLIT });
  const ids = [...new Set([...again, ...woken].map(({ eventId }) => eventId))];
  const events = ids.map((eventId) => ({ merchantId, eventId }));
  for (let at = 0; at < ids.length; at += MOST_JOBS)
    await enqueue(boss, tx, { events: events.slice(at, at + MOST_JOBS) });
  return moved;
}

/** Events of the adopted source with their twins, each looked up by its key, also where Postgres knows nothing of the table yet. */
const twins = ({ merchantId, from, into }: Readonly<Record<'merchantId' | 'from' | 'into', string>>) => `(
  select o.event_id, o.state, o.detail, o.is_closed, t.event_id as twin_id, t.state as twin_state
  from provider_event o cross join lateral (
    select t.event_id, t.state from provider_event t where ${twinOf('o', into)} offset 0) t
  where o.merchant_id = ${merchantId} and o.source_id = ${from})`;

const SETTLE_TWINS = statement({
  params: { ...PAIR, now: timestamptz },
  text: ({ merchantId, from, into, now }) => `
    update provider_event e
    set state = case when t.twin_state = 'dismissed' then 'dismissed' else 'ignored' end, reason = null, settled_at = ${now},
      detail = 'received by ' || ${into} || ' as well', is_closed = true
    from ${twins({ merchantId, from, into })} t
    where e.merchant_id = ${merchantId} and e.event_id = t.event_id and e.state in ('pending', 'waiting', 'parked')`,
});

/**
 * What a person has handled at the adopted source is not to be applied at the other one. If the release before dismissed
 * it, its movements are closed when its payment is next touched.
 */
const DISMISS_TWINS = statement({
  params: { ...PAIR, now: timestamptz },
  text: ({ merchantId, from, into, now }) => `
    update provider_event t
    set state = 'dismissed', reason = null, detail = e.detail, settled_at = ${now}, is_closed = e.is_closed
    from ${twins({ merchantId, from, into })} e
    where t.merchant_id = ${merchantId} and t.event_id = e.twin_id and e.state = 'dismissed'
      and t.state in ('pending', 'waiting', 'parked')`,
});

const TO_PENDING = `set state = 'pending', reason = null, detail = null, settled_at = null`;

const READ_AGAIN = statement({
  params: { merchantId: text, payments: rowsOf({ sourceId: text, paymentId: text }) },
  row: { eventId: text },
  text: ({ merchantId, payments }) => `
    update provider_event e ${TO_PENDING}
    from ${payments('p', { merchantId })}
    where e.merchant_id = p.merchant_id and e.source_id = p.source_id and e.payment_id = p.payment_id and e.state = 'applied'
    returning e.event_id`,
});

/** What was applied at the adopted source is applied, whatever became of it at the other one, which has its payment now. */
const APPLY_TWINS = statement({
  params: { ...PAIR, now: timestamptz },
  text: ({ merchantId, from, into, now }) => `
    update provider_event t
    set state = 'applied', reason = null, effect = 'none', settled_at = ${now},
      detail = left(coalesce(t.detail || '; ', '') || 'applied at ' || ${from} || ' before', 2000)
    from ${twins({ merchantId, from, into })} e
    where t.merchant_id = ${merchantId} and t.event_id = e.twin_id and e.state = 'applied' and t.state <> 'applied'`,
});

const MOVE_EVENTS = statement({
  params: PAIR,
  text: ({ merchantId, from, into }) => `
    update provider_event e set source_id = ${into}
    where e.merchant_id = ${merchantId} and e.source_id = ${from}
      and not exists (select from provider_event t where ${twinOf('e', into)} offset 0)`,
});

const WAKE_SPLIT = statement({
  params: { merchantId: text, into: text, reasons: array(text) },
  row: { eventId: text },
  text: ({ merchantId, into, reasons }) => `
    update provider_event ${TO_PENDING}
    where merchant_id = ${merchantId} and source_id = ${into}
      and (state = 'waiting' or (state = 'parked' and reason = any (${reasons})))
    returning event_id`,
});

/**
 * Gives events of adopted sources to those that adopted them: the ones that came in by the old address, or were under way.
 * @returns the ids of those that were given; the others had been received there as well
 */
export async function rehomeEvents(
  tx: Tx,
  moves: readonly (EventKey & { readonly intoSourceId: string })[],
): Promise<ReadonlySet<string>> {
  const moved = await ofEachMerchant(moves, (merchantId, own) => REHOME.all(tx, { merchantId, moves: own }));
  return new Set(moved.map(({ eventId }) => eventId));
}

const REHOME = statement({
  params: { merchantId: text, moves: rowsOf({ eventId: text, intoSourceId: text }) },
  row: { eventId: text },
  text: ({ merchantId, moves }) => `
    update provider_event e set source_id = m.into_source_id
    from ${moves('m', { merchantId })}
    where e.merchant_id = m.merchant_id and e.event_id = m.event_id and not exists (select from provider_event t where ${twinOf('e', 'm.into_source_id')} offset 0)
    returning e.event_id`,
});
