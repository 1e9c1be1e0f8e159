import { whereItCan } from '../db/apart.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { readClaimedAlerts, readClaimedEntries, sizeAlerts, sizeClaims } from '../ledger/claimed.ts';
import { walletKeyText } from '../ledger/entry.ts';
import { type ClaimedWallet, type ClaimRequest, claimDue, renewOutbox } from '../ledger/outbox.ts';
import { MAX_ENTRY_BYTES, type WalletNews, wholeMessages } from './messages.ts';
import { firstPart, MAX_PART_BYTES, type Part } from './parts.ts';

/** A lease is renewed while its wallet is worked on, so this limits only how long a crash delays the wallet. */
export const LEASE_SECONDS = 15;
export const RENEW_MS = (LEASE_SECONDS * 1000) / 3;

/** Metadata that is too large for any message is not read at all. */
const LIMITS = { maxBytes: MAX_PART_BYTES, maxMetadataBytes: MAX_ENTRY_BYTES };

/**
 * Postgres measures metadata as text, up to the size of a part for each claim. Five hundred claims at once were half a gigabyte:
 * the statement took longer than its limit of 15 s, the same wallets were claimed again, and no merchant was told anything.
 */
const SIZED_AT_A_TIME = 50;

/** Claims due wallets of all merchants but these, and measures how much there is to tell of each without reading it. */
export async function claimParts(
  pool: Pool,
  limit: number,
  asked: Pick<ClaimRequest, 'unheard' | 'failed'> = {},
): Promise<readonly Part[]> {
  const held: ClaimedWallet[] = [];
  const claimed = (some: readonly ClaimedWallet[]) => void held.push(...some);
  const renewal = setInterval(() => void keepClaims(pool, held), RENEW_MS);
  try {
    const claims = await claimDue(pool, { limit, leaseSeconds: LEASE_SECONDS, claimed, ...asked });
    return await measured(pool, claims);
  } finally {
    clearInterval(renewal);
  }
}

/** After the commit of the claim: entries do not change, and so no lock is held meanwhile. */
async function measured(pool: Pool, claims: readonly ClaimedWallet[]): Promise<readonly Part[]> {
  const parts: Part[] = [];
  for (let index = 0; index < claims.length; index += SIZED_AT_A_TIME) {
    const some = claims.slice(index, index + SIZED_AT_A_TIME);
    const sizes = await sizeClaims(autocommit(pool), some, LIMITS);
    const alerts = await sizeAlerts(autocommit(pool), some);
    for (const [position, claim] of some.entries()) {
      parts.push(firstPart(claim, { entries: at(sizes, position), alerts: at(alerts, position) }));
    }
  }
  return parts;
}

/** Renews leases. A renewal that fails does no harm: if another process claims the wallet as well, its messages have the same ids. */
export function keepClaims(pool: Pool, claims: readonly ClaimedWallet[]): Promise<void> {
  return whereItCan(pool, claims, (own) => renewOutbox(autocommit(pool), own, LEASE_SECONDS));
}

/** What was read for each claim or part, in the same order. */
function at<Read>(read: readonly Read[], index: number): Read {
  const one = read[index];
  invariant(one !== undefined, 'less was read than was asked for');
  return one;
}

/** Reads the entries and alerts of parts. @returns the news of each part, in the same order */
export async function readParts(db: Queryable, parts: readonly Part[]): Promise<readonly WalletNews[]> {
  if (parts.length === 0) return [];
  const ranges = parts.map(({ claim, toVersion, toAlertSeq }) => ({ ...claim, toVersion, toAlertSeq }));
  const withAlerts = ranges.filter(({ fromAlertSeq, toAlertSeq }) => toAlertSeq > fromAlertSeq);
  const entriesOf = Map.groupBy(await readClaimedEntries(db, ranges, LIMITS), walletKeyText);
  const alertsOf = Map.groupBy(await readClaimedAlerts(db, withAlerts), walletKeyText);
  return ranges.map((range, index) => {
    const key = walletKeyText(range);
    const [read, alerts] = [entriesOf.get(key) ?? [], alertsOf.get(key) ?? []];
    if (at(parts, index).isLast) return { ...range, entries: read, alerts };
    const entries = wholeMessages(read);
    return { ...range, toVersion: entries.at(-1)?.seq ?? range.toVersion, entries, alerts };
  });
}
