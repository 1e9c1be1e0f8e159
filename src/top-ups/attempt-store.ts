import { bigint, boolean, hex, nullable, text, timestamptz } from '../db/codec.ts';
import { merchantsDue } from '../db/merchant-walk.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { assignments, columns, matches, omit, pick, soleRow, values } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { WalletKey } from '../ledger/entry.ts';
import type { TopUpClaim } from '../ledger/top-up-due.ts';
import { IN_FLIGHT } from './attempt.ts';
import type { Period } from './calendar.ts';
import type { AttemptHistory } from './decide.ts';
import { TOPUP, TOPUP_KEY, type TopUp } from './tables.ts';

/** Attempts as they are stored. */

const KEY = { merchantId: text, customerId: text, currency: text };

const IN_FLIGHT_SQL = IN_FLIGHT.map((state) => `'${state}'`).join(', ');

/** What was tried before, as far as it counts now. */
export async function readHistory(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
  { day, month }: { readonly day: Period; readonly month: Period },
): Promise<AttemptHistory> {
  const key = { merchantId, customerId, currency };
  return HISTORY.one(db, { ...key, daySince: day.since, monthSince: month.since });
}

const HISTORY = statement({
  name: 'top-up-history',
  params: { ...KEY, daySince: timestamptz, monthSince: timestamptz },
  row: {
    isInFlight: boolean,
    lastAttemptAt: nullable(timestamptz),
    attemptsToday: bigint,
    usedThisMonth: bigint,
  },
  text: ({ merchantId, customerId, currency, daySince, monthSince }) => `
    select (
        select count(*) > 0 from topup
        where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}
          and look_at is not null
          and (origin <> 'manual' and state in (${IN_FLIGHT_SQL}) or state = 'processing')) as is_in_flight,
      (
        select max(created_at) from topup
        where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}
          and origin <> 'manual') as last_attempt_at,
      count(*) filter (where created_at >= ${daySince} and state not in ('failed', 'expired')) as attempts_today,
      coalesce(sum(amount) filter (where state in (${IN_FLIGHT_SQL}, 'succeeded')), 0)::bigint as used_this_month
    from topup
    where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}
      and created_at >= ${monthSince} and origin <> 'manual'`,
});

/** How often a payment method was declined since then, over all rules of the merchant. */
export async function countDeclines(
  db: Queryable,
  method: { readonly merchantId: string; readonly method: string; readonly since: Date },
): Promise<number> {
  return (await COUNT_DECLINES.one(db, method)).declines;
}

const COUNT_DECLINES = statement({
  params: { merchantId: text, method: hex, since: timestamptz },
  row: { declines: bigint },
  text: ({ merchantId, method, since }) => `
    select count(*) as declines from topup
    where merchant_id = ${merchantId} and method = ${method} and created_at >= ${since} and state = 'declined'`,
});

/** @throws {DatabaseError} a unique violation where an attempt is in flight already */
export async function insertTopUp(tx: Tx, topUp: TopUp): Promise<void> {
  await INSERT.run(tx, topUp);
}

const INSERT = statement({
  name: 'insert-top-up',
  params: TOPUP.shape,
  text: (p) => `insert into topup (${columns(TOPUP.shape)}) select ${values(TOPUP.shape, p)}`,
});

const CHANGES = omit(TOPUP.shape, 'merchantId', 'customerId', 'currency', 'topUpId', 'origin', 'amount', 'createdAt');

/** Writes what a locked attempt has become. */
export async function saveTopUp(tx: Tx, topUp: TopUp): Promise<void> {
  const { merchantId } = topUp;
  await SAVE.run(tx, { merchantId, topUps: [topUp] });
}

const SAVE = statement({
  name: 'save-top-up',
  params: { merchantId: text, topUps: rowsOf({ ...omit(TOPUP_KEY, 'merchantId'), ...CHANGES }) },
  text: ({ merchantId, topUps }) => `
    update topup t set ${assignments(CHANGES, 'n')}
    from ${topUps('n', { merchantId })}
    where ${matches(TOPUP_KEY, 't', 'n')}`,
});

/** The merchant's attempts of these ids. */
export async function topUpsByIds(db: Queryable, merchantId: string, ids: readonly string[]): Promise<TopUp[]> {
  return READ_BY_IDS.all(db, { merchantId, ids: ids.map((topUpId) => ({ topUpId })) });
}

/** The same, locked, in one order for everybody; their rules are locked. */
export async function lockTopUps(tx: Tx, merchantId: string, ids: readonly string[]): Promise<TopUp[]> {
  return LOCK_BY_IDS.all(tx, { merchantId, ids: ids.map((topUpId) => ({ topUpId })) });
}

const BY_ID = pick(TOPUP.shape, 'merchantId', 'topUpId');

const selectByIds = (name: string, lock: '' | 'for update') =>
  statement({
    name,
    params: { merchantId: text, ids: rowsOf({ topUpId: TOPUP.shape.topUpId }) },
    row: TOPUP.shape,
    text: ({ merchantId, ids }) => `
      select ${columns(TOPUP.shape, 't')}
      from (select * from ${ids('k', { merchantId })} order by topup_id) k
      cross join lateral (select * from topup x where ${soleRow(BY_ID, 'x', 'k')} ${lock}) t`,
    textOnCitus: ({ merchantId, ids }) => `
      select ${columns(TOPUP.shape, 't')}
      from topup t join ${ids('k', { merchantId })} using (merchant_id, topup_id)
      order by t.merchant_id, t.topup_id ${lock}`,
  });
const READ_BY_IDS = selectByIds('read-top-ups', '');
const LOCK_BY_IDS = selectByIds('lock-top-ups', 'for update');

/** The attempt that a payment paid; null if it paid none. */
export async function topUpOfPayment(
  db: Queryable,
  payment: { readonly merchantId: string; readonly sourceId: string; readonly paymentId: string },
): Promise<TopUp | null> {
  return OF_PAYMENT.first(db, payment);
}

const OF_PAYMENT = statement({
  params: { merchantId: text, sourceId: text, paymentId: text },
  row: TOPUP.shape,
  text: ({ merchantId, sourceId, paymentId }) => `
    select ${columns(TOPUP.shape)} from topup
    where merchant_id = ${merchantId} and source_id = ${sourceId} and payment_id = ${paymentId} limit 1`,
});

/** What the customer asked for under this key; null if nothing. The keys of a schedule's periods are others, though they may read alike. */
export async function topUpUnderKey(
  db: Queryable,
  {
    merchantId,
    customerId,
    idempotencyKey,
  }: Pick<TopUp, 'merchantId' | 'customerId'> & { readonly idempotencyKey: string },
): Promise<TopUp | null> {
  return UNDER_KEY.first(db, { merchantId, customerId, idempotencyKey });
}

const UNDER_KEY = statement({
  params: { merchantId: text, customerId: text, idempotencyKey: text },
  row: TOPUP.shape,
  text: ({ merchantId, customerId, idempotencyKey }) => `
    select ${columns(TOPUP.shape)} from topup
    where merchant_id = ${merchantId} and customer_id = ${customerId} and idempotency_key = ${idempotencyKey}
      and origin = 'manual'`,
});

/** What was begun for periods of schedules under these keys, in no particular order: nothing that somebody asked for under a key of his own. */
export async function topUpsOfPeriods(
  db: Queryable,
  merchantId: string,
  keys: readonly { readonly customerId: string; readonly idempotencyKey: string }[],
): Promise<TopUp[]> {
  return OF_PERIODS.all(db, { merchantId, keys });
}

const OF_PERIODS = statement({
  params: { merchantId: text, keys: rowsOf({ customerId: text, idempotencyKey: text }) },
  row: TOPUP.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(TOPUP.shape, 't')}
    from topup t join ${keys('k', { merchantId })} using (merchant_id, customer_id, idempotency_key)
    where t.origin = 'schedule'`,
});

/** The attempt of a wallet that is in flight and blocks others; null if none is. */
export async function inFlightOf(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
): Promise<TopUp | null> {
  return OF_WALLET_IN_FLIGHT.first(db, { merchantId, customerId, currency });
}

const OF_WALLET_IN_FLIGHT = statement({
  params: KEY,
  row: TOPUP.shape,
  text: ({ merchantId, customerId, currency }) => `
    select ${columns(TOPUP.shape)} from topup
    where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}
      and look_at is not null and (origin <> 'manual' and state in (${IN_FLIGHT_SQL}) or state = 'processing')
    order by created_at desc limit 1`,
});

/**
 * Whether an attempt at the source is under way of which no event has told yet. Whoever asks has the answer for itself until its transaction
 * ends.
 */
export async function isUnderWayAt(
  tx: Tx,
  place: { readonly merchantId: string; readonly sourceId: string },
): Promise<boolean> {
  await ONE_AT_A_TIME.run(tx, { name: `charging ${place.merchantId} ${place.sourceId}` });
  return (await UNDER_WAY_AT.one(tx, place)).isUnderWay;
}

const PLACE = { merchantId: text, sourceId: text };

const ONE_AT_A_TIME = statement({
  params: { name: text },
  text: ({ name }) => `select pg_advisory_xact_lock(hashtextextended(${name}, 0))`,
});

const UNDER_WAY_AT = statement({
  params: PLACE,
  row: { isUnderWay: boolean },
  text: ({ merchantId, sourceId }) => `
    select count(*) > 0 as is_under_way from topup
    where merchant_id = ${merchantId} and source_id = ${sourceId} and look_at is not null
      and state in ('charging', 'unknown', 'charged', 'processing')`,
});

/** Takes the merchant's attempts about which something is to be done, for a time in which no other worker does it. */
export async function claimTopUps(db: Queryable, claim: TopUpClaim): Promise<readonly TopUp[]> {
  return CLAIM.all(db, { ...claim });
}

const CLAIM = statement({
  params: { merchantId: text, now: timestamptz, until: timestamptz, limit: bigint },
  row: TOPUP.shape,
  text: ({ merchantId, now, until, limit }) => `
    with due as materialized (
      select merchant_id, topup_id from topup where merchant_id = ${merchantId} and look_at <= ${now}
      order by look_at limit ${limit} for update skip locked)
    update topup t set look_at = ${until}, leased_until = ${until}
    from due n where t.merchant_id = ${merchantId} and t.topup_id = n.topup_id
    returning ${columns(TOPUP.shape, 't')}`,
});

/** The merchants about whose attempts something is to be done. */
export const merchantsWithTopUps = merchantsDue({ table: 'topup', column: 'look_at' });

/** Notes that the provider is about to be asked, before it is. */
export async function noteAsked(
  db: Queryable,
  { merchantId, topUpId }: Pick<TopUp, 'merchantId' | 'topUpId'>,
  now: Date,
): Promise<void> {
  await NOTE_ASKED.run(db, { merchantId, topUpId, now });
}

const NOTE_ASKED = statement({
  params: { merchantId: text, topUpId: TOPUP_KEY.topUpId, now: timestamptz },
  text: ({ merchantId, topUpId, now }) => `
    update topup set asked_at = ${now} where merchant_id = ${merchantId} and topup_id = ${topUpId} and look_at is not null`,
});

/** Has an attempt looked at later, if it is still in flight then. */
export async function lookLater(
  db: Queryable,
  { merchantId, topUpId }: Pick<TopUp, 'merchantId' | 'topUpId'>,
  lookAt: Date,
): Promise<void> {
  await LOOK_LATER.run(db, { merchantId, topUpId, lookAt });
}

const LOOK_LATER = statement({
  params: { merchantId: text, topUpId: TOPUP_KEY.topUpId, lookAt: timestamptz },
  text: ({ merchantId, topUpId, lookAt }) => `
    update topup set look_at = ${lookAt}, leased_until = null
    where merchant_id = ${merchantId} and topup_id = ${topUpId} and look_at is not null`,
});

/** A customer's attempts in one currency, the newest first. */
export async function listTopUps(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
  page: { readonly state: string | null; readonly pageSize: number; readonly offset: number },
): Promise<TopUp[]> {
  return LIST.all(db, { merchantId, customerId, currency, ...page });
}

const LIST = statement({
  params: { ...KEY, state: nullable(text), pageSize: bigint, offset: bigint },
  row: TOPUP.shape,
  text: ({ merchantId, customerId, currency, state, pageSize, offset }) => `
    select ${columns(TOPUP.shape)} from topup
    where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}
      and (${state}::text is null or state = ${state})
    order by created_at desc, topup_id desc
    limit ${pageSize} offset ${offset}`,
});
