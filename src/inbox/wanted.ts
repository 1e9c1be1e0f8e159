import type { Wanted } from '../customers/resolve.ts';
import type { Source } from '../merchants/source.ts';
import { customerOfCheckout, readCheckout } from '../payments/checkout.ts';
import { namedCustomer } from '../payments/decide.ts';
import type { Fact, Naming, PaymentFact, RefundFact } from '../payments/fact.ts';
import { intentOf } from '../payments/intent.ts';
import { hasTouchedWallet, type Payment } from '../payments/payment.ts';
import { type CarriedToken, customerOfToken, type PaymentToken, readToken } from '../payments/token.ts';
import { customerOfTopUp, readTopUp } from '../payments/top-up.ts';
import type { LockedEvent } from './events.ts';

interface Asking<Of extends Fact = Fact> {
  readonly source: Source;
  readonly fact: Of;
  /** As it was before. */
  readonly payment: Payment;
  readonly waitIsOver: boolean;
  /** What is known of the token that it carries. */
  readonly carried: CarriedToken;
}

/**
 * Whom a fact is about, if that has to be known. A name is learnt from only where no payer could have written it: where it
 * stands on the merchant's own order or subscription, where the source obeys all metadata, or where an operator's replay was
 * to teach it.
 */
export function wantedBy(event: LockedEvent, asking: Asking): Wanted | null {
  const { source, fact, payment } = asking;
  const { assignedCustomerId: assigned, assignedLink } = event;
  const trusted = fact.kind === 'payment' ? (fact.named ?? null) : null;
  const isKnown = payment.customerId !== null && trusted === null && (assigned === null || hasTouchedWallet(payment));
  if (isKnown || fact.kind === 'dispute' || fact.kind === 'movement') return null;
  if (!needsCustomer({ ...asking, fact })) return null;
  const teachesByPayment = fact.kind === 'payment' && source.metadata === 'all' ? 'payment' : null;
  return {
    merchantId: event.merchantId,
    sourceId: event.sourceId,
    paymentId: fact.paymentId,
    rule: source.customerLinkRule,
    namedCustomerId:
      assigned ??
      trusted?.customerId ??
      customerOfToken(asking) ??
      customerOfCheckout(asking) ??
      customerOfTopUp(asking) ??
      namedCustomer(fact),
    teaches: assigned === null ? (trusted?.by ?? teachesByPayment) : assignedLink ? 'replay' : null,
    at: fact.occurredAt,
    provider: fact.customer,
  };
}

interface NamingEvent {
  readonly event: LockedEvent;
  readonly source: Source | null;
  readonly naming: Naming | null;
}

/**
 * Whom an event names of a group of payments, whichever of them are known.
 * @param token by which it names somebody, if it does
 */
export function wantedByNaming({ event, source, naming }: NamingEvent, token: PaymentToken | null): Wanted | null {
  if (naming === null || source === null) return null;
  const { named, customer: provider, occurredAt: at } = naming;
  const namedCustomerId = event.assignedCustomerId ?? named?.customerId ?? token?.customerId ?? null;
  if (namedCustomerId === null) return null;
  return {
    ...{ merchantId: event.merchantId, sourceId: event.sourceId, paymentId: null },
    ...{ rule: source.customerLinkRule, namedCustomerId, teaches: named?.by ?? 'subscription', at, provider },
  };
}

/** Customers are made only for money that is theirs: not for failed, free or unrelated payments, nor for refunds that wait. */
function needsCustomer(asking: Asking<PaymentFact | RefundFact>): boolean {
  const { payment, source, fact, waitIsOver } = asking;
  if (fact.kind === 'payment' && fact.named !== undefined) return fact.amountMinor !== 0;
  if (fact.state !== 'succeeded') return false;
  // A token that must not be used names nobody, and no other field of the payment may name somebody in its place.
  if (fact.kind === 'refund')
    return waitIsOver && (fact.metadata.wallet_token === undefined || customerOfToken(asking) !== null);
  const token = readToken(asking) ?? readCheckout(asking) ?? readTopUp(asking);
  if (token !== null) return token.kind === 'obeyed' && fact.amountMinor !== 0;
  const intent = intentOf(payment, fact, source);
  return typeof intent !== 'string' && intent.purpose !== 'none' && fact.amountMinor !== 0;
}
