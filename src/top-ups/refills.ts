import type { Queryable, Tx } from '../db/transaction.ts';
import type { WalletKey } from '../ledger/entry.ts';
import { parseRefillKey } from '../ledger/keys.ts';
import type { GrantSchedule } from '../schedules/grant-schedule.ts';
import { getSchedule, saveProgress } from '../schedules/grant-store.ts';
import { tellOfSkipped } from '../schedules/post-grants.ts';
import { endRefill, type SettledRefill } from '../schedules/refill.ts';
import { lockOpenRefills, openRefills } from '../schedules/refill-store.ts';
import { topUpsOfPeriods } from './attempt-store.ts';
import { keysOf, newestOf, type SortedRefills, sortRefills, type WantedRefill } from './refill-attempts.ts';
import type { TopUp } from './tables.ts';

/** Periods of schedules that are paid by the rule of their wallet, as they are stored. They are locked after the rule, and before the wallet. */

/** The schedules of a wallet with a period that is still to be paid, locked. */
interface Locked {
  readonly schedules: readonly GrantSchedule[];
  readonly now: Date;
}

/** The periods of a wallet that are to be paid, without locks. */
export async function readRefills(db: Queryable, key: WalletKey, now: Date): Promise<SortedRefills> {
  return sorted(db, await openRefills(db, key), now);
}

/** Those that are locked; what is over is written down and told. @returns how many are open then as well, those under way among them */
export async function takeRefills(
  tx: Tx,
  key: WalletKey,
  { schedules, now }: Locked,
): Promise<Pick<SortedRefills, 'wanted'> & { readonly open: number }> {
  const { wanted, over } = await sorted(tx, schedules, now);
  await save(tx, key, { over, now });
  return { wanted, open: schedules.length - over.length };
}

async function sorted(db: Queryable, schedules: readonly GrantSchedule[], now: Date): Promise<SortedRefills> {
  return sortRefills(schedules, await topUpsOf(db, schedules), now);
}

async function topUpsOf(db: Queryable, schedules: readonly GrantSchedule[]): Promise<readonly TopUp[]> {
  const keys = schedules.flatMap((schedule) =>
    keysOf(schedule).map((idempotencyKey) => ({ customerId: schedule.customerId, idempotencyKey })),
  );
  const merchantId = schedules[0]?.merchantId;
  return merchantId === undefined || keys.length === 0 ? [] : topUpsOfPeriods(db, merchantId, keys);
}

/** A schedule, and what the period that it noted last has come to. */
export interface ScheduleStanding {
  readonly schedule: GrantSchedule;
  /** The newest top-up that was begun for it; null if none was. */
  readonly topUp: TopUp | null;
}

/** Schedules of one merchant, with their newest top-ups. */
export async function standingOfSchedules(
  db: Queryable,
  schedules: readonly GrantSchedule[],
): Promise<readonly ScheduleStanding[]> {
  const topUps = await topUpsOf(db, schedules);
  return schedules.map((schedule) => ({ schedule, topUp: newestOf(schedule, topUps) }));
}

/** Ends what is still to be paid in a wallet whose rule does not charge any more. Its rule is locked, and its wallet is not unless they are. */
export async function endRefills(tx: Tx, key: WalletKey, now: Date): Promise<void> {
  await endLockedRefills(tx, key, { schedules: await lockOpenRefills(tx, key), now });
}

/** The same, of those that are locked. */
export async function endLockedRefills(tx: Tx, key: WalletKey, { schedules, now }: Locked): Promise<void> {
  await save(tx, key, { over: schedules.map((one) => endRefill(one, 'no_top_up_rule')), now });
}

/** Notes that a top-up was begun for the period of a locked schedule. */
export async function noteTried(tx: Tx, { schedule }: WantedRefill): Promise<void> {
  await saveProgress(tx, schedule.merchantId, [{ ...schedule, refillState: 'tried' }]);
}

async function save(
  tx: Tx,
  { merchantId, currency }: WalletKey,
  { over, now }: { readonly over: readonly SettledRefill[]; readonly now: Date },
): Promise<void> {
  if (over.length === 0) return;
  await saveProgress(
    tx,
    merchantId,
    over.map(({ schedule }) => schedule),
  );
  await tellOfSkipped(tx, over, { currencies: new Set([currency]), now });
}

/** Whether the schedule of an attempt would have it made today still. */
export async function isStillScheduled(
  db: Queryable,
  { merchantId, customerId, currency, idempotencyKey }: TopUp,
): Promise<boolean> {
  const period = idempotencyKey === null ? null : parseRefillKey(idempotencyKey);
  if (period === null) return false;
  const schedule = await getSchedule(db, { merchantId, customerId, currency, scheduleId: period.scheduleId });
  if (schedule === null || schedule.incarnation !== period.incarnation) return false;
  return schedule.charge && !schedule.paused && schedule.endedAt === null;
}
