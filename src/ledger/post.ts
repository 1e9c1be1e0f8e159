import { createHash } from 'node:crypto';
import { invariant, type Refusal, refusal } from '../errors.ts';
import { isMinorAmount, MAX_AMOUNT_MINOR } from '../money.ts';
import { type Entry, MAY_OVERDRAW, type Posting, type Wallet, type WalletAlert, walletKeyText } from './entry.ts';
import { decideLowBalance, type LowBalanceRule, raise } from './low-balance/rule.ts';

/**
 * What became of one posting.
 * `created`: the entry was written. `repeated`: the same request was made before under the same key; here is its entry.
 * `refused`: nothing was written; the refusal says why.
 */
export type Outcome =
  | { readonly kind: 'created'; readonly entry: Entry; readonly wallet: Wallet }
  | { readonly kind: 'repeated'; readonly entry: Entry; readonly wallet: Wallet | null }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

export interface PostInput {
  /** The locked state of every wallet the postings touch, by {@link walletKeyText}; a wallet that does not exist is absent. */
  readonly wallets: ReadonlyMap<string, Wallet>;
  /** Entries already in the books under the postings' idempotency keys, by {@link idempotencyText}. */
  readonly known: ReadonlyMap<string, Entry>;
  readonly currencies: ReadonlySet<string>;
  readonly rule: LowBalanceRule;
  readonly now: Date;
}

export interface PostResult {
  /** The wallets that changed, in their new state. */
  readonly wallets: readonly Wallet[];
  readonly entries: readonly Entry[];
  readonly alerts: readonly WalletAlert[];
  /** One for each posting, in the same order. */
  readonly outcomes: readonly Outcome[];
}

/**
 * Decides every posting of a batch in order, as if each were alone and the ones before it already written. Pure: no
 * clock, no database. Every rule about money is here; the database's constraints repeat the ones that matter most.
 *
 * Precedence of outcomes, first match wins: key known (repeated, or reused with other input) · unsupported currency ·
 * unknown customer · insufficient balance · balance limit · created.
 */
export function post(postings: readonly Posting[], input: PostInput): PostResult {
  const wallets = new Map(input.wallets);
  const known = new Map(input.known);
  const changed = new Set<string>();
  const entries: Entry[] = [];
  const alerts: WalletAlert[] = [];
  const outcomes = postings.map((posting): Outcome => {
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

function decideRepeat(posting: Posting, entry: Entry, wallet: Wallet | null): Outcome {
  if (entry.fingerprint === fingerprint(posting)) return { kind: 'repeated', entry, wallet };
  const message = `The idempotency key ${posting.idempotencyKey} was used before with other input. Use a new key for a new request.`;
  return { kind: 'refused', refusal: refusal('IDEMPOTENCY_KEY_REUSED', message) };
}

function decideRefusal(posting: Posting, wallet: Wallet | null, currencies: ReadonlySet<string>): Refusal | null {
  const { amountMinor, currency, isCredit, eventType } = posting;
  invariant(isMinorAmount(amountMinor) && amountMinor > 0, `a posting of ${amountMinor}`);
  if (!currencies.has(currency)) {
    return refusal(
      'UNSUPPORTED_CURRENCY',
      `There are no wallets in ${currency}. Supported: ${[...currencies].join(', ')}.`,
    );
  }
  if (wallet === null) return refusal('CUSTOMER_NOT_FOUND', `There is no customer ${posting.customerId}.`);
  const after = isCredit ? wallet.balance + amountMinor : wallet.balance - amountMinor;
  if (after < 0 && !isCredit && !MAY_OVERDRAW.has(eventType)) {
    const available = Math.max(wallet.balance, 0);
    const message = `Insufficient balance: the wallet holds ${available} ${currency} in minor units, ${amountMinor} are required.`;
    return refusal('INSUFFICIENT_WALLET_FUNDS', message, {
      available,
      required: amountMinor,
      // A debt is repaid first, so it is missing too.
      shortfall: Math.min(amountMinor - wallet.balance, MAX_AMOUNT_MINOR),
    });
  }
  if (Math.abs(after) > MAX_AMOUNT_MINOR) {
    return refusal(
      'BALANCE_LIMIT_EXCEEDED',
      `The balance would pass ${MAX_AMOUNT_MINOR} minor units, the most a wallet can hold.`,
    );
  }
  return null;
}

function makeEntry(posting: Posting, wallet: Wallet, now: Date): Entry {
  const afterBalance = posting.isCredit ? wallet.balance + posting.amountMinor : wallet.balance - posting.amountMinor;
  return {
    ...posting,
    seq: wallet.version + 1,
    beforeBalance: wallet.balance,
    afterBalance,
    fingerprint: posting.idempotencyKey === null ? null : fingerprint(posting),
    // Clocks of processes differ; within a wallet, a later entry is never dated before an earlier one.
    createdAt: now < wallet.updatedAt ? wallet.updatedAt : now,
  };
}

function advance(wallet: Wallet, entry: Entry, rule: LowBalanceRule): { wallet: Wallet; alerts: WalletAlert[] } {
  invariant(
    entry.seq === wallet.version + 1 && entry.beforeBalance === wallet.balance,
    'an entry does not follow its wallet',
  );
  const { afterBalance: balance, seq: version, createdAt: updatedAt } = entry;
  const now = { balance, isDebit: !entry.isCredit, now: updatedAt };
  const decision = decideLowBalance(rule, wallet.currency, wallet, now);
  return raise({ ...wallet, balance, version, updatedAt }, decision, updatedAt);
}
