import { ofEachMerchant } from '../db/by-merchant.ts';
import type { Queryable } from '../db/transaction.ts';
import { checkoutsByIds } from '../ledger/checkouts/store.ts';
import { withTerms } from './checkout.ts';
import type { Payment } from './payment.ts';

/** The payments with what their refunds do by the checkouts that they have completed, of which there are mostly none. */
export async function withCheckouts(
  db: Queryable,
  payments: ReadonlyMap<string, Payment>,
): Promise<ReadonlyMap<string, Payment>> {
  const named = [...payments.values()].flatMap(({ merchantId, purpose, checkoutId }) =>
    purpose === 'checkout' && checkoutId !== null ? [{ merchantId, checkoutId }] : [],
  );
  const checkouts = await ofEachMerchant(named, (merchantId, own) =>
    checkoutsByIds(db, merchantId, [...new Set(own.map(({ checkoutId }) => checkoutId))]),
  );
  const idText = (merchantId: string, checkoutId: string | null) => `${merchantId} ${checkoutId}`;
  const byId = new Map(checkouts.map((one) => [idText(one.merchantId, one.checkoutId), one]));
  return new Map(
    [...payments].map(([text, payment]) => {
      const { merchantId, checkoutId } = payment;
      return [text, withTerms(payment, byId.get(idText(merchantId, checkoutId)) ?? null)];
    }),
  );
}
