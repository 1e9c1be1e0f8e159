import { bigint, nullable, text, timestamptz } from '../db/codec.ts';
import { merchantsDue } from '../db/merchant-walk.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { assignments, columns, omit, pick, values } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { CustomerKey, WalletKey } from '../ledger/entry.ts';
import type { GrantSchedule } from './grant-schedule.ts';
import { GRANT_SCHEDULE, WAITING_GRANTS } from './tables.ts';

/** The rows of grant schedules. */

export interface ScheduleKey extends WalletKey {
  readonly scheduleId: string;
}

const { shape } = GRANT_SCHEDULE;
const KEY = pick(shape, 'merchantId', 'customerId', 'currency', 'scheduleId');
const OWN = omit(KEY, 'merchantId');
const PROGRESS = pick(shape, 'done', 'nextAt', 'endedAt', 'refillPeriod', 'refillAmount', 'refillState');

export async function getSchedule(db: Queryable, key: ScheduleKey): Promise<GrantSchedule | null> {
  return GET.first(db, { ...key });
}

const GET = statement({
  params: KEY,
  row: shape,
  text: (p) => `
    select ${columns(shape)} from grant_schedule
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency} and schedule_id = ${p.scheduleId}`,
});

/** Locks a schedule until the transaction ends, also one that has ended. */
export async function lockSchedule(tx: Tx, key: ScheduleKey): Promise<GrantSchedule | null> {
  return LOCK.first(tx, { ...key });
}

const LOCK = statement({
  params: KEY,
  row: shape,
  text: (p) => `
    select ${columns(shape)} from grant_schedule
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency} and schedule_id = ${p.scheduleId}
    for update`,
});

/** A customer's schedules, of one wallet or of all: those that have ended too. There are few, since their number is bounded and ids are used again. */
export async function listSchedules(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  { currency, most }: { readonly currency: string | null; readonly most: number },
): Promise<readonly GrantSchedule[]> {
  return LIST.all(db, { merchantId, customerId, currency, most });
}

const LIST = statement({
  params: { merchantId: text, customerId: text, currency: nullable(text), most: bigint },
  row: shape,
  text: (p) => `
    select ${columns(shape)} from grant_schedule
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and (${p.currency}::text is null or currency = ${p.currency})
    order by ended_at is not null, currency, schedule_id
    limit ${p.most}`,
});

/** How many schedules of a wallet there are, with those that have ended, counted up to `most`. */
export async function countSchedules(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
  most: number,
): Promise<number> {
  return (await COUNT.one(db, { merchantId, customerId, currency, most })).count;
}

const COUNT = statement({
  params: { ...omit(KEY, 'scheduleId'), most: bigint },
  row: { count: bigint },
  text: (p) => `
    select count(*) as count
    from (
      select from grant_schedule
      where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency}
      limit ${p.most}) s`,
});

/** Writes a schedule as it is now, over one that had its id before. The customer is locked. */
export async function saveSchedule(tx: Tx, schedule: GrantSchedule): Promise<void> {
  await SAVE.run(tx, schedule);
}

const SAVE = statement({
  params: shape,
  text: (p) => `
    insert into grant_schedule (${columns(shape)}) values (${values(shape, p)})
    on conflict (merchant_id, customer_id, currency, schedule_id)
    do update set ${assignments(omit(shape, ...(Object.keys(KEY) as (keyof typeof KEY)[])), 'excluded')}`,
});

export const merchantsWithDueGrants = merchantsDue(WAITING_GRANTS);

export type OwnScheduleKey = Omit<ScheduleKey, 'merchantId'>;

/** The first of a merchant that are due, without locks. */
export async function dueSchedules(
  db: Queryable,
  merchantId: string,
  { now, limit }: { readonly now: Date; readonly limit: number },
): Promise<readonly OwnScheduleKey[]> {
  return DUE.all(db, { merchantId, now, limit });
}

const DUE = statement({
  params: { merchantId: text, now: timestamptz, limit: bigint },
  row: OWN,
  text: (p) => `
    select ${columns(OWN)} from grant_schedule
    where merchant_id = ${p.merchantId} and next_at <= ${p.now}
    order by next_at
    limit ${p.limit}`,
});

interface DueKeys {
  readonly keys: readonly OwnScheduleKey[];
  readonly now: Date;
}

/** Locks those that are still due, in the order in which they are; what somebody else has locked is left out. */
export async function lockDueSchedules(
  tx: Tx,
  merchantId: string,
  { keys, now }: DueKeys,
): Promise<readonly GrantSchedule[]> {
  return LOCK_DUE.all(tx, { merchantId, keys, now });
}

const LOCK_DUE = statement({
  params: { merchantId: text, keys: rowsOf(OWN), now: timestamptz },
  row: shape,
  text: ({ merchantId, keys, now }) => `
    select ${columns(shape, 's')}
    from grant_schedule s join ${keys('k', { merchantId })} using (merchant_id, customer_id, currency, schedule_id)
    where s.next_at <= ${now}
    order by s.next_at, s.customer_id, s.currency, s.schedule_id
    for update of s skip locked`,
});

/** Writes how far locked schedules have come. @returns how many were written */
export async function saveProgress(tx: Tx, merchantId: string, schedules: readonly GrantSchedule[]): Promise<number> {
  return PROGRESS_OF.run(tx, { merchantId, schedules });
}

const OF_KEY =
  's.merchant_id = n.merchant_id and s.customer_id = n.customer_id and s.currency = n.currency and s.schedule_id = n.schedule_id';

const PROGRESS_OF = statement({
  params: { merchantId: text, schedules: rowsOf({ ...OWN, ...PROGRESS }) },
  text: ({ merchantId, schedules }) => `
    update grant_schedule s
    set ${assignments(PROGRESS, 'n')}
    from ${schedules('n', { merchantId })}
    where ${OF_KEY}`,
});

export async function putOffSchedules(
  db: Queryable,
  merchantId: string,
  { keys, now, until }: DueKeys & { readonly until: Date },
): Promise<void> {
  await PUT_OFF.run(db, { merchantId, keys, now, until });
}

const PUT_OFF = statement({
  params: { merchantId: text, keys: rowsOf(OWN), now: timestamptz, until: timestamptz },
  text: ({ merchantId, keys, now, until }) => `
    update grant_schedule s
    set next_at = ${until}
    from ${keys('n', { merchantId })}
    where ${OF_KEY} and s.next_at <= ${now}`,
});

/** Strikes the names of all schedules of a customer out; what they grant from then on has none. */
export async function eraseScheduleNames(db: Queryable, { merchantId, customerId }: CustomerKey): Promise<void> {
  await ERASE.run(db, { merchantId, customerId });
}

const ERASE = statement({
  params: { merchantId: text, customerId: text },
  text: (p) => `
    update grant_schedule set lot_name = null
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and lot_name is not null`,
});
