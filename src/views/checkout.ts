import { z } from 'zod';
import { type CheckoutRequest, LIFE, type PurchaseRequest } from '../checkouts/purchase.ts';
import { AMOUNT_CHECKS, CHECKOUT_STATES, CHECKOUT_WARNINGS, WALLET_REFUNDS } from '../ledger/checkouts/checkout.ts';
import { ADJUSTMENTS } from '../ledger/checkouts/split.ts';
import { MAX_AMOUNT_MINOR } from '../money.ts';
import { checkoutData, checkoutJson, EXAMPLE_CHECKOUT } from '../outgoing/checkout-data.ts';
import { amount, metadata, minorUnits, text, walletCurrency } from './fields.ts';
import { requiredKey } from './hold-requests.ts';

/** How checkouts are asked for and shown. */

export const checkoutStatus = z.enum(CHECKOUT_STATES, { error: `wants one of ${CHECKOUT_STATES.join(', ')}` });

export const checkoutShape = z.strictObject(checkoutData.shape).meta({ id: 'Checkout', examples: [EXAMPLE_CHECKOUT] });

export const checkoutResponse = checkoutJson;

/** One that is to be paid. */
export const EXAMPLE_OPEN_CHECKOUT = {
  ...EXAMPLE_CHECKOUT,
  ...{ status: 'open', captured: 0, completed_at: null },
  payment: { ...EXAMPLE_CHECKOUT.payment, payment_id: null, source_id: null },
} as const;

/** One that the wallet paid alone, and that went back to it. */
export const EXAMPLE_REFUNDED_CHECKOUT = {
  ...EXAMPLE_CHECKOUT,
  ...{ total: 1500, wallet_part: 1500, payment_part: 0, captured: 1500, payment: null, wallet_returned: 1500 },
} as const;

const EXAMPLE_QUOTE = {
  ...{ total: 5000, currency: 'USD', wallet_part: 2000, payment_part: 3000, credit_bought: 0, adjusted: 'none' },
  ...{ gateway_minimum: 50, warnings: [] },
} as const;

export const quoteShape = z
  .strictObject({
    total: minorUnits,
    currency: z.string(),
    wallet_part: minorUnits,
    payment_part: minorUnits,
    credit_bought: minorUnits,
    adjusted: z.enum(ADJUSTMENTS),
    gateway_minimum: minorUnits.meta({ description: 'What the provider charges at least; 0 where that is not known.' }),
    warnings: z.array(z.enum(CHECKOUT_WARNINGS)),
  })
  .meta({ id: 'CheckoutQuote', examples: [EXAMPLE_QUOTE] });

const WHOLE_ERROR = `wants 0 or a positive whole number of minor units up to ${MAX_AMOUNT_MINOR}`;
const amountOrNothing = z
  .int({ error: WHOLE_ERROR })
  .min(0, { error: WHOLE_ERROR })
  .max(MAX_AMOUNT_MINOR, { error: WHOLE_ERROR });
const yesOrNo = z.boolean({ error: 'wants true or false' });
const URL_ERROR = 'wants an address with http or https of 2000 characters or fewer';
const address = z.url({ protocol: /^https?$/, error: URL_ERROR }).max(2000, { error: URL_ERROR });
const { ofOwn, ofSession } = LIFE;
const SECONDS_ERROR = `wants a whole number of seconds from ${ofOwn.least} to ${ofOwn.most}`;

const purchaseFields = {
  total: amount.meta({ description: 'The price with all taxes, in minor units, as all amounts.' }),
  currency: walletCurrency,
  wallet: z
    .strictObject({
      use: z.enum(['max', 'none'], { error: 'wants max or none' }).default('max'),
      max: amountOrNothing.nullable().default(null).meta({ description: 'Take no more than this out of the wallet.' }),
      require_full: yesOrNo.default(false).meta({ description: 'The wallet pays all of it, or nothing is done.' }),
    })
    .default({ use: 'max', max: null, require_full: false })
    .meta({ description: 'As much as the wallet has, unless you say otherwise.' }),
  gateway_minimum: amountOrNothing.nullable().default(null).meta({
    description: 'What your provider charges at least, where you know better than the service (`GATEWAY_MINIMUMS`).',
  }),
  allow_credit_purchase: yesOrNo.default(false).meta({
    description: 'Sell credit with a purchase that is smaller than what the provider charges.',
  }),
};

export const quoteBody = z
  .strictObject(purchaseFields)
  .meta({ examples: [{ total: EXAMPLE_CHECKOUT.total, currency: 'USD' }] });

export const checkoutBody = z
  .strictObject({
    ...purchaseFields,
    tax: amountOrNothing.nullable().default(null).meta({
      description: 'What of it is tax, for your own use. Credit is a means of payment and no discount.',
    }),
    idempotency_key: text(255, 1).nullable().optional().meta({
      description: 'Wanted, here or in the header. The same key never opens a second checkout for this customer.',
    }),
    amount_check: z.enum(AMOUNT_CHECKS, { error: 'wants exact or at_least' }).default('exact').meta({
      description: 'at_least: where more may be paid, since taxes or fees come on top. What is beyond is not credited.',
    }),
    wallet_refunds: z.enum(WALLET_REFUNDS, { error: 'wants proportional or manual' }).default('proportional').meta({
      description: 'proportional: a refund of the payment returns the same share of the wallet’s part.',
    }),
    expires_in_seconds: z
      .int({ error: SECONDS_ERROR })
      .min(ofOwn.least, { error: SECONDS_ERROR })
      .max(ofOwn.most, { error: SECONDS_ERROR })
      .nullable()
      .default(null)
      .meta({
        description: `How long it may be paid: ${ofOwn.usual} unless given. With \`session\` from ${ofSession.least} to ${ofSession.most}, ${ofSession.usual} unless given. The wallet’s part is held for 15 minutes more.`,
      }),
    reference_object_id: text(255)
      .nullable()
      .optional()
      .meta({ description: "An id of your own, such as an order's." }),
    reason: text(1000).nullable().optional(),
    metadata: metadata.nullable().optional(),
    session: z
      .strictObject({
        source_id: text(100, 1).meta({ description: 'A source of Stripe with a charge key.' }),
        success_url: address,
        cancel_url: address.nullable().default(null),
        description: text(250, 1).nullable().default(null).meta({ description: 'What the buyer reads.' }),
      })
      .nullable()
      .default(null)
      .meta({ description: 'Have the provider make a page on which it is paid. Null: you make the payment.' }),
  })
  .meta({
    examples: [
      {
        ...{ total: EXAMPLE_CHECKOUT.total, currency: 'USD', idempotency_key: EXAMPLE_CHECKOUT.reference_object_id },
        reference_object_id: EXAMPLE_CHECKOUT.reference_object_id,
      },
    ],
  });

interface Owner {
  readonly merchantId: string;
  readonly customerId: string;
}

export function toPurchase(owner: Owner, body: z.output<typeof quoteBody>): PurchaseRequest {
  const { use, max, require_full: requireFull } = body.wallet;
  return {
    ...owner,
    ...{ total: body.total, currency: body.currency, wallet: { use, most: max, requireFull } },
    ...{ gatewayMinimum: body.gateway_minimum, allowCreditPurchase: body.allow_credit_purchase },
  };
}

/** @throws {RefusalError} INVALID_FIELD without a key */
export function toCheckout(
  owner: Owner,
  { session, ...body }: z.output<typeof checkoutBody>,
  key: string | null,
): CheckoutRequest {
  return {
    ...toPurchase(owner, body),
    ...{ tax: body.tax, amountCheck: body.amount_check, walletRefunds: body.wallet_refunds },
    ...{ expiresInSeconds: body.expires_in_seconds, idempotencyKey: requiredKey(key) },
    ...{ referenceObjectId: body.reference_object_id ?? null, reason: body.reason ?? null },
    metadata: body.metadata ?? null,
    session:
      session === null
        ? null
        : {
            ...{ sourceId: session.source_id, successUrl: session.success_url },
            ...{ cancelUrl: session.cancel_url, description: session.description },
          },
  };
}
