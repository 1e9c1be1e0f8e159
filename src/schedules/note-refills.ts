import type { Tx } from '../db/transaction.ts';
import { walletKeyText } from '../ledger/entry.ts';
import { type LedgerMoment, lockWallets } from '../ledger/store.ts';
import { setTopUpDue } from '../ledger/top-up-due.ts';
import { type GrantSchedule, PUT_OFF_MS, type SettledSchedule } from './grant-schedule.ts';
import { afterRefills } from './refill.ts';

/**
 * Notes which periods of locked schedules are to be paid, of those that charge, and has their wallets looked at. The wallets of all schedules
 * are locked then, since others of them are posted to afterwards.
 */
export async function settleRefills(
  tx: Tx,
  schedules: readonly GrantSchedule[],
  moment: LedgerMoment,
): Promise<readonly SettledSchedule[]> {
  const charging = schedules.filter(({ charge }) => charge);
  if (charging.length === 0) return [];
  const { now } = moment;
  const wallets = await lockWallets(tx, schedules, moment);
  const after = charging.map((schedule): SettledSchedule => {
    const wallet = wallets.get(walletKeyText(schedule));
    if (wallet === undefined) return putOff(schedule, moment);
    return { ...afterRefills(schedule, { isClosed: wallet.status === 'closed', now }), putOffFor: null };
  });
  const due = after.flatMap(({ schedule: { merchantId, customerId, currency, refillState } }) =>
    refillState === 'due' ? [{ merchantId, customerId, currency, since: now, retryAt: now }] : [],
  );
  // Of a wallet with two schedules, it is one row.
  await setTopUpDue(tx, [...new Map(due.map((one) => [walletKeyText(one), one])).values()]);
  return after;
}

/** What would be paid could not be credited. */
function putOff(schedule: GrantSchedule, { currencies, now }: LedgerMoment): SettledSchedule {
  const putOffFor = { code: 'UNSUPPORTED_CURRENCY', currency: schedule.currency, supported: [...currencies] } as const;
  return { schedule: { ...schedule, nextAt: new Date(now.getTime() + PUT_OFF_MS) }, skipped: [], putOffFor };
}
