/** What a payment is for whose metadata has no `wallet_purpose`. */
export const PURPOSES = ['topup', 'order', 'none'] as const;

export type Purpose = (typeof PURPOSES)[number];

/**
 * Which `wallet_…` metadata of a payment is obeyed: `all` of it, or `customer`: `wallet_customer_id` alone, where payers
 * can write metadata themselves and could so grant themselves credit.
 */
export const METADATA_RULES = ['all', 'customer'] as const;

export type MetadataRule = (typeof METADATA_RULES)[number];

/** What a refund does; `auto` follows the payment's purpose. */
export const REFUND_POLICIES = ['auto', 'credit', 'reverse', 'ignore'] as const;

export type RefundPolicy = (typeof REFUND_POLICIES)[number];

/**
 * Whose a payment is that names no customer: `create`: the customer linked with the provider's, made if there is none;
 * `linked`: only one that is linked already; `named`: nobody's, it must be named.
 */
export const CUSTOMER_LINK_RULES = ['create', 'linked', 'named'] as const;

export type CustomerLinkRule = (typeof CUSTOMER_LINK_RULES)[number];

/** What a source makes of its payments. */
export interface SourceRules {
  readonly defaultPurpose: Purpose;
  readonly metadata: MetadataRule;
  readonly refunds: RefundPolicy;
  readonly customerLinkRule: CustomerLinkRule;
}
