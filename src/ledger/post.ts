import { hash } from 'node:crypto';
import { invariant, type Refusal } from '../errors.ts';
import { isMinorAmount, MAX_AMOUNT_MINOR } from '../money.ts';
import type { BookChanges, PostInput } from './book-changes.ts';
import { type CheckoutResult, type OpenCheckout, openCheckout } from './checkouts/open-checkout.ts';
import { refuseEffectiveAt } from './effective-at.ts';
import { type Entry, type LotTerms, MAY_OVERDRAW, type Posting, type Wallet } from './entry.ts';
import type { CaptureHold, ChangeHold, HoldCommand, HoldDisputes } from './holds/hold.ts';
import type { CaptureResult, ChangeResult, DisputesResult, HoldResult } from './holds/results.ts';
import { decideHold, insufficientFunds } from './holds/rules.ts';
import type { LotCommand } from './lots/lot.ts';
import type { LotResult } from './lots/results.ts';
import { decideLot, refuseTerms } from './lots/rules.ts';
import { changeStatus, refuseByStatus, reopened } from './status/rules.ts';
import type { ChangeStatus, StatusResult } from './status/status.ts';
import { WorkingBooks } from './working-books.ts';

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
  | 'WALLET_FROZEN'
  | 'WALLET_CLOSED'
  | 'INSUFFICIENT_WALLET_FUNDS'
  | 'BALANCE_LIMIT_EXCEEDED'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'LOT_LIMIT_EXCEEDED'
  | 'EXPIRY_IN_THE_PAST'
  | 'PAID_CREDIT_CANNOT_EXPIRE'
  | 'LOTS_NOT_YET'
  | 'EFFECTIVE_AT_OUT_OF_RANGE'
>;

/** What one command of a batch asks of the ledger. */
export type LedgerCommand = Posting | HoldCommand | LotCommand | ChangeStatus | OpenCheckout;

export type CommandResult = PostingResult | HoldResult | LotResult | StatusResult | CheckoutResult;

/** What payments ask of the ledger, and what becomes of it. */
export type PaymentCommand = Posting | HoldDisputes | CaptureHold | ChangeHold;
export type PaymentResult = PostingResult | DisputesResult | CaptureResult | ChangeResult;

/** What a batch changes, and what became of each command, in the same order. */
export interface PostedBatch<Result extends CommandResult = PostingResult> extends BookChanges {
  readonly outcomes: readonly Result[];
}

/**
 * Decides every command of a batch in order, as if each were alone and the ones before it already written. Pure: no
 * clock, no database. Every rule about money is here, in holds/rules.ts and in lots/; the database's constraints repeat the ones that
 * matter most. Before a command on a wallet decides, the wallet's holds and lots that are over have ended.
 *
 * Precedence of a posting's outcomes, first match wins: key known (repeated, or reused with other input) · unsupported currency ·
 * unknown customer · status of the wallet · date of account · terms of a lot, number of lots · insufficient balance · balance limit ·
 * created.
 * After it, a lot that is over and was kept by a hold has ended as far as the command set it free.
 * @throws {InvariantError} for an amount that is no whole number of minor units above 0
 */
export function post(commands: readonly Posting[], input: PostInput): PostedBatch;
export function post(commands: readonly LedgerCommand[], input: PostInput): PostedBatch<CommandResult>;
export function post(commands: readonly LedgerCommand[], input: PostInput): PostedBatch<CommandResult> {
  const books = new WorkingBooks(input);
  const outcomes = commands.map((command) => settle(books, decide(books, command)));
  return { ...books.changes(), outcomes };
}

function decide(books: WorkingBooks, command: LedgerCommand): CommandResult {
  if (!('op' in command)) return decidePosting(books, command);
  if (command.op === 'change_status') return changeStatus(books, command);
  if (command.op === 'open_checkout') return openCheckout(books, command);
  return command.op === 'void_lot' || command.op === 'change_lot'
    ? decideLot(books, command)
    : decideHold(books, command);
}

/** What a command set free may be credit that is over. */
function settle(books: WorkingBooks, outcome: CommandResult): CommandResult {
  if (!('wallet' in outcome) || outcome.wallet === null) return outcome;
  const wallet = books.settled(outcome.wallet);
  return wallet === outcome.wallet ? outcome : { ...outcome, wallet };
}

function decidePosting(books: WorkingBooks, posting: Posting): PostingResult {
  const wallet = books.wallet(posting);
  const before = books.entryUnder(posting);
  if (before !== null) return decideRepeat(posting, before, wallet);
  const refused = decideRefusal(posting, wallet, books);
  if (refused !== null) return { kind: 'refused', refusal: refused };
  invariant(wallet !== null, 'a posting without its wallet was not refused');
  const decided = { ...posting, fingerprint: posting.idempotencyKey === null ? null : fingerprint(posting) };
  return { kind: 'created', ...books.write(decided, reopened(books, wallet)) };
}

/** SHA-256, in hexadecimal, of everything a posting asks for; metadata counts in any order of its keys. */
export function fingerprint(posting: Posting): string {
  const { currency, amountMinor, isCredit, eventType, reason, referenceObjectId, metadata, terms, effectiveAt } =
    posting;
  const pairs = metadata === null ? null : Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  const plain = [currency, amountMinor, isCredit, eventType, reason, referenceObjectId, pairs];
  // Appended only where there are any: keys that were used before these were known go on to fit their requests.
  const later = [
    ...(terms === undefined ? [] : [termsText(terms)]),
    ...(effectiveAt == null ? [] : [effectiveAt.getTime()]),
  ];
  const text = JSON.stringify([...plain, ...later]);
  return hash('sha256', text, 'hex');
}

function termsText({ kind, name, priority, end }: LotTerms): readonly unknown[] {
  return [kind, name, priority, end === null ? null : 'at' in end ? end.at.getTime() : `${end.days} days`];
}

function decideRepeat(posting: Posting, entry: Entry, wallet: Wallet | null): PostingResult {
  if (entry.fingerprint === fingerprint(posting)) return { kind: 'repeated', entry, wallet };
  const { idempotencyKey } = posting;
  return { kind: 'refused', refusal: { code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey } };
}

function decideRefusal(posting: Posting, wallet: Wallet | null, books: WorkingBooks): PostingRefusal | null {
  const { amountMinor, currency, isCredit, eventType, customerId } = posting;
  invariant(isMinorAmount(amountMinor) && amountMinor > 0, `a posting of ${amountMinor}`);
  const { currencies } = books;
  if (!currencies.has(currency)) return { code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] };
  if (wallet === null) return { code: 'CUSTOMER_NOT_FOUND', customerId };
  // What payments do is posted all the same: money has come, or is gone.
  const forbidden = eventType === 'merchant_adjustment' ? refuseByStatus(wallet, isCredit ? 'give' : 'take') : null;
  if (forbidden !== null) return forbidden;
  const misdated = refuseEffectiveAt(posting, books.momentIn(wallet));
  if (misdated !== null) return misdated;
  const refused = posting.terms === undefined ? null : refuseTerms(posting, posting.terms, { wallet, books });
  if (refused !== null) return refused;
  const after = isCredit ? wallet.balance + amountMinor : wallet.balance - amountMinor;
  // A credit never looks at holds, and neither does what takes back.
  if (!isCredit && !MAY_OVERDRAW.has(eventType) && amountMinor > wallet.balance - wallet.held) {
    return insufficientFunds(wallet, amountMinor);
  }
  return Math.abs(after) > MAX_AMOUNT_MINOR ? { code: 'BALANCE_LIMIT_EXCEEDED', most: MAX_AMOUNT_MINOR } : null;
}
