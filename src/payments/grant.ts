import { exceeds, proportionMinor, type Rate } from '../money.ts';
import { authorisedAtFirst, authorisedMinor, awaitsCaptures } from './captures.ts';
import type { Payment } from './payment.ts';

/** What a top-up grants. Pure. */

export interface Grant {
  /** The paid part, which is the payer's own money. */
  readonly credit: number;
  /** What the merchant gives on top. */
  readonly bonus: number;
}

const NOTHING: Grant = { credit: 0, bonus: 0 };

/**
 * What a top-up grants for what was paid. Of a bonus pack it is the same share as was captured of what was authorised. What is granted
 * beyond what was paid is the bonus, an entry of its own; payments that were decided before bonuses were grant all in one.
 */
export function grantOf(payment: Payment, paid: number): Grant {
  const { agreedAmount, creditAmount, bonusSplit } = payment;
  // By the terms of a token there is one price: nothing is granted for a part of it while more captures may come.
  if (agreedAmount !== null && paid < agreedAmount && awaitsCaptures(payment)) return NOTHING;
  if (paid === 0) return NOTHING;
  const total =
    creditAmount === null ? paid + bonusOf(payment, paid) : proportionMinor(creditAmount, paid, priceOf(payment, paid));
  const credit = bonusSplit ? Math.min(total, paid) : total;
  return { credit, bonus: total - credit };
}

function bonusOf(payment: Payment, paid: number): number {
  const { bonusAmount, bonusPrice } = payment;
  if (bonusAmount === null) return 0;
  const price = bonusPrice ?? priceOf(payment, paid);
  return proportionMinor(bonusAmount, Math.min(paid, price), price);
}

/** The price for which the whole `creditAmount` is granted: what was authorised, of which less may be captured. */
function priceOf(payment: Payment, paid: number): number {
  return Math.max(authorisedAtFirst(payment) ?? 0, authorisedMinor(payment) ?? 0, paid);
}

/** Whether a top-up would grant more than `most` times its price. */
export function grantsTooMuch(payment: Payment, most: Rate): boolean {
  const { amountPaid, creditAmount, bonusAmount, bonusPrice, purpose } = payment;
  if (amountPaid === null || amountPaid === 0 || purpose !== 'topup') return false;
  const price = bonusPrice ?? priceOf(payment, amountPaid);
  const granted = creditAmount ?? (bonusAmount === null ? null : price + bonusAmount);
  return granted !== null && exceeds(granted, price, most);
}
