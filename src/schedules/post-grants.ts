import { mayOpenLots } from '../db/installation.ts';
import type { Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { alertWallets, type NewAlert } from '../ledger/alert-wallets.ts';
import type { Posting } from '../ledger/entry.ts';
import type { PostingRefusal, PostingResult } from '../ledger/post.ts';
import { type LedgerMoment, postBatch } from '../ledger/store.ts';
import type { DueKind } from './due.ts';
import { afterPeriods, duePeriods, type GrantSchedule } from './grant-schedule.ts';
import {
  dueSchedules,
  lockDueSchedules,
  merchantsWithDueGrants,
  type OwnScheduleKey,
  putOffSchedules,
  saveProgress,
} from './grant-store.ts';

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
  readonly results: readonly PostingResult[];
}

/** Grants what is due of locked schedules of one merchant, and tells of what is skipped. */
export async function settleSchedules(
  tx: Tx,
  schedules: readonly GrantSchedule[],
  moment: LedgerMoment,
): Promise<Settled> {
  const due = schedules.map((schedule) => ({ schedule, periods: duePeriods(schedule, moment.now) }));
  const postings = due.flatMap(({ periods }) => periods.flatMap((one) => ('posting' in one ? [one.posting] : [])));
  const results = await post(tx, postings, moment);
  const left = [...results];
  const after = due.map(({ schedule, periods }) => {
    const own = left.splice(0, periods.filter((one) => 'posting' in one).length);
    return afterPeriods(schedule, periods, { results: own, now: moment.now });
  });
  const news = after.flatMap(({ schedule: { merchantId, customerId, currency }, skipped }) =>
    skipped.map((details): NewAlert => ({ merchantId, customerId, currency, kind: 'grant_skipped', details })),
  );
  await alertWallets(tx, news, moment);
  const settled = after.map(({ schedule }) => schedule);
  const merchantId = settled[0]?.merchantId;
  const saved = merchantId === undefined ? 0 : await saveProgress(tx, merchantId, settled);
  invariant(saved === settled.length, 'a locked schedule was not there to be updated');
  const putOffFor = after.flatMap((one) => one.putOffFor ?? []);
  return { schedules: settled, results, putOffFor };
}

async function post(tx: Tx, postings: readonly Posting[], moment: LedgerMoment): Promise<readonly PostingResult[]> {
  if (postings.length > 0 && !(await mayOpenLots(tx)))
    return postings.map(() => ({ kind: 'refused', refusal: { code: 'LOTS_NOT_YET' } }));
  return postBatch(tx, postings, moment);
}
