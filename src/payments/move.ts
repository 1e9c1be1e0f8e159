import { invariant } from '../errors.ts';
import type { EventType } from '../ledger/entry.ts';
import { handledShares } from './handled.ts';
import type { Payment } from './payment.ts';

/** What is left of a payment in a wallet, after all that was posted and handled by hand. */
export interface MoveShare {
  /** Null if nothing was posted. */
  readonly currency: string | null;
  /** In minor units; negative where more was taken than given. */
  readonly net: number;
}

/** What goes with a payment to another customer: one share for each currency in which it was posted, at least one. */
export function movedShares(payment: Payment): readonly MoveShare[] {
  const shares = new Map<string, number>();
  const add = (currency: string | null, amount: number) => {
    if (amount === 0) return;
    invariant(currency !== null, 'a payment was posted in no currency');
    shares.set(currency, (shares.get(currency) ?? 0) + amount);
  };
  add(payment.currency, payment.postedCredit);
  for (const part of payment.parts) add(part.currency ?? payment.currency, part.postedCredit - part.postedTake);
  for (const { fact, given } of handledShares(payment)) add(fact.currency ?? payment.currency, given ?? 0);
  const left = [...shares].filter(([, net]) => net !== 0).map(([currency, net]) => ({ currency, net }));
  return left.length === 0 ? [{ currency: payment.currency, net: 0 }] : left;
}

/** Whether it is unknown how much was handled by hand, and therefore how much is left. */
export function isLeftUnknown(payment: Payment): boolean {
  return handledShares(payment).some(({ given }) => given === null);
}

/** How many entries it has caused, wherever they are. */
export function entriesOfPayment({ postings, bonusPostings, parts }: Payment): number {
  return parts.reduce((sum, part) => sum + part.postings + part.bonusPostings, postings + bonusPostings);
}

/** The types of the entries that give to a wallet and take from it, for a payment of this purpose. */
export function moveEventTypes({ purpose }: Pick<Payment, 'purpose'>): {
  readonly give: EventType;
  readonly take: EventType;
} {
  return purpose === 'topup'
    ? { give: 'payment', take: 'payment_reversal' }
    : { give: 'refund', take: 'refund_reversal' };
}
