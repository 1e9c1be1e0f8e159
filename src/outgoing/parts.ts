import type { ClaimedWallet } from '../ledger/outbox.ts';

/**
 * How much is told of a wallet at a time, and of how many wallets at once, in bytes as they are read. An entry's metadata may
 * take 160 kB and a claim a hundred entries, so a page of claims could take gigabytes: whoever may write entries
 * could end the workers, and again after every restart.
 */

/** What one wallet's part may take, unless a single entry is larger. Many messages, few of them ever more than one part. */
export const MAX_PART_BYTES = 1024 * 1024;
/** What all wallets under way in a process may take together. Texts, objects and messages of it take some five times as much. */
export const MAX_LOADED_BYTES = 16 * 1024 * 1024;
/** An alert, which has no texts. */
const ALERT_BYTES = 500;

/** The first part of a claim that is not told yet; the claim itself is what is leased. */
export interface Part {
  readonly claim: ClaimedWallet;
  /** How far it is told: the claim's own ends, unless it is more than a part. */
  readonly toVersion: number;
  readonly toAlertSeq: number;
  readonly isLast: boolean;
  readonly bytes: number;
}

/**
 * As many entries as fit, at least one, and the alerts with the last of them. It depends on the claim and its entries alone,
 * so that a repeat after a crash tells the same.
 * @param sizes of the claim's entries, in order; those behind the first that does not fit may be left out
 */
export function firstPart(claim: ClaimedWallet, sizes: readonly number[], maxBytes = MAX_PART_BYTES): Part {
  const from = Math.max(claim.fromVersion, 0);
  const { count, bytes } = entriesWithin(sizes, maxBytes);
  // Where entries are missing there is no part to tell; as a whole claim it fails, for somebody to look.
  const isLast = count === 0 || from + count >= claim.toVersion;
  const alerts = (claim.toAlertSeq - claim.fromAlertSeq) * ALERT_BYTES;
  return isLast
    ? { claim, toVersion: claim.toVersion, toAlertSeq: claim.toAlertSeq, isLast, bytes: bytes + alerts }
    : { claim, toVersion: from + count, toAlertSeq: claim.fromAlertSeq, isLast, bytes };
}

/** As many of the first entries as fit, at least one, and the bytes that they take. */
export function entriesWithin(
  sizes: readonly number[],
  maxBytes: number,
): { readonly count: number; readonly bytes: number } {
  let [count, bytes] = [0, 0];
  for (const size of sizes) {
    if (count > 0 && bytes + size > maxBytes) break;
    count += 1;
    bytes += size;
  }
  return { count, bytes };
}

/** How many of the parts, from the first on, may be read beside what is loaded; always one when nothing is. */
export function countFitting(parts: readonly Pick<Part, 'bytes'>[], loadedBytes: number): number {
  let total = loadedBytes;
  let count = 0;
  for (const { bytes } of parts) {
    total += bytes;
    if (total > MAX_LOADED_BYTES && (count > 0 || loadedBytes > 0)) break;
    count += 1;
  }
  return count;
}

/** The same things in groups of at most so many bytes together and so many of them, at least one each. */
export function inGroups<T>(
  things: readonly T[],
  bytesOf: (thing: T) => number,
  max: { readonly bytes: number; readonly count: number },
): readonly (readonly T[])[] {
  const groups: T[][] = [];
  let bytes = 0;
  for (const thing of things) {
    const size = bytesOf(thing);
    const group = groups.at(-1);
    if (group === undefined || bytes + size > max.bytes || group.length >= max.count) {
      groups.push([thing]);
      bytes = size;
    } else {
      group.push(thing);
      bytes += size;
    }
  }
  return groups;
}
