import type { Queryable } from '../db/transaction.ts';
import type { Entry } from '../ledger/entry.ts';
import { entriesByKeys } from '../ledger/store.ts';
import type { Payment } from './payment.ts';
import { postedKeys } from './settle.ts';
import { findPayments } from './store.ts';

/** A payment with every entry it caused, oldest first. */
export interface PaymentLife {
  readonly payment: Payment;
  readonly entries: readonly Entry[];
}

/** Answers "what happened to this payment?": one life for each of the merchant's sources that knows the id. */
export async function paymentLife(db: Queryable, merchantId: string, paymentId: string): Promise<PaymentLife[]> {
  const payments = await findPayments(db, merchantId, paymentId);
  return Promise.all(
    payments.map(async (payment) => {
      const keys = postedKeys(payment).map((key) => `${payment.sourceId}:${key}`);
      const entries = payment.customerId === null ? [] : await entriesByKeys(db, merchantId, payment.customerId, keys);
      return { payment, entries: entries.sort((a, b) => a.seq - b.seq) };
    }),
  );
}
