import { ofEachMerchant } from '../db/by-merchant.ts';
import type { Queryable } from '../db/transaction.ts';
import type { Checkout } from '../ledger/checkouts/checkout.ts';
import { checkoutsByIds } from '../ledger/checkouts/store.ts';
import { withTerms } from './checkout.ts';
import type { Payment } from './payment.ts';

/** The checkouts of payments that are for one, by the texts of the payments; there are mostly none. */
export async function checkoutsOf(
  db: Queryable,
  payments: ReadonlyMap<string, Payment>,
): Promise<ReadonlyMap<string, Checkout>> {
  const named = [...payments.values()].flatMap(({ merchantId, purpose, checkoutId }) =>
    purpose === 'checkout' && checkoutId !== null ? [{ merchantId, checkoutId }] : [],
  );
  const checkouts = await ofEachMerchant(named, (merchantId, own) =>
    checkoutsByIds(db, merchantId, [...new Set(own.map(({ checkoutId }) => checkoutId))]),
  );
  const idText = (merchantId: string, checkoutId: string | null) => `${merchantId} ${checkoutId}`;
  const byId = new Map(checkouts.map((one) => [idText(one.merchantId, one.checkoutId), one]));
  return new Map(
    [...payments].flatMap(([text, { merchantId, checkoutId }]) => {
      const checkout = byId.get(idText(merchantId, checkoutId));
      return checkout === undefined ? [] : [[text, checkout] as const];
    }),
  );
}

/** The payments with what their refunds do by the checkouts that they have completed. */
export async function withCheckouts(
  db: Queryable,
  payments: ReadonlyMap<string, Payment>,
): Promise<ReadonlyMap<string, Payment>> {
  const checkouts = await checkoutsOf(db, payments);
  return new Map([...payments].map(([text, payment]) => [text, withTerms(payment, checkouts.get(text) ?? null)]));
}
