import { amountCharged, type Checkout } from '../ledger/checkouts/checkout.ts';
import { awaitsCaptures } from './captures.ts';
import { acceptedParts } from './checkout-shares.ts';
import type { Fact, PaymentFact } from './fact.ts';
import type { IntentRules } from './intent.ts';
import type { Payment, PaymentIntent } from './payment.ts';
import { isTriedAgain } from './record.ts';

/**
 * A payment that names a checkout by its id. Whoever wrote that id, it can only complete a record of our own at its own price, so it is
 * obeyed whatever metadata the source obeys. Pure.
 */

/** What is known of the checkout that a payment names. */
export interface CarriedCheckout {
  /** Null if the merchant has none of that id. */
  readonly checkout?: Checkout | null;
  /** A person has seen that another amount was paid than agreed, and takes it. */
  readonly acceptsAmount?: boolean;
}

type RefusedCheckout = {
  readonly kind: 'refused';
  readonly reason:
    | 'unknown_checkout'
    | 'customer_mismatch'
    | 'currency_mismatch'
    | 'checkout_paid_twice'
    | 'checkout_mismatch';
  readonly detail: string;
};

type CheckoutReading =
  | { readonly kind: 'obeyed'; readonly customerId: string; readonly intent: PaymentIntent }
  | RefusedCheckout;

/** The id of the checkout that the fact is about: it names it, or its payment did before. A token beside it decides instead. */
export function checkoutIdOf(
  fact: Fact,
  { checkoutId, purpose }: Pick<Payment, 'checkoutId' | 'purpose'>,
): string | null {
  if (purpose !== null || fact.kind !== 'payment') return checkoutId;
  if (fact.metadata.wallet_token !== undefined || fact.groupToken) return null;
  return fact.metadata.wallet_checkout_id ?? checkoutId;
}

interface CheckoutInput {
  readonly payment: Payment;
  readonly fact: Fact;
  readonly source: IntentRules;
  readonly carried: CarriedCheckout & {
    /** The customer that a person chose; null if nobody chose one. */
    readonly assignedCustomerId: string | null;
  };
}

/**
 * Reads the checkout that a payment which succeeded names. It says whose the payment is; whether the amount is the agreed one is judged
 * once all of it is there ({@link completionOf}).
 * @returns null if it names none, did not succeed, or what it is for was decided before
 */
export function readCheckout({ payment, fact, source, carried }: CheckoutInput): CheckoutReading | null {
  if (fact.kind !== 'payment' || fact.state !== 'succeeded' || payment.purpose !== null) return null;
  const id = checkoutIdOf(fact, payment);
  if (id === null || fact.amountMinor === 0) return null;
  const ordinary: PaymentIntent = { purpose: source.defaultPurpose, creditAmount: null, checkoutId: null };
  const reading = judge(payment, fact, { id, checkout: carried.checkout ?? null, ordinary });
  // Who gave it to somebody else before it succeeded has said whose it is, too.
  const assigned = carried.assignedCustomerId ?? (payment.moves > 0 ? payment.customerId : null);
  if (assigned === null || (reading.kind === 'obeyed' && reading.customerId === assigned)) return reading;
  // A person has seen it, and says whose it is.
  return { kind: 'obeyed', customerId: assigned, intent: ordinary };
}

/** The customer of the payment's checkout, or null. */
export function customerOfCheckout(input: CheckoutInput): string | null {
  const reading = readCheckout(input);
  return reading?.kind === 'obeyed' ? reading.customerId : null;
}

interface Judged {
  readonly id: string;
  readonly checkout: Checkout | null;
  readonly ordinary: PaymentIntent;
}

function judge(payment: Payment, fact: PaymentFact, { id, checkout, ordinary }: Judged): CheckoutReading {
  if (checkout === null) return refused('unknown_checkout', `there is no ${id.slice(0, 40)}`);
  const otherwise = disagreement(checkout, payment, fact);
  if (otherwise !== null) return otherwise;
  const { customerId, checkoutId } = checkout;
  if (!isCompletedByAnother(checkout, payment)) {
    return { kind: 'obeyed', customerId, intent: { purpose: 'checkout', creditAmount: null, checkoutId } };
  }
  // A provider repeats the metadata of the first payment; what a renewal pays is another purchase of the same customer.
  if (renewsCheckout(checkout, payment, fact)) return { kind: 'obeyed', customerId, intent: ordinary };
  return refused('checkout_paid_twice', paidBefore(checkout));
}

function refused(reason: RefusedCheckout['reason'], detail: string): RefusedCheckout {
  return { kind: 'refused', reason, detail };
}

const paidBefore = ({ paymentId }: Checkout) =>
  paymentId === null ? 'the wallet has paid all of it' : `the payment ${paymentId} paid it`;

/** What the checkout and a payment that names it say otherwise; null if nothing. */
function disagreement(checkout: Checkout, payment: Payment, fact: PaymentFact): RefusedCheckout | null {
  const before = payment.namedBy === null ? null : payment.customerId;
  const named = fact.named?.customerId ?? before ?? fact.metadata.wallet_customer_id;
  if (named !== undefined && named !== checkout.customerId)
    return refused('customer_mismatch', `its checkout is of ${checkout.customerId}`);
  // Of what is only tried, the currency may not be known yet.
  const isOther = fact.currency === null ? fact.state === 'succeeded' : fact.currency !== checkout.currency;
  return isOther ? refused('currency_mismatch', `its checkout is in ${checkout.currency}`) : null;
}

/** Whether something else than this payment has completed the checkout. */
export function isCompletedByAnother(checkout: Checkout, { sourceId, paymentId }: Payment): boolean {
  if (checkout.state !== 'completed' && checkout.state !== 'short') return false;
  return checkout.paymentId !== paymentId || checkout.sourceId !== sourceId;
}

function renewsCheckout({ seriesId, sourceId }: Checkout, payment: Payment, fact: PaymentFact): boolean {
  if (fact.startsSeries === true) return false;
  return seriesId !== null && fact.seriesId === seriesId && sourceId === payment.sourceId;
}

/**
 * The payment with the checkout that it names while nothing has succeeded yet, so that the checkout waits for it. What cannot complete
 * the checkout is not waited for.
 */
export function withNamedCheckout(payment: Payment, fact: Fact, checkout: Checkout | null): Payment {
  const mayName = fact.kind === 'payment' && payment.purpose === null && payment.checkoutId === null;
  if (!mayName || checkout === null || checkoutIdOf(fact, payment) !== checkout.checkoutId) return payment;
  if (isCompletedByAnother(checkout, payment) || disagreement(checkout, payment, fact) !== null) return payment;
  return { ...payment, checkoutId: checkout.checkoutId };
}

/** Whether a payment of a checkout is under way: nothing of it has succeeded yet, or not all of it was captured. */
export function isUnderWay(payment: Payment): boolean {
  if (payment.checkoutId === null || (payment.purpose !== null && payment.purpose !== 'checkout')) return false;
  if (payment.state === 'pending' || isTriedAgain(payment)) return true;
  return payment.state === 'succeeded' && payment.agreedAmount === null && awaitsCaptures(payment);
}

/** Whether news of a payment that names a checkout is parked, and nobody has handled it yet. */
export function isLookedAt({ checkoutId, purpose, heardOf, handled }: Payment): boolean {
  return checkoutId !== null && purpose === null && heardOf && handled.length === 0;
}

type Completion = RefusedCheckout | { readonly kind: 'completed'; readonly payment: Payment } | null;

/**
 * Whether a payment completes its checkout as it now stands. Captures may still come to the agreed amount; once none will, or where more
 * was paid than may be, only a person takes another amount.
 * @returns the payment with what was accepted; null if it completes nothing now
 */
export function completionOf(
  payment: Payment,
  { checkout = null, acceptsAmount = false }: CarriedCheckout,
): Completion {
  const { purpose, agreedAmount, state, amountPaid } = payment;
  if (purpose !== 'checkout' || agreedAmount !== null || state !== 'succeeded' || !amountPaid) return null;
  if (checkout === null || checkout.checkoutId !== payment.checkoutId) return null;
  if (isCompletedByAnother(checkout, payment)) return refused('checkout_paid_twice', paidBefore(checkout));
  const agreed = amountCharged(checkout);
  if (amountPaid < agreed && awaitsCaptures(payment)) return null;
  const isOther = amountPaid < agreed || (amountPaid > agreed && checkout.amountCheck === 'exact');
  if (isOther && !acceptsAmount) return refused('checkout_mismatch', `it is of ${agreed}, and ${amountPaid} was paid`);
  const { order, bought } = acceptedParts(amountPaid, checkout);
  const terms = { captured: null, refunds: checkout.walletRefunds };
  return {
    kind: 'completed',
    payment: { ...payment, agreedAmount: order + bought, creditAmount: bought, checkout: terms },
  };
}

/** The payment with what its refunds do by its checkout, if it has completed that. */
export function withTerms(payment: Payment, checkout: Checkout | null): Payment {
  if (payment.purpose !== 'checkout' || payment.agreedAmount === null || checkout === null) return payment;
  const { captured, walletRefunds: refunds } = checkout;
  return { ...payment, checkout: { captured, refunds } };
}
