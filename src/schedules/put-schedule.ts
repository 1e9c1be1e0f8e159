import { lockCustomer } from '../customers/store.ts';
import type { Tx } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { type LedgerMoment, readWallets } from '../ledger/store.ts';
import { firstPeriodFrom, type GrantSchedule, NO_REFILL, nextDueAt, withNextAt } from './grant-schedule.ts';
import { countSchedules, lockSchedule, type ScheduleKey, saveSchedule } from './grant-store.ts';
import { isAnchor, isTimeZone, MOST_ANCHOR_YEARS } from './periods.ts';
import { settleSchedules, tellOfSkipped } from './post-grants.ts';
import { callOff } from './refill.ts';

/** What a schedule is to be. */
export interface ScheduleWish
  extends ScheduleKey,
    Pick<
      GrantSchedule,
      | 'amountMinor'
      | 'every'
      | 'timeZone'
      | 'lotName'
      | 'lotPriority'
      | 'lotDays'
      | 'charge'
      | 'endsAt'
      | 'count'
      | 'paused'
      | 'actor'
    > {
  /** Null: as it is, and of a new schedule now. */
  readonly anchorAt: Date | null;
}

/** A wallet has so many, those that have ended among them: their ids are used again. */
export const MOST_SCHEDULES = 50;

/**
 * Makes a schedule, or changes one from its next period on: what is due is granted before, as it was. A new one grants no period that was due
 * before it was made, and one that goes on after a pause, or after it was finished, none of that time.
 * @throws {RefusalError} UNSUPPORTED_CURRENCY, CUSTOMER_NOT_FOUND, INVALID_FIELD, SCHEDULE_LIMIT, WALLET_CLOSED, LOTS_NOT_YET
 */
export async function putSchedule(tx: Tx, wish: ScheduleWish, moment: LedgerMoment): Promise<GrantSchedule> {
  const { currency, timeZone, endsAt } = wish;
  const { currencies, now } = moment;
  if (!currencies.has(currency)) refuse({ code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] });
  if (!isTimeZone(timeZone)) refuseField('time_zone', 'wants a name of the time zone database, such as Europe/Berlin');
  // Keeps a second one of the same id from being made beside this.
  await lockCustomer(tx, wish.merchantId, wish.customerId);
  const wallets = await readWallets(tx, wish.merchantId, [wish.customerId]);
  if (wallets.some((one) => one.currency === currency && one.status === 'closed'))
    refuse({ code: 'WALLET_CLOSED', currency });
  const before = await lockSchedule(tx, wish);
  const isNew = before === null || before.endedAt !== null;
  if (before === null && (await countSchedules(tx, wish, MOST_SCHEDULES)) >= MOST_SCHEDULES)
    refuse({ code: 'SCHEDULE_LIMIT', what: 'grant schedules of this wallet', most: MOST_SCHEDULES });
  if (endsAt !== null && isNew && endsAt <= now) refuseField('ends_at', 'wants a time to come');
  const after = isNew ? newSchedule(wish, before, now) : await changed(tx, before, { wish, moment });
  await saveSchedule(tx, after);
  return after;
}

function newSchedule(wish: ScheduleWish, before: GrantSchedule | null, now: Date): GrantSchedule {
  const { every, timeZone } = wish;
  const anchorAt = wish.anchorAt ?? now;
  if (!isAnchor(anchorAt, now)) refuseField('anchor_at', `wants a time no more than ${MOST_ANCHOR_YEARS} years past`);
  const firstPeriod = firstPeriodFrom({ anchorAt, every, timeZone }, now);
  const incarnation = (before?.incarnation ?? 0) + 1;
  const times = { createdAt: now, updatedAt: now, endedAt: null };
  const progress = { firstPeriod, done: firstPeriod, nextAt: null, ...NO_REFILL };
  return withNextAt({ ...wish, anchorAt, incarnation, ...progress, ...times });
}

interface Change {
  readonly wish: ScheduleWish;
  readonly moment: LedgerMoment;
}

async function changed(tx: Tx, before: GrantSchedule, { wish, moment }: Change): Promise<GrantSchedule> {
  const { now } = moment;
  const { anchorAt, every, timeZone } = before;
  const fixed = 'wants what it was; delete the schedule, and make it anew';
  if (wish.every !== every) refuseField('every', fixed);
  if (wish.timeZone !== timeZone) refuseField('time_zone', fixed);
  if (wish.anchorAt !== null && wish.anchorAt.getTime() !== anchorAt.getTime()) refuseField('anchor_at', fixed);
  const isCalledOff = before.charge && (wish.paused || !wish.charge);
  const current = await (isCalledOff ? calledOff : settled)(tx, before, moment);
  // Its wallet was closed meanwhile. That is undone with this, and what runs by the clock ends the schedule.
  if (current.endedAt !== null) refuse({ code: 'WALLET_CLOSED', currency: wish.currency });
  const { done } = current;
  const goesOn = (before.paused && !wish.paused) || nextDueAt(current) === null;
  const { amountMinor, lotName, lotPriority, lotDays, charge, endsAt, count, paused, actor } = wish;
  return withNextAt({
    ...current,
    ...{ amountMinor, lotName, lotPriority, lotDays, charge, endsAt, count, paused, actor, updatedAt: now },
    done: goesOn ? Math.max(done, firstPeriodFrom(before, now)) : done,
  });
}

/**
 * The schedule after what is due of it was granted as it was.
 * @throws {RefusalError} UNSUPPORTED_CURRENCY, LOTS_NOT_YET where it cannot be now (docs/decisions/0035-grants-put-off.md)
 */
async function settled(tx: Tx, schedule: GrantSchedule, moment: LedgerMoment): Promise<GrantSchedule> {
  const { schedules, putOffFor } = await settleSchedules(tx, [schedule], moment);
  const [refusal] = putOffFor;
  if (refusal !== undefined) refuse(refusal);
  return schedules[0] ?? schedule;
}

/** The schedule without what is due of it and was to be paid: who takes it back is not charged for it afterwards. */
async function calledOff(tx: Tx, schedule: GrantSchedule, moment: LedgerMoment): Promise<GrantSchedule> {
  const off = callOff(schedule, 'called_off', moment.now);
  await tellOfSkipped(tx, [off], moment);
  return off.schedule;
}

/**
 * Ends a schedule, after what is due of it was granted; what was to be paid is called off. One that has ended stays as it is.
 * @throws {RefusalError} SCHEDULE_NOT_FOUND, and UNSUPPORTED_CURRENCY, LOTS_NOT_YET while what is due cannot be granted
 */
export async function endSchedule(tx: Tx, key: ScheduleKey, moment: LedgerMoment): Promise<GrantSchedule> {
  const before = (await lockSchedule(tx, key)) ?? refuse({ code: 'SCHEDULE_NOT_FOUND' });
  if (before.endedAt !== null) return before;
  const { now } = moment;
  const current = await (before.charge ? calledOff : settled)(tx, before, moment);
  const ended = { ...current, nextAt: null, updatedAt: now, endedAt: now };
  await saveSchedule(tx, ended);
  return ended;
}

function refuseField(field: string, wants: string): never {
  return refuse({ code: 'INVALID_FIELD', field, wants });
}
