import type { DisputedAmount } from '../ledger/holds/hold.ts';
import type { Rate } from '../money.ts';
import type { Offers } from './bonus-rule.ts';
import type { DuePosting } from './due.ts';
import type { Fact, ParkReason } from './fact.ts';
import type { IntentRules } from './intent.ts';
import type { Payment } from './payment.ts';
import type { CarriedToken } from './token.ts';

/** What a fact of a payment is decided by, and what it comes to. */

/** Who owns the payment of a fact, as far as is known. */
export type CustomerResolution =
  /** `isGuess`: by nothing but the provider's customer, from whom this customer was made. A trusted name is better. */
  | { readonly customerId: string; readonly isGuess?: boolean }
  | { readonly problem: 'unknown_customer' | 'no_customer' };

export interface DecideInput {
  readonly payment: Payment;
  readonly fact: Fact;
  readonly source: IntentRules;
  readonly customer: CustomerResolution;
  readonly currencies: ReadonlySet<string>;
  /** The most that a top-up may grant, as a multiple of what was paid. */
  readonly maxBonusRatio: Rate;
  /** By `PAID_EXPIRY_MIN_DAYS`: what was paid may end after so many days at the soonest; null: never. */
  readonly paidExpiryMinDays: number | null;
  /** What merchants give on top of top-ups; null if nothing. */
  readonly offers: Offers | null;
  /** A person chose the customer at a replay. */
  readonly isAssigned: boolean;
  /** What is known of the token that the fact or its payment carries. */
  readonly carried: CarriedToken;
  /** The event has waited for its payment for the longest time allowed. */
  readonly waitIsOver: boolean;
  /** The event has waited as long as events wait for a name that no payer can write. */
  readonly namingIsOver: boolean;
  /** An event that names somebody for this payment, where no payer can write, is parked. */
  readonly isContested: boolean;
}

/** The entries to post, what to hold after them, the payment as it is then, and the result for the event. */
export interface Decision {
  readonly payment: Payment;
  readonly due: readonly DuePosting[];
  readonly holds: readonly DisputedAmount[];
  readonly verdict:
    | { readonly state: 'applied' | 'waiting' }
    | { readonly state: 'parked'; readonly reason: ParkReason; readonly detail: string | null };
}
