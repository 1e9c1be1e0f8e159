/**
 * What a provider's event says about one payment, in one vocabulary for all providers. Adapters make facts from raw
 * bytes; `settle` decides what they mean for a wallet. Amounts are minor units, currencies upper-case ISO 4217.
 */
export type Fact = PaymentFact | RefundFact | DisputeFact;

/** The provider's word on who paid, as far as the event has it. */
export interface ProviderCustomer {
  readonly id: string | null;
  readonly email: string | null;
  readonly name: string | null;
}

/** Metadata the merchant put on the payment: only the `wallet_…` keys, as text. Everything else is none of our business. */
export type WalletMetadata = Readonly<Record<string, string>>;

export interface PaymentFact {
  readonly kind: 'payment';
  readonly paymentId: string;
  readonly state: 'pending' | 'failed' | 'succeeded';
  /** What was really captured; 0 for set-up payments. Null where a pending or failed event does not say. */
  readonly amountMinor: number | null;
  readonly currency: string | null;
  readonly customer: ProviderCustomer;
  readonly metadata: WalletMetadata;
  readonly occurredAt: Date | null;
}

export interface RefundFact {
  readonly kind: 'refund';
  readonly paymentId: string;
  readonly refundId: string;
  readonly state: 'pending' | 'succeeded' | 'failed';
  /** This one refund's amount. Null means all that is left of the payment; an adapter parks what it cannot tell. */
  readonly amountMinor: number | null;
  readonly currency: string | null;
  readonly customer: ProviderCustomer;
  readonly metadata: WalletMetadata;
  readonly occurredAt: Date | null;
}

export interface DisputeFact {
  readonly kind: 'dispute';
  readonly paymentId: string;
  readonly disputeId: string;
  /**
   * `won`: the money is the merchant's again, also if it was lost before. `withdrawn`: it ended without a decision, so a
   * dispute that was lost stays lost.
   */
  readonly state: 'open' | 'withdrawn' | 'lost' | 'won';
  readonly amountMinor: number | null;
  readonly currency: string | null;
  readonly occurredAt: Date | null;
}

/**
 * Why an event cannot be applied now. A parked event is listed by the API with its reason and replayed once the cause
 * is mended; nothing is dropped and nothing is guessed.
 */
export const PARK_REASONS = {
  malformed: 'The body is not what the provider documents; see the detail.',
  wrong_mode: "The event is a test event at a live source, or the reverse. Check the provider's webhook settings.",
  unknown_amount: 'The event does not say how much. Look the payment up at the provider, then credit by hand.',
  unsupported_currency: 'No wallet exists in this currency. Add it to WALLET_CURRENCIES, then replay.',
  unknown_customer: 'The metadata names a customer that does not exist. Create or correct it, then replay.',
  customer_mismatch:
    'The payment names another customer than the one its early refund went to. Mend it by hand, with adjustments.',
  no_customer: 'Neither metadata nor provider say whose payment it is. Set wallet_customer_id, then replay.',
  unknown_payment:
    'The success of its payment never arrived. Resend that from the provider, and this event is applied with it.',
  invalid_metadata: 'A wallet_… metadata value is not usable; see the detail.',
  currency_mismatch: 'The refund or dispute is in another currency than its payment.',
  balance_limit: 'The balance would pass the largest amount a wallet can hold.',
  source_missing: 'The source it came in by is not configured any more. Configure it again, then replay.',
  manual_correction:
    'What became of the money cannot be settled from this event; see the detail, then correct it by hand.',
  apply_failed: 'Applying failed again and again; see the detail. Replay once the cause is mended.',
  unsupported_payload: 'The payload carries no data to act on, such as a thin event. Configure full payloads.',
} as const satisfies Record<string, string>;

export type ParkReason = keyof typeof PARK_REASONS;
