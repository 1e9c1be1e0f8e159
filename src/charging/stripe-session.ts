import Stripe from 'stripe';
import { z } from 'zod';
import type { WalletMetadata } from '../payments/fact.ts';
import { integerFromMinor } from '../providers/shared/currency.ts';
import type { SessionAnswer, SessionOrder, SessionRefusal } from './charger.ts';

/*
 * | what Stripe answers                             | what it means                                                            |
 * |-------------------------------------------------|--------------------------------------------------------------------------|
 * | 200 with an id and an address                   | made                                                                     |
 * | 400, but for conflicts, limits and reused keys  | refused, by `code`, else by `param`                                      |
 * | 401, 403                                        | refused: the key                                                         |
 * | anything else, and no answer                    | unknown                                                                  |
 *
 * A page that the buyer can change is another price: promotion codes are off, and so is Adaptive Pricing, whose default is a setting of the
 * account and which charges in the buyer's currency (docs.stripe.com/payments/currencies/localize-prices/adaptive-pricing). A session lives from
 * 30 minutes to 24 hours, counted from when Stripe makes it (docs.stripe.com/api/checkout/sessions/create, `expires_at`).
 */

const NAME = 'stripe';

const SESSION = z.looseObject({ id: z.string().min(1).max(200), url: z.url({ protocol: /^https?$/ }).max(5000) });

const BY_CODE: Readonly<Record<string, SessionRefusal>> = {
  amount_too_small: 'amount_too_small',
  amount_too_large: 'amount_too_large',
  url_invalid: 'address',
};
const BY_PARAMETER: Readonly<Record<string, SessionRefusal>> = {
  expires_at: 'expiry',
  success_url: 'address',
  cancel_url: 'address',
  currency: 'currency',
  'line_items[0][price_data][currency]': 'currency',
};

/** Metadata in one order, since the database keeps none, and the same request is to be the same to the byte. */
export function inOneOrder(metadata: WalletMetadata): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).sort());
}

export async function createSession(client: Stripe, order: SessionOrder): Promise<SessionAnswer> {
  const { orderId, currency, description: name, successUrl, cancelUrl, expiresAt } = order;
  // It counts some currencies in another unit: the same number would be a hundred times as much.
  const unit_amount = integerFromMinor(NAME, currency, order.amount);
  if (unit_amount === null) return { kind: 'refused', reason: 'amount_unit' };
  const price_data = { currency: currency.toLowerCase(), unit_amount, product_data: { name } };
  try {
    const answer = await client.checkout.sessions.create(
      {
        mode: 'payment',
        line_items: [{ quantity: 1, price_data }],
        payment_intent_data: { metadata: inOneOrder(order.metadata) },
        allow_promotion_codes: false,
        adaptive_pricing: { enabled: false },
        success_url: successUrl,
        ...(cancelUrl === null ? {} : { cancel_url: cancelUrl }),
        expires_at: Math.floor(expiresAt.getTime() / 1000),
      },
      { idempotencyKey: orderId },
    );
    const session = SESSION.safeParse(answer);
    return session.success ? { kind: 'made', sessionId: session.data.id, url: session.data.url } : { kind: 'unknown' };
  } catch (error) {
    return answerOfError(error);
  }
}

function answerOfError(error: unknown): SessionAnswer {
  if (!(error instanceof Stripe.errors.StripeError)) return { kind: 'unknown' };
  const { statusCode: status, code = '', param = '', type } = error;
  if (status === 401 || status === 403) return { kind: 'refused', reason: 'key' };
  const mayPass = type === 'StripeIdempotencyError' || code === 'rate_limit' || code === 'lock_timeout';
  if (status !== 400 || mayPass) return { kind: 'unknown' };
  return { kind: 'refused', reason: BY_CODE[code] ?? BY_PARAMETER[param] ?? 'request' };
}
