import { z } from 'zod';

/** As it is bracketed in a form, and nothing else: the request that the adapter is to make. */
const sessionRequest = z.strictObject({
  mode: z.literal('payment'),
  'line_items[0][quantity]': z.literal('1'),
  'line_items[0][price_data][currency]': z.string().regex(/^[a-z]{3}$/),
  'line_items[0][price_data][unit_amount]': z.coerce.number().int().nonnegative(),
  'line_items[0][price_data][product_data][name]': z.string().min(1).max(250),
  allow_promotion_codes: z.literal('false'),
  'adaptive_pricing[enabled]': z.literal('false'),
  success_url: z.string(),
  cancel_url: z.string().optional(),
  expires_at: z.coerce.number().int(),
});
const METADATA = /^payment_intent_data\[metadata\]\[(\w{1,40})\]$/;

/** A page at which somebody may pay. */
export interface OpenSession {
  readonly id: string;
  readonly url: string;
  /** In Stripe's unit of the currency. */
  readonly amount: number;
  readonly currency: string;
  readonly name: string;
  readonly successUrl: string;
  readonly cancelUrl: string | null;
  /** In seconds. */
  readonly expiresAt: number;
  /** What the PaymentIntent will carry. */
  readonly metadata: Readonly<Record<string, string>>;
}

interface Refused {
  readonly code: string;
  readonly param?: string;
}

/** 8 digits (docs.stripe.com/currencies, "Minimum and maximum charge amounts"). */
const MOST = 99_999_999;
/** US dollars; other currencies have about as much. */
const LEAST = 50;
const [SHORTEST_S, LONGEST_S] = [30 * 60, 24 * 60 * 60];

/**
 * What Stripe makes of a request for a Checkout session. Its rules: docs.stripe.com/api/checkout/sessions/create (what a request holds;
 * `expires_at` from 30 minutes to 24 hours after it is made), docs.stripe.com/currencies (least and most), docs.stripe.com/error-codes
 * (`amount_too_small`, `amount_too_large`, `url_invalid`, `parameter_unknown`), docs.stripe.com/api/metadata (values of 500 characters).
 */
export function openSession(
  body: string,
  { id, now }: { readonly id: string; readonly now: number },
): OpenSession | Refused {
  const all = [...new URLSearchParams(body)];
  const named = all.flatMap(([name, value]) => {
    const [, field] = METADATA.exec(name) ?? [];
    return field === undefined ? [] : [[field, value] as const];
  });
  if (named.some(([, value]) => value.length > 500)) return { code: 'parameter_invalid_string_length' };
  const form = sessionRequest.safeParse(Object.fromEntries(all.filter(([name]) => !METADATA.test(name))));
  if (!form.success) return { code: 'parameter_unknown', param: String(form.error.issues[0]?.path[0] ?? '') };
  const { success_url: successUrl, cancel_url: cancelUrl, expires_at: expiresAt, ...line } = form.data;
  const currency = line['line_items[0][price_data][currency]'];
  if (currency === 'kpw') {
    return { code: 'parameter_invalid_string', param: 'line_items[0][price_data][currency]' };
  }
  const amount = line['line_items[0][price_data][unit_amount]'];
  if (amount < LEAST) return { code: 'amount_too_small' };
  if (amount > MOST) return { code: 'amount_too_large', param: 'line_items[0][price_data][unit_amount]' };
  if (!URL.canParse(successUrl)) return { code: 'url_invalid', param: 'success_url' };
  if (cancelUrl !== undefined && !URL.canParse(cancelUrl)) return { code: 'url_invalid', param: 'cancel_url' };
  if (expiresAt < now + SHORTEST_S || expiresAt > now + LONGEST_S)
    return { code: 'parameter_invalid', param: 'expires_at' };
  return {
    ...{ id, url: `https://checkout.stripe.com/c/pay/${id}`, amount, currency, expiresAt, successUrl },
    name: line['line_items[0][price_data][product_data][name]'],
    cancelUrl: cancelUrl ?? null,
    metadata: Object.fromEntries(named),
  };
}

/** As Stripe shows it, as far as anybody reads. */
export function shownSession({ id, url, amount, currency, expiresAt, successUrl, cancelUrl }: OpenSession) {
  return {
    ...{ id, object: 'checkout.session', mode: 'payment', status: 'open', payment_status: 'unpaid', livemode: false },
    ...{ amount_total: amount, currency, expires_at: expiresAt, success_url: successUrl, cancel_url: cancelUrl, url },
    // Made once somebody pays (docs.stripe.com/payments/checkout/how-checkout-works).
    payment_intent: null,
  };
}
