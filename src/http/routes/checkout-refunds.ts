import { z } from 'zod';
import { refundCheckout } from '../../checkouts/refund.ts';
import { transaction } from '../../db/transaction.ts';
import { checkoutResponse, checkoutShape, EXAMPLE_REFUNDED_CHECKOUT } from '../../views/checkout.ts';
import { entryResponse, entryShape } from '../../views/entry.ts';
import { EXAMPLE_ENTRY, EXAMPLE_WALLET } from '../../views/examples.ts';
import { amount, customerParams, idParams, text } from '../../views/fields.ts';
import { requiredKey } from '../../views/hold-requests.ts';
import { walletResponse, walletShape } from '../../views/wallet.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';
import { IDEMPOTENCY_HEADER, keyOfRequest } from './posting.ts';

const EXAMPLE_RETURN = {
  ...EXAMPLE_ENTRY,
  ...{ amount: 1500, is_credit: true, event_type: 'checkout_refunded', before_balance: 800, after_balance: 2300 },
  ...{ reason: 'Sent back', reference_object_id: EXAMPLE_REFUNDED_CHECKOUT.checkout_id, metadata: null },
  idempotency_key: 'refund-order-77',
};

const refund = merchantRoute({
  method: 'post',
  path: '/customers/{customer_id}/checkouts/{checkout_id}/refund',
  scope: 'write',
  tag: 'Checkouts',
  summary: 'Return what a wallet paid of a purchase',
  description:
    'By one entry of type `checkout_refunded`, to the credit that it was taken from. Of checkouts that the wallet paid alone, and of those with `wallet_refunds: manual`, where store credit may take the place of what the payment would return. Refunds at the provider are told of by its events.',
  params: customerParams.extend(idParams('checkout_id').shape),
  headers: IDEMPOTENCY_HEADER,
  body: z
    .strictObject({
      amount: amount.meta({ description: 'In minor units.' }),
      reason: text(1000).nullable().optional(),
      idempotency_key: text(255, 1).nullable().optional().meta({
        description: 'Wanted, here or in the header. It is one of the keys of entries.',
      }),
    })
    .meta({
      examples: [{ amount: 1500, reason: EXAMPLE_RETURN.reason, idempotency_key: EXAMPLE_RETURN.idempotency_key }],
    }),
  response: {
    description: 'The checkout and the wallet after it, and its entry.',
    schema: z.strictObject({ checkout: checkoutShape, entry: entryShape, wallet: walletShape }),
    example: { checkout: EXAMPLE_REFUNDED_CHECKOUT, entry: EXAMPLE_RETURN, wallet: EXAMPLE_WALLET },
  },
  errors: [
    'CHECKOUT_NOT_FOUND',
    'REFUNDS_ARE_PROPORTIONAL',
    'REFUND_EXCEEDS_PAID',
    'BALANCE_LIMIT_EXCEEDED',
    'IDEMPOTENCY_KEY_EXISTS',
    'IDEMPOTENCY_KEY_REUSED',
    'INVALID_IDEMPOTENCY_KEY',
    'UNSTABLE_KEY',
  ],
  async handle({ services, merchantId, params, body, headers, guard }) {
    const { customer_id: customerId, checkout_id: checkoutId } = params;
    const key = keyOfRequest(body.idempotency_key, headers);
    guard.checkKey(key, customerId);
    const { pool, settings, clock, onPosted } = services;
    const asked = { merchantId, customerId, checkoutId, amountMinor: body.amount, reason: body.reason ?? null };
    const request = { ...asked, idempotencyKey: requiredKey(key) };
    const result = await transaction(pool, (tx) => refundCheckout(tx, request, { ...settings, now: clock.now() }));
    if (result.kind === 'repeated')
      return turnAway('IDEMPOTENCY_KEY_EXISTS', KEY_EXISTS, { entry: entryResponse(result.entry) });
    onPosted();
    const { checkout, entry, wallet } = result;
    return { checkout: checkoutResponse(checkout), entry: entryResponse(entry), wallet: walletResponse(wallet) };
  },
});

const KEY_EXISTS = 'This idempotency key was used before, for the same request: "entry" is what it posted.';

export const checkoutRefundRoutes: readonly Route[] = [refund];
