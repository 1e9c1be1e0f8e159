import type { Refusal } from '../../errors.ts';
import type { Wallet } from '../entry.ts';
import { earlierOf } from '../lots/ends.ts';
import { nextDue } from '../lots/notices.ts';
import { afterPause } from '../lots/pauses.ts';
import type { WorkingBooks } from '../working-books.ts';
import { type ChangeStatus, SERVICE, type StatusResult } from './status.ts';

/** The rules of a wallet's status (docs/wallets.md). Pure. */

/** Why the status of a wallet forbids what a merchant asks for: to take out of it or set aside, or to put into it. Null: it does not. */
export function refuseByStatus(
  { status, currency }: Pick<Wallet, 'status' | 'currency'>,
  asked: 'take' | 'give',
): Refusal<'WALLET_FROZEN' | 'WALLET_CLOSED'> | null {
  if (status === 'closed') return { code: 'WALLET_CLOSED', currency };
  return status === 'frozen' && asked === 'take' ? { code: 'WALLET_FROZEN', currency } : null;
}

/** Precedence, first match wins: currency unknown · customer unknown · not empty · set. */
export function changeStatus(books: WorkingBooks, command: ChangeStatus): StatusResult {
  const { currency, customerId, status, reason, actor } = command;
  const { currencies } = books;
  const wallet = books.wallet(command);
  if (!currencies.has(currency)) {
    return { kind: 'refused', refusal: { code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] } };
  }
  if (wallet === null) return { kind: 'refused', refusal: { code: 'CUSTOMER_NOT_FOUND', customerId } };
  const pausedSince = books.pausedSince(wallet);
  const isPaused = pausedSince !== null;
  const pauseExpiry = status === 'frozen' && (command.pauseExpiry ?? isPaused);
  if (wallet.status === status && isPaused === pauseExpiry) return done(books, wallet);
  const { balance: left, held, openHolds } = wallet;
  const { checkouts, topUps } = books.inFlightIn(wallet);
  if (status === 'closed' && (left !== 0 || openHolds + checkouts + topUps > 0)) {
    return { kind: 'refused', refusal: { code: 'WALLET_NOT_EMPTY', left, held, openHolds, checkouts, topUps } };
  }
  const resumed = isPaused && !pauseExpiry ? endPause(books, wallet, actor) : wallet;
  return done(books, books.setStatus(resumed, { newStatus: status, pauseExpiry, reason, actor }));
}

/** What a payment does in a closed wallet is posted, and somebody has to look at it: the wallet is there again, frozen. */
export function reopened(books: WorkingBooks, wallet: Wallet): Wallet {
  if (wallet.status !== 'closed') return wallet;
  return books.setStatus(wallet, { newStatus: 'frozen', pauseExpiry: false, reason: null, actor: SERVICE });
}

function done(books: WorkingBooks, wallet: Wallet): StatusResult {
  return { kind: 'status_set', wallet, last: books.lastStatusChange(wallet) };
}

/** Every lot has as much time left as it had when the pause began. */
function endPause(books: WorkingBooks, wallet: Wallet, actor: string): Wallet {
  const now = books.momentIn(wallet);
  let { dueAt } = wallet;
  for (const lot of [...books.lots.open(wallet)]) {
    const moved = afterPause(lot, { now, lotTime: books.lots.timeOf(lot, now), actor, rule: books.lotRule });
    if (moved !== null) books.lots.put(moved.lot, moved.change);
    dueAt = earlierOf(dueAt, nextDue(moved?.lot ?? lot, books.lotRule, now));
  }
  return { ...wallet, dueAt };
}
