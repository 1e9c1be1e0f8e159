import { mayBeOfOneMerchant, whereItCan } from '../db/apart.ts';
import type { Pool } from '../db/pool.ts';
import { isHeldUp, isOutage } from '../db/sqlstate.ts';
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

/** After a run in which something of a merchant could not be claimed, the next one waits at least this long for it, unless it is woken. */
export const UNCLAIMED_SECONDS = 15;

/** Metadata that is too large for any message is not read at all. */
const LIMITS = { maxBytes: MAX_PART_BYTES, maxMetadataBytes: MAX_ENTRY_BYTES };

/**
 * Postgres measures metadata as text, up to the size of a part for each claim. Five hundred claims at once were half a gigabyte:
 * the statement took longer than its limit of 15 s, the same wallets were claimed again, and no merchant was told anything.
 */
const SIZED_AT_A_TIME = 50;

/** What is done about a claim that cannot be read: nobody else is to wait behind it. */
type Unread = (error: unknown, claim: ClaimedWallet) => Promise<void>;

const REFUSE: Unread = (error) => Promise.reject(error);

interface Claiming extends Pick<ClaimRequest, 'unheard' | 'failed' | 'apart'> {
  /** It is thrown unless given. */
  readonly unread?: Unread;
}

/** Claims due wallets of all merchants but these, and measures how much there is to tell of each without reading it. */
export async function claimParts(
  pool: Pool,
  limit: number,
  { unread = REFUSE, ...asked }: Claiming = {},
): Promise<readonly Part[]> {
  const held: ClaimedWallet[] = [];
  const claimed = (some: readonly ClaimedWallet[]) => void held.push(...some);
  const renewal = setInterval(() => void keepClaims(pool, held), RENEW_MS);
  try {
    const claims = await claimDue(pool, { limit, leaseSeconds: LEASE_SECONDS, claimed, ...asked });
    return await measured(pool, claims, { failed: unread, apart: asked.apart });
  } finally {
    clearInterval(renewal);
  }
}

/** After the commit of the claim: entries do not change, and so no lock is held meanwhile. */
async function measured(
  pool: Pool,
  claims: readonly ClaimedWallet[],
  instead: Instead<ClaimedWallet>,
): Promise<readonly Part[]> {
  const parts: Part[] = [];
  for (let index = 0; index < claims.length; index += SIZED_AT_A_TIME) {
    const some = claims.slice(index, index + SIZED_AT_A_TIME);
    parts.push(...(await apartIfNeeded(some, (few) => firstParts(pool, few), instead)));
  }
  return parts;
}

async function firstParts(pool: Pool, claims: readonly ClaimedWallet[]): Promise<readonly Part[]> {
  const sizes = await sizeClaims(autocommit(pool), claims, LIMITS);
  const alerts = await sizeAlerts(autocommit(pool), claims);
  return claims.map((claim, index) => firstPart(claim, { entries: at(sizes, index), alerts: at(alerts, index) }));
}

/** What takes too long for so many of them is the database's matter, and each costs the time that a statement has. */
const MOST_HELD_UP = 3;

interface Instead<Item> {
  readonly failed: (error: unknown, item: Item) => Promise<void>;
  readonly apart?: ClaimRequest['apart'];
}

/** Does something with all of them, or if that fails with each by itself. @returns what came of those that did not fail */
async function apartIfNeeded<Item, Result>(
  items: readonly Item[],
  work: (items: readonly Item[]) => Promise<readonly Result[]>,
  { failed, apart }: Instead<Item>,
): Promise<readonly Result[]> {
  const throwOutage = (error: unknown) => {
    if (isOutage(error) && !mayBeOfOneMerchant(error)) throw error;
  };
  try {
    return await work(items);
  } catch (error) {
    throwOutage(error);
    apart?.(error);
  }
  const results: Result[] = [];
  let heldUp = 0;
  for (const item of items) {
    try {
      results.push(...(await work([item])));
    } catch (error) {
      throwOutage(error);
      if (isHeldUp(error)) heldUp += 1;
      if (heldUp >= MOST_HELD_UP) throw error;
      await failed(error, item);
    }
  }
  return results;
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

export interface ReadPart {
  readonly part: Part;
  readonly news: WalletNews;
}

/** Reads the entries and alerts of parts. @returns the news of each part that could be read, in the same order */
export function readParts(
  db: Queryable,
  parts: readonly Part[],
  instead: Instead<Part> = { failed: (error) => Promise.reject(error) },
): Promise<readonly ReadPart[]> {
  return apartIfNeeded(parts, (some) => readTogether(db, some), instead);
}

async function readTogether(db: Queryable, parts: readonly Part[]): Promise<readonly ReadPart[]> {
  if (parts.length === 0) return [];
  const ranges = parts.map(({ claim, toVersion, toAlertSeq }) => ({ ...claim, toVersion, toAlertSeq }));
  const withAlerts = ranges.filter(({ fromAlertSeq, toAlertSeq }) => toAlertSeq > fromAlertSeq);
  const entriesOf = Map.groupBy(await readClaimedEntries(db, ranges, LIMITS), walletKeyText);
  const alertsOf = Map.groupBy(await readClaimedAlerts(db, withAlerts), walletKeyText);
  return ranges.map((range, index) => {
    const key = walletKeyText(range);
    const part = at(parts, index);
    const [read, alerts] = [entriesOf.get(key) ?? [], alertsOf.get(key) ?? []];
    if (part.isLast) return { part, news: { ...range, entries: read, alerts } };
    const entries = wholeMessages(read);
    return { part, news: { ...range, toVersion: entries.at(-1)?.seq ?? range.toVersion, entries, alerts } };
  });
}
