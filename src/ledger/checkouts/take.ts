import { invariant } from '../../errors.ts';
import type { CaptureHold, ChangeHold, HoldKey, ReleaseHold } from '../holds/hold.ts';
import { checkoutKey } from '../keys.ts';
import type { Checkout } from './checkout.ts';

/** The commands about the hold of a checkout, whose owner alone decides about it. */

function holdOf({ merchantId, customerId, currency, holdNo }: Checkout): HoldKey & { readonly owner: 'checkout' } {
  invariant(holdNo !== null, 'a checkout without a hold has nothing to take or to give back');
  return { merchantId, customerId, currency, holdNo, owner: 'checkout' };
}

/**
 * Takes the wallet's part once the purchase is paid: out of the hold, or where that has ended, out of what is available. What is not
 * there is not taken.
 */
export function captureFor(checkout: Checkout): CaptureHold {
  return {
    ...{ op: 'capture', ...holdOf(checkout), amountMinor: checkout.walletPart, isFinal: true },
    ...{ beyond: 'up_to_balance', late: 'debit', reason: null, metadata: null },
    idempotencyKey: checkoutKey(checkout.checkoutId, 'capture'),
  };
}

/** Takes what was not there when the purchase was paid: all of it, or nothing. */
export function collectFor(checkout: Checkout): CaptureHold {
  return {
    ...{ op: 'capture', ...holdOf(checkout), amountMinor: checkout.uncollected, isFinal: true },
    ...{ beyond: 'take', late: 'debit', reason: null, metadata: null },
    idempotencyKey: checkoutKey(checkout.checkoutId, 'collect'),
  };
}

export function releaseFor(checkout: Checkout): ReleaseHold {
  return { op: 'release', ...holdOf(checkout), reason: null };
}

/** Has the hold end at another time, though that be over. */
export function prolongFor(checkout: Checkout, expiresAt: Date): ChangeHold {
  return { op: 'change', ...holdOf(checkout), amountMinor: null, expiresInSeconds: null, expiresAt };
}
