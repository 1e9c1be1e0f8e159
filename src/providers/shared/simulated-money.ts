import type { Purpose } from '../../payments/purpose.ts';
import type { Delivery } from './provider.ts';

/** What is simulated, independent of the provider; simulated-event.ts turns it into the form of each provider. */

export const DISPUTE_OUTCOMES = ['open', 'lost', 'won'] as const;

interface Money {
  readonly paymentId: string;
  /** Minor units of the currency; the provider must count the currency in the same unit. */
  readonly amountMinor: number;
  /** Upper-case ISO 4217. */
  readonly currency: string;
  /** Ours, `cus_…`. */
  readonly customerId: string;
}

export type SimulatedMoney =
  /** A purpose of null leaves the decision to the source. */
  | (Money & { readonly kind: 'payment'; readonly purpose: Purpose | null })
  | (Money & {
      readonly kind: 'refund';
      readonly refundId: string;
      /** All that was paid, and all that was refunded of it so far, this refund included. */
      readonly paidMinor: number;
      readonly refundedMinor: number;
    })
  | (Money & {
      readonly kind: 'dispute';
      readonly disputeId: string;
      readonly state: (typeof DISPUTE_OUTCOMES)[number];
    });

export interface SimulatedEvent {
  /** The provider's name of the event. */
  readonly type: string;
  readonly delivery: Delivery;
}

/** Stands in every simulated id, and in no real one. */
export const MARK = 'simulated';

/** The metadata that says whose the payment is and what it is for. */
export function simulatedMetadata(money: SimulatedMoney): Readonly<Record<string, string>> {
  const purpose = money.kind === 'payment' ? money.purpose : null;
  return { wallet_customer_id: money.customerId, ...(purpose === null ? {} : { wallet_purpose: purpose }) };
}
