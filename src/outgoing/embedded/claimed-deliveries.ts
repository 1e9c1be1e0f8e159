import { ofEachMerchant } from '../../db/by-merchant.ts';
import { array, bigint, boolean, float, integer, nullable, oneOf, present, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns, omit, pick, soleRow } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import { DELIVERY_KEY, type DeliveryKey, type DeliveryState, isDelivery } from './delivery-store.ts';

/**
 * The pending deliveries as a work list. Whoever tries one leases it: it becomes due again when the lease ends, so that another worker
 * takes it over from one that died. What came of a try is written only while its lease is the newest, except that it was delivered.
 */

/** A delivery that this process has leased, with everything that a try needs to know. */
export interface ClaimedDelivery extends DeliveryKey {
  /** How often it was tried before. */
  readonly attempts: number;
  /** When the lease ends, by the database's clock; no two leases of a delivery end at the same time. */
  readonly leasedUntil: Date;
  readonly eventType: string;
  readonly payload: string;
  readonly url: string;
  readonly disabled: boolean;
  /** Whether the endpoint has done nothing but fail for half a minute or longer, whatever the message. */
  readonly isFailing: boolean;
  readonly secret: string;
  /** Older secrets that still sign, the newest first. */
  readonly oldSecrets: readonly string[];
  /** The merchant's own headers, sealed; null if there are none. */
  readonly headers: string | null;
  /** By which trace the message came to be, if traces were collected. */
  readonly traceParent: string | null;
}

/** A merchant with pending deliveries, and whether one of them is due. */
export interface PendingMerchant {
  readonly merchantId: string;
  readonly isDue: boolean;
}

/** Up to `most` merchants with pending deliveries whose ids come after `after`, in order; fewer than `most` if no more follow. */
export function merchantsPending(
  db: Queryable,
  asked: { readonly after: string; readonly most: number },
): Promise<readonly PendingMerchant[]> {
  return MERCHANTS_PENDING.all(db, asked);
}

/** From merchant to merchant along the index, however much each of them has there. */
const MERCHANTS_PENDING = statement({
  name: 'merchants-pending',
  acrossMerchants: 'a worker looks for merchants whose deliveries are due, so that each has a turn',
  params: { after: text, most: bigint },
  row: { merchantId: text, isDue: boolean },
  text: ({ after, most }) => `
    with recursive merchants (merchant_id, place) as (
      (select merchant_id, 1::bigint from webhook_delivery where state = 'pending' and merchant_id > ${after}
        order by merchant_id, next_attempt_at limit 1)
      union all
      select (select d.merchant_id from webhook_delivery d where d.state = 'pending' and d.merchant_id > m.merchant_id
        order by d.merchant_id, d.next_attempt_at limit 1), m.place + 1
      from merchants m where m.merchant_id is not null and m.place < ${most})
    select m.merchant_id, exists (
      select from webhook_delivery d
      where d.merchant_id = m.merchant_id and d.state = 'pending' and d.next_attempt_at <= now()) as is_due
    from merchants m where m.merchant_id is not null order by m.place`,
  textOnCitus: ({ after, most }) => `
    select merchant_id, bool_or(next_attempt_at <= now()) as is_due from webhook_delivery
    where state = 'pending' and merchant_id > ${after} group by merchant_id order by merchant_id limit ${most}`,
});

/** What a worker has room for. */
export interface DeliveryClaim {
  readonly merchantId: string;
  readonly limit: number;
  /** Of their payloads together; a single delivery is claimed whatever its size. */
  readonly maxBytes: number;
  readonly leaseSeconds: number;
  /** Decides which old secrets still sign. */
  readonly now: Date;
}

/** Leases deliveries of a merchant that are due, longest waiting first; what somebody else is about is his. */
export function claimDeliveries(db: Queryable, claim: DeliveryClaim): Promise<readonly ClaimedDelivery[]> {
  return CLAIM.all(db, claim);
}

const CLAIM = statement({
  name: 'claim-deliveries',
  params: { merchantId: text, limit: bigint, maxBytes: bigint, leaseSeconds: float, now: timestamptz },
  row: {
    ...DELIVERY_KEY,
    attempts: integer,
    leasedUntil: present(timestamptz),
    eventType: text,
    payload: text,
    traceParent: nullable(text),
    url: text,
    disabled: boolean,
    isFailing: boolean,
    secret: text,
    headers: nullable(text),
    oldSecrets: array(text),
  },
  text: ({ merchantId, limit, maxBytes, leaseSeconds, now }) => `
    with due as materialized (
      select message_id, endpoint_id, next_attempt_at from webhook_delivery
      where merchant_id = ${merchantId} and state = 'pending' and next_attempt_at <= now()
      order by merchant_id, next_attempt_at limit ${limit}
      for update skip locked),
    sized as materialized (
      select due.message_id, due.endpoint_id, m.event_type, m.payload, m.trace_parent,
        sum(octet_length(m.payload)) over (order by due.next_attempt_at, due.message_id, due.endpoint_id) - octet_length(m.payload) as before
      from due cross join lateral (
        select x.message_id, x.event_type, x.payload, x.trace_parent from webhook_message x
        where x.merchant_id = ${merchantId} and ${soleRow(pick(DELIVERY_KEY, 'messageId'), 'x', 'due')}) m),
    claimed as (
      update webhook_delivery d
      set next_attempt_at = date_trunc('milliseconds', now() + make_interval(secs => ${leaseSeconds}))
      from sized s
      where d.merchant_id = ${merchantId} and ${isDelivery('s')} and s.before < ${maxBytes}
      returning ${columns(DELIVERY_KEY, 'd')}, d.attempts, d.next_attempt_at, s.event_type, s.payload, s.trace_parent)
    select ${columns(DELIVERY_KEY, 'c')}, c.attempts, c.next_attempt_at as leased_until, c.event_type, c.payload, c.trace_parent,
      e.url, e.disabled, coalesce(e.failing_since <= ${now}::timestamptz - interval '30 seconds', false) as is_failing,
      e.secret, h.sealed as headers, array(
        select o.secret from (
          select e.old_secret as secret, e.old_secret_until as valid_until
          union all
          select o.secret, o.valid_until from webhook_older_secret o
          where o.merchant_id = c.merchant_id and o.endpoint_id = c.endpoint_id) o
        where o.secret is not null and o.valid_until > ${now}
        order by o.valid_until desc) as old_secrets
    from claimed c
    join webhook_endpoint e on e.merchant_id = ${merchantId} and e.endpoint_id = c.endpoint_id
    left join webhook_endpoint_headers h on h.merchant_id = ${merchantId} and h.endpoint_id = c.endpoint_id`,
});

/** What is to become of a delivery. */
export interface Settlement {
  readonly state: DeliveryState;
  /** Whether it counts as a try. */
  readonly isTry: boolean;
  /** Until the next try; null if there is none. */
  readonly nextInSeconds: number | null;
}

/** What came of one lease. */
export interface SettledDelivery extends DeliveryKey {
  readonly leasedUntil: Date;
  readonly settlement: Settlement;
}

/**
 * Ends deliveries or puts them off. Of one whose lease is no longer the newest only a success counts: it was delivered.
 * @returns those that were changed
 */
export async function settleDeliveries(tx: Tx, settled: readonly SettledDelivery[]): Promise<readonly DeliveryKey[]> {
  return ofEachMerchant(settled, (merchantId, own) =>
    SETTLE.all(tx, {
      merchantId,
      settled: own.map(({ settlement: { state, isTry, nextInSeconds }, ...key }) => {
        return { ...key, state, tries: isTry ? 1 : 0, nextInSeconds };
      }),
    }),
  );
}

const SETTLE = statement({
  name: 'settle-deliveries',
  params: {
    merchantId: text,
    settled: rowsOf({
      ...omit(DELIVERY_KEY, 'merchantId'),
      leasedUntil: timestamptz,
      state: oneOf<DeliveryState>(),
      tries: integer,
      nextInSeconds: nullable(float),
    }),
  },
  row: DELIVERY_KEY,
  text: ({ merchantId, settled }) => `
    update webhook_delivery d
    set state = n.state, attempts = d.attempts + n.tries,
      next_attempt_at = (now() at time zone 'UTC' + make_interval(secs => n.next_in_seconds)) at time zone 'UTC'
    from ${settled('n', { merchantId })}
    where d.merchant_id = n.merchant_id and ${isDelivery('n')}
      and (d.next_attempt_at = n.leased_until or n.state = 'delivered' and d.state <> 'delivered')
    returning ${columns(DELIVERY_KEY, 'd')}`,
});
