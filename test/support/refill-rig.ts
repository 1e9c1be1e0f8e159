import { transaction } from '../../src/db/transaction.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { settleAllDue } from '../../src/schedules/due.ts';
import type { GrantSchedule } from '../../src/schedules/grant-schedule.ts';
import { DUE_GRANTS } from '../../src/schedules/post-grants.ts';
import { endSchedule, type ScheduleWish } from '../../src/schedules/put-schedule.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import type { ChargeServices } from '../../src/top-ups/charge.ts';
import { putAnySchedule } from '../../src/top-ups/put-schedule.ts';
import { SETTINGS } from './ledger.ts';
import type { TopUpRig } from './top-up-rig.ts';

/** Schedules that charge, on the wallets of a rig. */

const logger = createLogger('silent', 'test');

/** Makes or changes the schedule `monthly`, which charges 2000 a month unless told otherwise. */
export function putRefill(rig: TopUpRig, key: WalletKey, more: Partial<ScheduleWish> = {}): Promise<GrantSchedule> {
  const wish: ScheduleWish = {
    ...{ ...key, scheduleId: 'monthly', amountMinor: 2000, every: 'month', anchorAt: null, timeZone: 'UTC' },
    ...{ lotName: null, lotPriority: 50, lotDays: null, charge: true, endsAt: null, count: null, paused: false },
    ...{ actor: 'test', ...more },
  };
  const moment = { ...SETTINGS, sources: rig.inbox.services.sources, now: rig.now };
  return transaction(rig.database.pool, (tx) => putAnySchedule(tx, wish, moment));
}

export function deleteRefill(rig: TopUpRig, key: WalletKey, scheduleId = 'monthly'): Promise<GrantSchedule> {
  return transaction(rig.database.pool, (tx) => endSchedule(tx, { ...key, scheduleId }, { ...SETTINGS, now: rig.now }));
}

/** What the job does that looks for what is due. */
export function settleDue(rig: TopUpRig, { pool = rig.database.pool }: Partial<Pick<ChargeServices, 'pool'>> = {}) {
  const { signal } = new AbortController();
  const clock = { now: () => rig.now };
  return settleAllDue({ pool, settings: SETTINGS, clock, onPosted: () => {}, signal, logger }, DUE_GRANTS);
}

/** What both jobs do, once. */
export async function workRefills(rig: TopUpRig, changes: Partial<ChargeServices> = {}): Promise<void> {
  await settleDue(rig, changes);
  await rig.run(changes);
}

/** What was told of periods that were not charged: the reason, and from which period to which. */
export async function skipsOf(rig: TopUpRig, { customerId }: WalletKey): Promise<readonly (string | number)[][]> {
  const sql = "select details from wallet_alert where customer_id = $1 and kind = 'grant_skipped' order by alert_seq";
  const { rows } = await rig.database.pool.query(sql, [customerId]);
  return rows.map(({ details }) => [details.reason, details.fromPeriod, details.toPeriod]);
}

export async function scheduleOf(rig: TopUpRig, { customerId }: WalletKey) {
  const { rows } = await rig.database.pool.query('select * from grant_schedule where customer_id = $1', [customerId]);
  return rows[0];
}
