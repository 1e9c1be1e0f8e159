import { createHash } from 'node:crypto';
import { invariant, type Refusal } from '../errors.ts';
import { isMinorAmount, MAX_AMOUNT_MINOR } from '../money.ts';
import { type Entry, MAY_OVERDRAW, type Posting, type Wallet } from './entry.ts';
import type { HoldCommand, HoldDisputes } from './holds/hold.ts';
import type { DisputesResult, HoldResult } from './holds/results.ts';
import { decideHold, insufficientFunds } from './holds/rules.ts';
import { type BookChanges, type PostInput, WorkingBooks } from './working-books.ts';

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

/** What one command of a batch asks of the ledger. */
export type LedgerCommand = Posting | HoldCommand;

export type CommandResult = PostingResult | HoldResult;

/** What payments ask of the ledger, and what becomes of it. */
export type PaymentCommand = Posting | HoldDisputes;
export type PaymentResult = PostingResult | DisputesResult;

/** What a batch changes, and what became of each command, in the same order. */
export interface PostedBatch<Result extends CommandResult = PostingResult> extends BookChanges {
  readonly outcomes: readonly Result[];
}

/**
 * Decides every command of a batch in order, as if each were alone and the ones before it already written. Pure: no
 * clock, no database. Every rule about money is here and in holds/rules.ts; the database's constraints repeat the ones that
 * matter most. Before a command on a wallet decides, the wallet's holds that are over have ended.
 *
 * Precedence of a posting's outcomes, first match wins: key known (repeated, or reused with other input) · unsupported currency ·
 * unknown customer · insufficient balance · balance limit · created.
 * @throws {InvariantError} for an amount that is no whole number of minor units above 0
 */
export function post(commands: readonly Posting[], input: PostInput): PostedBatch;
export function post(commands: readonly LedgerCommand[], input: PostInput): PostedBatch<CommandResult>;
export function post(commands: readonly LedgerCommand[], input: PostInput): PostedBatch<CommandResult> {
  const books = new WorkingBooks(input);
  const outcomes = commands.map((command) =>
    'op' in command ? decideHold(books, command) : decidePosting(books, command),
  );
  return { ...books.changes(), outcomes };
}

function decidePosting(books: WorkingBooks, posting: Posting): PostingResult {
  const wallet = books.wallet(posting);
  const before = books.entryUnder(posting);
  if (before !== null) return decideRepeat(posting, before, wallet);
  const refused = decideRefusal(posting, wallet, books.currencies);
  if (refused !== null) return { kind: 'refused', refusal: refused };
  invariant(wallet !== null, 'a posting without its wallet was not refused');
  const decided = { ...posting, fingerprint: posting.idempotencyKey === null ? null : fingerprint(posting) };
  return { kind: 'created', ...books.write(decided, wallet) };
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
  // A credit never looks at holds, and neither does what takes back.
  if (!isCredit && !MAY_OVERDRAW.has(eventType) && amountMinor > wallet.balance - wallet.held) {
    return insufficientFunds(wallet, amountMinor);
  }
  return Math.abs(after) > MAX_AMOUNT_MINOR ? { code: 'BALANCE_LIMIT_EXCEEDED', most: MAX_AMOUNT_MINOR } : null;
}
