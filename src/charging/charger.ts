import type { WalletMetadata } from '../payments/fact.ts';

/** What charging asks of a provider. Never called within a transaction of the database: a call takes as long as a provider likes. */
export interface Charger {
  /** The payment method as it is now; `methodId` null: the one that the customer pays with unless told otherwise. */
  findMethod(customerId: string, methodId: string | null): Promise<MethodReading>;
  /**
   * Charges a saved payment method whose owner is not there. The same request under the same key is the same charge, for as long as
   * the provider remembers keys. It never throws for what the provider does.
   */
  chargeSaved(request: ChargeRequest, key: string): Promise<ChargeAnswer>;
  /** The outcome of a charge whose answer was lost, by the id in its metadata; null if there was no such charge. */
  findCharge(place: ChargePlace): Promise<ChargeAnswer | null>;
}

/** The whole of what a provider is asked, as it is kept until the outcome is known. */
export interface ChargeRequest {
  readonly amount: number;
  readonly currency: string;
  readonly customerId: string;
  readonly methodId: string;
  readonly metadata: WalletMetadata;
}

export interface ChargePlace {
  readonly customerId: string;
  readonly topUpId: string;
  /** When it was first asked for, at the earliest. */
  readonly since: Date;
}

export type MethodReading =
  | { readonly kind: 'found'; readonly methodId: string; readonly fingerprint: string | null }
  | { readonly kind: 'none' };

/** What the provider's API answers to a charge. */
export type ChargeAnswer =
  | { readonly kind: 'charged' | 'processing'; readonly paymentId: string }
  | { readonly kind: 'declined'; readonly paymentId: string | null; readonly declineCode: string }
  /** The charge was surely not made, and would not be if it were asked for again. */
  | { readonly kind: 'refused' }
  /** It may have been made: no answer, an outage, a limit, a request under way. */
  | { readonly kind: 'unknown' };

/** A decline by the customer's having nothing to pay with, which no provider says in the same way. */
export const NO_PAYMENT_METHOD = 'no_payment_method';
