import type { Queryable } from '../db/transaction.ts';
import type { Entry } from '../ledger/entry.ts';
import { moveKey } from '../ledger/keys.ts';
import { entriesByKeys } from '../ledger/store.ts';
import { findPayments } from './lookups.ts';
import { movesOf, type PaymentMove } from './move-store.ts';
import type { Payment } from './payment.ts';
import { postedKeys } from './settle.ts';

/** A payment with every entry that it caused, in all customers' wallets, oldest first. */
export interface PaymentLife {
  readonly payment: Payment;
  readonly entries: readonly Entry[];
  readonly moves: readonly PaymentMove[];
}

/** Answers "what happened to this payment?", once for each of the merchant's sources that knows the id. */
export async function paymentLife(db: Queryable, merchantId: string, paymentId: string): Promise<PaymentLife[]> {
  const payments = await findPayments(db, merchantId, paymentId);
  return Promise.all(
    payments.map(async (payment) => {
      const moves = payment.moves === 0 ? [] : await movesOf(db, [payment]);
      const entries = await entriesOf(db, payment, moves);
      return { payment, moves, entries: entries.sort(byAge) };
    }),
  );
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
  const keysOfMoves = moves.map(({ move }) => moveKey(keySource ?? sourceId, paymentId, move));
  const wanted = [...new Set([...keys, ...keysBefore, ...keysOfMoves])];
  const owners = [...new Set([...moves.map((one) => one.fromCustomerId), customerId])];
  const found = await Promise.all(owners.map((owner) => entriesByKeys(db, { merchantId, customerId: owner }, wanted)));
  const byKey = Map.groupBy(found.flat(), ({ idempotencyKey }) => idempotencyKey ?? '');
  const own = keys.flatMap((key, index) => byKey.get(key) ?? byKey.get(keysBefore[index] ?? '') ?? []);
  return [...own, ...keysOfMoves.flatMap((key) => byKey.get(key) ?? [])];
}
