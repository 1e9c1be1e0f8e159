import { mayOpenLots } from '../db/installation.ts';
import type { Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { alertWallets, type NewAlert } from '../ledger/alert-wallets.ts';
import type { PostingResult } from '../ledger/post.ts';
import { type LedgerMoment, postBatch } from '../ledger/store.ts';
import type { DueKind } from './due.ts';
import {
  dueEntries,
  lockDueEntries,
  merchantsWithDueEntries,
  type OwnEntryKey,
  putOffEntries,
  saveEntries,
} from './entry-store.ts';
import { afterTry, postingOf, type ScheduledEntry } from './scheduled-entry.ts';

/** Scheduled entries that are due: each is posted in the transaction in which it ends. */
export const DUE_ENTRIES: DueKind<OwnEntryKey> = {
  name: 'scheduled entries',
  pageSize: 100,
  merchants: merchantsWithDueEntries,
  page: dueEntries,
  async settle(tx, { merchantId, keys }, moment) {
    const entries = await lockDueEntries(tx, merchantId, { keys, now: moment.now });
    if (entries.length === 0) return null;
    const results = await post(tx, entries, moment);
    const after = entries.map((entry, index) => afterTry(entry, resultAt(results, index), moment.now));
    await alertWallets(tx, after.flatMap(newsOf), moment);
    const saved = await saveEntries(tx, merchantId, after);
    invariant(saved === entries.length, 'a locked scheduled entry was not there to be updated');
    return results;
  },
  putOff: (db, { merchantId, keys }, times) => putOffEntries(db, merchantId, { keys, ...times }),
};

/** In the order in which they are due: of two debits of which one can be paid, it is the earlier. */
async function post(
  tx: Tx,
  entries: readonly ScheduledEntry[],
  moment: LedgerMoment,
): Promise<readonly PostingResult[]> {
  const postings = entries.map(postingOf);
  const isOfLots = postings.some(({ terms }) => terms !== undefined);
  const mayOpen = !isOfLots || (await mayOpenLots(tx));
  const asked = postings.filter(({ terms }) => mayOpen || terms === undefined);
  const results = [...(await postBatch(tx, asked, moment))];
  return postings.map(({ terms }): PostingResult => {
    if (!mayOpen && terms !== undefined) return { kind: 'refused', refusal: { code: 'LOTS_NOT_YET' } };
    return resultAt(results.splice(0, 1), 0);
  });
}

function resultAt(results: readonly PostingResult[], index: number): PostingResult {
  const result = results[index];
  invariant(result !== undefined, 'a posting without its result');
  return result;
}

/** What will not be tried again is told. */
function newsOf(entry: ScheduledEntry): NewAlert[] {
  const { merchantId, customerId, currency, scheduledEntryId, amountMinor: amount, isCredit, skippedFor: code } = entry;
  if (entry.state !== 'skipped' || code === null) return [];
  const details = { scheduledEntryId, amount, isCredit, postAt: entry.postAt.toISOString(), code };
  return [{ merchantId, customerId, currency, kind: 'scheduled_entry_skipped', details }];
}
