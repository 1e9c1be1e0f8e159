import { z } from 'zod';
import type { Queryable } from '../../db/transaction.ts';
import { invariant } from '../../errors.ts';
import { announcedRange, announcedWallets } from '../../ledger/announced-entries.ts';
import { readClaimedEntries, sizeClaims } from '../../ledger/claimed.ts';
import { changedMessages, MAX_ENTRY_BYTES } from '../messages.ts';
import type { OutgoingMessage } from '../outgoing.ts';
import { entriesWithin, MAX_PART_BYTES } from '../parts.ts';
import type { FindKnown, KnownMessage } from './known-messages.ts';
import type { ClaimedRecovery } from './store.ts';

/**
 * Makes messages from the ledger's entries of a window of time. While no endpoint listens, no message is made or kept; but the
 * entries stay, so the messages can be made later.
 */

export interface MissedPage {
  /** Ids of messages that exist. */
  readonly known: readonly string[];
  /** Messages of entries that no message tells of. */
  readonly made: readonly OutgoingMessage[];
  /** Where the next page begins; null if this was the last. */
  readonly place: string | null;
}

const WALLETS_A_PAGE = 200;
const MESSAGES_A_PAGE = 50;
const ENTRIES_AT_A_TIME = 200;
/** A page ends after the wallet with which its entries exceed this, and takes no more than this of one wallet. */
const LIMITS = { maxBytes: MAX_PART_BYTES, maxMetadataBytes: MAX_ENTRY_BYTES };

const placeText = z.object({ customerId: z.string(), currency: z.string(), seq: z.int() });

/** The page that begins at `recovery.place`. The same window, ledger and known messages give the same pages. */
export async function missedPage(db: Queryable, recovery: ClaimedRecovery, findKnown: FindKnown): Promise<MissedPage> {
  const place = recovery.place === null ? null : placeText.parse(JSON.parse(recovery.place));
  // The page begins with the wallet at the place, which may not be finished.
  const begin = { customerId: '', currency: '', ...place, merchantId: recovery.merchantId };
  const wallets = await announcedWallets(db, begin, WALLETS_A_PAGE);
  const known: string[] = [];
  const made: OutgoingMessage[] = [];
  let bytes = 0;
  const page = (next: z.infer<typeof placeText> | null): MissedPage => ({
    known,
    made,
    place: next === null ? null : JSON.stringify(next),
  });
  for (const wallet of wallets) {
    const { customerId, currency } = wallet;
    if (wallet.newestAt === null || wallet.newestAt < recovery.since) continue;
    const range = await announcedRange(db, wallet, recovery);
    const isBegun = place?.customerId === customerId && place.currency === currency;
    const from = Math.max(range.from, isBegun ? place.seq : 0);
    const span = { ...wallet, fromVersion: from, toVersion: Math.min(range.to, from + ENTRIES_AT_A_TIME) };
    let to = from;
    if (from < range.to) {
      const [sizes = []] = await sizeClaims(db, [span], LIMITS);
      const fitting = entriesWithin(sizes, LIMITS.maxBytes);
      invariant(fitting.count > 0, 'a wallet lacks entries');
      to += fitting.count;
      bytes += fitting.bytes;
      const found = await findKnown(wallet, from, to);
      known.push(...found.map(({ messageId }) => messageId));
      for (const gap of gapsOf(from, to, found)) {
        const entries = await readClaimedEntries(db, [{ ...wallet, fromVersion: gap.from, toVersion: gap.to }], LIMITS);
        made.push(...changedMessages(wallet, entries));
      }
    }
    if (to < range.to) return page({ customerId, currency, seq: to });
    if (known.length + made.length >= MESSAGES_A_PAGE || bytes >= LIMITS.maxBytes)
      return page({ customerId, currency, seq: range.to });
  }
  const last = wallets.at(-1);
  if (last === undefined || wallets.length < WALLETS_A_PAGE) return page(null);
  return page({ customerId: last.customerId, currency: last.currency, seq: Number.MAX_SAFE_INTEGER });
}

/** The ranges of entries after `from` up to `to` that no known message tells of, in order. Pure. */
export function gapsOf(
  from: number,
  to: number,
  known: readonly KnownMessage[],
): readonly { readonly from: number; readonly to: number }[] {
  const gaps: { from: number; to: number }[] = [];
  let covered = from;
  for (const { firstSeq, lastSeq } of known.toSorted((a, b) => a.firstSeq - b.firstSeq)) {
    if (firstSeq > covered + 1) gaps.push({ from: covered, to: Math.min(firstSeq - 1, to) });
    covered = Math.max(covered, lastSeq);
  }
  if (covered < to) gaps.push({ from: covered, to });
  return gaps;
}
