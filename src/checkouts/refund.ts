import type { Queryable, Tx } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import type { Checkout, CheckoutKey } from '../ledger/checkouts/checkout.ts';
import { getCheckout, lockCheckouts, saveCheckouts } from '../ledger/checkouts/store.ts';
import type { Entry, Posting, Wallet } from '../ledger/entry.ts';
import { checkoutKey, requestKey } from '../ledger/keys.ts';
import { fingerprint } from '../ledger/post.ts';
import { entriesByKeys, type LedgerMoment, postBatch } from '../ledger/store.ts';
import { tellOfCheckouts } from '../outgoing/checkouts.ts';
import { checkoutSums } from '../payments/checkout-shares.ts';
import { lockPayment } from '../payments/move-store.ts';
import type { Payment } from '../payments/payment.ts';
import { readPayments } from '../payments/store.ts';

/** Returning what the wallet paid of a purchase, where that does not follow from refunds of a payment by itself. */

export interface CheckoutRefund extends CheckoutKey {
  readonly amountMinor: number;
  /** The request's own, as for other entries. */
  readonly idempotencyKey: string;
  readonly reason: string | null;
}

/** `repeated`: the same was asked for before under the same key; here is its entry. */
export type Refunded =
  | { readonly kind: 'refunded'; readonly checkout: Checkout; readonly entry: Entry; readonly wallet: Wallet }
  | { readonly kind: 'repeated'; readonly entry: Entry };

/**
 * Credits the wallet for a purchase that goes back, with store credit in place of what was paid by other means too, up to what neither went
 * back to the payer nor to the wallet. What was taken out of lots goes back to them first.
 * @throws {RefusalError} CHECKOUT_NOT_FOUND, IDEMPOTENCY_KEY_REUSED, REFUNDS_ARE_PROPORTIONAL, REFUND_EXCEEDS_PAID, or what the ledger refuses
 */
export async function refundCheckout(tx: Tx, refund: CheckoutRefund, moment: LedgerMoment): Promise<Refunded> {
  const { checkout, payment } = await lockWithPayment(tx, refund);
  const posting = postingFor(checkout, refund);
  const before = await entryUnder(tx, posting);
  if (before?.fingerprint === fingerprint(posting)) return { kind: 'repeated', entry: before };
  if (before !== null) return refuse({ code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey: posting.idempotencyKey });
  if (checkout.walletRefunds === 'proportional' && checkout.paymentPart > 0)
    return refuse({ code: 'REFUNDS_ARE_PROPORTIONAL' });
  const { order, orderRefunded } = payment === null ? { order: 0, orderRefunded: 0 } : checkoutSums(payment);
  const refundable = Math.max(0, checkout.captured + order - orderRefunded - checkout.walletReturned);
  if (refund.amountMinor > refundable) return refuse({ code: 'REFUND_EXCEEDS_PAID', refundable });
  // What was begun is ended also in a currency that is not configured any more.
  const [result] = await postBatch(tx, [posting], { ...moment, currencies: new Set([checkout.currency]) });
  if (result?.kind === 'refused') return refuse(result.refusal);
  invariant(result?.kind === 'created', 'a refund was posted before');
  const walletReturned = checkout.walletReturned + refund.amountMinor;
  const returned = { ...checkout, walletReturned, overRefunded: walletReturned + orderRefunded > checkout.total };
  await saveCheckouts(tx, refund.merchantId, [returned]);
  await tellOfCheckouts(tx, [{ type: 'checkout.refunded', checkout: returned }], moment.now);
  return { kind: 'refunded', checkout: returned, entry: result.entry, wallet: result.wallet };
}

/** Locks the payment before the checkout, as events do. Another source may adopt the payment meanwhile; then it is found there. */
async function lockWithPayment(
  tx: Tx,
  key: CheckoutKey,
): Promise<{ readonly checkout: Checkout; readonly payment: Payment | null }> {
  for (;;) {
    const { merchantId, sourceId, paymentId } = (await getCheckout(tx, key)) ?? refuse({ code: 'CHECKOUT_NOT_FOUND' });
    const named = sourceId === null || paymentId === null ? null : { merchantId, sourceId, paymentId };
    if (named !== null) await lockPayment(tx, named);
    const [checkout] = await lockCheckouts(tx, merchantId, [key.checkoutId]);
    invariant(checkout !== undefined, 'a checkout went away');
    if (checkout.sourceId !== sourceId || checkout.paymentId !== paymentId) continue;
    const payments = named === null ? [] : [...(await readPayments(tx, [named])).values()];
    return { checkout, payment: payments[0] ?? null };
  }
}

function postingFor(checkout: Checkout, refund: CheckoutRefund): Posting & { readonly idempotencyKey: string } {
  const { merchantId, customerId, currency, checkoutId, walletReturned } = checkout;
  const { amountMinor, reason, idempotencyKey } = refund;
  return {
    ...{ merchantId, customerId, currency, amountMinor, isCredit: true, eventType: 'checkout_refunded' },
    ...{ reason, referenceObjectId: checkoutId, metadata: null, idempotencyKey: requestKey(idempotencyKey) },
    restores: [checkoutKey(checkoutId, 'capture'), checkoutKey(checkoutId, 'collect')],
    restoredMinor: walletReturned,
  };
}

async function entryUnder(db: Queryable, { merchantId, customerId, idempotencyKey }: ReturnType<typeof postingFor>) {
  const [entry] = await entriesByKeys(db, merchantId, [{ customerId, idempotencyKey }]);
  return entry ?? null;
}
