import type { Tx } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import type { Checkout, CheckoutKey } from '../ledger/checkouts/checkout.ts';
import { lockCheckouts, saveCheckouts } from '../ledger/checkouts/store.ts';
import { collectFor, releaseFor } from '../ledger/checkouts/take.ts';
import { type LedgerMoment, postBatch } from '../ledger/store.ts';
import { tellOfCheckouts } from '../outgoing/checkouts.ts';

/** What a merchant does with a checkout that is there. */

/** `refused`: it is not one with which that can be done; here it is. */
export type Managed = { readonly kind: 'done' | 'refused'; readonly checkout: Checkout };

/**
 * Cancels a checkout that is open; one that was cancelled before is answered as it is. What was held is available again. A payment that
 * comes all the same still counts.
 * @throws {RefusalError} CHECKOUT_NOT_FOUND
 */
export async function cancelCheckout(tx: Tx, key: CheckoutKey, moment: LedgerMoment): Promise<Managed> {
  const checkout = await lockOne(tx, key);
  if (checkout.state === 'cancelled') return { kind: 'done', checkout };
  if (checkout.state !== 'open') return { kind: 'refused', checkout };
  // Also where its end has come meanwhile: nothing is held then, and it is not told of as expired.
  if (checkout.holdNo !== null) await postBatch(tx, [releaseFor(checkout)], withCurrency(moment, checkout));
  const cancelled = { ...checkout, state: 'cancelled' } as const;
  await saveCheckouts(tx, key.merchantId, [cancelled]);
  return { kind: 'done', checkout: cancelled };
}

/**
 * Takes what was not in the wallet when the purchase was paid: all of it, or nothing. Not once a part of the purchase went back, since
 * what went back was counted by what was taken.
 * @throws {RefusalError} CHECKOUT_NOT_FOUND, INSUFFICIENT_WALLET_FUNDS
 */
export async function collectCheckout(tx: Tx, key: CheckoutKey, moment: LedgerMoment): Promise<Managed> {
  const checkout = await lockOne(tx, key);
  const { state, walletReturned, paymentRefunded } = checkout;
  if (state !== 'short' || walletReturned > 0 || paymentRefunded > 0) return { kind: 'refused', checkout };
  const [result] = await postBatch(tx, [collectFor(checkout)], withCurrency(moment, checkout));
  if (result?.kind === 'refused') return refuse(result.refusal);
  invariant(result?.kind === 'captured' && result.uncaptured === 0, 'a checkout was collected in part');
  const captured = checkout.captured + checkout.uncollected;
  const completed = { ...checkout, state: 'completed', captured, uncollected: 0, completedAt: moment.now } as const;
  await saveCheckouts(tx, key.merchantId, [completed]);
  await tellOfCheckouts(tx, [{ type: 'checkout.completed', checkout: completed }], moment.now);
  return { kind: 'done', checkout: completed };
}

async function lockOne(tx: Tx, { merchantId, customerId, checkoutId }: CheckoutKey): Promise<Checkout> {
  const [checkout] = await lockCheckouts(tx, merchantId, [checkoutId]);
  return checkout?.customerId === customerId ? checkout : refuse({ code: 'CHECKOUT_NOT_FOUND' });
}

/** What was begun is ended also in a currency that is not configured any more. */
function withCurrency(moment: LedgerMoment, { currency }: Checkout): LedgerMoment {
  return { ...moment, currencies: new Set([currency]) };
}
