import type { Queryable, Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { type WalletKey, walletKeyText } from './entry.ts';

/**
 * The work list of wallets with something to tell their merchant. A claim fixes what is going to be said: the entries
 * after `fromVersion` up to `toVersion` and the alerts likewise. It stays fixed until all of it is said, whoever tries
 * and however often; the lease only keeps two workers from trying at the same time.
 *
 * Locks are taken in one order, wallet before work-list row, as postings do. Claiming takes rows of the work list alone
 * and skips locked ones, so it waits for nobody.
 */
export interface ClaimedWallet extends WalletKey {
  /** -1: not even the wallet's creation has been told. */
  readonly fromVersion: number;
  readonly toVersion: number;
  readonly fromAlertSeq: number;
  readonly toAlertSeq: number;
  /** How often this claim has failed. */
  readonly attempts: number;
  /** When the wallet was opened. */
  readonly createdAt: Date;
  /** By which trace its news came, if traces are collected. */
  readonly traceParent: string | null;
}

/** The most entries, and the most alerts, of one claim. */
const MAX_CLAIMED = 100;

/** Claims up to `limit` due wallets, longest waiting first, for `leaseSeconds` by the database's clock. */
export async function claimUnannounced(tx: Tx, limit: number, leaseSeconds: number): Promise<readonly ClaimedWallet[]> {
  const { rows: due } = await tx.query<KeyRow>(LOCK_DUE, [limit]);
  if (due.length === 0) return [];
  // A statement of its own: its snapshot is younger than the locks, so no settled range is claimed a second time.
  const { rows } = await tx.query<ClaimRow>(FIX_CLAIMS, [...keyColumns(due.map(toKey)), leaseSeconds, MAX_CLAIMED]);
  return rows.map(toClaim);
}

const LOCK_DUE = `
  select merchant_id, customer_id, currency
  from unannounced_wallet
  where (claimed_until is null or claimed_until <= now()) and (retry_at is null or retry_at <= now())
  order by since
  limit $1
  for update skip locked`;

/** Alerts wait until the entry that raised them is part of a claim. */
const FIX_CLAIMS = `
  with due as (
    select u.merchant_id, u.customer_id, u.currency, w.announced_version, w.announced_alert_seq, w.created_at,
      coalesce(u.claimed_version, least(w.version, greatest(w.announced_version, 0) + $5)) as to_version
    from unannounced_wallet u
    join unnest($1::text[], $2::text[], $3::text[]) as k (merchant_id, customer_id, currency)
      using (merchant_id, customer_id, currency)
    join wallet w using (merchant_id, customer_id, currency))
  update unannounced_wallet u
  set claimed_until = now() + make_interval(secs => $4), retry_at = null, claimed_version = d.to_version,
    claimed_alert_seq = coalesce(u.claimed_alert_seq, (
      select coalesce(max(a.alert_seq), d.announced_alert_seq)
      from wallet_alert a
      where a.merchant_id = d.merchant_id and a.customer_id = d.customer_id and a.currency = d.currency
        and a.alert_seq > d.announced_alert_seq and a.alert_seq <= d.announced_alert_seq + $5
        and a.version <= d.to_version))
  from due d
  where u.merchant_id = d.merchant_id and u.customer_id = d.customer_id and u.currency = d.currency
  returning u.merchant_id, u.customer_id, u.currency, d.announced_version as from_version, u.claimed_version as to_version,
    d.announced_alert_seq as from_alert_seq, u.claimed_alert_seq as to_alert_seq, u.attempts, d.created_at, u.trace_parent`;

/**
 * Marks claims as said, and takes their wallets off the list unless they have more to say; then they queue up again behind
 * the wallets that have waited longer. What was fixed beyond the part that is marked stays fixed, so that its messages are
 * cut at the same entries; else the next range is claimed afresh. The wallets are locked first and in order, as postings
 * lock them.
 * @returns for each claim whether it was marked now; false if somebody else has done so already, and nothing is changed
 */
export async function markAnnounced(tx: Tx, claims: readonly ClaimedWallet[]): Promise<readonly boolean[]> {
  const keys = keyColumns(claims);
  await tx.query(LOCK_CLAIMED, keys);
  const { rows } = await tx.query<KeyRow & { said_all: boolean }>(MARK_SAID, [
    ...keys,
    claims.map((claim) => claim.toVersion),
    claims.map((claim) => claim.toAlertSeq),
    claims.map((claim) => claim.fromVersion),
    claims.map((claim) => claim.fromAlertSeq),
  ]);
  const [done, more] = [rows.filter((row) => row.said_all), rows.filter((row) => !row.said_all)];
  if (done.length > 0) await tx.query(TAKE_OFF, keyColumns(done.map(toKey)));
  if (more.length > 0) await tx.query(LET_CLAIM_AGAIN, keyColumns(more.map(toKey)));
  const marked = new Set(rows.map(toKey).map(walletKeyText));
  return claims.map((claim) => marked.has(walletKeyText(claim)));
}

const OF_KEYS = 'unnest($1::text[], $2::text[], $3::text[]) as k (merchant_id, customer_id, currency)';

const LOCK_CLAIMED = {
  name: 'lock-claimed',
  text: `
    select 1 from wallet w join ${OF_KEYS} using (merchant_id, customer_id, currency)
    order by w.merchant_id, w.customer_id, w.currency
    for update of w`,
};

const MARK_SAID = {
  name: 'mark-said',
  text: `
    update wallet w
    set announced_version = n.to_version, announced_alert_seq = n.to_alert_seq
    from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
      as n (merchant_id, customer_id, currency, to_version, to_alert_seq, from_version, from_alert_seq)
    where w.merchant_id = n.merchant_id and w.customer_id = n.customer_id and w.currency = n.currency
      and w.announced_version = n.from_version and w.announced_alert_seq = n.from_alert_seq
    returning w.merchant_id, w.customer_id, w.currency,
      w.version = w.announced_version and w.alert_seq = w.announced_alert_seq as said_all`,
};

const TAKE_OFF = {
  name: 'take-off-list',
  text: `
    delete from unannounced_wallet u using ${OF_KEYS}
    where u.merchant_id = k.merchant_id and u.customer_id = k.customer_id and u.currency = k.currency`,
};

const LET_CLAIM_AGAIN = {
  name: 'let-claim-again',
  text: `
    update unannounced_wallet u
    set claimed_version = case when w.announced_version < u.claimed_version then u.claimed_version end,
      claimed_alert_seq = case when w.announced_version < u.claimed_version then u.claimed_alert_seq end,
      claimed_until = null, retry_at = null, attempts = 0, last_error = null, since = now()
    from ${OF_KEYS} join wallet w using (merchant_id, customer_id, currency)
    where u.merchant_id = k.merchant_id and u.customer_id = k.customer_id and u.currency = k.currency`,
};

export interface Postponement {
  readonly afterSeconds: number;
  /** Whether it counts as a failed attempt. */
  readonly failed: boolean;
  /** For the operator; no secrets, cut at 500 characters. */
  readonly reason: string;
}

/** Gives a claim's lease back, to be tried again later; what it is going to say stays fixed. */
export async function postponeUnannounced(
  db: Queryable,
  claim: ClaimedWallet,
  { afterSeconds, failed, reason }: Postponement,
): Promise<void> {
  await db.query(
    `update unannounced_wallet
     set claimed_until = null, retry_at = now() + make_interval(secs => $6), attempts = attempts + $7, last_error = $8
     where merchant_id = $1 and customer_id = $2 and currency = $3 and claimed_version = $4 and claimed_alert_seq = $5`,
    [
      claim.merchantId,
      claim.customerId,
      claim.currency,
      claim.toVersion,
      claim.toAlertSeq,
      afterSeconds,
      failed ? 1 : 0,
      reason.slice(0, 500),
    ],
  );
}

/** Gives back the leases of claims that were not tried. */
export function releaseUnannounced(db: Queryable, claims: readonly ClaimedWallet[]): Promise<void> {
  return setLeases(db, claims, null);
}

/** Keeps the leases of claims that are still worked on. */
export function renewUnannounced(db: Queryable, claims: readonly ClaimedWallet[], seconds: number): Promise<void> {
  return setLeases(db, claims, seconds);
}

async function setLeases(db: Queryable, claims: readonly ClaimedWallet[], seconds: number | null): Promise<void> {
  if (claims.length === 0) return;
  await db.query(
    `update unannounced_wallet u
     set claimed_until = now() + make_interval(secs => $6)
     from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
       as k (merchant_id, customer_id, currency, to_version, to_alert_seq)
     where u.merchant_id = k.merchant_id and u.customer_id = k.customer_id and u.currency = k.currency
       and u.claimed_version = k.to_version and u.claimed_alert_seq = k.to_alert_seq and u.claimed_until is not null`,
    [...keyColumns(claims), claims.map((claim) => claim.toVersion), claims.map((claim) => claim.toAlertSeq), seconds],
  );
}

/**
 * How long until the next wallet is due: 0 if one is now, null if none is going to be. Counts what was put off, and what is
 * leased: whoever has it may be dead.
 */
export async function unannouncedDueInSeconds(db: Queryable): Promise<number | null> {
  const { rows } = await db.query<{ seconds: number | null }>(
    `select extract(epoch from min(greatest(claimed_until, retry_at, now())) - now())::float8 as seconds
     from unannounced_wallet`,
  );
  return rows[0]?.seconds ?? null;
}

interface KeyRow {
  merchant_id: string;
  customer_id: string;
  currency: string;
}

interface ClaimRow extends KeyRow {
  from_version: number;
  to_version: number;
  from_alert_seq: number;
  to_alert_seq: number;
  attempts: number;
  created_at: Date;
  trace_parent: string | null;
}

function toKey(row: KeyRow): WalletKey {
  return { merchantId: row.merchant_id, customerId: row.customer_id, currency: row.currency };
}

function toClaim(row: ClaimRow): ClaimedWallet {
  return {
    ...toKey(row),
    fromVersion: row.from_version,
    toVersion: row.to_version,
    fromAlertSeq: row.from_alert_seq,
    toAlertSeq: row.to_alert_seq,
    attempts: row.attempts,
    createdAt: row.created_at,
    traceParent: row.trace_parent,
  };
}

/** Keys as the three arrays that `unnest` takes. */
export function keyColumns(keys: readonly WalletKey[]): [string[], string[], string[]] {
  return [keys.map((key) => key.merchantId), keys.map((key) => key.customerId), keys.map((key) => key.currency)];
}

/** How many wallets wait to be announced (counted up to 10,000), and how long the first of them has. */
export async function announcementBacklog(
  db: Queryable,
): Promise<{ unannouncedWallets: number; oldestUnannouncedSeconds: number }> {
  const { rows } = await db.query<{ wallets: number; seconds: number }>(`
    select
      (select count(*) from (select 1 from unannounced_wallet limit 10000) u) as wallets,
      (select coalesce(extract(epoch from now() - min(since)), 0)::float8 from unannounced_wallet) as seconds`);
  const [row] = rows;
  invariant(row !== undefined, 'a count without a row');
  return { unannouncedWallets: row.wallets, oldestUnannouncedSeconds: Math.max(row.seconds, 0) };
}
