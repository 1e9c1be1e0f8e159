import type { Queryable } from '../db/transaction.ts';
import type { Entry } from '../ledger/entry.ts';
import { movedBonusKey, moveKey } from '../ledger/keys.ts';
import { entriesByKeys } from '../ledger/store.ts';
import { postedKeys } from './due.ts';
import { findPayments } from './lookups.ts';
import { movesOf, type PaymentMove } from './move-store.ts';
import type { Payment } from './payment.ts';

/** A payment with every entry that it caused, in all customers' wallets, oldest first. */
export interface PaymentLife {
  readonly payment: Payment;
  readonly entries: readonly Entry[];
  readonly moves: readonly PaymentMove[];
}

/** Answers "what happened to this payment?", once for each of the merchant's sources that knows the id. */
export async function paymentLife(db: Queryable, merchantId: string, paymentId: string): Promise<PaymentLife[]> {
  const payments = await findPayments(db, merchantId, paymentId);
  const lives: PaymentLife[] = [];
  // One after another: whoever reads has one connection.
  for (const payment of payments) {
    const moves = payment.moves === 0 ? [] : await movesOf(db, [payment]);
    const entries = await entriesOf(db, payment, moves);
    lives.push({ payment, moves, entries: entries.sort(byAge) });
  }
  return lives;
}

/** In one wallet by number; in several wallets by time, and at the same time what is taken before what is given. */
function byAge(a: Entry, b: Entry): number {
  if (a.customerId === b.customerId && a.currency === b.currency) return a.seq - b.seq;
  return a.createdAt.getTime() - b.createdAt.getTime() || Number(a.isCredit) - Number(b.isCredit);
}

/**
 * The payment's entries, in the wallets of its customers at the time. They are found by the keys of the payment's version, and
 * by those of the former release, which may have posted beside this one.
 */
async function entriesOf(db: Queryable, payment: Payment, moves: readonly PaymentMove[]): Promise<Entry[]> {
  const { merchantId, sourceId, keySource, paymentId, customerId } = payment;
  if (customerId === null) return [];
  const keys = postedKeys(payment);
  const keysBefore = postedKeys(payment, 1);
  const keysOfMove = ({ move, bonus }: PaymentMove) => [
    moveKey(keySource ?? sourceId, paymentId, move),
    ...(bonus === 0 ? [] : [movedBonusKey(keySource ?? sourceId, paymentId, move)]),
  ];
  const owners = new Set([...moves.map((one) => one.fromCustomerId), customerId]);
  const own = under(owners, new Set([...keys, ...keysBefore]));
  // A move has entries at the two whom it names, and nowhere else: with all owners, the look-ups would grow as the square of the moves.
  const moved = moves.flatMap((one) => under([one.fromCustomerId, one.toCustomerId], keysOfMove(one)));
  const found = await entriesByKeys(db, merchantId, [...own, ...moved]);
  const byKey = Map.groupBy(found, ({ idempotencyKey }) => idempotencyKey ?? '');
  const posted = keys.flatMap((key, index) => byKey.get(key) ?? byKey.get(keysBefore[index] ?? '') ?? []);
  return [...posted, ...moves.flatMap((one) => keysOfMove(one).flatMap((key) => byKey.get(key) ?? []))];
}

/** Each of these keys at each of these customers. */
function under(customerIds: Iterable<string>, keys: Iterable<string>) {
  const all = [...keys];
  return [...customerIds].flatMap((customerId) => all.map((idempotencyKey) => ({ customerId, idempotencyKey })));
}
