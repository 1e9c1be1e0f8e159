import { invariant, type Refusal } from '../../errors.ts';
import { availableOf, type Entry, type Metadata, type Wallet, type WalletKey } from '../entry.ts';
import { withHold } from '../holds/changes.ts';
import type { Hold } from '../holds/hold.ts';
import { decideHold, insufficientFunds } from '../holds/rules.ts';
import { checkoutKey } from '../keys.ts';
import { refuseByStatus } from '../status/rules.ts';
import type { WorkingBooks } from '../working-books.ts';
import { type Checkout, type CheckoutWarning, GRACE_SECONDS } from './checkout.ts';
import { type Split, splitPurchase } from './split.ts';
import { captureFor } from './take.ts';

/** Opening a checkout: a command of the ledger, since what the wallet pays is decided by what it has. */

/** By what a purchase is split. */
export interface PurchaseTerms {
  readonly total: number;
  readonly wallet: {
    readonly use: 'max' | 'none';
    /** Take no more than this; null: as much as there is. */
    readonly most: number | null;
    /** All of the purchase, or refuse. */
    readonly requireFull: boolean;
  };
  readonly gatewayMinimum: number;
  readonly allowCreditPurchase: boolean;
  /** What is to be said of where it is paid, if the wallet and a provider each pay a part. */
  readonly warnings: readonly CheckoutWarning[];
}

export interface OpenCheckout extends WalletKey, PurchaseTerms {
  readonly op: 'open_checkout';
  readonly checkoutId: string;
  readonly tax: number | null;
  readonly amountCheck: Checkout['amountCheck'];
  readonly walletRefunds: Checkout['walletRefunds'];
  /** Until the provider's page ends. */
  readonly expiresInSeconds: number;
  /** Where it is to be paid, if that is known. */
  readonly sourceId: string | null;
  readonly referenceObjectId: string | null;
  readonly reason: string | null;
  readonly metadata: Metadata | null;
  readonly idempotencyKey: string;
  readonly fingerprint: string;
}

type SplitRefusal = Refusal<'WALLET_FROZEN' | 'WALLET_CLOSED' | 'INSUFFICIENT_WALLET_FUNDS' | 'BELOW_GATEWAY_MINIMUM'>;

/** `opened_before`: the same request was made before under the same key; here is its checkout as it now stands. */
export type CheckoutResult =
  | {
      readonly kind: 'checkout_opened';
      readonly checkout: Checkout;
      /** What was taken at once, where nothing is left to be paid by other means. */
      readonly entry: Entry | null;
      readonly wallet: Wallet;
    }
  | { readonly kind: 'opened_before'; readonly checkout: Checkout; readonly wallet: Wallet | null }
  | {
      readonly kind: 'refused';
      readonly refusal:
        | SplitRefusal
        | Refusal<'UNSUPPORTED_CURRENCY' | 'CUSTOMER_NOT_FOUND' | 'IDEMPOTENCY_KEY_REUSED' | 'CHECKOUTS_NOT_YET'>;
    };

function refused(refusal: Extract<CheckoutResult, { kind: 'refused' }>['refusal']): CheckoutResult {
  return { kind: 'refused', refusal };
}

/** How a wallet as it is would share a purchase. Nothing of one that is frozen or closed is used, and none is sold to it. */
export function splitFor(
  wallet: Pick<Wallet, 'currency' | 'balance' | 'held' | 'status'>,
  { total, wallet: { use, most, requireFull }, gatewayMinimum, allowCreditPurchase, warnings }: PurchaseTerms,
):
  | { readonly kind: 'split'; readonly split: Split; readonly warnings: readonly CheckoutWarning[] }
  | { readonly kind: 'refused'; readonly refusal: SplitRefusal } {
  const forbidden = use === 'none' ? null : refuseByStatus(wallet, 'take');
  if (forbidden !== null && requireFull) return { kind: 'refused', refusal: forbidden };
  const available = use === 'none' || forbidden !== null ? 0 : availableOf(wallet);
  if (requireFull && Math.min(available, most ?? total) < total) {
    return { kind: 'refused', refusal: insufficientFunds(wallet, total) };
  }
  const maySell = allowCreditPurchase && wallet.status === 'active';
  const split = splitPurchase({ total, available, most, gatewayMinimum, allowCreditPurchase: maySell });
  if (split === null) {
    const withCreditPurchase = wallet.status === 'active' ? gatewayMinimum : null;
    const facts = { minimum: gatewayMinimum, total, available, withCreditPurchase };
    return { kind: 'refused', refusal: { code: 'BELOW_GATEWAY_MINIMUM', ...facts } };
  }
  const isShared = split.walletPart > 0 && split.paymentPart > 0;
  const ofWallet: CheckoutWarning[] =
    forbidden === null ? [] : [forbidden.code === 'WALLET_FROZEN' ? 'wallet_frozen' : 'wallet_closed'];
  return { kind: 'split', split, warnings: [...ofWallet, ...(isShared ? warnings : [])] };
}

/**
 * Precedence, first match wins: key known (opened before, or reused with other input) · unsupported currency · unknown customer · status of
 * the wallet, where it is to pay all · insufficient, likewise · below what the provider charges · opened. However many holds the wallet
 * has, one more is placed: a purchase is not refused for it.
 */
export function openCheckout(books: WorkingBooks, command: OpenCheckout): CheckoutResult {
  const { currency, customerId, idempotencyKey, fingerprint } = command;
  const wallet = books.wallet(command);
  const before = books.checkoutUnder(command);
  if (before?.fingerprint === fingerprint) return { kind: 'opened_before', checkout: before, wallet };
  if (before !== null) return refused({ code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey });
  const { currencies } = books;
  if (!currencies.has(currency)) return refused({ code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] });
  if (wallet === null) return refused({ code: 'CUSTOMER_NOT_FOUND', customerId });
  const decided = splitFor(wallet, command);
  if (decided.kind === 'refused') return decided;
  const { split, warnings } = decided;
  const now = books.momentIn(wallet);
  const expiresAt = new Date(now.getTime() + (command.expiresInSeconds + GRACE_SECONDS) * 1000);
  const opened = newCheckout(command, { ...split, warnings, expiresAt, createdAt: now });
  if (split.walletPart === 0) {
    books.addCheckout(opened);
    return { kind: 'checkout_opened', checkout: opened, entry: null, wallet };
  }
  const hold = holdFor(opened, wallet);
  const held = withHold(wallet, hold);
  books.put(hold);
  books.changeWallet(held);
  const { holdNo } = hold;
  if (split.paymentPart > 0) {
    const checkout = { ...opened, holdNo };
    books.addCheckout(checkout);
    return { kind: 'checkout_opened', checkout, entry: null, wallet: held };
  }
  const taken = decideHold(books, captureFor({ ...opened, holdNo }));
  invariant(taken.kind === 'captured' && taken.entry !== null, 'what was just held could not be taken');
  const completed = { state: 'completed', captured: split.walletPart, completedAt: now } as const;
  const checkout: Checkout = { ...opened, holdNo, ...completed };
  books.addCheckout(checkout);
  return { kind: 'checkout_opened', checkout, entry: taken.entry, wallet: taken.wallet };
}

function newCheckout(
  command: OpenCheckout,
  decided: Split & Pick<Checkout, 'warnings' | 'expiresAt' | 'createdAt'>,
): Checkout {
  const { merchantId, customerId, currency, checkoutId, total, tax, gatewayMinimum, amountCheck } = command;
  const { walletRefunds, sourceId, referenceObjectId, reason, metadata, idempotencyKey, fingerprint } = command;
  return {
    ...{ merchantId, customerId, currency, checkoutId, state: 'open', total, tax, gatewayMinimum, amountCheck },
    ...{ walletRefunds, sourceId, referenceObjectId, reason, metadata, idempotencyKey, fingerprint },
    ...{ holdNo: null, captured: 0, uncollected: 0, walletReturned: 0, paymentRefunded: 0, overRefunded: false },
    ...{ paymentId: null, seriesId: null, sessionId: null, sessionUrl: null, prolongedUntil: null, completedAt: null },
    ...decided,
  };
}

function holdFor(checkout: Checkout, wallet: Wallet): Hold {
  const { merchantId, customerId, currency, checkoutId, walletPart, reason, fingerprint, expiresAt } = checkout;
  return {
    ...{ merchantId, customerId, currency, holdNo: wallet.holdSeq + 1, kind: 'checkout', state: 'open' },
    ...{ amountMinor: walletPart, captured: 0, beyond: 0, released: 0, lateDebits: 0, expiresAt },
    ...{ reason, releaseReason: null, metadata: null, idempotencyKey: checkoutKey(checkoutId, 'hold'), fingerprint },
    // So that its entries tell what they are of.
    referenceObjectId: checkout.referenceObjectId ?? checkoutId,
    ...{ createdAt: checkout.createdAt, closedAt: null },
  };
}
