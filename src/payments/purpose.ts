/** What a payment can be for. A source has one of them as default, for payments whose metadata has no `wallet_purpose`. */
export const PURPOSES = ['topup', 'order', 'none'] as const;

export type Purpose = (typeof PURPOSES)[number];

/** `checkout`: it pays its part of a checkout, whose id it carries. No source and no `wallet_purpose` says so. */
export type PaymentPurpose = Purpose | 'checkout';

/**
 * Which `wallet_…` metadata of a payment is obeyed. `all`: all of it. `customer`: only `wallet_customer_id` and `wallet_token`,
 * for providers at which payers can write metadata and could so grant themselves credit.
 */
export const METADATA_RULES = ['all', 'customer'] as const;

export type MetadataRule = (typeof METADATA_RULES)[number];

/** What a refund does; `auto` follows the payment's purpose. */
export const REFUND_POLICIES = ['auto', 'credit', 'reverse', 'ignore'] as const;

export type RefundPolicy = (typeof REFUND_POLICIES)[number];

/**
 * Who owns a payment that names no customer. `create`: the customer that is linked with the provider's customer, made if there
 * is none. `linked`: only one that is linked already. `named`: nobody; the metadata must name the customer.
 */
export const CUSTOMER_LINK_RULES = ['create', 'linked', 'named'] as const;

export type CustomerLinkRule = (typeof CUSTOMER_LINK_RULES)[number];

/**
 * How an account captures what was authorised. `automatic`: the authorisation counts as the money. `manual`: the merchant
 * captures, at once or in parts, and only captures count as the money.
 */
export const CAPTURE_RULES = ['automatic', 'manual'] as const;

export type CaptureRule = (typeof CAPTURE_RULES)[number];

/**
 * What an open dispute of a top-up does. `hold`: what losing it would take is held until it is decided. `record`: nothing; only a
 * lost one takes.
 */
export const DISPUTE_RULES = ['hold', 'record'] as const;

export type DisputeRule = (typeof DISPUTE_RULES)[number];

/** The settings of a source that decide what its payments do. */
export interface SourceRules {
  readonly defaultPurpose: Purpose;
  readonly metadata: MetadataRule;
  readonly refunds: RefundPolicy;
  readonly disputes: DisputeRule;
  readonly customerLinkRule: CustomerLinkRule;
  readonly capture: CaptureRule;
}
