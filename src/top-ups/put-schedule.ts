import { mayCharge } from '../charging/connect.ts';
import type { Tx } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import type { LedgerMoment } from '../ledger/store.ts';
import type { Sources } from '../merchants/sources.ts';
import type { GrantSchedule } from '../schedules/grant-schedule.ts';
import { putSchedule, type ScheduleWish } from '../schedules/put-schedule.ts';
import { readHistory } from './attempt-store.ts';
import { periodsOf } from './calendar.ts';
import type { TopUpRule } from './rule.ts';
import { readRule } from './store.ts';

/**
 * Makes or changes a schedule. One that charges wants a rule that may: the rule says by what, and bounds it. A paused one may be there without.
 * @throws {RefusalError} INVALID_FIELD, CHARGING_NOT_CONFIGURED, MONTHLY_CAP_REACHED, and what {@link putSchedule} refuses
 */
export async function putAnySchedule(
  tx: Tx,
  wish: ScheduleWish,
  { sources, ...moment }: LedgerMoment & { readonly sources: Sources },
): Promise<GrantSchedule> {
  const schedule = await putSchedule(tx, wish, moment);
  if (!schedule.charge || schedule.paused) return schedule;
  const rule = await readRule(tx, schedule);
  if (rule === null || rule.endedAt !== null || !rule.enabled)
    return refuse({
      code: 'INVALID_FIELD',
      field: 'charge',
      wants: 'wants an enabled top-up rule of this wallet, by which it is paid',
    });
  const { payment } = rule;
  const source = payment === null ? null : await sources.find(tx, rule.merchantId, payment.sourceId);
  if (payment !== null && (source === null || !mayCharge(source))) refuse({ code: 'CHARGING_NOT_CONFIGURED' });
  await requireWithinCap(tx, rule, { schedule, now: moment.now });
  return schedule;
}

/** What could never be charged is refused, and what would have to be charged now and cannot be. */
async function requireWithinCap(
  tx: Tx,
  rule: TopUpRule,
  { schedule, now }: { readonly schedule: GrantSchedule; readonly now: Date },
): Promise<void> {
  const { nextAt, amountMinor: amount } = schedule;
  const { monthlyCap } = rule;
  const isDueNow = nextAt !== null && nextAt <= now;
  const used = isDueNow ? (await readHistory(tx, rule, periodsOf(rule, now))).usedThisMonth : 0;
  if (used + amount > monthlyCap) refuse({ code: 'MONTHLY_CAP_REACHED', amount, monthlyCap, used });
}
