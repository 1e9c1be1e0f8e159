import type { WalletMetadata } from '../payments/fact.ts';

/** What charging asks of a provider. Never called within a transaction of the database: a call takes as long as a provider likes. */
export interface Charger {
  /**
   * Whether the same request under the same key is the same charge, for as long as the provider remembers keys. Else every request is
   * another charge: each is made once, and what became of it is looked for and never asked again.
   */
  readonly knowsKeys: boolean;
  /**
   * The payment method as it is now; `methodId` null: the one that the customer pays with unless told otherwise. One that would be charged in
   * another currency is none.
   */
  findMethod(customerId: string, methodId: string | null, currency: string): Promise<MethodReading>;
  /** Charges a saved payment method whose owner is not there. It never throws for what the provider does. */
  chargeSaved(request: ChargeRequest, key: string): Promise<ChargeAnswer>;
  /** The outcome of a charge whose answer was lost, by the id in its metadata; null if there was no such charge. */
  findCharge(place: ChargePlace): Promise<ChargeAnswer | null>;
  /**
   * A page of the provider's at which somebody pays this order, and nothing else. The same order is the same page, for as long as the
   * provider remembers keys. It never throws for what the provider does.
   */
  createSession(order: SessionOrder): Promise<SessionAnswer>;
}

/** What is to be paid at a page of the provider's. */
export interface SessionOrder {
  /** Of the checkout or top-up; the key of the request as well. */
  readonly orderId: string;
  /** All that is charged, in minor units. */
  readonly amount: number;
  readonly currency: string;
  /** What the payer reads beside the amount. */
  readonly description: string;
  /** What the payment will carry, by which its event is known. */
  readonly metadata: WalletMetadata;
  readonly successUrl: string;
  /** Where the page's way back leads; null: it has none. */
  readonly cancelUrl: string | null;
  /** After that it cannot be paid. Whole seconds count. */
  readonly expiresAt: Date;
}

export type SessionAnswer =
  | { readonly kind: 'made'; readonly sessionId: string; readonly url: string }
  /** Surely none was made, and none would be by the same order. */
  | { readonly kind: 'refused'; readonly reason: SessionRefusal }
  /** It may have been made: no answer, an outage, a limit. Nobody knows its address, so it is not paid; the same order may be tried again. */
  | { readonly kind: 'unknown' };

/** `key`: it is wrong or lacks a right. `request`: something else that the provider does not like. */
export type SessionRefusal =
  | 'amount_too_small'
  | 'amount_too_large'
  | 'amount_unit'
  | 'currency'
  | 'expiry'
  | 'address'
  | 'key'
  | 'request';

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
  readonly methodId: string;
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
  | {
      readonly kind: 'declined';
      readonly paymentId: string | null;
      readonly declineCode: string;
      /** The provider says that to try again does not help; some codes say so by themselves (top-ups/declines.ts). */
      readonly isHard?: boolean;
    }
  /** The charge was surely not made, and would not be if it were asked for again. */
  | { readonly kind: 'refused' }
  /** It may have been made: no answer, an outage, a limit, a request under way. */
  | { readonly kind: 'unknown' };

/** A decline by the customer's having nothing to pay with, which no provider says in the same way. */
export const NO_PAYMENT_METHOD = 'no_payment_method';
