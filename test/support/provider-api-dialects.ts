import type { NewPayment, NewRefundOrDispute } from './provider-api-server.ts';
import { type JsonObject, providerFixture, within } from './provider-fixtures.ts';

/**
 * How the APIs of Stripe, Dodo and Razorpay show, list and retrieve objects. Each rule names its source; README.md beside
 * this file says what is only believed. The objects are the documented payloads of the providers' webhooks, and the types
 * of their packages judge them (test/providers/doubles-by-sdk-types).
 */

export type Kind = 'payment' | 'refund' | 'dispute';
type Query = Readonly<Record<string, string>>;

export interface Reply {
  readonly status: number;
  readonly body: unknown;
}

interface Dialect {
  /** What may stand in the query of a list; a single object takes nothing. */
  listParameters(kind: Kind): ReadonlySet<string>;
  authorization(apiKey: string): string;
  payment(payment: NewPayment): JsonObject;
  refund(refund: NewRefundOrDispute): JsonObject;
  dispute(dispute: NewRefundOrDispute): JsonObject;
  madeAtMs(object: JsonObject): number;
  failure(status: number, code: string, message: string): Reply;
  /** `objects` are all of a kind, the newest first. */
  answer(path: string, query: Query, objects: (kind: Kind) => JsonObject[]): Reply;
}

const ok = (body: unknown): Reply => ({ status: 200, body });
const seconds = (date: Date | undefined): number | undefined => date && Math.floor(date.getTime() / 1000);

/** Leaves out what is undefined, so that it stays as the fixture has it. */
function said(values: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

const only = (object: JsonObject, names: readonly string[]): JsonObject =>
  Object.fromEntries(names.filter((name) => name in object).map((name) => [name, object[name]]));

/** The route's kind and the id asked for, if any. */
function routeOf(routes: Readonly<Record<string, Kind>>, path: string): { kind: Kind; id: string | undefined } | null {
  for (const [route, kind] of Object.entries(routes)) {
    if (path === route) return { kind, id: undefined };
    if (path.startsWith(`${route}/`)) return { kind, id: decodeURIComponent(path.slice(route.length + 1)) };
  }
  return null;
}

/** A parameter of the query that this route does not have; undefined if there is none. */
function unknownParameter(
  dialect: Dialect,
  query: Query,
  { kind, id }: { readonly kind: Kind; readonly id: string | undefined },
): string | undefined {
  const known = id === undefined ? dialect.listParameters(kind) : new Set<string>();
  return Object.keys(query).find((name) => !known.has(name));
}

/** docs.stripe.com/api: "PaymentIntents", "Refunds", "Disputes", each "List all" and "Retrieve". */
const STRIPE_ROUTES = { '/v1/payment_intents': 'payment', '/v1/refunds': 'refund', '/v1/disputes': 'dispute' } as const;

const stripeObject = (fixture: string): JsonObject => within(providerFixture('stripe', fixture), 'data', 'object');

/** docs.stripe.com/api/pagination: a page has 1 to 100 objects, 10 if nothing is said; newest first. */
const STRIPE_PAGE = { usual: 10, most: 100 } as const;

/** What the type Account of stripe 23.1.0 requires of an account of one's own, of which the rest is the dashboard's. */
export const stripeAccount = (id: string): JsonObject => ({
  ...{ id, object: 'account', charges_enabled: true, country: 'US', created: 1_700_000_000 },
  ...{ default_currency: 'usd', details_submitted: true, email: 'shop@private.example', payouts_enabled: true },
  ...{ metadata: {}, type: 'standard' },
});

const stripe: Dialect = {
  // Of PaymentIntentListParams, RefundListParams and DisputeListParams of stripe 23.1.0, those that all three have.
  listParameters: () =>
    new Set([
      ...['created[gt]', 'created[gte]', 'created[lt]', 'created[lte]'],
      ...['limit', 'starting_after', 'ending_before'],
    ]),
  // docs.stripe.com/api/authentication.
  authorization: (apiKey) => `Bearer ${apiKey}`,
  payment({ id, amount, currency, customerId, email, metadata, createdAt, status = 'succeeded', fields }) {
    const samples = { requires_payment_method: 'payment_failed', requires_action: 'requires_action' } as const;
    const sample = status === 'requires_payment_method' || status === 'requires_action' ? samples[status] : 'succeeded';
    const base = stripeObject(`payment_intent.${sample}`);
    const asked = amount ?? base.amount;
    return {
      ...base,
      ...said({ id, amount: asked, amount_received: status === 'succeeded' ? asked : 0, status, metadata }),
      ...said({ currency: currency?.toLowerCase(), customer: customerId, receipt_email: email }),
      ...said({ created: seconds(createdAt), ...fields }),
    };
  },
  refund: ({ id, paymentId, amount, currency, metadata, createdAt, status = 'succeeded', fields }) => ({
    ...stripeObject('refund.updated'),
    ...said({ id, payment_intent: paymentId, amount, currency: currency?.toLowerCase(), metadata, status }),
    ...said({ created: seconds(createdAt), ...fields }),
  }),
  dispute: ({ id, paymentId, amount, currency, metadata, createdAt, status = 'needs_response', fields }) => ({
    ...stripeObject('charge.dispute.created'),
    ...said({ id, payment_intent: paymentId, amount, currency: currency?.toLowerCase(), metadata, status }),
    ...said({ created: seconds(createdAt), ...fields }),
  }),
  madeAtMs: ({ created }) => Number(created) * 1000,
  // docs.stripe.com/api/errors, docs.stripe.com/error-codes.
  failure: (status, code, message) => ({ status, body: { error: { type: 'invalid_request_error', code, message } } }),
  answer(path, query, objects) {
    const route = routeOf(STRIPE_ROUTES, path);
    if (route === null) return this.failure(404, 'unrecognized_url', `Unrecognized request URL (GET: ${path})`);
    const all = objects(route.kind);
    const unknown = unknownParameter(this, query, route);
    if (unknown !== undefined) {
      return this.failure(400, 'parameter_unknown', `Received unknown parameter: ${unknown}`);
    }
    if (route.id !== undefined) {
      const found = all.find(({ id }) => id === route.id);
      return found ? ok(found) : this.failure(404, 'resource_missing', `No such object: '${route.id}'`);
    }
    return stripePage(path, query, all);
  },
};

function stripePage(path: string, query: Query, all: readonly JsonObject[]): Reply {
  const from = Number(query['created[gte]'] ?? 0);
  const before = Number(query['created[lt]'] ?? Number.POSITIVE_INFINITY);
  const limit = Number(query.limit ?? STRIPE_PAGE.usual);
  if (limit < 1 || limit > STRIPE_PAGE.most)
    return stripe.failure(400, 'parameter_invalid_integer', 'limit must be at most 100');
  const matching = all.filter(({ created }) => Number(created) >= from && Number(created) < before);
  const after = query.starting_after;
  const start = after === undefined ? 0 : matching.findIndex(({ id }) => id === after) + 1;
  if (after !== undefined && start === 0) return stripe.failure(400, 'resource_missing', `No such object: '${after}'`);
  const data = matching.slice(start, start + limit);
  return ok({ object: 'list', data, has_more: start + limit < matching.length, url: path });
}

/** docs.stripe.com/api/events/list: `type` or up to 20 `types`, `created` and the pagination of every list. */
export function answerStripeEvents(query: Query, events: readonly JsonObject[]): Reply {
  const known = new Set([...stripe.listParameters('payment'), 'type']);
  const unknown = Object.keys(query).find((name) => !known.has(name) && !/^types\[\d\]$/.test(name));
  if (unknown !== undefined) return stripe.failure(400, 'parameter_unknown', `Received unknown parameter: ${unknown}`);
  const types = Object.keys(query).flatMap((name) => (/^types?\b/.test(name) ? [query[name]] : []));
  if (query.type !== undefined && types.length > 1)
    return stripe.failure(400, 'parameter_invalid', 'You may pass either `type` or `types`, but not both.');
  const ofType = events.filter(({ type }) => types.length === 0 || types.some((one) => one === type));
  return stripePage('/v1/events', query, ofType);
}

/** docs.dodopayments.com/api-reference, and Dodo's OpenAPI description 1.53.2. */
const DODO_ROUTES = { '/payments': 'payment', '/refunds': 'refund', '/disputes': 'dispute' } as const;
const DODO_IDS = { payment: 'payment_id', refund: 'refund_id', dispute: 'dispute_id' } as const;

/** What Dodo's lists have of an object: PaymentListResponse, RefundListItem and DisputeListResponse of dodopayments 2.52.0. */
const DODO_SUMMARY: Readonly<Record<Kind, readonly string[]>> = {
  payment: [
    ...['brand_id', 'created_at', 'currency', 'customer', 'digital_products_delivered', 'has_license_key'],
    ...['is_multi_subscription', 'metadata', 'payment_id', 'payment_provider', 'subscription_ids', 'total_amount'],
    ...['card_last_four', 'card_network', 'dispute_status', 'invoice_id', 'invoice_url', 'payment_method'],
    ...['payment_method_type', 'refund_status', 'status', 'subscription_id'],
  ],
  refund: [
    ...['business_id', 'created_at', 'is_partial', 'payment_id', 'refund_id', 'status', 'amount', 'currency', 'reason'],
  ],
  dispute: [
    ...['amount', 'business_id', 'created_at', 'currency', 'dispute_id', 'dispute_stage', 'dispute_status'],
    ...['payment_id', 'payment_provider', 'is_resolved_by_rdr'],
  ],
};

/** What lists have and objects do not. */
const DODO_LISTED_ALONE: Readonly<Record<Kind, JsonObject>> = {
  payment: { has_license_key: false },
  refund: {},
  dispute: {},
};

function dodoObject(fixture: string): JsonObject {
  const { payload_type: _, ...object } = within(providerFixture('dodo', fixture), 'data');
  return object;
}

/** "Page size default is 10 max is 100", "Page number default is 0": the description, of each list. */
const DODO_PAGE = { usual: 10, most: 100 } as const;

const dodo: Dialect = {
  // What the three lists have in common, by the description. A further one is refused here; Dodo may let it pass.
  listParameters: () => new Set(['created_at_gte', 'created_at_lte', 'customer_id', 'page_number', 'page_size']),
  // The description's security scheme API_KEY.
  authorization: (apiKey) => `Bearer ${apiKey}`,
  payment({ id, amount, currency, customerId, email, metadata, createdAt, status = 'succeeded', fields }) {
    const base = dodoObject('payment.succeeded');
    return {
      ...base,
      ...said({ payment_id: id, total_amount: amount, currency: currency?.toUpperCase(), metadata, status }),
      customer: { ...within(base, 'customer'), ...said({ customer_id: customerId, email }) },
      ...said({ created_at: createdAt?.toISOString(), ...fields }),
    };
  },
  refund: ({ id, paymentId, amount, currency, metadata, createdAt, status = 'succeeded', fields }) => ({
    ...dodoObject('refund.succeeded'),
    ...said({ refund_id: id, payment_id: paymentId, amount, currency: currency?.toUpperCase(), metadata, status }),
    ...said({ created_at: createdAt?.toISOString(), ...fields }),
  }),
  dispute: ({ id, paymentId, amount, currency, createdAt, status = 'dispute_opened', fields }) => ({
    ...dodoObject('dispute.opened'),
    ...said({ dispute_id: id, payment_id: paymentId, amount: amount?.toString(), currency: currency?.toUpperCase() }),
    ...said({ dispute_status: status, created_at: createdAt?.toISOString(), ...fields }),
  }),
  madeAtMs: ({ created_at }) => Date.parse(String(created_at)),
  failure: (status, code, message) => ({ status, body: { code: code.toUpperCase(), message } }),
  answer(path, query, objects) {
    const route = routeOf(DODO_ROUTES, path);
    if (route === null) return this.failure(404, 'not_found', 'no such route');
    const all = objects(route.kind);
    const unknown = unknownParameter(this, query, route);
    if (unknown !== undefined) return this.failure(422, 'invalid_query_params', `unknown field ${unknown}`);
    if (route.id !== undefined) {
      const found = all.find((object) => object[DODO_IDS[route.kind]] === route.id);
      return found ? ok(found) : this.failure(404, 'not_found', `${route.id} does not exist`);
    }
    // "After" and "before" in the description's words; that the bounds are inclusive is in their names alone.
    const from = Date.parse(query.created_at_gte ?? '1970-01-01');
    const to = Date.parse(query.created_at_lte ?? '9999-01-01');
    const matching = all.filter((object) => this.madeAtMs(object) >= from && this.madeAtMs(object) <= to);
    const size = Number(query.page_size ?? DODO_PAGE.usual);
    if (size > DODO_PAGE.most) return this.failure(422, 'invalid_query_params', 'page_size must be at most 100');
    const start = Number(query.page_number ?? 0) * size;
    const summaryOf = (object: JsonObject): JsonObject => ({
      ...DODO_LISTED_ALONE[route.kind],
      ...only(object, DODO_SUMMARY[route.kind]),
    });
    return ok({ items: matching.slice(start, start + size).map(summaryOf) });
  },
};

/** razorpay.com/docs/api: "Fetch All Payments", "Fetch All Refunds", "Fetch All Disputes", and each "With ID". */
const RAZORPAY_ROUTES = { '/v1/payments': 'payment', '/v1/refunds': 'refund', '/v1/disputes': 'dispute' } as const;

const razorpayEntity = (fixture: string, kind: Kind): JsonObject =>
  within(providerFixture('razorpay', fixture), 'payload', kind, 'entity');

/** razorpay.com/docs/api/payments/fetch-all-payments: `count`, 10 unless said, 100 at most; and the bounds of `from`. */
const RAZORPAY_PAGE = { usual: 10, most: 100 } as const;
const RAZORPAY_SECONDS = { least: 946_684_800, most: 4_765_046_400 } as const;

const razorpay: Dialect = {
  // What razorpay 2.9.8 sends. Of disputes the reference names none at all.
  listParameters: (kind) => new Set(kind === 'dispute' ? ['count', 'skip'] : ['from', 'to', 'count', 'skip']),
  // razorpay.com/docs/api/authentication.
  authorization: (apiKey) => `Basic ${Buffer.from(apiKey).toString('base64')}`,
  payment({ id, amount, currency, customerId, email, metadata: notes, createdAt, status = 'captured', fields }) {
    const isFailed = status === 'failed';
    const captured = status === 'captured' || status === 'refunded';
    return {
      ...razorpayEntity(isFailed ? 'payment.failed' : 'payment.captured', 'payment'),
      ...said({ id, amount, base_amount: amount, currency: currency?.toUpperCase(), notes, status, captured }),
      ...said({ customer_id: customerId, email, created_at: seconds(createdAt), ...fields }),
    };
  },
  refund: ({ id, paymentId, amount, currency, metadata: notes, createdAt, status = 'processed', fields }) => ({
    ...razorpayEntity('refund.processed', 'refund'),
    ...said({ id, payment_id: paymentId, amount, currency: currency?.toUpperCase(), notes, status }),
    ...said({ created_at: seconds(createdAt), ...fields }),
  }),
  dispute: ({ id, paymentId, amount, currency, createdAt, status = 'open', fields }) => ({
    ...razorpayEntity('payment.dispute.created', 'dispute'),
    ...said({ id, payment_id: paymentId, amount, currency: currency?.toUpperCase(), status }),
    ...said({ amount_deducted: status === 'lost' ? amount : 0, created_at: seconds(createdAt), ...fields }),
  }),
  madeAtMs: ({ created_at }) => Number(created_at) * 1000,
  failure: (status, code, description) => ({
    status,
    body: { error: { code: status === 400 ? 'BAD_REQUEST_ERROR' : code.toUpperCase(), description, metadata: {} } },
  }),
  answer(path, query, objects) {
    const route = routeOf(RAZORPAY_ROUTES, path);
    if (route === null) return this.failure(404, 'not_found', 'The requested URL was not found on the server.');
    const all = objects(route.kind);
    const unknown = unknownParameter(this, query, route);
    if (unknown !== undefined) {
      return this.failure(400, 'bad_request_error', `${unknown} is/are not required and should not be sent`);
    }
    if (route.id !== undefined) {
      if (!/^\w+$/.test(route.id)) {
        return this.failure(400, 'bad_request_error', `${route.id} is not a valid id`);
      }
      const found = all.find(({ id }) => id === route.id);
      return found ? ok(found) : this.failure(400, 'bad_request_error', 'The id provided does not exist');
    }
    for (const name of ['from', 'to'] as const) {
      const seconds = Number(query[name] ?? RAZORPAY_SECONDS.least);
      if (seconds < RAZORPAY_SECONDS.least || seconds > RAZORPAY_SECONDS.most) {
        const bounds = `${RAZORPAY_SECONDS.least} and ${RAZORPAY_SECONDS.most}`;
        return this.failure(400, 'bad_request_error', `${name} must be between ${bounds}`);
      }
    }
    const count = Number(query.count ?? RAZORPAY_PAGE.usual);
    if (count > RAZORPAY_PAGE.most)
      return this.failure(400, 'bad_request_error', 'The count may not be greater than 100.');
    const { from, to } = query;
    const isWithin = ({ created_at }: JsonObject): boolean =>
      Number(created_at) >= Number(from ?? 0) && Number(created_at) <= Number(to ?? Number.POSITIVE_INFINITY);
    const skip = Number(query.skip ?? 0);
    const items = all.filter(isWithin).slice(skip, skip + count);
    return ok({ entity: 'collection', count: items.length, items });
  },
};

export const DIALECTS = { stripe, dodo, razorpay } satisfies Readonly<Record<string, Dialect>>;
