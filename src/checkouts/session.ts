import type { SessionAnswer } from '../charging/charger.ts';
import type { ConnectCharger } from '../charging/connect.ts';
import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { amountCharged, type Checkout, GRACE_SECONDS } from '../ledger/checkouts/checkout.ts';
import { lockCheckouts, saveCheckouts } from '../ledger/checkouts/store.ts';
import type { Source } from '../merchants/source.ts';
import type { Logger } from '../telemetry/log.ts';
import type { SessionRequest } from './purchase.ts';

export interface SessionServices {
  readonly pool: Pool;
  readonly connect: ConnectCharger;
  readonly logger: Logger;
}

interface Asked {
  /** Committed, with what is held for it. */
  readonly checkout: Checkout;
  readonly session: SessionRequest;
  readonly source: Source;
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
export async function openSession(services: SessionServices, asked: Asked): Promise<Checkout | null> {
  const { checkout, source } = asked;
  const { checkoutId, merchantId } = checkout;
  const answer = await askForPage(services, asked);
  if (answer.kind !== 'made') {
    const reason = answer.kind === 'refused' ? answer.reason : 'unknown';
    services.logger.warn({ merchantId, sourceId: source.sourceId, checkoutId, reason }, 'a checkout has no page');
    return null;
  }
  const { sessionId, url: sessionUrl } = answer;
  return transaction(services.pool, async (tx) => {
    const [locked = checkout] = await lockCheckouts(tx, merchantId, [checkoutId]);
    const next = { ...locked, sessionId, sessionUrl };
    await saveCheckouts(tx, merchantId, [next]);
    return next;
  });
}

async function askForPage({ connect, logger }: SessionServices, asked: Asked): Promise<SessionAnswer> {
  const { checkout, session, source } = asked;
  const { checkoutId, currency, expiresAt } = checkout;
  try {
    const charger = await connect(source);
    if (charger === null) return { kind: 'refused', reason: 'key' };
    return await charger.createSession({
      ...{ orderId: checkoutId, amount: amountCharged(checkout), currency, metadata: metadataOf(checkout) },
      ...{ successUrl: session.successUrl, cancelUrl: session.cancelUrl },
      description: session.description ?? checkout.referenceObjectId ?? checkoutId,
      expiresAt: new Date(expiresAt.getTime() - GRACE_SECONDS * 1000),
    });
  } catch (error) {
    logger.error({ err: error, checkoutId }, 'a provider was asked for a page, and what it answered is not known');
    return { kind: 'unknown' };
  }
}
