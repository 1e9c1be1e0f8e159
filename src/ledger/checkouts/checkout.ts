import type { Metadata, WalletKey } from '../entry.ts';
import type { Split } from './split.ts';

/**
 * `open`: its part of the wallet is held, and the payment is to come. `completed`: paid, and the wallet's part is captured. `short`: paid,
 * but the wallet had not all of its part any more. `expired`, `cancelled`: nothing was paid in time; a payment that comes all the same
 * still counts.
 */
export const CHECKOUT_STATES = ['open', 'completed', 'short', 'expired', 'cancelled'] as const;

type CheckoutState = (typeof CHECKOUT_STATES)[number];

/** Whether what is paid has to be what was agreed, or may be more. */
export const AMOUNT_CHECKS = ['exact', 'at_least'] as const;

/** Whether refunds of its payment return the wallet's part in proportion, or the merchant decides alone. */
export const WALLET_REFUNDS = ['proportional', 'manual'] as const;

/** What the merchant should know of how a purchase was split. */
export const CHECKOUT_WARNINGS = ['wallet_frozen', 'wallet_closed', 'taxed_on_payment_alone'] as const;

export type CheckoutWarning = (typeof CHECKOUT_WARNINGS)[number];

/** What names a checkout. */
export interface CheckoutKey {
  readonly merchantId: string;
  readonly customerId: string;
  readonly checkoutId: string;
}

/** One purchase of which the wallet pays a part, and a provider the rest. */
export interface Checkout extends WalletKey, Split {
  readonly checkoutId: string;
  readonly state: CheckoutState;
  /** In minor units, as all amounts. */
  readonly total: number;
  /** Told by the merchant, and nothing goes by it. */
  readonly tax: number | null;
  /** What the provider charged at least when it was opened; 0: nobody knew. */
  readonly gatewayMinimum: number;
  readonly warnings: readonly CheckoutWarning[];
  readonly amountCheck: (typeof AMOUNT_CHECKS)[number];
  readonly walletRefunds: (typeof WALLET_REFUNDS)[number];
  /** The hold of the wallet's part; null where that is 0. */
  readonly holdNo: number | null;
  /** What was taken out of the wallet for it. */
  readonly captured: number;
  /** What of the wallet's part was not there any more when it was paid. */
  readonly uncollected: number;
  /** What went back to the wallet, net. */
  readonly walletReturned: number;
  /** What of its payment was refunded, net. */
  readonly paymentRefunded: number;
  /** More went back by both ways together than the purchase had cost. */
  readonly overRefunded: boolean;
  /** Where it is paid, as far as that is known, and by which payment; null before it is paid. */
  readonly sourceId: string | null;
  readonly paymentId: string | null;
  /** What that payment has in common with its renewals. */
  readonly seriesId: string | null;
  /** The provider's page on which it is paid, where we asked for one. */
  readonly sessionId: string | null;
  readonly sessionUrl: string | null;
  readonly referenceObjectId: string | null;
  readonly reason: string | null;
  readonly metadata: Metadata | null;
  readonly idempotencyKey: string;
  /** SHA-256 of the request made under the key, hexadecimal. */
  readonly fingerprint: string;
  /** When it ends, as agreed. */
  readonly expiresAt: Date;
  /** When it ends instead, while one of its payments is under way or is looked at. */
  readonly prolongedUntil: Date | null;
  readonly createdAt: Date;
  readonly completedAt: Date | null;
}

/** What is to be charged for it. */
export function amountCharged({ paymentPart, creditBought }: Split): number {
  return paymentPart + creditBought;
}

/** The wallet's part is held for so long after the provider's page has ended, so that what was paid at its end is heard of in time. */
export const GRACE_SECONDS = 900;

/** When the provider's page ends, by when the checkout does as agreed. */
export function endOfPage(expiresAt: Date): Date {
  return new Date(expiresAt.getTime() - GRACE_SECONDS * 1000);
}

/** When it ends, unless it is paid before. */
export function endOfCheckout({ expiresAt, prolongedUntil }: Checkout): Date {
  return prolongedUntil ?? expiresAt;
}
