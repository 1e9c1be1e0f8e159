import type { Tx } from '../db/transaction.ts';
import { newId } from '../ids.ts';
import type { Checkout } from '../ledger/checkouts/checkout.ts';
import { outgoingMessage } from './catalogue.ts';
import { type CHECKOUT_DESCRIPTIONS, checkoutJson } from './checkout-data.ts';
import { leaveMessages } from './unsent.ts';

/** What became of a checkout, which is as it now stands. */
export interface CheckoutNotice {
  readonly type: keyof typeof CHECKOUT_DESCRIPTIONS;
  readonly checkout: Checkout;
}

/** Leaves what is told, in the transaction that makes it true. Whoever commits it wakes the announcer. */
export async function tellOfCheckouts(tx: Tx, notices: readonly CheckoutNotice[], now: Date): Promise<void> {
  const messages = notices.map(({ type, checkout }) =>
    outgoingMessage(
      type,
      { merchantId: checkout.merchantId, messageId: newId('message'), at: now },
      checkoutJson(checkout),
    ),
  );
  await leaveMessages(tx, messages, now);
}

/** What the wallet pays alone is completed as it is opened. */
export function tellOfPaid(tx: Tx, checkouts: readonly CheckoutNotice['checkout'][], now: Date): Promise<void> {
  const notices = checkouts.map((checkout) => ({ type: 'checkout.completed', checkout }) as const);
  return tellOfCheckouts(tx, notices, now);
}
