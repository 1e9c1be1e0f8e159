import { readdir, readFile } from 'node:fs/promises';
import { afterEach, expect, it } from 'vitest';
import { z } from 'zod';
import { DodoCharging } from '../support/dodo-charging.ts';
import { DodoCheckout } from '../support/dodo-checkout.ts';
import { stripeAccount } from '../support/provider-api-dialects.ts';
import { RazorpayOrders } from '../support/razorpay-orders.ts';
import { type TypeClaim, typeProblems } from '../support/sdk-types.ts';
import { SEEDED, type SeededName } from '../support/seeded-doubles.ts';
import { DODO_SECRET } from '../support/signing.ts';

/**
 * What our doubles of the providers' APIs answer, compared with the types of the providers' official packages: a field
 * that is missing, unknown or of another type is a belief of ours that the provider does not share.
 */

const MODULES = '../../node_modules';
const IMPORTS = `
import type DodoPayments from 'dodopayments';
import type Stripe from 'stripe';
import type { models as Polar } from '@polar-sh/sdk/2026-10';
import type { ListOrders, ListSubscriptionInvoices, Order, SubscriptionInvoice } from '@lemonsqueezy/lemonsqueezy.js';
import type { IAdjustmentResponse, ITransactionResponse } from '${MODULES}/@paddle/paddle-node-sdk/dist/types/types/index.js';
import type { Response, ResponsePaginated } from '${MODULES}/@paddle/paddle-node-sdk/dist/types/internal/types/response.js';
import type { Payments } from '${MODULES}/razorpay/dist/types/payments.js';
import type { Orders } from '${MODULES}/razorpay/dist/types/orders.js';
import type { Refunds } from '${MODULES}/razorpay/dist/types/refunds.js';
import type { Disputes } from '${MODULES}/razorpay/dist/types/disputes.js';
type Collection<Item> = { entity: 'collection'; count: number; items: Item[] };
import type { webhooks as PolarWebhooks } from '@polar-sh/sdk/2026-10';
import type { IEventsResponse } from '${MODULES}/@paddle/paddle-node-sdk/dist/types/types/events/index.js';
import type { IAdjustmentNotificationResponse, ITransactionNotificationResponse } from '${MODULES}/@paddle/paddle-node-sdk/dist/types/notifications/index.js';
`;

/** The path of a list, the type of its answer, and that of one object of it. */
const TYPES: Readonly<Record<SeededName, readonly (readonly [string, string, string | null])[]>> = {
  stripe: [
    ['/v1/payment_intents', 'Stripe.ApiList<Stripe.PaymentIntent>', 'Stripe.PaymentIntent'],
    ['/v1/refunds', 'Stripe.ApiList<Stripe.Refund>', 'Stripe.Refund'],
    ['/v1/disputes', 'Stripe.ApiList<Stripe.Dispute>', 'Stripe.Dispute'],
  ],
  dodo: [
    ['/payments', '{ items: DodoPayments.PaymentListResponse[] }', 'DodoPayments.Payment'],
    ['/refunds', '{ items: DodoPayments.RefundListItem[] }', 'DodoPayments.Refund'],
    ['/disputes', '{ items: DodoPayments.DisputeListResponse[] }', 'DodoPayments.GetDispute'],
  ],
  razorpay: [
    ['/v1/payments', 'Collection<Payments.RazorpayPayment>', 'Payments.RazorpayPayment'],
    ['/v1/refunds', 'Collection<Refunds.RazorpayRefund>', 'Refunds.RazorpayRefund'],
    ['/v1/disputes', 'Collection<Disputes.RazorpayDispute>', 'Disputes.RazorpayDispute'],
  ],
  paddle: [
    ['/transactions', 'ResponsePaginated<ITransactionResponse>', 'Response<ITransactionResponse>'],
    ['/adjustments', 'ResponsePaginated<IAdjustmentResponse>', null],
  ],
  polar: [
    ['/v1/orders/', 'Polar.ListResourceOrder', 'Polar.Order'],
    ['/v1/refunds/', 'Polar.ListResourceRefund', null],
    ['/v1/disputes/', 'Polar.ListResourceDispute', 'Polar.Dispute'],
  ],
  lemonsqueezy: [
    ['/v1/orders', 'ListOrders', 'Order'],
    ['/v1/subscription-invoices', 'ListSubscriptionInvoices', 'SubscriptionInvoice'],
  ],
};

/** Where a package's types are wrong about the JSON that its provider documents, so that they are no rule for a double. */
type WrongTypes = readonly (readonly [SeededName, RegExp])[];
const WRONG_TYPES: WrongTypes = [
  // docs.lemonsqueezy.com/api/orders/the-order-object names it.
  ['lemonsqueezy', /'"partial_refund"' is not assignable to type 'OrderStatus'/],
  // JSON has no dates.
  ['lemonsqueezy', /'string' is not assignable to type 'Date'/],
  // Null but for credits: developer.paddle.com/api-reference/adjustments, and Paddle's OpenAPI description.
  ['paddle', /\/adjustments: .*'null' is not assignable to type 'boolean'/],
  // razorpay 2.9.8 knows neither null nor empty notes, which are an empty list: razorpay.com/docs/api/payments, "Entity".
  ['razorpay', /'null' is not assignable to type/],
  [
    'razorpay',
    /'(?:never)?\[\]' is not assignable to type '(?:\{ \[key: string\]: string; \}|IMap<string \| number>)'/,
  ],
];

const SHOP_WRONG_TYPES: WrongTypes = [
  // razorpay.com/docs/api/orders/create shows an order without a description or a token.
  [
    'razorpay',
    /^razorpay order: .* is missing the following properties from type 'RazorpayOrder': description, token$/,
  ],
  // An empty list, as above.
  ['razorpay', /^razorpay refund: .*'never\[\]' is not assignable to type 'IMap<string \| number>'/],
];

const WRONG_EVENT_TYPES: WrongTypes = [
  // `previous_attributes` has what changed alone, at every depth: docs.stripe.com/api/events/object.
  ['stripe', /^stripe refund\.updated\.json: .*'\{ reference_status: string; \}' but required in type 'Card'/],
  ['paddle', /^paddle adjustment\..*'null' is not assignable to type 'boolean'/],
  // The totals of an item are its subtotal, tax and total: so the package's own type of the same adjustment in the API.
  ['paddle', /IAdjustmentItemTotalsNotificationResponse': fee, earnings, currency_code$/],
];

async function expectTrue(claims: readonly TypeClaim[], wrongTypes: WrongTypes): Promise<void> {
  const problems = await typeProblems(IMPORTS, claims);
  const excuses = ([name, pattern]: WrongTypes[number], problem: string): boolean =>
    problem.startsWith(`${name} `) && pattern.test(problem);
  expect(problems.filter((problem) => !wrongTypes.some((one) => excuses(one, problem)))).toEqual([]);
  // An excuse that nothing needs any more hides what comes next.
  expect(wrongTypes.filter((one) => !problems.some((problem) => excuses(one, problem)))).toEqual([]);
}

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const OBJECT = z.looseObject({
  id: z.string().optional(),
  payment_id: z.string().optional(),
  refund_id: z.string().optional(),
  dispute_id: z.string().optional(),
});
const PAGE = z.union([
  z.object({ items: z.array(OBJECT) }).transform(({ items }) => items),
  z.object({ data: z.array(OBJECT) }).transform(({ data }) => data),
]);

it('the doubles answer in the types of the official packages', async () => {
  const claims: TypeClaim[] = [{ what: 'stripe /v1/account', type: 'Stripe.Account', value: stripeAccount('acct_1') }];
  for (const { name, authorization, start } of SEEDED) {
    const double = await start();
    open.push(double);
    const get = async (path: string): Promise<unknown> =>
      (await fetch(`${double.url}${path}`, { headers: { authorization } })).json();
    for (const [path, listType, type] of TYPES[name]) {
      const page = await get(path);
      const listed = PAGE.parse(page);
      expect(listed, path).not.toEqual([]);
      claims.push({ what: `${name} ${path}`, type: listType, value: page });
      for (const object of type === null ? [] : listed) {
        const id = object.refund_id ?? object.dispute_id ?? object.id ?? object.payment_id;
        const one = `${path.replace(/\/$/, '')}/${id}`;
        claims.push({ what: `${name} ${one}`, type: type ?? '', value: await get(one) });
      }
    }
  }
  await expectTrue(claims, WRONG_TYPES);
});

it('what a shop is answered is of the types of the official packages', async () => {
  const claims: TypeClaim[] = [];
  const ask = async (what: string, type: string, { url, authorization, body }: Question) => {
    const headers = { authorization, 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
    const value: unknown = await response.json();
    expect(response.status, JSON.stringify(value)).toBe(200);
    claims.push({ what, type, value });
  };
  const razorpay = new RazorpayOrders({ keyId: 'rzp_test_1', keySecret: 'secret', secret: 'webhooks' });
  const dodo = new DodoCheckout({ apiKey: 'key', productId: 'pdt_1', secret: DODO_SECRET });
  for (const double of [razorpay, dodo]) {
    double.delivers = false;
    open.push(double);
  }
  const authorization = `Basic ${btoa('rzp_test_1:secret')}`;
  const orders = `${await razorpay.listen()}/v1`;
  const notes = { wallet_customer_id: 'cus_1' };
  const order = { amount: 3000, currency: 'INR', receipt: 'R-1', notes };
  await ask('razorpay order', 'Orders.RazorpayOrder', { url: `${orders}/orders`, authorization, body: order });
  const options = JSON.stringify({ key: 'rzp_test_1', order_id: 'order_double1', name: 'Shop', notes });
  await razorpay.pay(`<script>new Razorpay(${options}).open()</script>`);
  const refunds = `${orders}/payments/pay_double1/refund`;
  await ask('razorpay refund', 'Refunds.RazorpayRefund', { url: refunds, authorization, body: { amount: 1000 } });

  const bearer = 'Bearer key';
  const url = await dodo.listen();
  const session = {
    product_cart: [{ product_id: 'pdt_1', quantity: 1, amount: 3000 }],
    customer: { email: 'ada@example.com', name: 'Ada' },
    billing_currency: 'USD',
    metadata: notes,
    feature_flags: { allow_discount_code: false },
    return_url: 'https://shop.example.com/thanks',
    cancel_url: 'https://shop.example.com/basket',
  };
  const sessionType = 'DodoPayments.CheckoutSessionResponse';
  await ask('dodo session', sessionType, { url: `${url}/checkouts`, authorization: bearer, body: session });
  const refund = { payment_id: 'pay_dododouble1' };
  await ask('dodo refund', 'DodoPayments.Refund', { url: `${url}/refunds`, authorization: bearer, body: refund });
  claims.push({ what: 'dodo request', type: 'DodoPayments.CheckoutSessionCreateParams', value: session });
  claims.push({ what: 'razorpay request', type: 'Orders.RazorpayOrderCreateRequestBody', value: order });
  await expectTrue(claims, SHOP_WRONG_TYPES);
});

it('what a charge of a subscription is answered is of the types of the official package', async () => {
  const dodo = new DodoCharging('key');
  open.push({ close: () => dodo.stop() });
  const url = await dodo.start();
  dodo.addSubscription({ id: 'sub_1', customerId: 'cus_1' });
  const headers = { authorization: 'Bearer key', 'content-type': 'application/json' };
  const body = {
    ...{ product_price: 2000, product_currency: 'USD' },
    metadata: { wallet_customer_id: 'cus_a', wallet_purpose: 'topup', wallet_topup_id: 'top_1' },
    customer_balance_config: { allow_customer_credits_purchase: false, allow_customer_credits_usage: false },
  };
  const claims: TypeClaim[] = [{ what: 'dodo request', type: 'DodoPayments.SubscriptionChargeParams', value: body }];
  const ask = async (path: string, type: string, init: RequestInit = {}) => {
    const response = await fetch(`${url}${path}`, { headers, ...init });
    const value: unknown = await response.json();
    expect(response.status, JSON.stringify(value)).toBe(200);
    claims.push({ what: `dodo ${path}`, type, value });
  };
  const post = { method: 'POST', body: JSON.stringify(body) };
  await ask('/subscriptions/sub_1/charge', 'DodoPayments.SubscriptionChargeResponse', post);
  await ask('/subscriptions/sub_1', 'DodoPayments.Subscription');
  await ask(`/payments/${dodo.payments[0]?.id}`, 'DodoPayments.Payment');
  const query = 'subscription_id=sub_1&created_at_gte=2026-01-01T00:00:00.000Z&page_size=100&page_number=0';
  await ask(`/payments?${query}`, '{ items: DodoPayments.PaymentListResponse[] }');
  await expectTrue(claims, []);
});

interface Question {
  readonly url: string;
  readonly authorization: string;
  readonly body: object;
}

/** Of the events that the adapters read; the payloads of others are cut short. Null for the others. */
const EVENT_TYPES: Readonly<Record<'stripe' | 'dodo' | 'polar' | 'paddle', (type: string) => string | null>> = {
  stripe: (type) =>
    /^(payment_intent|refund|charge\.(dispute|refund)|invoice_payment)\./.test(type)
      ? `Extract<Stripe.Event, { type: '${type}' }>`
      : null,
  dodo: (type) => (/^(payment|refund|dispute)\./.test(type) ? 'DodoPayments.WebhookPayload' : null),
  polar: (type) =>
    /^(order|refund)\./.test(type) ? `Extract<PolarWebhooks.WebhookPayload, { type: '${type}' }>` : null,
  paddle(type) {
    if (type.startsWith('transaction.')) return 'IEventsResponse<ITransactionNotificationResponse>';
    return type.startsWith('adjustment.') ? 'IEventsResponse<IAdjustmentNotificationResponse>' : null;
  },
};
const EVENT = z.looseObject({ type: z.string().optional(), event_type: z.string().optional() });

it('the deliveries are of the types of the official packages', async () => {
  const claims: TypeClaim[] = [];
  for (const [provider, typeOf] of Object.entries(EVENT_TYPES)) {
    const folder = new URL(`../fixtures/providers/${provider}/`, import.meta.url);
    for (const file of await readdir(folder)) {
      const value = EVENT.parse(JSON.parse(await readFile(new URL(file, folder), 'utf8')));
      const type = typeOf(value.type ?? value.event_type ?? '');
      if (type !== null) claims.push({ what: `${provider} ${file}`, type, value });
    }
  }
  expect(claims.length).toBeGreaterThan(50);
  await expectTrue(claims, WRONG_EVENT_TYPES);
});

it('what is missing, unknown or of another type is told by the name of the claim', async () => {
  const amount = { currency_code: 'USD', amount: 5 };
  const type = "DodoPayments.Payment['total_amount']";
  const problems = await typeProblems(IMPORTS, [
    { what: 'a missing field', type: 'DodoPayments.GetDispute', value: {} },
    { what: 'what is right', type, value: 5 },
    {
      what: 'an unknown field',
      type: 'Collection<number>',
      value: { entity: 'collection', count: 0, items: [], amount },
    },
    { what: 'another type', type, value: '5' },
  ]);
  expect(problems.map((problem) => problem.replace(/: TS.*$/, ''))).toEqual([
    'a missing field',
    'an unknown field',
    'another type',
  ]);
});
