import { createHash } from 'node:crypto';
import { invariant, type Refusal } from '../errors.ts';
import { isMinorAmount, MAX_AMOUNT_MINOR } from '../money.ts';
import { type Entry, MAY_OVERDRAW, type Posting, type Wallet, type WalletAlert, walletKeyText } from './entry.ts';
import { headOf, nextHash, startOfChain } from './hash-chain.ts';
import { decideLowBalance, type LowBalanceRule, raise } from './low-balance/rule.ts';

/**
 * What became of one posting.
 * `created`: the entry was written. `repeated`: the same request was made before under the same key; here is its entry.
 * `refused`: nothing was written; the refusal says why.
 */
export type PostingResult =
  | { readonly kind: 'created'; readonly entry: Entry; readonly wallet: Wallet }
  | { readonly kind: 'repeated'; readonly entry: Entry; readonly wallet: Wallet | null }
  | { readonly kind: 'refused'; readonly refusal: PostingRefusal };

export type PostingRefusal = Refusal<
  | 'UNSUPPORTED_CURRENCY'
  | 'CUSTOMER_NOT_FOUND'
  | 'INSUFFICIENT_WALLET_FUNDS'
  | 'BALANCE_LIMIT_EXCEEDED'
  | 'IDEMPOTENCY_KEY_REUSED'
>;

export interface PostInput {
  /** The locked state of every wallet the postings touch, by {@link walletKeyText}; a wallet that does not exist is absent. */
  readonly wallets: ReadonlyMap<string, Wallet>;
  /** Entries already in the books under the postings' idempotency keys, by {@link idempotencyText}. */
  readonly known: ReadonlyMap<string, Entry>;
  readonly currencies: ReadonlySet<string>;
  readonly rule: LowBalanceRule;
  readonly now: Date;
}

export interface PostedBatch {
  /** The wallets that changed, in their new state. */
  readonly wallets: readonly Wallet[];
  readonly entries: readonly Entry[];
  readonly alerts: readonly WalletAlert[];
  /** One for each posting, in the same order. */
  readonly outcomes: readonly PostingResult[];
}

/**
 * Decides every posting of a batch in order, as if each were alone and the ones before it already written. Pure: no
 * clock, no database. Every rule about money is here; the database's constraints repeat the ones that matter most.
 *
 * Precedence of outcomes, first match wins: key known (repeated, or reused with other input) · unsupported currency ·
 * unknown customer · insufficient balance · balance limit · created.
 * @throws {InvariantError} for an amount that is no whole number of minor units above 0
 */
export function post(postings: readonly Posting[], input: PostInput): PostedBatch {
  const wallets = new Map(input.wallets);
  const known = new Map(input.known);
  const changed = new Set<string>();
  const entries: Entry[] = [];
  const alerts: WalletAlert[] = [];
  const outcomes = postings.map((posting): PostingResult => {
    const walletText = walletKeyText(posting);
    const wallet = wallets.get(walletText) ?? null;
    const before = posting.idempotencyKey === null ? undefined : known.get(idempotencyText(posting));
    if (before !== undefined) return decideRepeat(posting, before, wallet);
    const refused = decideRefusal(posting, wallet, input.currencies);
    if (refused !== null) return { kind: 'refused', refusal: refused };
    invariant(wallet !== null, 'a posting without its wallet was not refused');
    const entry = makeEntry(posting, wallet, input.now);
    const next = advance(wallet, entry, input.rule);
    wallets.set(walletText, next.wallet);
    if (entry.idempotencyKey !== null) known.set(idempotencyText(posting), entry);
    changed.add(walletText);
    entries.push(entry);
    alerts.push(...next.alerts);
    return { kind: 'created', entry, wallet: next.wallet };
  });
  const changedWallets = [...wallets].filter(([text]) => changed.has(text)).map(([, wallet]) => wallet);
  return { wallets: changedWallets, entries, alerts, outcomes };
}

/** Where an idempotency key is one key: within a customer of a merchant. */
export function idempotencyText({
  merchantId,
  customerId,
  idempotencyKey,
}: Pick<Posting, 'merchantId' | 'customerId' | 'idempotencyKey'>): string {
  return `${merchantId}\0${customerId}\0${idempotencyKey}`;
}

/** SHA-256, in hexadecimal, of everything a posting asks for; metadata counts in any order of its keys. */
export function fingerprint(posting: Posting): string {
  const { currency, amountMinor, isCredit, eventType, reason, referenceObjectId, metadata } = posting;
  const pairs = metadata === null ? null : Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify([currency, amountMinor, isCredit, eventType, reason, referenceObjectId, pairs]);
  return createHash('sha256').update(text).digest('hex');
}

function decideRepeat(posting: Posting, entry: Entry, wallet: Wallet | null): PostingResult {
  if (entry.fingerprint === fingerprint(posting)) return { kind: 'repeated', entry, wallet };
  const { idempotencyKey } = posting;
  return { kind: 'refused', refusal: { code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey } };
}

function decideRefusal(
  posting: Posting,
  wallet: Wallet | null,
  currencies: ReadonlySet<string>,
): PostingRefusal | null {
  const { amountMinor, currency, isCredit, eventType, customerId } = posting;
  invariant(isMinorAmount(amountMinor) && amountMinor > 0, `a posting of ${amountMinor}`);
  if (!currencies.has(currency)) return { code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] };
  if (wallet === null) return { code: 'CUSTOMER_NOT_FOUND', customerId };
  const after = isCredit ? wallet.balance + amountMinor : wallet.balance - amountMinor;
  if (after < 0 && !isCredit && !MAY_OVERDRAW.has(eventType)) {
    return {
      code: 'INSUFFICIENT_WALLET_FUNDS',
      currency,
      available: Math.max(wallet.balance, 0),
      required: amountMinor,
      // A debt is repaid first, so it is missing too.
      shortfall: Math.min(amountMinor - wallet.balance, MAX_AMOUNT_MINOR),
    };
  }
  return Math.abs(after) > MAX_AMOUNT_MINOR ? { code: 'BALANCE_LIMIT_EXCEEDED', most: MAX_AMOUNT_MINOR } : null;
}

function makeEntry(posting: Posting, wallet: Wallet, now: Date): Entry {
  const afterBalance = posting.isCredit ? wallet.balance + posting.amountMinor : wallet.balance - posting.amountMinor;
  const entry = {
    ...posting,
    seq: wallet.version + 1,
    beforeBalance: wallet.balance,
    afterBalance,
    fingerprint: posting.idempotencyKey === null ? null : fingerprint(posting),
    // Clocks of processes differ; within a wallet, a later entry is never dated before an earlier one.
    createdAt: now < wallet.updatedAt ? wallet.updatedAt : now,
  };
  return { ...entry, hash: nextHash(headOf(wallet) ?? startOfChain(wallet), entry) };
}

function advance(wallet: Wallet, entry: Entry, rule: LowBalanceRule): { wallet: Wallet; alerts: WalletAlert[] } {
  invariant(
    entry.seq === wallet.version + 1 && entry.beforeBalance === wallet.balance,
    'an entry does not follow its wallet',
  );
  const { afterBalance: balance, seq: version, createdAt: updatedAt } = entry;
  const now = { balance, isDebit: !entry.isCredit, now: updatedAt };
  const decision = decideLowBalance(rule, wallet, now);
  const chain = { head: entry.hash, headVersion: version };
  return raise({ ...wallet, balance, version, updatedAt, ...chain }, decision, updatedAt);
}
