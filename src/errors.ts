/**
 * The closed list of what may be refused, by its domain code, with the facts that belong to each. Rules return these as
 * values, services throw them in a {@link RefusalError}; `views/refusals.ts` has the words and the HTTP status of each.
 */
interface RefusalFacts {
  // The ledger
  UNSUPPORTED_CURRENCY: { readonly currency: string; readonly supported: readonly string[] };
  CUSTOMER_NOT_FOUND: { readonly customerId: string };
  /** In minor units. The shortfall is more than `required - available` where a debt has to be repaid first. */
  INSUFFICIENT_WALLET_FUNDS: {
    readonly currency: string;
    readonly available: number;
    readonly required: number;
    readonly shortfall: number;
  };
  /** In minor units. */
  BALANCE_LIMIT_EXCEEDED: { readonly most: number };
  IDEMPOTENCY_KEY_REUSED: { readonly idempotencyKey: string | null };
  HOLD_NOT_FOUND: NoFacts;
  HOLD_NOT_OPEN: { readonly state: string };
  /** In minor units: what is left of the hold, and what was to be captured. */
  HOLD_AMOUNT_EXCEEDED: { readonly remaining: number; readonly required: number };
  HOLD_LIMIT_EXCEEDED: { readonly limit: number };
  /** The hold is another one's to decide about than the merchant's. */
  HOLD_OWNED: { readonly kind: string };
  /** A process of a release that knows no holds may still run. */
  HOLDS_NOT_YET: NoFacts;
  LOT_NOT_FOUND: NoFacts;
  LOT_NOT_OPEN: { readonly state: string };
  /** In minor units: what is left of the lot, and what was to be voided. */
  LOT_AMOUNT_EXCEEDED: { readonly remaining: number; readonly required: number };
  LOT_LIMIT_EXCEEDED: { readonly limit: number };
  LOT_CHANGE_LIMIT: { readonly most: number };
  EXPIRY_IN_THE_PAST: NoFacts;
  /** `minDays`: after so many days it may end; null: never. */
  PAID_CREDIT_CANNOT_EXPIRE: { readonly minDays: number | null };
  /** A process of a release that knows no lots may still run. */
  LOTS_NOT_YET: NoFacts;
  EFFECTIVE_AT_OUT_OF_RANGE: { readonly mostDays: number };
  SCHEDULED_ENTRY_NOT_FOUND: NoFacts;
  SCHEDULED_ENTRY_NOT_OPEN: { readonly state: string };
  SCHEDULE_NOT_FOUND: NoFacts;
  SCHEDULE_LIMIT: { readonly what: string; readonly most: number };
  /** The merchant wants keys that hold the time refused. */
  UNSTABLE_KEY: NoFacts;
  /** The merchant has stopped what is to take money out of the wallet. */
  WALLET_FROZEN: { readonly currency: string };
  WALLET_CLOSED: { readonly currency: string };
  /** What keeps a wallet from being closed; `left` and `held` in minor units. */
  WALLET_NOT_EMPTY: {
    readonly left: number;
    readonly held: number;
    readonly openHolds: number;
    readonly checkouts: number;
    readonly topUps: number;
  };
  /** A process of a release that knows of no status may still run. */
  STATUSES_NOT_YET: NoFacts;

  // Checkouts
  /** In minor units. `withCreditPurchase`: what would be charged if credit were bought with it; null where none is sold. */
  BELOW_GATEWAY_MINIMUM: {
    readonly minimum: number;
    readonly total: number;
    readonly available: number;
    readonly withCreditPurchase: number | null;
  };
  CHECKOUT_NOT_FOUND: NoFacts;
  CHECKOUT_NOT_OPEN: { readonly state: string };
  /** In minor units: what of the purchase went back neither to the wallet nor to the payer. */
  REFUND_EXCEEDS_PAID: { readonly refundable: number };
  REFUNDS_ARE_PROPORTIONAL: NoFacts;
  /** A process of a release that knows no checkouts may still run. */
  CHECKOUTS_NOT_YET: NoFacts;
  /** The checkout or top-up stays open without a page at which to pay: whether one was made is not known. */
  PROVIDER_UNAVAILABLE: NoFacts;

  // Top-ups
  TOP_UP_RULE_NOT_FOUND: NoFacts;
  TOP_UP_NOT_FOUND: NoFacts;
  CONSENT_REQUIRED: NoFacts;
  CHARGING_NOT_CONFIGURED: NoFacts;
  TOP_UP_IN_FLIGHT: NoFacts;
  /** In minor units: what was to be charged, what may be of a month, and what of that is used, where it was to be charged now. */
  MONTHLY_CAP_REACHED: { readonly amount: number; readonly monthlyCap: number; readonly used: number };
  TOP_UP_NOT_OPEN: { readonly state: string };

  // What is not there
  NO_SUCH_MERCHANT: NoFacts;
  NO_SUCH_API_KEY: NoFacts;
  NO_SUCH_SOURCE: NoFacts;
  NO_SUCH_WEBHOOK_SECRET: NoFacts;
  NO_SUCH_EVENT: NoFacts;
  NO_SUCH_PAYMENT: NoFacts;
  NO_SUCH_LINK: NoFacts;
  NO_SUCH_PAYMENT_TOKEN: NoFacts;
  PAYMENT_TOKEN_LIMIT: { readonly most: number };
  NO_SUCH_BONUS_RULE: NoFacts;
  BONUS_RULE_LIMIT: { readonly most: number };
  /** The payment has no customer yet, so it cannot be given to another one. */
  PAYMENT_OF_NOBODY: NoFacts;
  /** It paid a part of a purchase, which stays its customer's. */
  PAYMENT_OF_CHECKOUT: NoFacts;
  /** The payment is not that customer's any more from whom it was to be taken. */
  PAYMENT_OF_ANOTHER: { readonly customerId: string };
  PAYMENT_MOVE_LIMIT: { readonly most: number };
  /** What was handled by hand of the payment is not known: an event has no amount, or may be another one told twice. */
  HANDLED_AMOUNT_UNKNOWN: NoFacts;

  /** A value that no schema can judge alone. `wants` completes the sentence "<field>: …". */
  INVALID_FIELD: { readonly field: string; readonly wants: string };

  // Merchants, keys and sources
  MERCHANT_EXISTS: NoFacts;
  API_KEY_LIMIT: { readonly most: number };
  API_KEY_ROTATED_BEFORE: NoFacts;
  API_KEY_OVER: NoFacts;
  MODE_DIFFERS: { readonly mode: 'test' | 'live' };
  SOURCE_OF_ENVIRONMENT: { readonly provider: string };
  SOURCE_DISABLED: NoFacts;
  /** `into`: the source that has its payments now. */
  SOURCE_ADOPTED: { readonly into: string };
  /** The first payments that moved money at both of two sources, of which one is to adopt the other; `isAll`: there are no more. */
  PAYMENTS_AT_BOTH: { readonly paymentIds: readonly string[]; readonly isAll: boolean };
  WEBHOOK_SECRET_LIMIT: { readonly most: number };
  ONLY_WEBHOOK_SECRET: NoFacts;
  ENCRYPTION_KEY_MISSING: NoFacts;
  /**
   * Two sources of one account would each credit all of its payments. `sourceId`: the other source; null if it is another
   * merchant's, whose ids are not shown.
   */
  ACCOUNT_OF_ANOTHER_SOURCE: { readonly sourceId: string | null };
  PROVIDER_KEY_MISSING: NoFacts;
  PROVIDER_KEY_UNUSABLE: { readonly problem: string };
  PROVIDER_NOT_LISTABLE: { readonly provider: string };

  // Events
  EVENT_NOT_REPLAYABLE: { readonly state: string };
  EVENT_NOT_DISMISSIBLE: { readonly state: string };
  EVENT_BODY_REMOVED: { readonly removedAt: Date };
  NOTHING_KEPT_OF_EVENT: { readonly removedAt: Date };
  EVENT_HANDLED_BY_HAND: NoFacts;
  SIGNATURE_UNCHECKABLE: NoFacts;
  TEST_EVENT_UNSIGNABLE: NoFacts;

  // Outgoing webhooks
  ENDPOINT_LIMIT: { readonly most: number };
  ENDPOINT_DISABLED: NoFacts;
  ENDPOINT_NOT_SUBSCRIBED: { readonly eventType: string };
  /** `freeAt`: when the oldest of the old secrets ends, if that is known. */
  SECRET_ROTATED_TOO_OFTEN: { readonly most: number; readonly freeAt: Date | null };
  PORTAL_NEEDS_SVIX: NoFacts;
  PORTAL_NOT_IN_SVIX: NoFacts;
  RECOVERY_UNDER_WAY: NoFacts;
  MESSAGE_FORGOTTEN: NoFacts;
  SVIX_REFUSES: { readonly detail: string };
  SVIX_HAS_IT: NoFacts;
  SVIX_BUSY: { readonly retryAfterSeconds: number };
  /** `problem`: a sentence on who can mend it; null where nothing is known. */
  SVIX_UNAVAILABLE: { readonly problem: string | null };
  APPLICATION_OF_ANOTHER: { readonly uid: string };
  APPLICATION_IN_USE: { readonly uid: string; readonly urls: readonly string[] };
}

type NoFacts = unknown;

export type RefusalCode = keyof RefusalFacts;

/** A refusal as a value: its code and its facts. */
export type Refusal<Code extends RefusalCode = RefusalCode> = {
  [One in Code]: { readonly code: One } & RefusalFacts[One];
}[Code];

/** Carries a refusal out of a service. */
export class RefusalError extends Error {
  readonly refusal: Refusal;

  constructor(refused: Refusal) {
    super(`refused: ${refused.code}`);
    this.name = 'RefusalError';
    this.refusal = refused;
  }
}

/** Throws a {@link RefusalError}; a function so that it can stand in an expression. */
export function refuse(refused: Refusal): never {
  throw new RefusalError(refused);
}

/** Something that must never happen: a mistake in this program, or books that contradict themselves. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(`Invariant broken: ${message}`);
    this.name = 'InvariantError';
  }
}

/**
 * Ends the present operation if `condition` does not hold. It stays on in production: with other people's
 * money, an operation that fails is better than one that continues with wrong numbers.
 * @throws {InvariantError}
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
