import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, transaction } from '../db/transaction.ts';
import { readClaimedAlerts, readClaimedEntries, sizeClaims } from '../ledger/claimed.ts';
import { walletKeyText } from '../ledger/entry.ts';
import { claimUnannounced } from '../ledger/outbox.ts';
import { type Announcement, MAX_ENTRY_BYTES, wholeMessages } from './messages.ts';
import { firstPart, MAX_PART_BYTES, type Part } from './parts.ts';

/** Renewed while the wallets are worked on, so it bounds only how long a crash delays them. */
export const LEASE_SECONDS = 15;

/** Metadata that no message can hold is not even read. */
const LIMITS = { maxBytes: MAX_PART_BYTES, maxMetadataBytes: MAX_ENTRY_BYTES };

/**
 * Metadata is sized as text, up to a part of each claim. For five hundred claims that was half a gigabyte in one statement, which
 * went beyond the 15 s that a statement may take; the same wallets were then claimed again, and nobody was told of anything.
 */
const SIZED_AT_A_TIME = 50;

/** Claims due wallets, and sizes what they have to say without reading it. */
export async function claimParts(pool: Pool, limit: number): Promise<readonly Part[]> {
  const claims = await transaction(pool, (tx) => claimUnannounced(tx, limit, LEASE_SECONDS));
  // Sized after the claim is committed: what is fixed does not change, and no lock waits for it.
  const parts: Part[] = [];
  for (let index = 0; index < claims.length; index += SIZED_AT_A_TIME) {
    const some = claims.slice(index, index + SIZED_AT_A_TIME);
    const sizes = await sizeClaims(autocommit(pool), some, LIMITS);
    parts.push(...some.map((claim, position) => firstPart(claim, sizes[position] ?? [])));
  }
  return parts;
}

/** Reads what parts of claims have to say, in their order. */
export async function readParts(db: Queryable, parts: readonly Part[]): Promise<readonly Announcement[]> {
  if (parts.length === 0) return [];
  const ranges = parts.map(({ claim, toVersion, toAlertSeq }) => ({ ...claim, toVersion, toAlertSeq }));
  const withAlerts = ranges.filter(({ fromAlertSeq, toAlertSeq }) => toAlertSeq > fromAlertSeq);
  const entriesOf = Map.groupBy(await readClaimedEntries(db, ranges, LIMITS), walletKeyText);
  const alertsOf = Map.groupBy(await readClaimedAlerts(db, withAlerts), walletKeyText);
  return ranges.map((range, index) => {
    const key = walletKeyText(range);
    const [read, alerts] = [entriesOf.get(key) ?? [], alertsOf.get(key) ?? []];
    if (parts[index]?.isLast) return { ...range, entries: read, alerts };
    const entries = wholeMessages(read);
    return { ...range, toVersion: entries.at(-1)?.seq ?? range.toVersion, entries, alerts };
  });
}
