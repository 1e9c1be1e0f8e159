import { invariant, type Refusal } from '../../errors.ts';
import { isMinorAmount, MAX_AMOUNT_MINOR } from '../../money.ts';
import { availableOf, type Entry, type Posting, type Wallet } from '../entry.ts';
import { refuseByStatus } from '../status/rules.ts';
import type { WorkingBooks } from '../working-books.ts';
import { afterHold, closeHold, withHold } from './changes.ts';
import { holdDisputes } from './disputes.ts';
import {
  type CaptureHold,
  type ChangeHold,
  type Hold,
  type HoldCommand,
  holdFingerprint,
  MAX_OPEN_HOLDS,
  type PlaceHold,
  type ReleaseHold,
  remainingOf,
} from './hold.ts';
import type { CaptureResult, ChangeResult, HoldRefusal, HoldResult, PlaceResult, RefusedHold } from './results.ts';

/** The rules of holds (docs/wallets.md). Each decides one command on books that know what it names, and changes them. */

/**
 * Decides a command about holds. Precedence, first match wins. Place: key known · currency · customer · status of the wallet · hold
 * limit · insufficient · placed. The others: key known · hold unknown · another's · not open · amount exceeded · status, where more is
 * asked for than is held · insufficient · done.
 */
export function decideHold(books: WorkingBooks, command: HoldCommand): HoldResult {
  switch (command.op) {
    case 'place':
      return place(books, command);
    case 'capture':
      return capture(books, command);
    case 'release':
      return release(books, command);
    case 'change':
      return change(books, command);
    case 'hold_disputes':
      return holdDisputes(books, command);
    case 'sweep':
      return { kind: 'swept', wallet: books.wallet(command) };
  }
}

function place(books: WorkingBooks, command: PlaceHold): PlaceResult {
  const { merchantId, customerId, currency, amountMinor, idempotencyKey } = command;
  invariant(isMinorAmount(amountMinor) && amountMinor > 0, `a hold of ${amountMinor}`);
  const wallet = books.wallet(command);
  const fingerprint = holdFingerprint(command);
  const before = books.holdUnder(command);
  if (before?.fingerprint === fingerprint) return { kind: 'held_before', hold: before, wallet };
  if (before !== null) return refused({ code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey });
  if (!books.currencies.has(currency)) return unsupported(books, currency);
  if (wallet === null) return refused({ code: 'CUSTOMER_NOT_FOUND', customerId });
  const forbidden = refuseByStatus(wallet, 'take');
  if (forbidden !== null) return refused(forbidden);
  if (wallet.openHolds >= MAX_OPEN_HOLDS) return refused({ code: 'HOLD_LIMIT_EXCEEDED', limit: MAX_OPEN_HOLDS });
  const available = availableOf(wallet);
  const amount = command.partial ? Math.min(amountMinor, available) : amountMinor;
  if (amount < 1 || amount > available) return insufficient(wallet, amountMinor);
  const now = books.momentIn(wallet);
  const { reason, referenceObjectId, metadata } = command;
  const expiresAt = secondsAfter(now, command.expiresInSeconds);
  const hold: Hold = {
    merchantId,
    customerId,
    currency,
    holdNo: wallet.holdSeq + 1,
    kind: 'api',
    state: 'open',
    amountMinor: amount,
    captured: 0,
    beyond: 0,
    released: 0,
    lateDebits: 0,
    expiresAt,
    reason,
    releaseReason: null,
    referenceObjectId,
    metadata,
    idempotencyKey,
    fingerprint,
    createdAt: now,
    closedAt: null,
  };
  const next = withHold(wallet, hold);
  books.put(hold);
  books.changeWallet(next);
  return { kind: 'placed', hold, wallet: next };
}

function capture(books: WorkingBooks, command: CaptureHold): CaptureResult {
  const wallet = books.wallet(command);
  const fingerprint = command.idempotencyKey === null ? null : holdFingerprint(command);
  const before = books.entryUnder(command);
  if (before !== null && before.fingerprint === fingerprint) return { kind: 'repeated', entry: before, wallet };
  const { idempotencyKey } = command;
  if (before !== null) return refused({ code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey });
  const found = findHold(books, command, wallet);
  if ('kind' in found) return found;
  const requested = command.amountMinor;
  invariant(requested === null || (isMinorAmount(requested) && requested >= 0), `a capture of ${requested}`);
  const asked = { ...found, command, fingerprint };
  if (found.hold.state === 'open') return captureOpen(books, asked);
  return command.late === 'debit' && mayDebitLate(found.hold) ? debitLate(books, asked) : notOpen(found.hold);
}

/** What a checkout took is paid for by other means, however its hold ended; what it could not take then is collected once. */
function mayDebitLate({ kind, state, lateDebits }: Hold): boolean {
  return kind === 'checkout' ? lateDebits < 2 : state === 'expired' && lateDebits === 0;
}

interface Asked {
  readonly hold: Hold;
  readonly wallet: Wallet;
  readonly command: CaptureHold;
  readonly fingerprint: string | null;
}

function captureOpen(books: WorkingBooks, { hold, wallet, command, fingerprint }: Asked): CaptureResult {
  const { isFinal, beyond } = command;
  const remaining = remainingOf(hold);
  const requested = command.amountMinor ?? remaining;
  const own = Math.min(requested, remaining);
  const extra = requested - own;
  if (extra > 0 && beyond === 'refuse')
    return refused({ code: 'HOLD_AMOUNT_EXCEEDED', remaining, required: requested });
  // What is held was agreed on before; more of a wallet that is frozen is not.
  const forbidden = extra > 0 ? refuseByStatus(wallet, 'take') : null;
  if (forbidden !== null && beyond === 'take') return refused(forbidden);
  // A claw-back may have left less than is held; what others hold is not taken for this one.
  const there = Math.max(wallet.balance, 0);
  const free = wallet.balance - wallet.held;
  const fromHold = Math.min(own, there);
  const fromRest = forbidden === null ? Math.min(extra, Math.max(free, 0)) : 0;
  // Answered with nothing, its key would be unused and the hold open: repeated when there is money, it would take some.
  const isNothing = requested > 0 && fromHold === 0 && !isFinal;
  if (isNothing || (beyond !== 'up_to_balance' && fromHold + fromRest < requested)) {
    const available = Math.min(remaining, there) + Math.max(free, 0);
    const shortfall = Math.min(Math.max(own - wallet.balance, extra > 0 ? extra - free : 0), MAX_AMOUNT_MINOR);
    return refused({
      ...{ code: 'INSUFFICIENT_WALLET_FUNDS', currency: wallet.currency },
      ...{ available, required: requested, shortfall },
    });
  }
  const captured = hold.captured + fromHold;
  const isOver = isFinal || captured === hold.amountMinor;
  // A final capture of nothing gives all that is left back.
  const state = fromHold > 0 ? 'captured' : 'released';
  const now = books.momentIn(wallet);
  const taken = { ...hold, captured, beyond: hold.beyond + fromRest };
  const next = isOver ? closeHold(taken, state, now) : taken;
  const kept = afterHold(wallet, hold, next);
  const uncaptured = requested - fromHold - fromRest;
  if (fromHold === 0) {
    if (isOver) {
      books.put(next);
      books.changeWallet(kept);
    }
    return { kind: 'captured', hold: next, entry: null, uncaptured, wallet: kept };
  }
  const posting = debitFor(hold, command, fromHold + fromRest);
  const written = books.write({ ...posting, fingerprint }, wallet, kept);
  books.capture(captureRow(next, written.entry, { fromHold, beyond: fromRest }), next);
  return { kind: 'captured', hold: next, uncaptured, ...written };
}

/** A debit of what is available, for a hold that ended before its work did. It does not open the hold again. */
function debitLate(books: WorkingBooks, { hold, wallet, command, fingerprint }: Asked): CaptureResult {
  const { beyond } = command;
  const isOfCheckout = hold.kind === 'checkout';
  // A purchase that is paid was agreed on before.
  const forbidden = isOfCheckout ? null : refuseByStatus(wallet, 'take');
  if (forbidden !== null) return refused(forbidden);
  const requested = command.amountMinor ?? hold.released;
  const available = availableOf(wallet);
  if (beyond === 'refuse' && requested > hold.released)
    return refused({ code: 'HOLD_AMOUNT_EXCEEDED', remaining: hold.released, required: requested });
  if (beyond !== 'up_to_balance' && requested > available) return insufficient(wallet, requested);
  const amount = Math.min(requested, available);
  const isNothing = requested === 0 || (amount === 0 && isOfCheckout);
  if (isNothing) return { kind: 'captured', hold, entry: null, uncaptured: requested, wallet };
  if (amount === 0) return insufficient(wallet, requested);
  const written = books.write({ ...debitFor(hold, command, amount), fingerprint }, wallet);
  const next = { ...hold, beyond: hold.beyond + amount, lateDebits: hold.lateDebits + 1 };
  books.capture(captureRow(next, written.entry, { fromHold: 0, beyond: amount }), next);
  return { kind: 'captured', hold: next, uncaptured: requested - amount, ...written };
}

function release(books: WorkingBooks, command: ReleaseHold): ChangeResult {
  const found = findHold(books, command, books.wallet(command));
  if ('kind' in found) return found;
  const { hold, wallet } = found;
  if (hold.state === 'captured') return notOpen(hold);
  if (hold.state !== 'open') return { kind: 'changed', hold, wallet };
  const next = { ...closeHold(hold, 'released', books.momentIn(wallet)), releaseReason: command.reason };
  return changed(books, { hold, wallet }, next);
}

function change(books: WorkingBooks, command: ChangeHold): ChangeResult {
  const found = findHold(books, command, books.wallet(command));
  if ('kind' in found) return found;
  const { hold, wallet } = found;
  if (hold.state !== 'open') return notOpen(hold);
  const amountMinor = command.amountMinor ?? hold.amountMinor;
  invariant(isMinorAmount(amountMinor) && amountMinor >= 0, `a hold changed to ${amountMinor}`);
  if (amountMinor < hold.captured) {
    const wants = `wants what is captured already, ${hold.captured}, or more`;
    return refused({ code: 'INVALID_FIELD', field: 'amount', wants });
  }
  const more = amountMinor - hold.amountMinor;
  const forbidden = more > 0 ? refuseByStatus(wallet, 'take') : null;
  if (forbidden !== null) return refused(forbidden);
  if (more > availableOf(wallet)) return insufficient(wallet, more);
  const now = books.momentIn(wallet);
  if (amountMinor === hold.captured) {
    return changed(books, found, closeHold(hold, hold.captured > 0 ? 'captured' : 'released', now));
  }
  return changed(books, found, { ...hold, amountMinor, expiresAt: endOf(hold, command, now) });
}

function endOf(hold: Hold, { expiresInSeconds, expiresAt }: ChangeHold, now: Date): Date | null {
  if (expiresAt !== undefined) return expiresAt;
  return expiresInSeconds === null ? hold.expiresAt : secondsAfter(now, expiresInSeconds);
}

interface Found {
  readonly hold: Hold;
  readonly wallet: Wallet;
}

function findHold(books: WorkingBooks, command: CaptureHold | ReleaseHold | ChangeHold, wallet: Wallet | null) {
  const hold = books.hold(command);
  if (hold === null) return refused({ code: 'HOLD_NOT_FOUND' });
  if (hold.kind !== (command.owner ?? 'api')) return refused({ code: 'HOLD_OWNED', kind: hold.kind });
  // The wallet of a currency that was configured once, and is no more.
  if (wallet === null) return unsupported(books, command.currency);
  return { hold, wallet };
}

function changed(books: WorkingBooks, before: Found, hold: Hold): ChangeResult {
  const wallet = afterHold(before.wallet, before.hold, hold);
  books.put(hold);
  books.changeWallet(wallet);
  return { kind: 'changed', hold, wallet };
}

/** What a hold was for is said of its captures too; their metadata are their own. */
function debitFor(hold: Hold, command: CaptureHold, amountMinor: number): Posting {
  const { merchantId, customerId, currency, referenceObjectId } = hold;
  const { metadata, idempotencyKey } = command;
  return {
    ...{ merchantId, customerId, currency, amountMinor, isCredit: false },
    eventType: 'hold_captured',
    ...{ reason: command.reason ?? hold.reason, referenceObjectId, metadata, idempotencyKey },
  };
}

function captureRow(hold: Hold, { seq }: Entry, taken: { readonly fromHold: number; readonly beyond: number }) {
  const { merchantId, customerId, currency, holdNo } = hold;
  return { merchantId, customerId, currency, seq, holdNo, ...taken };
}

function refused(refusal: HoldRefusal, hold?: Hold): RefusedHold {
  return hold === undefined ? { kind: 'refused', refusal } : { kind: 'refused', refusal, hold };
}

function notOpen(hold: Hold): RefusedHold {
  return refused({ code: 'HOLD_NOT_OPEN', state: hold.state }, hold);
}

function unsupported({ currencies }: WorkingBooks, currency: string): RefusedHold {
  return refused({ code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] });
}

function insufficient(wallet: Wallet, required: number): RefusedHold {
  return refused(insufficientFunds(wallet, required));
}

/** A debt is repaid first, and what is held stays, so both are missing too. */
export function insufficientFunds(
  wallet: Pick<Wallet, 'currency' | 'balance' | 'held'>,
  required: number,
): Refusal<'INSUFFICIENT_WALLET_FUNDS'> {
  const { currency, balance, held } = wallet;
  const shortfall = Math.min(required - (balance - held), MAX_AMOUNT_MINOR);
  return { code: 'INSUFFICIENT_WALLET_FUNDS', currency, available: availableOf(wallet), required, shortfall };
}

function secondsAfter(now: Date, seconds: number): Date {
  return new Date(now.getTime() + seconds * 1000);
}
