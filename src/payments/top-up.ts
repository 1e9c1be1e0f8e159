import type { Fact, PaymentFact } from './fact.ts';
import type { IntentRules } from './intent.ts';
import type { Payment, PaymentIntent } from './payment.ts';

/** What a payment that names a top-up by its id has to agree with. */
export interface NamedTopUp {
  readonly topUpId: string;
  readonly customerId: string;
  readonly currency: string;
  /** The least that must be paid. */
  readonly amount: number;
  /** The payment that paid it; null while none has. */
  readonly paidBy: { readonly sourceId: string; readonly paymentId: string } | null;
  /** What that payment has in common with its renewals. */
  readonly seriesId: string | null;
  /** Where it is being charged; `paymentId` null: as which payment is not known yet. Null if nobody charges it, or not any more. */
  readonly chargedBy: { readonly sourceId: string; readonly paymentId: string | null } | null;
}

type TopUpReading =
  | { readonly kind: 'obeyed'; readonly customerId: string; readonly intent: PaymentIntent }
  | {
      readonly kind: 'refused';
      readonly reason: 'unknown_topup' | 'topup_mismatch' | 'topup_paid_twice';
      readonly detail: string;
    };

/** The id of the top-up that a payment names. Null if it names none, or at a source where its payer could have named any. */
export function topUpIdOf(fact: Fact, source: Pick<IntentRules, 'metadata' | 'defaultPurpose'>): string | null {
  if (fact.kind !== 'payment' || fact.metadata.wallet_token !== undefined) return null;
  // It credits no more than what was paid. But what a source sells as orders must not become credit by a payer's own word.
  if (source.metadata !== 'all' && source.defaultPurpose !== 'topup') return null;
  return fact.metadata.wallet_topup_id ?? null;
}

interface TopUpInput {
  readonly payment: Payment;
  readonly fact: Fact;
  readonly source: IntentRules;
  readonly carried: {
    /** What is known of the top-up that the payment names; null if the merchant has none of that id. */
    readonly topUp?: NamedTopUp | null;
    /** The customer that a person chose; null if nobody chose one. */
    readonly assignedCustomerId: string | null;
  };
}

/**
 * Reads the top-up that a payment which succeeded names. It says whose the payment is and that it is credited; what was paid is
 * credited, which may be more than was asked for, since taxes come on top. Nothing is guessed where it does not agree: it is paid.
 * @returns null if it names none, did not succeed, or what it is for was decided before
 */
export function readTopUp({ payment, fact, source, carried }: TopUpInput): TopUpReading | null {
  if (fact.kind !== 'payment' || fact.state !== 'succeeded' || payment.purpose !== null) return null;
  const id = topUpIdOf(fact, source);
  if (id === null || fact.amountMinor === 0) return null;
  const reading = judge(payment, { fact, source, id, topUp: carried.topUp ?? null });
  const { assignedCustomerId: assigned } = carried;
  if (assigned === null || (reading.kind === 'obeyed' && reading.customerId === assigned)) return reading;
  // A person has seen it, and says whose it is.
  return { kind: 'obeyed', customerId: assigned, intent: ORDINARY };
}

/** The customer of the payment's top-up, or null. */
export function customerOfTopUp(input: TopUpInput): string | null {
  const reading = readTopUp(input);
  return reading?.kind === 'obeyed' ? reading.customerId : null;
}

const ORDINARY: PaymentIntent = { purpose: 'topup', creditAmount: null };

/** Whether the payment is another one than that which paid the top-up, or is about to: what was charged would be one too many then. */
export function isPaidByAnother({ paidBy, chargedBy }: NamedTopUp, { sourceId, paymentId }: Payment): boolean {
  const by = paidBy ?? chargedBy;
  return by !== null && ((by.paymentId ?? paymentId) !== paymentId || by.sourceId !== sourceId);
}

/** Whether what a payer tried may be for the top-up: another's try must neither keep it waiting nor count as its decline. */
export function mayBeFor(topUp: NamedTopUp, payment: Payment, fact: PaymentFact): boolean {
  const { amountMinor } = fact;
  return disagreement(topUp, payment, fact) === null && (amountMinor === null || amountMinor >= topUp.amount);
}

/** What the top-up and a payment that names it say otherwise; null if nothing. */
function disagreement({ customerId, currency }: NamedTopUp, payment: Payment, fact: PaymentFact): string | null {
  const before = payment.namedBy === null ? null : payment.customerId;
  const named = fact.named?.customerId ?? before ?? fact.metadata.wallet_customer_id;
  if (named !== undefined && named !== customerId) return `it is of ${customerId}`;
  return fact.currency === null || fact.currency === currency ? null : `it is in ${currency}`;
}

/** Whether the payment renews what paid the top-up: a provider repeats the metadata of the first. */
export function renewsTopUp({ paidBy, seriesId }: NamedTopUp, { sourceId }: Payment, fact: Fact): boolean {
  if (fact.kind !== 'payment' || fact.startsSeries === true) return false;
  return seriesId !== null && fact.seriesId === seriesId && paidBy?.sourceId === sourceId;
}

interface Judged {
  readonly fact: PaymentFact;
  readonly source: IntentRules;
  readonly id: string;
  readonly topUp: NamedTopUp | null;
}

function judge(payment: Payment, { fact, source, id, topUp }: Judged): TopUpReading {
  const mismatch = (detail: string): TopUpReading => ({ kind: 'refused', reason: 'topup_mismatch', detail });
  if (topUp === null) return { kind: 'refused', reason: 'unknown_topup', detail: `there is no ${id.slice(0, 40)}` };
  const { customerId, currency, amount } = topUp;
  const otherwise = disagreement(topUp, payment, fact);
  if (otherwise !== null) return mismatch(otherwise);
  if (fact.currency === null) return mismatch(`it is in ${currency}`);
  if (isPaidByAnother(topUp, payment)) {
    if (source.metadata === 'all' || renewsTopUp(topUp, payment, fact)) return obeyed(customerId, ORDINARY);
    return { kind: 'refused', reason: 'topup_paid_twice', detail: paidElsewhere(topUp) };
  }
  // Captures may still come to the whole of it.
  if ((fact.amountMinor ?? 0) < amount) return mismatch(`it is of ${amount}, and less was paid`);
  return obeyed(customerId, { ...ORDINARY, agreedAmount: amount });
}

function paidElsewhere({ paidBy, chargedBy }: NamedTopUp): string {
  return paidBy === null ? `it is charged at ${chargedBy?.sourceId}` : `the payment ${paidBy.paymentId} paid it`;
}

function obeyed(customerId: string, intent: PaymentIntent): TopUpReading {
  return { kind: 'obeyed', customerId, intent };
}
