import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { type JsonObject, providerFixture, within } from './provider-fixtures.ts';

/** An on-demand subscription, and what its bank says: yes, a status of the payment, or an error code. */
export interface OnDemand {
  readonly id: string;
  readonly customerId: string;
  readonly methodId: string | null;
  readonly fields: JsonObject;
  says: 'yes' | 'processing' | 'requires_customer_action' | 'cancelled' | (string & {});
}

export interface ChargedPayment {
  readonly id: string;
  readonly subscriptionId: string;
  readonly customerId: string;
  readonly amount: number;
  readonly currency: string;
  readonly createdAt: Date;
  readonly metadata: Readonly<Record<string, string>>;
  readonly isUpdate: boolean;
  status: string;
  errorCode: string | null;
}

/**
 * What happens to the next request for a charge. `lost`: it is done, and the connection ends without an answer. `hang`: it is done, and no
 * answer ever comes. `error`: it is done, and the answer is an error 500. A status with a code: nothing is done. `unread`: it is done, and
 * the payment cannot be read at once. A function is called when it is done, before the answer.
 */
export type DodoPlay = 'lost' | 'hang' | 'error' | 'unread' | readonly [number, string] | (() => Promise<void>);

/** Nothing else than the adapter sends. */
const chargeRequest = z.strictObject({
  product_price: z.int().positive(),
  product_currency: z.string().regex(/^[A-Z]{3}$/),
  metadata: z.strictObject({
    wallet_customer_id: z.string(),
    wallet_purpose: z.literal('topup'),
    wallet_topup_id: z.string(),
  }),
  customer_balance_config: z.strictObject({
    allow_customer_credits_purchase: z.literal(false),
    allow_customer_credits_usage: z.literal(false),
  }),
});

const listRequest = z.strictObject({
  subscription_id: z.string(),
  created_at_gte: z.iso.datetime(),
  page_size: z.coerce.number().int().min(1).max(100),
  page_number: z.coerce.number().int().min(0),
});

/**
 * Dodo's API as far as charges of on-demand subscriptions go. Its rules: docs.dodopayments.com/api-reference/subscriptions/post-subscriptions-charge
 * (the answer is the id of a payment, and nothing says that a request is known again), /developer-resources/ondemand-subscriptions (what
 * became of it comes as an event), /api-reference/error-codes, /api-reference/transaction-failures, and the types of dodopayments 2.52.0.
 */
export class DodoCharging {
  readonly #server: Server;
  readonly #apiKey: string;
  readonly subscriptions = new Map<string, OnDemand>();
  readonly payments: ChargedPayment[] = [];
  readonly plays: DodoPlay[] = [];
  /** The subscriptions that were asked to be charged, in the order of the requests, whatever was done. */
  readonly asked: string[] = [];
  /** Until when payments cannot be read singly. */
  #unreadable = 0;
  now = () => new Date();
  #port = 0;

  constructor(apiKey: string) {
    this.#apiKey = apiKey;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  /** Listens, again at the same port after {@link stop}. */
  async start(): Promise<string> {
    await once(this.#server.listen(this.#port, '127.0.0.1'), 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    return `http://127.0.0.1:${this.#port}`;
  }

  /** From now on connections are refused. */
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  addSubscription(one: Pick<OnDemand, 'id' | 'customerId'> & Partial<OnDemand>): OnDemand {
    const added = { methodId: `pm_of_${one.id}`, fields: {}, says: 'yes', ...one };
    this.subscriptions.set(added.id, added);
    return added;
  }

  addPayment(payment: Omit<ChargedPayment, 'id' | 'createdAt' | 'errorCode' | 'isUpdate'> & Partial<ChargedPayment>) {
    const id = `pay_${this.payments.length + 1}${Math.random().toString(36).slice(2, 8)}`;
    const added = { id, createdAt: this.now(), errorCode: null, isUpdate: false, ...payment };
    this.payments.push(added);
    return added;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://dodo');
    const body = await text(request);
    const answer = (status: number, json: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    };
    if (request.headers.authorization !== `Bearer ${this.#apiKey}`) return answer(401, failure('UNAUTHORIZED'));
    const [, kind, id, action] = url.pathname.split('/');
    if (kind === 'subscriptions' && id !== undefined) {
      const subscription = this.subscriptions.get(id);
      if (request.method === 'POST' && action === 'charge')
        return this.#charge({ id, subscription, body, response, answer });
      return subscription === undefined
        ? answer(404, failure('NOT_FOUND'))
        : answer(200, shownSubscription(subscription));
    }
    if (kind === 'payments' && id !== undefined) {
      if (this.#unreadable > 0) {
        this.#unreadable -= 1;
        return answer(503, failure('SERVICE_UNAVAILABLE'));
      }
      const payment = this.payments.find((one) => one.id === id);
      return payment === undefined ? answer(404, failure('NOT_FOUND')) : answer(200, shownPayment(payment));
    }
    if (kind === 'payments') {
      const query = listRequest.safeParse(Object.fromEntries(url.searchParams));
      return query.success ? answer(200, this.#list(query.data)) : answer(422, failure('INVALID_QUERY_PARAMS'));
    }
    return answer(404, failure('NOT_FOUND'));
  }

  async #charge({ id, subscription, body, response, answer }: Charging): Promise<void> {
    this.asked.push(id);
    const play = this.plays.shift();
    if (typeof play === 'object') return answer(play[0], failure(play[1]));
    if (subscription === undefined) return answer(404, failure('NOT_FOUND'));
    const wanted = chargeRequest.safeParse(JSON.parse(body));
    if (!wanted.success) return answer(422, failure('INVALID_REQUEST_BODY'));
    const { product_price: amount, product_currency: currency, metadata } = wanted.data;
    const { customerId, says } = subscription;
    const isState = ['processing', 'requires_customer_action', 'cancelled'].includes(says);
    const status = says === 'yes' ? 'succeeded' : isState ? says : 'failed';
    const errorCode = status === 'failed' ? says : null;
    const payment = this.addPayment({ subscriptionId: id, customerId, amount, currency, metadata, status, errorCode });
    if (play === 'lost') return void response.destroy();
    if (play === 'hang') return;
    if (play === 'error') return answer(500, failure('INTERNAL_SERVER_ERROR'));
    if (play === 'unread') this.#unreadable = 1;
    if (typeof play === 'function') await play();
    return answer(200, { payment_id: payment.id });
  }

  /** The newest first, which Dodo does not document. */
  #list({ subscription_id, created_at_gte, page_size, page_number }: z.infer<typeof listRequest>): JsonObject {
    const since = Date.parse(created_at_gte);
    const own = this.payments
      .filter((one) => one.subscriptionId === subscription_id && one.createdAt.getTime() >= since)
      .toReversed();
    const start = page_number * page_size;
    return { items: own.slice(start, start + page_size).map((one) => summaryOf(shownPayment(one))) };
  }
}

interface Charging {
  readonly id: string;
  readonly subscription: OnDemand | undefined;
  readonly body: string;
  readonly response: ServerResponse;
  answer(status: number, json: unknown): void;
}

/** "code" and "message": docs.dodopayments.com/api-reference/error-codes. */
function failure(code: string) {
  return { code, message: 'Refused.' };
}

function shownPayment(payment: ChargedPayment): JsonObject {
  const { payload_type: _, ...base } = within(providerFixture('dodo', 'payment.succeeded'), 'data');
  const { id, subscriptionId, customerId, amount, currency, metadata, status, errorCode, createdAt, isUpdate } =
    payment;
  return {
    ...{ ...base, payment_id: id, total_amount: amount, settlement_amount: amount, tax: 0, currency, metadata, status },
    customer: { ...within(base, 'customer'), customer_id: customerId },
    ...{ created_at: createdAt.toISOString(), error_code: errorCode, is_update_payment_method: isUpdate },
    ...{ subscription_id: subscriptionId, subscription_ids: [subscriptionId], payment_method_id: null },
  };
}

/** PaymentListResponse of dodopayments 2.52.0. */
function summaryOf(payment: JsonObject): JsonObject {
  const names = [
    ...['brand_id', 'created_at', 'currency', 'customer', 'digital_products_delivered', 'is_multi_subscription'],
    ...['metadata', 'payment_id', 'payment_provider', 'subscription_ids', 'total_amount', 'status', 'subscription_id'],
  ];
  return { has_license_key: false, ...Object.fromEntries(names.map((name) => [name, payment[name]])) };
}

/** Subscription of dodopayments 2.52.0. */
function shownSubscription({ id, customerId, methodId, fields }: OnDemand): JsonObject {
  const { billing, brand_id, customer } = within(providerFixture('dodo', 'payment.succeeded'), 'data');
  return {
    ...{ subscription_id: id, billing, brand_id, addons: [], cancel_at_next_billing_date: false },
    ...{ created_at: '2026-03-01T00:00:00Z', credit_entitlement_cart: [], meter_credit_entitlement_cart: [] },
    ...{ currency: 'USD', customer: { ...(customer as JsonObject), customer_id: customerId } },
    ...{ has_payment_method: methodId !== null, metadata: {}, meters: [], on_demand: true, quantity: 1 },
    ...{ next_billing_date: '2026-04-01T00:00:00Z', previous_billing_date: '2026-03-01T00:00:00Z' },
    ...{ payment_frequency_count: 1, payment_frequency_interval: 'Month', product_id: 'pdt_0NWZ5Q8uE0g' },
    ...{ recurring_pre_tax_amount: 0, status: 'active', subscription_period_count: 10 },
    ...{ subscription_period_interval: 'Year', tax_inclusive: true, trial_period_days: 0 },
    ...{ payment_method_id: methodId, ...fields },
  };
}
