import { z } from 'zod';
import { cancelCheckout, collectCheckout, type Managed } from '../../checkouts/manage.ts';
import { requireCustomer } from '../../customers/store.ts';
import { autocommit, type Tx, transaction } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import type { Checkout, CheckoutKey } from '../../ledger/checkouts/checkout.ts';
import { getCheckout, listCheckouts } from '../../ledger/checkouts/store.ts';
import { MAX_OFFSET } from '../../ledger/history.ts';
import type { LedgerMoment } from '../../ledger/store.ts';
import { EXAMPLE_CHECKOUT } from '../../outgoing/checkout-data.ts';
import {
  checkoutBody,
  checkoutResponse,
  checkoutShape,
  checkoutStatus,
  EXAMPLE_OPEN_CHECKOUT,
  quoteBody,
  quoteShape,
  toCheckout,
  toPurchase,
} from '../../views/checkout.ts';
import { currency, customerParams, idParams, itemsOf, pageOf, paging, text } from '../../views/fields.ts';
import { publicRefusal } from '../../views/refusals.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';
import { turnAway } from '../kit/turn-away.ts';
import { IDEMPOTENCY_HEADER, keyOfRequest } from './posting.ts';

const tag = 'Checkouts';
const path = '/customers/{customer_id}/checkouts';
const onePath = `${path}/{checkout_id}`;
const checkoutParams = customerParams.extend(idParams('checkout_id').shape);
type CheckoutParams = z.output<typeof checkoutParams>;

const quote = merchantRoute({
  method: 'post',
  path: `${path}/quote`,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: 'See how a purchase would be split',
  description: 'By what the wallet has now. Nothing is held, so a checkout may be split otherwise a moment later.',
  params: customerParams,
  body: quoteBody,
  response: { description: 'Who would pay what.', schema: quoteShape },
  errors: [
    'BELOW_GATEWAY_MINIMUM',
    'INSUFFICIENT_WALLET_FUNDS',
    'WALLET_FROZEN',
    'WALLET_CLOSED',
    'CUSTOMER_NOT_FOUND',
    'UNSUPPORTED_CURRENCY',
  ],
  async handle({ services: { purchases }, merchantId, params, body }) {
    const request = toPurchase({ merchantId, customerId: params.customer_id }, body);
    const { split, warnings, gatewayMinimum } = await purchases.quote(request);
    return {
      ...{ total: body.total, currency: body.currency, wallet_part: split.walletPart },
      ...{ payment_part: split.paymentPart, credit_bought: split.creditBought, adjusted: split.adjusted },
      ...{ gateway_minimum: gatewayMinimum, warnings: [...warnings] },
    };
  },
});

const create = merchantRoute({
  method: 'post',
  path,
  scope: 'write',
  takesTurns: false,
  tag,
  summary: 'Open a checkout: a purchase that the wallet pays first',
  description:
    'The wallet’s part is held. Make the payment over `payment.amount` with `payment.metadata`, or have Stripe make a page for it (`session`): once its event says that it is paid, the wallet’s part is taken. Where the wallet pays all of it, that is done at once and `payment` is null. Where the provider makes no page, the answer is 503 and the checkout stays open: the same request asks again, and is answered 200.',
  params: customerParams,
  headers: IDEMPOTENCY_HEADER,
  body: checkoutBody,
  response: { description: 'The checkout.', schema: checkoutShape, example: EXAMPLE_OPEN_CHECKOUT },
  errors: [
    'BELOW_GATEWAY_MINIMUM',
    'INSUFFICIENT_WALLET_FUNDS',
    'WALLET_FROZEN',
    'WALLET_CLOSED',
    'CUSTOMER_NOT_FOUND',
    'IDEMPOTENCY_KEY_EXISTS',
    'IDEMPOTENCY_KEY_REUSED',
    'INVALID_IDEMPOTENCY_KEY',
    'UNSTABLE_KEY',
    'UNSUPPORTED_CURRENCY',
    'MAXIMUM_KEYS_REACHED',
    'CHARGING_NOT_CONFIGURED',
    'CHECKOUTS_NOT_YET',
    'PROVIDER_UNAVAILABLE',
  ],
  async handle({ services: { purchases }, merchantId, params, body, headers, guard }) {
    const key = keyOfRequest(body.idempotency_key, headers);
    guard.checkKey(key, params.customer_id);
    const opened = await purchases.open(toCheckout({ merchantId, customerId: params.customer_id }, body, key));
    const checkout = checkoutResponse(opened.checkout);
    if (opened.kind === 'opened') return checkout;
    if (opened.kind === 'known') return turnAway('IDEMPOTENCY_KEY_EXISTS', KEY_EXISTS, { checkout });
    const { code, message } = publicRefusal({ code: 'PROVIDER_UNAVAILABLE' });
    return turnAway(code, message, { checkout });
  },
});

const KEY_EXISTS = 'This idempotency key was used before, for the same request: "checkout" is what it opened.';

const list = merchantRoute({
  method: 'get',
  path,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: "List a customer's checkouts, newest first",
  description: 'Pages by `before_id` skip nothing while more are opened.',
  params: customerParams,
  query: z
    .strictObject({
      ...paging,
      currency: currency.optional(),
      status: checkoutStatus.optional(),
      before_id: text(300, 1)
        .optional()
        .meta({
          description: 'Only those that were opened before the one with this `checkout_id`.',
          examples: [EXAMPLE_CHECKOUT.checkout_id],
        }),
    })
    .refine((query) => (query.page_number ?? 0) * query.page_size <= MAX_OFFSET, {
      path: ['page_number'],
      error: `reaches beyond ${MAX_OFFSET} checkouts; use before_id`,
    }),
  response: { description: 'A page of checkouts.', schema: itemsOf(checkoutShape) },
  errors: ['CUSTOMER_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, params: { customer_id: customerId }, query, headers }) {
    const filter = {
      currency: query.currency ?? null,
      state: query.status ?? null,
      beforeId: query.before_id ?? null,
    };
    const asked = { ...filter, ...pageOf(query, headers) };
    const checkouts = await readers.read(merchantId, async (db) => {
      const page = await listCheckouts(db, { merchantId, customerId }, asked);
      if (page.length === 0) await requireCustomer(db, merchantId, customerId);
      return page;
    });
    return { items: checkouts.map(checkoutResponse) };
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: onePath,
  scope: 'read',
  tag,
  summary: 'Retrieve one checkout',
  description: 'As it stands now.',
  params: checkoutParams,
  response: { description: 'The checkout.', schema: checkoutShape },
  errors: ['CHECKOUT_NOT_FOUND'],
  async handle({ services, merchantId, params }) {
    const checkout = await getCheckout(autocommit(services.pool), keyOf(merchantId, params));
    return checkoutResponse(checkout ?? refuse({ code: 'CHECKOUT_NOT_FOUND' }));
  },
});

const cancel = merchantRoute({
  method: 'post',
  path: `${onePath}/cancel`,
  scope: 'write',
  tag,
  summary: 'Cancel a checkout',
  description:
    'One that is open. What was held is available again. A payment that comes all the same still counts: end your provider’s page too. Cancelled twice is cancelled once.',
  params: checkoutParams,
  response: {
    description: 'The checkout.',
    schema: checkoutShape,
    example: { ...EXAMPLE_OPEN_CHECKOUT, status: 'cancelled' },
  },
  errors: ['CHECKOUT_NOT_FOUND', 'CHECKOUT_NOT_OPEN'],
  handle: ({ services, merchantId, params }) => manage(services, keyOf(merchantId, params), cancelCheckout),
});

const collect = merchantRoute({
  method: 'post',
  path: `${onePath}/collect`,
  scope: 'write',
  tag,
  summary: 'Collect what a wallet could not pay',
  description:
    'Of a checkout that is `short`: takes what is `uncollected`, all of it or nothing, also out of a wallet that was frozen since. Not once a part of the purchase went back.',
  params: checkoutParams,
  response: { description: 'The checkout.', schema: checkoutShape },
  errors: ['CHECKOUT_NOT_FOUND', 'CHECKOUT_NOT_OPEN', 'INSUFFICIENT_WALLET_FUNDS'],
  handle: ({ services, merchantId, params }) => manage(services, keyOf(merchantId, params), collectCheckout),
});

type Manage = (tx: Tx, key: CheckoutKey, moment: LedgerMoment) => Promise<Managed>;

async function manage({ pool, settings, clock, onPosted }: Services, key: CheckoutKey, work: Manage) {
  const { kind, checkout } = await transaction(pool, (tx) => work(tx, key, { ...settings, now: clock.now() }));
  if (kind === 'refused') return notOpen(checkout);
  onPosted();
  return checkoutResponse(checkout);
}

function notOpen(checkout: Checkout): never {
  const { code, message } = publicRefusal({ code: 'CHECKOUT_NOT_OPEN', state: checkout.state });
  return turnAway(code, message, { checkout: checkoutResponse(checkout) });
}

function keyOf(merchantId: string, { customer_id: customerId, checkout_id: checkoutId }: CheckoutParams): CheckoutKey {
  return { merchantId, customerId, checkoutId };
}

export const checkoutRoutes: readonly Route[] = [quote, create, list, cancel, collect, retrieve];
