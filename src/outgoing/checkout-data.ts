import { z } from 'zod';
import {
  AMOUNT_CHECKS,
  amountCharged,
  CHECKOUT_STATES,
  CHECKOUT_WARNINGS,
  type Checkout,
  endOfCheckout,
  WALLET_REFUNDS,
} from '../ledger/checkouts/checkout.ts';
import { ADJUSTMENTS } from '../ledger/checkouts/split.ts';
import { holdId } from '../ledger/holds/hold.ts';
import { MAX_AMOUNT_MINOR } from '../money.ts';
import { eventTime } from './event-data.ts';

/** How a checkout is shown, by the API as well as in what merchants are told. */

const amount = z.int().min(0).max(MAX_AMOUNT_MINOR);

const payment = z.object({
  amount: amount.meta({ description: 'What is to be charged: `payment_part` and `credit_bought`.' }),
  currency: z.string(),
  metadata: z
    .object({ wallet_customer_id: z.string(), wallet_checkout_id: z.string() })
    .meta({ description: 'What the payment has to carry as its metadata.' }),
  url: z.string().nullable().meta({ description: 'The page on which it is paid, where a session was asked for.' }),
  payment_id: z.string().nullable().meta({ description: 'The payment that completed it.' }),
  source_id: z.string().nullable(),
});

export const checkoutData = z.object({
  checkout_id: z.string(),
  business_id: z.string(),
  customer_id: z.string(),
  currency: z.string().meta({ description: 'ISO 4217, upper case.' }),
  status: z.enum(CHECKOUT_STATES).meta({
    description:
      'short: it is paid, but not all of the wallet’s part was there any more. expired, cancelled: a payment that comes all the same still completes it.',
  }),
  total: amount.meta({ description: 'In minor units (cents, paise), as all amounts.' }),
  tax: amount.nullable().meta({ description: 'As you said it; nothing goes by it.' }),
  wallet_part: amount,
  payment_part: amount,
  credit_bought: amount.meta({
    description: 'Credit that is sold with it, so that what is charged reaches what the provider charges at least.',
  }),
  adjusted: z.enum(ADJUSTMENTS),
  hold_id: z.string().nullable().meta({ description: 'Null where the wallet pays nothing.' }),
  captured: amount.meta({ description: 'What was taken out of the wallet.' }),
  uncollected: amount.meta({ description: 'What of `wallet_part` was not there when it was paid.' }),
  payment: payment.nullable().meta({ description: 'Null where the wallet pays all of it.' }),
  amount_check: z.enum(AMOUNT_CHECKS),
  wallet_refunds: z.enum(WALLET_REFUNDS),
  wallet_returned: amount.meta({ description: 'What went back to the wallet, net.' }),
  payment_refunded: amount.meta({ description: 'What of the payment was refunded, net.' }),
  over_refunded: z.boolean().meta({
    description:
      'True if more went back by both ways together than the purchase had cost. Nothing is taken back for it.',
  }),
  warnings: z.array(z.enum(CHECKOUT_WARNINGS)),
  reference_object_id: z.string().nullable(),
  reason: z.string().nullable(),
  metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).nullable(),
  expires_at: eventTime.meta({ description: 'Later than agreed while a payment is under way, or is looked at.' }),
  created_at: eventTime,
  completed_at: eventTime.nullable(),
});

export type CheckoutJson = z.output<typeof checkoutData>;

const EXAMPLE_PAYMENT = {
  amount: 3000,
  currency: 'USD',
  metadata: {
    wallet_customer_id: 'cus_01h2xcejqtf2nbrexx3vqjhp41',
    wallet_checkout_id: 'chk_01h2xcejqtf2nbrexx3vqjhp41',
  },
  url: null,
  payment_id: 'pi_3Qexample',
  source_id: 'src_stripe',
};

export const EXAMPLE_CHECKOUT: CheckoutJson = {
  checkout_id: 'chk_01h2xcejqtf2nbrexx3vqjhp41',
  business_id: 'bus_default',
  customer_id: 'cus_01h2xcejqtf2nbrexx3vqjhp41',
  currency: 'USD',
  status: 'completed',
  total: 5000,
  tax: null,
  wallet_part: 2000,
  payment_part: 3000,
  credit_bought: 0,
  adjusted: 'none',
  hold_id: 'hold_cus_01h2xcejqtf2nbrexx3vqjhp41_USD_4',
  captured: 2000,
  uncollected: 0,
  payment: EXAMPLE_PAYMENT,
  amount_check: 'exact',
  wallet_refunds: 'proportional',
  wallet_returned: 0,
  payment_refunded: 0,
  over_refunded: false,
  warnings: [],
  reference_object_id: 'order-77',
  reason: null,
  metadata: null,
  expires_at: '2026-01-31T12:45:00.000Z',
  created_at: '2026-01-31T12:00:00.000Z',
  completed_at: '2026-01-31T12:03:00.000Z',
};

export function checkoutJson(checkout: Checkout): CheckoutJson {
  const { merchantId, customerId, currency, checkoutId, holdNo } = checkout;
  return {
    checkout_id: checkoutId,
    business_id: merchantId,
    customer_id: customerId,
    currency,
    status: checkout.state,
    total: checkout.total,
    tax: checkout.tax,
    wallet_part: checkout.walletPart,
    payment_part: checkout.paymentPart,
    credit_bought: checkout.creditBought,
    adjusted: checkout.adjusted,
    hold_id: holdNo === null ? null : holdId({ merchantId, customerId, currency, holdNo }),
    captured: checkout.captured,
    uncollected: checkout.uncollected,
    payment: checkout.paymentPart === 0 ? null : paymentJson(checkout),
    amount_check: checkout.amountCheck,
    wallet_refunds: checkout.walletRefunds,
    wallet_returned: checkout.walletReturned,
    payment_refunded: checkout.paymentRefunded,
    over_refunded: checkout.overRefunded,
    warnings: [...checkout.warnings],
    reference_object_id: checkout.referenceObjectId,
    reason: checkout.reason,
    metadata: checkout.metadata === null ? null : { ...checkout.metadata },
    expires_at: endOfCheckout(checkout).toISOString(),
    created_at: checkout.createdAt.toISOString(),
    completed_at: checkout.completedAt?.toISOString() ?? null,
  };
}

function paymentJson(checkout: Checkout): z.output<typeof payment> {
  return {
    amount: amountCharged(checkout),
    currency: checkout.currency,
    metadata: { wallet_customer_id: checkout.customerId, wallet_checkout_id: checkout.checkoutId },
    url: checkout.sessionUrl,
    payment_id: checkout.paymentId,
    source_id: checkout.sourceId,
  };
}

export const CHECKOUT_DESCRIPTIONS = {
  'checkout.completed': 'A purchase is paid, and the wallet’s part of it is taken.',
  'checkout.short':
    'A purchase is paid, but not all of the wallet’s part was there any more: see `uncollected`, and collect it later.',
  'checkout.expired':
    'A purchase was not paid in time. What was held for it is available again; paid later, it still counts.',
  'checkout.refunded':
    'More or less of a purchase went back, to the wallet or to the payer: see `wallet_returned` and `payment_refunded`.',
};

export const CHECKOUT_EXAMPLES: Readonly<Record<keyof typeof CHECKOUT_DESCRIPTIONS, CheckoutJson>> = {
  'checkout.completed': EXAMPLE_CHECKOUT,
  'checkout.short': { ...EXAMPLE_CHECKOUT, status: 'short', captured: 800, uncollected: 1200, completed_at: null },
  'checkout.expired': {
    ...{ ...EXAMPLE_CHECKOUT, status: 'expired', captured: 0, completed_at: null },
    payment: { ...EXAMPLE_PAYMENT, payment_id: null, source_id: null },
  },
  'checkout.refunded': { ...EXAMPLE_CHECKOUT, wallet_returned: 666, payment_refunded: 1000 },
};
