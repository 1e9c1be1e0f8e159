import type { ClaimedWallet } from '../ledger/outbox.ts';

/**
 * Limits the memory that news takes: how much is told of one wallet at a time, and of how many wallets at once. Sizes are in
 * bytes, as read from the database. The metadata of an entry may take 160 kB and a claim may hold thousands of entries, so a page of
 * claims without a limit could take gigabytes: any holder of an API key could stop the workers, again after every restart.
 */

/** The size of one wallet's part, unless a single entry is larger. Room for many messages, and for a thousand entries without texts. */
export const MAX_PART_BYTES = 1024 * 1024;
/** The size of all parts under way in a process together. With their objects and messages they take about five times as much. */
export const MAX_LOADED_BYTES = 16 * 1024 * 1024;

/** The first part of a claim that is not told yet. The lease is on the whole claim. */
export interface Part {
  readonly claim: ClaimedWallet;
  /** Up to which version the part tells; the end of the claim if all of it fits. */
  readonly toVersion: number;
  readonly toAlertSeq: number;
  readonly isLast: boolean;
  readonly bytes: number;
}

/**
 * As many entries as fit, at least one; the last part also has the alerts. It depends on the claim and its entries alone, so
 * that a repeat after a crash tells the same.
 * @param sizes in bytes of the claim's entries, in order; those after the first that does not fit may be left out; and of all its alerts
 */
export function firstPart(
  claim: ClaimedWallet,
  sizes: { readonly entries: readonly number[]; readonly alerts: number },
  maxBytes = MAX_PART_BYTES,
): Part {
  const from = Math.max(claim.fromVersion, 0);
  const { count, bytes } = entriesWithin(sizes.entries, maxBytes);
  // If entries are missing in the ledger, the whole claim is taken: telling it fails, and the log says so.
  const isLast = count === 0 || from + count >= claim.toVersion;
  return isLast
    ? { claim, toVersion: claim.toVersion, toAlertSeq: claim.toAlertSeq, isLast, bytes: bytes + sizes.alerts }
    : { claim, toVersion: from + count, toAlertSeq: claim.fromAlertSeq, isLast, bytes };
}

/** How many of the first entries fit, at least one, and the bytes that they take. */
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

/** How many of the parts, from the first on, may be read beside what is loaded; at least one if nothing is loaded. */
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

/** Splits things, in order, into groups of at most so many bytes and so many things; each group has at least one. */
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
