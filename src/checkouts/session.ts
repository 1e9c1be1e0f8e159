import type { OpenCharger } from '../charging/connect.ts';
import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { amountCharged, type Checkout, endOfPage } from '../ledger/checkouts/checkout.ts';
import { lockCheckouts, saveCheckouts } from '../ledger/checkouts/store.ts';
import type { Logger } from '../telemetry/log.ts';
import type { SessionRequest } from './purchase.ts';

interface Asked {
  /** Committed, with what is held for it. */
  readonly checkout: Checkout;
  readonly session: SessionRequest;
  readonly charger: Pick<OpenCharger, 'createSession'>;
}

/** What a payment has to carry to complete a checkout. */
function metadataOf({ customerId, checkoutId }: Checkout) {
  return { wallet_customer_id: customerId, wallet_checkout_id: checkoutId } as const;
}

/**
 * Asks the provider for the page on which a checkout is paid, outside of any transaction, and notes it. The same checkout is the same
 * page, however often it is asked for.
 * @returns the checkout with its page; null if the provider made none, or what it answered is not known
 */
export async function openSession(
  { pool, logger }: { readonly pool: Pool; readonly logger: Logger },
  { checkout, session, charger }: Asked,
): Promise<Checkout | null> {
  const { merchantId, checkoutId, currency, sourceId } = checkout;
  const answer = await charger.createSession({
    ...{ orderId: checkoutId, amount: amountCharged(checkout), currency, metadata: metadataOf(checkout) },
    ...{ successUrl: session.successUrl, cancelUrl: session.cancelUrl },
    description: session.description ?? checkout.referenceObjectId ?? checkoutId,
    expiresAt: endOfPage(checkout.expiresAt),
  });
  if (answer.kind !== 'made') {
    const reason = answer.kind === 'refused' ? answer.reason : 'unknown';
    logger.warn({ merchantId, sourceId, checkoutId, reason }, 'a checkout has no page: its provider made none');
    return null;
  }
  const { sessionId, url: sessionUrl } = answer;
  return transaction(pool, async (tx) => {
    const [locked = checkout] = await lockCheckouts(tx, merchantId, [checkoutId]);
    const next = { ...locked, sessionId, sessionUrl };
    await saveCheckouts(tx, merchantId, [next]);
    return next;
  });
}
