import { invariant } from '../../errors.ts';
import { isMinorAmount } from '../../money.ts';
import { availableOf, type LotTerms, type Posting, type Wallet } from '../entry.ts';
import { insufficientFunds } from '../holds/rules.ts';
import type { WorkingBooks } from '../working-books.ts';
import { earlierOf, endOf } from './ends.ts';
import {
  type ChangeLot,
  isOver,
  type Lot,
  type LotCommand,
  lotId,
  MAX_OPEN_LOTS,
  MOST_CHANGES,
  type VoidLot,
  voidFingerprint,
} from './lot.ts';
import { daysAfter, type LotRule, nextDue, noticePassed } from './notices.ts';
import type { ChangeLotResult, LotRefusal, LotResult, RefusedLot, TermsRefusal, VoidResult } from './results.ts';

/** The rules of lots (docs/wallets.md). Each decides one command on books that know what it names, and changes them. */

/**
 * Decides a command about lots. Precedence, first match wins: key known · currency unknown · lot unknown · not open · amount exceeded · insufficient ·
 * done; of a change: currency unknown · lot unknown · not open · what it may not be changed to · done.
 */
export function decideLot(books: WorkingBooks, command: LotCommand): LotResult {
  return command.op === 'void_lot' ? voidLot(books, command) : changeLot(books, command);
}

/** Why a credit cannot have its terms; null if it can. */
export function refuseTerms(
  { eventType, termsSince }: Posting,
  terms: LotTerms,
  { wallet, books }: { readonly wallet: Wallet; readonly books: WorkingBooks },
): TermsRefusal | null {
  const refused = refuseEnd(terms, { givenAt: books.momentIn(wallet), since: termsSince }, books.lotRule);
  if (refused !== null) return refused;
  // What a payment gives is never refused.
  const isFull = eventType === 'merchant_adjustment' && wallet.openLots >= MAX_OPEN_LOTS;
  return isFull ? { code: 'LOT_LIMIT_EXCEEDED', limit: MAX_OPEN_LOTS } : null;
}

/** Why credit that is given at that time cannot have the end that its terms name; null if it can. */
export function refuseEnd(
  terms: LotTerms,
  { givenAt, since = givenAt }: { readonly givenAt: Date; readonly since?: Date | undefined },
  { paidExpiryMinDays: minDays }: Pick<LotRule, 'paidExpiryMinDays'>,
): TermsRefusal | null {
  const end = endOf(terms, givenAt);
  if (end !== null && end <= givenAt) return { code: 'EXPIRY_IN_THE_PAST' };
  const isLate = end === null || (minDays !== null && end >= daysAfter(since, minDays));
  return mayEnd(terms.kind) || isLate ? null : { code: 'PAID_CREDIT_CANNOT_EXPIRE', minDays };
}

/** Credit that somebody paid for does not end, or not soon. */
function mayEnd(kind: LotTerms['kind']): boolean {
  return kind === 'promo' || kind === 'adjustment';
}

function voidLot(books: WorkingBooks, command: VoidLot): VoidResult {
  const wallet = books.wallet(command);
  const fingerprint = voidFingerprint(command);
  const before = books.entryUnder(command);
  if (before?.fingerprint === fingerprint) return { kind: 'repeated', entry: before, wallet };
  const { idempotencyKey, reason } = command;
  if (before !== null) return refused({ code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey });
  const lot = books.lots.lot(command);
  if (!books.currencies.has(command.currency)) return unsupported(books, command.currency);
  if (lot === null || wallet === null) return refused({ code: 'LOT_NOT_FOUND' });
  const amountMinor = command.amountMinor ?? lot.remaining;
  if (lot.state !== 'open') return notOpen(lot);
  invariant(isMinorAmount(amountMinor) && amountMinor > 0, `a void of ${amountMinor}`);
  const { remaining } = lot;
  if (amountMinor > remaining) return refused({ code: 'LOT_AMOUNT_EXCEEDED', remaining, required: amountMinor });
  if (amountMinor > availableOf(wallet)) return refused(insufficientFunds(wallet, amountMinor));
  const { merchantId, customerId, currency, lotNo } = lot;
  const posting = {
    ...{ merchantId, customerId, currency, amountMinor, isCredit: false, eventType: 'credit_voided' as const },
    ...{ reason, referenceObjectId: lotId(lot), metadata: null, idempotencyKey },
  };
  const written = books.write({ ...posting, fingerprint, fromLot: lotNo }, wallet);
  const details = { lots: [{ lotId: lotId(lot), amount: amountMinor }] };
  const next = books.alert(written.wallet, { kind: 'credit_voided', details });
  books.changeWallet(next);
  return { kind: 'voided', lot: books.lots.lot(lot) ?? lot, entry: written.entry, wallet: next };
}

function changeLot(books: WorkingBooks, command: ChangeLot): ChangeLotResult {
  const wallet = books.wallet(command);
  const lot = books.lots.lot(command);
  if (!books.currencies.has(command.currency)) return unsupported(books, command.currency);
  if (lot === null || wallet === null) return refused({ code: 'LOT_NOT_FOUND' });
  const now = books.momentIn(wallet);
  if (lot.state !== 'open') return notOpen(lot);
  // It is over, and open only as far as a hold needs it.
  if (isOver(lot, books.lots.timeOf(lot, now))) return refused({ code: 'LOT_NOT_OPEN', state: 'expired' }, lot);
  const expiresAt = command.end === null ? lot.expiresAt : command.end.at;
  const priority = command.priority ?? lot.priority;
  const isSame = expiresAt?.getTime() === lot.expiresAt?.getTime() && priority === lot.priority;
  if (isSame) return { kind: 'lot_changed', lot, wallet };
  if (lot.changes - (lot.changedByPauses ?? 0) >= MOST_CHANGES)
    return refused({ code: 'LOT_CHANGE_LIMIT', most: MOST_CHANGES });
  const refusedEnd = refuseNewEnd(lot, expiresAt, now);
  if (refusedEnd !== null) return refused(refusedEnd);
  const moved = { ...lot, expiresAt, priority, changes: lot.changes + 1 };
  const isExtended = expiresAt?.getTime() !== lot.expiresAt?.getTime();
  const next = isExtended ? { ...moved, notices: noticePassed(moved, books.lotRule, now) } : moved;
  const { merchantId, customerId, currency, lotNo } = lot;
  books.lots.put(next, {
    ...{ merchantId, customerId, currency, lotNo, changeNo: next.changes },
    ...{ actor: command.actor, reason: command.reason, oldExpiresAt: lot.expiresAt, newExpiresAt: expiresAt },
    ...{ oldPriority: lot.priority, newPriority: priority, createdAt: now },
  });
  const isPaused = books.pausedSince(wallet) !== null;
  const due = isPaused ? wallet : { ...wallet, dueAt: earlierOf(wallet.dueAt, nextDue(next, books.lotRule, now)) };
  books.changeWallet(due);
  return { kind: 'lot_changed', lot: next, wallet: due };
}

/** Why a lot cannot end then; null if it can. Later than it would have is always allowed. */
function refuseNewEnd({ kind, expiresAt: old }: Lot, end: Date | null, now: Date): LotRefusal | null {
  if (end === null || (old !== null && end >= old)) return null;
  if (end <= now) return { code: 'EXPIRY_IN_THE_PAST' };
  return mayEnd(kind) ? null : { code: 'PAID_CREDIT_CANNOT_EXPIRE', minDays: null };
}

function refused(refusal: LotRefusal, lot?: Lot): RefusedLot {
  return lot === undefined ? { kind: 'refused', refusal } : { kind: 'refused', refusal, lot };
}

function notOpen(lot: Lot): RefusedLot {
  return refused({ code: 'LOT_NOT_OPEN', state: lot.state }, lot);
}

function unsupported({ currencies }: WorkingBooks, currency: string): RefusedLot {
  return refused({ code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] });
}
