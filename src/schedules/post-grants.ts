import { mayOpenLots } from '../db/installation.ts';
import type { Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { alertWallets, type NewAlert } from '../ledger/alert-wallets.ts';
import type { Posting } from '../ledger/entry.ts';
import type { WalletOpening } from '../ledger/open-wallets.ts';
import type { PostingRefusal, PostingResult } from '../ledger/post.ts';
import { type LedgerMoment, postBatch } from '../ledger/store.ts';
import type { DueKind } from './due.ts';
import { afterPeriods, duePeriods, type GrantSchedule, type SettledSchedule } from './grant-schedule.ts';
import {
  dueSchedules,
  lockDueSchedules,
  merchantsWithDueGrants,
  type OwnScheduleKey,
  putOffSchedules,
  saveProgress,
} from './grant-store.ts';
import { settleRefills } from './note-refills.ts';

/** Grant schedules of which a period is due. A page is small, since each may have a dozen to make up for. */
export const DUE_GRANTS: DueKind<OwnScheduleKey> = {
  name: 'grants',
  pageSize: 25,
  merchants: merchantsWithDueGrants,
  page: dueSchedules,
  async settle(tx, { merchantId, keys }, moment) {
    const schedules = await lockDueSchedules(tx, merchantId, { keys, now: moment.now });
    return schedules.length === 0 ? null : (await settleSchedules(tx, schedules, moment)).results;
  },
  putOff: (db, { merchantId, keys }, times) => putOffSchedules(db, merchantId, { keys, ...times }),
};

interface Settled {
  readonly schedules: readonly GrantSchedule[];
  /** Why what is due of them stays so, of each that this holds for. */
  readonly putOffFor: readonly PostingRefusal[];
  /** One for each posting, and for each schedule that charges. */
  readonly results: readonly unknown[];
}

/** Grants what is due of locked schedules of one merchant, or notes that it is to be paid, and tells of what is skipped. */
export async function settleSchedules(
  tx: Tx,
  schedules: readonly GrantSchedule[],
  moment: LedgerMoment,
): Promise<Settled> {
  const refills = await settleRefills(tx, schedules, moment);
  const given = schedules.filter(({ charge }) => !charge);
  const due = given.map((schedule) => ({ schedule, periods: duePeriods(schedule, moment.now) }));
  const postings = due.flatMap(({ periods }) => periods.flatMap((one) => ('posting' in one ? [one.posting] : [])));
  const results = await post(tx, postings, moment);
  const left = [...results];
  const granted = due.map(({ schedule, periods }) => {
    const own = left.splice(0, periods.filter((one) => 'posting' in one).length);
    return afterPeriods(schedule, periods, { results: own, now: moment.now });
  });
  const after = [...granted, ...refills];
  await tellOfSkipped(tx, after, moment);
  const settled = after.map(({ schedule }) => schedule);
  const merchantId = settled[0]?.merchantId;
  const saved = merchantId === undefined ? 0 : await saveProgress(tx, merchantId, settled);
  invariant(saved === settled.length, 'a locked schedule was not there to be updated');
  const putOffFor = after.flatMap((one) => one.putOffFor ?? []);
  return { schedules: settled, results: [...results, ...refills], putOffFor };
}

/** Tells of what was due and is neither granted nor paid. */
export async function tellOfSkipped(
  tx: Tx,
  settled: readonly Pick<SettledSchedule, 'schedule' | 'skipped'>[],
  opening: WalletOpening,
): Promise<void> {
  const news = settled.flatMap(({ schedule: { merchantId, customerId, currency }, skipped }) =>
    skipped.map((details): NewAlert => ({ merchantId, customerId, currency, kind: 'grant_skipped', details })),
  );
  await alertWallets(tx, news, opening);
}

async function post(tx: Tx, postings: readonly Posting[], moment: LedgerMoment): Promise<readonly PostingResult[]> {
  if (postings.length > 0 && !(await mayOpenLots(tx)))
    return postings.map(() => ({ kind: 'refused', refusal: { code: 'LOTS_NOT_YET' } }));
  return postBatch(tx, postings, moment);
}
