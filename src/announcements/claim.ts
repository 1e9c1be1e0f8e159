import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, transaction } from '../db/transaction.ts';
import { walletKeyText } from '../ledger/entry.ts';
import { type ClaimedWallet, claimUnannounced, readClaimedAlerts, readClaimedEntries } from '../ledger/unannounced.ts';
import type { Announcement } from './messages.ts';

/** Renewed while the wallets are worked on, so it bounds only how long a crash delays them. */
export const LEASE_SECONDS = 15;

/** Claims due wallets and reads what they have to say. */
export async function claimAnnouncements(pool: Pool, limit: number): Promise<readonly Announcement[]> {
  const claims = await transaction(pool, (tx) => claimUnannounced(tx, limit, LEASE_SECONDS));
  // Read after the claim is committed: what is fixed does not change, and no lock waits for the reading.
  return readAnnouncements(autocommit(pool), claims);
}

async function readAnnouncements(db: Queryable, claims: readonly ClaimedWallet[]): Promise<readonly Announcement[]> {
  if (claims.length === 0) return [];
  const entries = Map.groupBy(await readClaimedEntries(db, claims), walletKeyText);
  const alerts = Map.groupBy(await readClaimedAlerts(db, claims), walletKeyText);
  return claims.map((claim) => {
    const key = walletKeyText(claim);
    return { ...claim, entries: entries.get(key) ?? [], alerts: alerts.get(key) ?? [] };
  });
}
