import { onCitus } from '../db/backend.ts';
import { eachMerchant, ofEachMerchant } from '../db/by-merchant.ts';
import { bigint, boolean, float, integer, nullable, present, text, timestamptz } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { isOutage } from '../db/sqlstate.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, matches, omit, pick } from '../db/table.ts';
import { type Queryable, type Tx, transaction } from '../db/transaction.ts';
import { type WalletKey, walletKeyText } from './entry.ts';
import { isInOutbox, WALLET_OF_NEWS } from './in-outbox.ts';
import { type ClaimFailed, lockDue, ofDueApart, type TriedApart, type WalletsOfMerchant } from './lock-due.ts';
import { OWN_KEY, WALLET_KEY } from './tables.ts';

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

/**
 * The most entries and alerts of one claim. How much is told at a time is measured in bytes, a part of the claim after another; a
 * hundred entries were the limit once, and a wallet that many spend from had news faster than they could be told.
 */
const MAX_CLAIMED = { entries: 10_000, alerts: 100 };

export interface ClaimRequest {
  readonly limit: number;
  readonly leaseSeconds: number;
  /** Merchants of whom nothing is claimed; none unless given. */
  readonly unheard?: readonly string[];
  readonly failed?: ClaimFailed | undefined;
  readonly apart?: TriedApart | undefined;
  /** Told of claims once they are kept: on Citus of one merchant's while those of others are under way. */
  readonly claimed?: ((claims: readonly ClaimedWallet[]) => void) | undefined;
}

/** Claims up to `limit` due wallets, longest waiting first, for `leaseSeconds` by the database's clock. For one Postgres. */
export async function claimOutbox(tx: Tx, request: ClaimRequest): Promise<readonly ClaimedWallet[]> {
  const due = await lockDue(tx, askedBy(request));
  return ofEachMerchant(due, (merchantId, keys) => fixClaims(tx, { merchantId, keys }, request));
}

/** The same, by transactions of its own: one of all merchants, but on Citus and where that fails one of each. */
export async function claimDue(pool: Pool, request: ClaimRequest): Promise<readonly ClaimedWallet[]> {
  const { failed, apart, claimed: done } = request;
  if (!onCitus()) {
    try {
      const claims = await transaction(pool, (tx) => claimOutbox(tx, request));
      done?.(claims);
      return claims;
    } catch (error) {
      if (isOutage(error)) throw error;
      apart?.(error);
    }
  }
  return ofDueApart(pool, { ...askedBy(request), failed, apart, done }, (tx, own) => fixClaims(tx, own, request));
}

const askedBy = ({ limit, unheard = [] }: ClaimRequest) => ({ limit, unheard });

/** A statement of its own: its snapshot is younger than the locks, so no settled range is claimed a second time. */
function fixClaims(tx: Tx, own: WalletsOfMerchant, { leaseSeconds }: ClaimRequest): Promise<readonly ClaimedWallet[]> {
  const { entries, alerts } = MAX_CLAIMED;
  return FIX_CLAIMS.all(tx, { ...own, leaseSeconds, maxEntries: entries, maxAlerts: alerts });
}

const CLAIM = {
  ...WALLET_KEY,
  fromVersion: bigint,
  toVersion: present(bigint),
  fromAlertSeq: bigint,
  toAlertSeq: present(bigint),
  attempts: integer,
  createdAt: timestamptz,
  traceParent: nullable(text),
};

const FIXED = `u.merchant_id, u.customer_id, u.currency, w.announced_version as from_version, u.claimed_version as to_version,
      w.announced_alert_seq as from_alert_seq, u.claimed_alert_seq as to_alert_seq, u.attempts, w.created_at, u.trace_parent`;

const FIX_CLAIMS = statement({
  name: 'fix-claims',
  params: { merchantId: text, keys: rowsOf(OWN_KEY), leaseSeconds: float, maxEntries: bigint, maxAlerts: bigint },
  row: CLAIM,
  text: (p) => `
    update unannounced_wallet u
    set ${fixed(p)}
    from wallet w
    where ${isInOutbox(p.merchantId, p.keys('k'))} and ${WALLET_OF_NEWS}
    returning ${FIXED}`,
  textOnCitus: (p) => `
    update unannounced_wallet u
    set ${fixed(p)}
    from ${p.keys('k', { merchantId: p.merchantId })} join wallet w using (merchant_id, customer_id, currency)
    where ${matches(WALLET_KEY, 'u', 'k')}
    returning ${FIXED}`,
});

/** SQL for what a claim fixes. Alerts wait until the entry that raised them is part of a claim. */
function fixed(p: Readonly<Record<'leaseSeconds' | 'maxEntries' | 'maxAlerts', string>>): string {
  const toVersion = `coalesce(u.claimed_version, least(w.version, greatest(w.announced_version, 0) + ${p.maxEntries}))`;
  return `claimed_until = now() + make_interval(secs => ${p.leaseSeconds}), retry_at = null, claimed_version = ${toVersion},
      claimed_alert_seq = coalesce(u.claimed_alert_seq, (
        select coalesce(max(a.alert_seq), w.announced_alert_seq)
        from wallet_alert a
        where ${matches(WALLET_KEY, 'a', 'w')}
          and a.alert_seq > w.announced_alert_seq and a.alert_seq <= w.announced_alert_seq + ${p.maxAlerts}
          and a.version <= ${toVersion}))`;
}

/** `elsewhere`: somebody else has marked it, and nothing is changed. `held`: its wallet was locked, and nothing is changed either. */
export type Marking = 'marked' | 'elsewhere' | 'held';

/**
 * Marks claims as said, and takes their wallets off the list unless they have more to say; then they queue up again behind
 * the wallets that have waited longer. What was fixed beyond the part that is marked stays fixed, so that its messages are
 * cut at the same entries; else the next range is claimed afresh. The wallets are locked first and in order, as postings
 * lock them. Whoever marks several leaves out those that are not free, since it would keep the others locked as long as it waits.
 */
export async function markAnnounced(
  tx: Tx,
  claims: readonly ClaimedWallet[],
  ifLocked: 'skip' | 'wait',
): Promise<readonly Marking[]> {
  const locked = new Set<string>();
  const marked = await ofEachMerchant(claims, async (merchantId, asked) => {
    const keys = await LOCK_CLAIMED[ifLocked].all(tx, { merchantId, keys: asked });
    for (const key of keys) locked.add(walletKeyText(key));
    const own = asked.filter((claim) => locked.has(walletKeyText(claim)));
    if (own.length === 0) return [];
    const marked = await MARK_ANNOUNCED.all(tx, { merchantId, claims: own });
    const [done, more] = [marked.filter((one) => one.announcedAll), marked.filter((one) => !one.announcedAll)];
    if (done.length > 0) await TAKE_OFF.run(tx, { merchantId, keys: done });
    if (more.length > 0) await LET_CLAIM_AGAIN.run(tx, { merchantId, keys: more });
    return marked;
  });
  const texts = new Set(marked.map(walletKeyText));
  return claims.map((claim) => {
    const text = walletKeyText(claim);
    if (texts.has(text)) return 'marked';
    return locked.has(text) ? 'elsewhere' : 'held';
  });
}

const lockClaimed = (name: string, ifLocked: '' | 'skip locked') =>
  statement({
    name,
    params: { merchantId: text, keys: rowsOf(OWN_KEY) },
    row: WALLET_KEY,
    text: ({ merchantId, keys }) => `
      select ${columns(WALLET_KEY, 'w')}
      from wallet w join ${keys('k', { merchantId })} using (merchant_id, customer_id, currency)
      order by w.merchant_id, w.customer_id, w.currency
      for update of w ${ifLocked}`,
  });
const LOCK_CLAIMED = { wait: lockClaimed('lock-claimed', ''), skip: lockClaimed('lock-free-claimed', 'skip locked') };

const MARK_ANNOUNCED = statement({
  name: 'mark-announced',
  params: { merchantId: text, claims: rowsOf(omit(CLAIM, 'merchantId', 'attempts', 'createdAt', 'traceParent')) },
  row: { ...WALLET_KEY, announcedAll: boolean },
  text: ({ merchantId, claims }) => `
    update wallet w
    set announced_version = n.to_version, announced_alert_seq = n.to_alert_seq
    from ${claims('n', { merchantId })}
    where ${matches(WALLET_KEY, 'w', 'n')}
      and w.announced_version = n.from_version and w.announced_alert_seq = n.from_alert_seq
    returning ${columns(WALLET_KEY, 'w')}, w.version = w.announced_version and w.alert_seq = w.announced_alert_seq as announced_all`,
});

const TAKE_OFF = statement({
  name: 'take-off-list',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  text: ({ merchantId, keys }) => `delete from unannounced_wallet u where ${isInOutbox(merchantId, keys('k'))}`,
  textOnCitus: ({ merchantId, keys }) => `
    delete from unannounced_wallet u using ${keys('k', { merchantId })}
    where ${matches(WALLET_KEY, 'u', 'k')}`,
});

const CLAIMABLE = `claimed_version = case when w.announced_version < u.claimed_version then u.claimed_version end,
      claimed_alert_seq = case when w.announced_version < u.claimed_version then u.claimed_alert_seq end,
      claimed_until = null, retry_at = null, attempts = 0, last_error = null, since = now()`;

const LET_CLAIM_AGAIN = statement({
  name: 'let-claim-again',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  text: ({ merchantId, keys }) => `
    update unannounced_wallet u
    set ${CLAIMABLE}
    from wallet w
    where ${isInOutbox(merchantId, keys('k'))} and ${WALLET_OF_NEWS}`,
  textOnCitus: ({ merchantId, keys }) => `
    update unannounced_wallet u
    set ${CLAIMABLE}
    from ${keys('k', { merchantId })} join wallet w using (merchant_id, customer_id, currency)
    where ${matches(WALLET_KEY, 'u', 'k')}`,
});

export interface Postponement {
  readonly afterSeconds: number;
  /** Whether it counts as a failed attempt. */
  readonly failed: boolean;
  /** For the operator; no secrets, cut at 500 characters. */
  readonly reason: string;
}

/** Gives a claim's lease back, to be tried again later; what it is going to say stays fixed. */
export async function postponeOutbox(
  db: Queryable,
  claim: ClaimedWallet,
  { afterSeconds, failed, reason }: Postponement,
): Promise<void> {
  await POSTPONE.run(db, { ...claim, afterSeconds, failures: failed ? 1 : 0, reason: reason.slice(0, 500) });
}

const POSTPONE = statement({
  params: {
    ...pick(CLAIM, 'merchantId', 'customerId', 'currency', 'toVersion', 'toAlertSeq'),
    afterSeconds: float,
    failures: integer,
    reason: text,
  },
  text: (p) => `
    update unannounced_wallet
    set claimed_until = null, retry_at = now() + make_interval(secs => ${p.afterSeconds}), attempts = attempts + ${p.failures},
      last_error = ${p.reason}
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency}
      and claimed_version = ${p.toVersion} and claimed_alert_seq = ${p.toAlertSeq}`,
});

/** Gives back the leases of claims that were not tried. */
export function releaseOutbox(db: Queryable, claims: readonly ClaimedWallet[]): Promise<void> {
  return setLeases(db, claims, null);
}

/** Keeps the leases of claims that are still worked on. */
export function renewOutbox(db: Queryable, claims: readonly ClaimedWallet[], seconds: number): Promise<void> {
  return setLeases(db, claims, seconds);
}

async function setLeases(db: Queryable, claims: readonly ClaimedWallet[], seconds: number | null): Promise<void> {
  await eachMerchant(claims, (merchantId, own) => SET_LEASES.run(db, { merchantId, claims: own, seconds }));
}

const SET_LEASES = statement({
  name: 'set-leases',
  params: {
    merchantId: text,
    claims: rowsOf(pick(CLAIM, 'customerId', 'currency', 'toVersion', 'toAlertSeq')),
    seconds: nullable(float),
  },
  text: ({ merchantId, claims, seconds }) => `
    update unannounced_wallet u
    set claimed_until = now() + make_interval(secs => ${seconds})
    where ${isInOutbox(merchantId, claims('k'), { claimed_version: 'to_version', claimed_alert_seq: 'to_alert_seq' })}
      and u.claimed_until is not null`,
  textOnCitus: ({ merchantId, claims, seconds }) => `
    update unannounced_wallet u
    set claimed_until = now() + make_interval(secs => ${seconds})
    from ${claims('k', { merchantId })}
    where ${matches(WALLET_KEY, 'u', 'k')}
      and u.claimed_version = k.to_version and u.claimed_alert_seq = k.to_alert_seq and u.claimed_until is not null`,
});
