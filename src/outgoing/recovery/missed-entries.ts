import { z } from 'zod';
import type { Queryable } from '../../db/transaction.ts';
import { invariant } from '../../errors.ts';
import { readClaimedEntries, sizeClaims } from '../../ledger/claimed.ts';
import type { WalletKey } from '../../ledger/entry.ts';
import { toldRange, toldWallets } from '../../ledger/told-entries.ts';
import { changedMessages, MAX_ENTRY_BYTES } from '../messages.ts';
import type { OutgoingMessage } from '../outgoing.ts';
import { entriesWithin, MAX_PART_BYTES } from '../parts.ts';
import type { ClaimedRecovery } from './store.ts';

/**
 * What the ledger says of a window of time, as messages. While nobody listens no message is made or kept; the entries are
 * still there, so it can be made later.
 */

/** A message that exists already, and the entries it tells of. */
export interface KnownMessage {
  readonly messageId: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** Finds the messages that tell of any of the entries after `from` up to `to`. */
export type FindKnown = (wallet: WalletKey, from: number, to: number) => Promise<readonly KnownMessage[]>;

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
/** A page ends with the wallet by which its entries take more, and takes no more than this of one wallet. */
const LIMITS = { maxBytes: MAX_PART_BYTES, maxMetadataBytes: MAX_ENTRY_BYTES };

const placeText = z.object({ customerId: z.string(), currency: z.string(), seq: z.int() });

/** The page after `recovery.place`. The same window, ledger and known messages give the same pages. */
export async function missedPage(db: Queryable, recovery: ClaimedRecovery, findKnown: FindKnown): Promise<MissedPage> {
  const place = recovery.place === null ? null : placeText.parse(JSON.parse(recovery.place));
  // The wallet at the place comes first, since it may not be done.
  const begin = place ?? { customerId: '', currency: '' };
  const wallets = await toldWallets(db, recovery.merchantId, begin, WALLETS_A_PAGE);
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
    const range = await toldRange(db, wallet, recovery);
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

/** What of the entries after `from` up to `to` no known message tells of, in order. Pure. */
export function gapsOf(
  from: number,
  to: number,
  known: readonly KnownMessage[],
): readonly { readonly from: number; readonly to: number }[] {
  const gaps: { from: number; to: number }[] = [];
  let told = from;
  for (const { firstSeq, lastSeq } of known.toSorted((a, b) => a.firstSeq - b.firstSeq)) {
    if (firstSeq > told + 1) gaps.push({ from: told, to: Math.min(firstSeq - 1, to) });
    told = Math.max(told, lastSeq);
  }
  if (told < to) gaps.push({ from: told, to });
  return gaps;
}
