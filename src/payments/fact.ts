/**
 * What a provider's event says about one payment, in one vocabulary for all providers. Adapters make facts from raw
 * bytes; `settle` decides what they mean for a wallet. Amounts are minor units, currencies upper-case ISO 4217.
 */
export type Fact = PaymentFact | RefundFact | DisputeFact | MovementFact;

interface OfUnknownAmount {
  /** Set if its amount could not be read, so that it can only be closed by hand; null alone may mean all that is left. */
  readonly isOfUnknownAmount?: true;
}

/** Who paid, as far as the event tells it. */
export interface ProviderCustomer {
  readonly id: string | null;
  readonly email: string | null;
  readonly name: string | null;
}

/** The payment's metadata: only the `wallet_…` keys, as text. Other keys are not read. */
export type WalletMetadata = Readonly<Record<string, string>>;

/** Whose a payment is by what only the merchant's own key can write, and what that stands on. */
export interface TrustedName {
  readonly customerId: string;
  readonly by: 'order' | 'subscription';
}

/** A token that stands on a subscription: invoices tell of it, and the payments of these do not carry it. */
export interface GroupToken {
  /** Its hash, as of any token. */
  readonly hash: string;
  /** The provider's id of the subscription, whose later payments belong to the same customer. */
  readonly seriesId: string | null;
}

/** News of whose the payments of a group are, and the provider's customer who paid them. It tells no money. */
export interface Naming {
  readonly groupId: string;
  /** Missing if nothing but a token says it. */
  readonly named?: TrustedName;
  readonly token?: GroupToken;
  readonly customer: ProviderCustomer;
  readonly occurredAt: Date | null;
}

/** A payment is of a group: it pays an invoice, or it began a subscription. */
export interface Tie {
  readonly groupId: string;
  readonly paymentId: string;
}

export interface PaymentFact extends OfUnknownAmount {
  readonly kind: 'payment';
  readonly paymentId: string;
  readonly state: 'pending' | 'failed' | 'succeeded';
  /** What was really captured; 0 for payments that only set up a means of payment. Null if a pending or failed event has none. */
  readonly amountMinor: number | null;
  readonly currency: string | null;
  readonly customer: ProviderCustomer;
  readonly metadata: WalletMetadata;
  readonly occurredAt: Date | null;
  /** When the payer tried to pay, if the provider tells this as well as the time of the result. */
  readonly triedAt?: Date | null;
  /** The provider's id of the subscription or order to which several payments with the same metadata belong. */
  readonly seriesId?: string | null;
  /** Set if it can only be the first payment of its series, since later ones are told in another form. */
  readonly startsSeries?: true;
  /** Set if `pending` means that the payer is asked for something at once, such as to confirm his card, and may have gone away. */
  readonly awaitsPayer?: true;
  /** Why it `failed`, where the event says so: a decline code, and whether its provider says that to try again does not help. */
  readonly decline?: { readonly code: string; readonly isHard: boolean };
  /** Set if `succeeded` means authorised: if the account captures by hand, only captures count as the money. */
  readonly isAuthorisation?: true;
  /** What was authorised and will not be captured, since some API versions tell its release as a refund (Stripe). */
  readonly uncapturedMinor?: number;
  /** No payer can have written this name, so it counts for more than any other and teaches a link. */
  readonly named?: TrustedName;
  /** Its token stands where no payer can have written it, so the token's customer is such a name too. */
  readonly tokenBy?: TrustedName['by'];
  /** It is of an order, subscription or invoice, whose own news may still name its customer. */
  readonly mayBeNamed?: true;
  /** The provider's id of the order, subscription or invoice that this payment belongs to. Other events name that, and not the payment. */
  readonly groupId?: string;
  /** Set by the inbox: the token of its group, which counts instead of one in its metadata. Null if none of the group is to count. */
  readonly groupToken?: GroupToken | null;
}

export interface RefundFact extends OfUnknownAmount {
  readonly kind: 'refund';
  readonly paymentId: string;
  readonly refundId: string;
  readonly state: 'pending' | 'succeeded' | 'failed';
  /** The amount of this one refund; null means all that is left of the payment. An adapter parks a refund of unknown amount. */
  readonly amountMinor: number | null;
  readonly currency: string | null;
  readonly customer: ProviderCustomer;
  readonly metadata: WalletMetadata;
  readonly occurredAt: Date | null;
  /** Set if this is a running total and no single refund. `total`: nothing else tells it. `informs`: single refunds are told too. */
  readonly role?: 'total' | 'informs';
  /** Set under API versions in which the release of what was not captured is a refund too (Stripe). */
  readonly mayBeRelease?: true;
  /**
   * Set where a refund may succeed again under its id after it failed, with a reason that its first success did not carry
   * (Adyen). Null if this news carries none.
   */
  readonly reason?: string | null;
  /** As for a payment, if the refund's object tells it. */
  readonly uncapturedMinor?: number;
  /** Set if the payment's id may in truth be the id of this refund, and the payment is not named (Adyen). */
  readonly mayNameRefund?: true;
  /** The payment's id is that of its group, whose payment is not known yet (Lemon Squeezy). */
  readonly ofGroup?: true;
}

/** The provider's id of what a fact tells of: the payment, or a refund, dispute or other movement of it. */
export function objectIdOf(fact: Fact): string {
  switch (fact.kind) {
    case 'payment':
      return fact.paymentId;
    case 'refund':
      return fact.refundId;
    case 'dispute':
      return fact.disputeId;
    case 'movement':
      return fact.movementId;
  }
}

/**
 * How far a dispute has come, as its provider documents it. A decision of a later stage outranks those of the stages
 * before it, whatever the times say.
 */
export const STAGES = { none: 0, inquiry: 1, chargeback: 2, preArbitration: 3, arbitration: 4 } as const;

export type Stage = (typeof STAGES)[keyof typeof STAGES];

export interface DisputeFact extends OfUnknownAmount {
  readonly kind: 'dispute';
  readonly paymentId: string;
  readonly disputeId: string;
  /**
   * `lost` and `won` are decisions, of which the newest counts: lost takes the amount, won takes nothing. `open` and
   * `withdrawn` (it ended without a decision) never undo one.
   */
  readonly state: 'open' | 'withdrawn' | 'lost' | 'won';
  readonly amountMinor: number | null;
  readonly currency: string | null;
  readonly occurredAt: Date | null;
  readonly stage?: Stage;
  /**
   * `movement`: no object with rounds but money that went back once (a reversal, a chargeback). It stays counted; `won` means
   * that it was reversed, and a movement `reinstatement` may tell the same. `informs`: refunds and reversals with events of
   * their own may tell the same money.
   */
  readonly role?: 'movement' | 'informs';
  /** When a dispute of the role `informs` was opened, if that is told: refunds from then on are the same money. */
  readonly openedAt?: Date | null;
  /** Set if no round of the dispute takes more than this amount, whatever fees a later round adds (Adyen). */
  readonly isCap?: true;
}

/**
 * What else moves a payment's money or changes its amount. `capture`: money that was authorised comes in. `adjustment`: the
 * total that is authorised from now on. `end`: nothing more will be captured. `reinstatement`: money of a chargeback comes back.
 */
export interface MovementFact {
  readonly kind: 'movement';
  readonly paymentId: string;
  readonly movement: 'capture' | 'adjustment' | 'end' | 'reinstatement';
  readonly movementId: string;
  readonly state: 'succeeded' | 'failed';
  readonly amountMinor: number;
  readonly currency: string;
  readonly occurredAt: Date | null;
  /** As for a refund. */
  readonly reason?: string | null;
}

/**
 * Why an event cannot be applied now. The API lists a parked event with its reason, and it is replayed when the cause is
 * removed; nothing is dropped and nothing is guessed.
 */
export const PARK_REASONS = {
  malformed: 'The body is not what the provider documents; see the detail.',
  wrong_mode: "The event is a test event at a live source, or the reverse. Check the provider's webhook settings.",
  unknown_amount: 'The event does not say how much. Look the payment up at the provider, then credit by hand.',
  unsupported_currency:
    'No wallet exists in this currency. Add it to WALLET_CURRENCIES where the service runs, restart that, then replay.',
  unknown_currency:
    'Its unit is not known: the code is none of ISO 4217, or the provider does not document it. No setting mends that; decide by hand.',
  unknown_customer: 'The metadata names a customer that does not exist. Create or correct it, then replay.',
  customer_mismatch:
    'The payment names another customer than the one its early refund went to. Mend it by hand, with adjustments.',
  named_late:
    'Your own order or subscription names another customer, or its token another purpose, and this payment was posted or assigned before that came. If they are right, reassign the payment and replay this; where only the purpose or the amount differs, correct the wallet by an adjustment and dismiss this. If the payment is right as it is, dismiss this. A link names who pays next.',
  no_customer: 'Neither metadata nor provider say whose payment it is. Set wallet_customer_id, then replay.',
  unknown_payment:
    'The success of its payment never arrived, so nobody can say what it undoes. Resend that from the provider, and this event is applied with it.',
  invalid_metadata: 'A wallet_… metadata value is not usable; see the detail.',
  bad_token:
    'Its wallet_token is not usable; see the detail. Decide by hand, or replay it with the customer whose payment it is: what was paid counts then.',
  token_used:
    'Another payment has used its wallet_token. Decide by hand, or replay it with the customer whose payment it is: what was paid counts then.',
  unknown_topup:
    'Its wallet_topup_id names no top-up of yours. Replay it with the customer whose payment it is: what was paid counts then.',
  topup_mismatch:
    'Its wallet_topup_id names a top-up of another customer or currency, or of a larger amount; see the detail. It is paid: decide by hand, or replay it with the customer whose payment it is.',
  topup_paid_twice:
    'Another payment has paid the top-up that it names. Refund one of them, or replay it with the customer whose payment it is: what was paid counts then.',
  unknown_checkout:
    'Its wallet_checkout_id names no checkout of yours. Replay it with the customer whose payment it is: what was paid counts then.',
  checkout_mismatch:
    'Another amount was paid than its checkout is of; see the detail. Replay it with accept_amount to complete the checkout by what was paid, or refund it and dismiss this.',
  checkout_paid_twice: 'Its checkout was paid before; see the detail. Refund this payment and dismiss this event.',
  bonus_too_large:
    'It would grant more than MAX_BONUS_RATIO times what was paid. Decide by hand; or raise the ratio, then replay.',
  currency_mismatch: 'It is in another currency than its payment or its checkout.',
  currency_changed:
    'It was told in another currency before, and entries stand in that one. See which is right, by hand.',
  contradictory: 'It contradicts what the provider said before; see the detail, and look the payment up there.',
  overcaptured:
    'More was captured than authorised. Resend the authorisation or its adjustment, and this is applied with it.',
  order_not_completed: 'An order was closed unpaid; see which of its payments the provider refunds, and dismiss this.',
  handled_by_hand:
    'Somebody handled this by hand before, in another state or with an unknown amount. Correct the wallet, then resolve it with the entry or amount.',
  balance_limit: 'The balance would pass the largest amount a wallet can hold.',
  foreign_account:
    "The event is of another account at the provider than its source's. Store a source for that account, or add the account to the source, then replay.",
  known_at_another_source:
    'The payment was posted by another source of the same account, which goes on with it. Dismiss this event.',
  source_missing: 'The source it came in by is not configured any more. Configure it again, then replay.',
  manual_correction:
    'What became of the money cannot be settled from this event; see the detail, then correct it by hand.',
  apply_failed: 'Applying failed again and again; see the detail. Replay once the cause is mended.',
  unsupported_payload: 'The payload carries no data to act on, such as a thin event. Configure full payloads.',
} as const satisfies Record<string, string>;

export type ParkReason = keyof typeof PARK_REASONS;
