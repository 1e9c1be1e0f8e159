import { z } from 'zod';
import { invariant } from '../../errors.ts';
import type { ConnectProviderApi, Listed, Page, Window } from '../shared/api.ts';
import { JsonClient } from '../shared/json-client.ts';
import { apiTime, bodyOf, isBefore, isWithin, keyParts, requireList } from '../shared/listing.ts';

/*
 * | kind    | route                         | listed                                    | event                         |
 * |---------|-------------------------------|-------------------------------------------|-------------------------------|
 * | payment | GET /v1/orders                | all                                       | order_created                 |
 * |         | GET /v1/subscription-invoices | paid ones, refunded since or not, but for | subscription_payment_success  |
 * |         |                               | the first of a subscription: an order     |                               |
 * | refund  | the same two                  | those of which anything was refunded, but | order_refunded,               |
 * |         |                               | for the first of a subscription           | subscription_payment_refunded |
 *
 * Only the events have what the merchant put on a checkout (`custom_data`); Lemon Squeezy's API does not show it. So the bodies
 * made here have none, and only the link of its Lemon Squeezy customer can tell whose a payment is.
 *
 * The API lists by creation, from the newest, and cannot be asked for times. A refund is no object of its own, but a sum
 * on its order or invoice: to find those of a window, the orders of some months before it are read as well.
 */

const NAME = 'lemonsqueezy';
const BASE_URL = 'https://api.lemonsqueezy.com';

/** Lemon Squeezy's maximum. */
const PAGE_SIZE = 100;

/** How many days after a payment its refund is still found: longer than the holder of a card may dispute it. */
const REFUND_REACH_DAYS = 120;
const DAY_MS = 24 * 60 * 60 * 1000;

/** An API key. If the account has several stores, a colon and the id of the source's store follow. */
const KEY_FORM = /^([\w.-]{20,})(?::(\d{1,20}))?$/;

const ROUTES = ['orders', 'subscription-invoices'] as const;
type Route = (typeof ROUTES)[number];

const EVENTS = {
  orders: { payment: 'order_created', refund: 'order_refunded', prefix: 'order_' },
  'subscription-invoices': {
    payment: 'subscription_payment_success',
    refund: 'subscription_payment_refunded',
    prefix: 'invoice_',
  },
} as const satisfies Record<Route, { payment: string; refund: string; prefix: string }>;

const RESOURCE = z.looseObject({
  type: z.enum(ROUTES),
  id: z.string(),
  attributes: z.looseObject({
    store_id: z.int(),
    status: z.string(),
    billing_reason: z.string().optional(),
    refunded: z.boolean().nullish(),
    refunded_amount: z.number().nullish(),
    refunded_at: apiTime.nullish(),
    created_at: apiTime,
    updated_at: apiTime,
    test_mode: z.boolean(),
  }),
});
type Resource = z.infer<typeof RESOURCE>;

const RESOURCES = z.object({
  data: z.array(RESOURCE),
  meta: z.object({ page: z.object({ lastPage: z.int() }) }),
});
const ONE_RESOURCE = z.object({ data: RESOURCE });

const REFUNDED_STATUSES: ReadonlySet<string> = new Set(['refunded', 'partial_refund']);

/** The first invoice of a subscription: an order tells the same money and the same refunds. */
function isFirstOfSubscription({ billing_reason: reason }: Resource['attributes']): boolean {
  return reason === 'initial';
}

/** Whether it counts as a payment. An invoice that is not paid has no event, or only one of a failed try, which the API does not show. */
function isPayment({ type, attributes }: Resource): boolean {
  if (type === 'orders') return true;
  const { status } = attributes;
  return !isFirstOfSubscription(attributes) && (status === 'paid' || REFUNDED_STATUSES.has(status));
}

/** Whether anything was refunded. A partial refund may show only in the sum, with the status `paid` (docs, "Issue a Refund"). */
function isRefunded({ attributes }: Resource): boolean {
  const { status, refunded, refunded_amount: amount } = attributes;
  return (
    !isFirstOfSubscription(attributes) && (REFUNDED_STATUSES.has(status) || refunded === true || (amount ?? 0) > 0)
  );
}

const HAS_EVENT = { payment: isPayment, refund: isRefunded } as const;

function listed(kind: 'payment' | 'refund', resource: Resource): Listed {
  const { type, id, attributes } = resource;
  const { status, refunded_amount: refundedAmount, test_mode } = attributes;
  const events = EVENTS[type];
  return {
    kind,
    objectId: `${events.prefix}${id}`,
    // All refunds of a payment are one that grows, and each new sum is another state of it.
    state: kind === 'payment' ? status : `${status} ${refundedAmount ?? 'unknown'}`,
    body: bodyOf({ meta: { event_name: events[kind], test_mode }, data: resource }),
  };
}

interface Cursor {
  readonly route: Route;
  readonly page: number;
}

function readCursor(cursor: string | null): Cursor {
  if (cursor === null) return { route: 'orders', page: 1 };
  const [name, page] = cursor.split(' ');
  const route = ROUTES.find((known) => known === name);
  invariant(route !== undefined, 'a cursor of another client');
  return { route, page: Number(page) };
}

/** Lemon Squeezy, by its HTTP API. Its keys look the same in both modes; every object says which it is of. */
export const connectLemonSqueezy: ConnectProviderApi = ({ apiKey, baseUrl = BASE_URL, timeoutMs }) => {
  const [key, storeId] = keyParts(apiKey, { provider: NAME, form: KEY_FORM });
  const headers = { authorization: `Bearer ${key}`, accept: 'application/vnd.api+json' };
  const client = new JsonClient({ provider: NAME, baseUrl, headers, timeoutMs });

  /** One page, and where the next begins. After the page that reaches back beyond `oldest`, the other route follows. */
  async function read(
    { route, page }: Cursor,
    oldest: Date,
  ): Promise<{ found: readonly Resource[]; next: Page['next'] }> {
    const query = new URLSearchParams({
      'page[number]': String(page),
      'page[size]': String(PAGE_SIZE),
      ...(storeId === undefined ? {} : { 'filter[store_id]': storeId }),
    });
    const { data, meta } = requireList(NAME, await client.get(`/v1/${route}?${query}`, RESOURCES));
    const isLast = page >= meta.page.lastPage || data.some(({ attributes }) => isBefore(attributes.created_at, oldest));
    if (!isLast) return { found: data, next: `${route} ${page + 1}` };
    return { found: data, next: route === 'orders' ? 'subscription-invoices 1' : null };
  }

  async function listPayments(window: Window, cursor: Cursor): Promise<Page> {
    const { found, next } = await read(cursor, window.since);
    const payments = found.filter((one) => isPayment(one) && isWithin(one.attributes.created_at, window));
    return { listed: payments.map((one) => listed('payment', one)), next };
  }

  async function listRefunds(window: Window, cursor: Cursor): Promise<Page> {
    const { found, next } = await read(cursor, new Date(window.since.getTime() - REFUND_REACH_DAYS * DAY_MS));
    const refunds = found.filter((one) => {
      const { refunded_at: refundedAt, updated_at: updatedAt } = one.attributes;
      return isRefunded(one) && isWithin(refundedAt ?? updatedAt, window);
    });
    return { listed: refunds.map((one) => listed('refund', one)), next };
  }

  return {
    kinds: ['payment', 'refund'],
    omitsMetadata: true,
    async list(kind, window, cursor) {
      if (kind === 'dispute') return { listed: [], next: null };
      return kind === 'payment' ? listPayments(window, readCursor(cursor)) : listRefunds(window, readCursor(cursor));
    },
    async retrieve(kind, objectId) {
      const [, prefix, id] = /^(order_|invoice_)(\d{1,20})$/.exec(objectId) ?? [];
      const route = ROUTES.find((one) => EVENTS[one].prefix === prefix);
      if (kind === 'dispute' || route === undefined) return null;
      const answer = await client.get(`/v1/${route}/${id}`, ONE_RESOURCE);
      if (answer === null || !HAS_EVENT[kind](answer.data)) return null;
      const isOfStore = storeId === undefined || String(answer.data.attributes.store_id) === storeId;
      return isOfStore ? listed(kind, answer.data) : null;
    },
  };
};
