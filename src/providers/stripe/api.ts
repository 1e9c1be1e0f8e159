import { createHash } from 'node:crypto';
import Stripe from 'stripe';
import { z } from 'zod';
import {
  API_TIMEOUT_MS,
  type ConnectProviderApi,
  type Listed,
  type ListedKind,
  type Page,
  type ProviderAccount,
  ProviderApiError,
  type Window,
} from '../shared/api.ts';
import { errorOfStatus, fetchObjects, isPathId, parseAnswer, unreachable } from '../shared/json-client.ts';
import { bodyOf, keyParts } from '../shared/listing.ts';

/*
 * | object        | state                                       | in the body of                          |
 * |---------------|---------------------------------------------|-----------------------------------------|
 * | PaymentIntent | succeeded, processing, requires_action      | payment_intent.<state>                  |
 * |               | requires_payment_method after a failed try  | payment_intent.payment_failed           |
 * |               | others: nobody paid                         | left out                                |
 * | Refund        | any; the adapter reads its `status`         | refund.updated                          |
 * | Dispute       | won, lost, prevented, warning_closed        | charge.dispute.closed                   |
 * |               | others; the adapter reads its `status`      | charge.dispute.updated                  |
 *
 * PaymentIntents are listed by when they were made, but may be paid later (a bank transfer, a checkout left open). So after
 * them come the payment_intent.succeeded events of the window (`GET /v1/events`, docs.stripe.com/api/events/list: of the last
 * 30 days, each in the API version of when it happened) whose PaymentIntent was made before it; each is its own body. Before them come
 * the events of the window by which invoices say whose their payments are, invoice.paid and invoice_payment.paid.
 *
 * `GET /v1/account` tells whose the key is, which no event does but those of Connect. Restricted keys may not ask (403;
 * stripe-node issue 2246): their account has to be named.
 *
 * An event's `created` is when it happened, which the API does not say: it is when the object was made. `livemode` is the
 * key's, since a Refund has none.
 */

const NAME = 'stripe';
/** What the bodies made here are read by; not the account's own version, which somebody may change in the dashboard. */
const API_VERSION = '2026-10-28.endive';
/** The most that Stripe lists at once. */
const PAGE_SIZE = 100;
/** Secret and restricted keys; both name their mode. */
export const KEY_FORMS = { test: /^(?:sk|rk)_test_\w+$/, live: /^(?:sk|rk)_live_\w+$/ } as const;

const OBJECT = z.looseObject({
  id: z.string().min(1).max(200),
  created: z.int(),
  status: z.string().nullish(),
  last_payment_error: z.unknown().optional(),
});
type StripeObject = z.infer<typeof OBJECT>;
const PAGE = z.object({ data: z.array(OBJECT), has_more: z.boolean() });
const ACCOUNT = z.object({ id: z.string().regex(/^acct_\w{1,100}$/) });

const EVENTS_PAGE = z.object({
  data: z.array(
    z.looseObject({ id: z.string().min(1).max(200), type: z.string(), data: z.looseObject({ object: OBJECT }) }),
  ),
  has_more: z.boolean(),
});
const PAID = 'payment_intent.succeeded';
const NAMING = ['invoice.paid', 'invoice_payment.paid'];
/** Before the id of the event after which the list of payments goes on. */
const EVENTS_CURSOR = 'events:';
const NAMES_CURSOR = 'names:';
const EVENTS_FORBIDDEN =
  'stripe: the API key may not read Events, so a payment made before the window and paid in it may be missed; give the restricted key read access to Events';

const CLOSED: ReadonlySet<unknown> = new Set(['won', 'lost', 'prevented', 'warning_closed']);

/** The event that would have told of the object, or null if no event tells of its state. */
const EVENT_TYPES: Readonly<Record<ListedKind, (object: StripeObject) => string | null>> = {
  payment({ status, last_payment_error }) {
    switch (status) {
      case 'succeeded':
      case 'processing':
      case 'requires_action':
        return `payment_intent.${status}`;
      case 'requires_payment_method':
        return last_payment_error ? 'payment_intent.payment_failed' : null;
      default:
        return null;
    }
  },
  refund: () => 'refund.updated',
  dispute: ({ status }) => (CLOSED.has(status) ? 'charge.dispute.closed' : 'charge.dispute.updated'),
};

function listedOf(kind: ListedKind, object: StripeObject, livemode: boolean): Listed | null {
  const type = EVENT_TYPES[kind](object);
  if (type === null) return null;
  const state = object.status ?? 'unknown';
  // The receiver finds repeated deliveries by the event's id, so the same object in the same state must have the same id.
  const digest = createHash('sha256').update(`${object.id} ${state}`).digest('hex').slice(0, 32);
  const event = { id: `evt_listed_${digest}`, object: 'event', type, created: object.created, livemode };
  return { kind, objectId: object.id, state, body: bodyOf({ ...event, data: { object } }) };
}

/** Stripe counts in whole seconds, so an object of the second `s` is in the window if `since <= s < until`. */
function secondsFrom(date: Date): number {
  return Math.ceil(date.getTime() / 1000);
}

function createdIn({ since, until }: Window) {
  return { gte: secondsFrom(since), lt: secondsFrom(until) };
}

/** A page of events, after the one that a cursor names; null if the key may not read events. */
async function eventsPage(
  client: Stripe,
  params: Stripe.EventListParams,
  { begins, cursor }: { readonly begins: string; readonly cursor: string | null },
) {
  const from = cursor === null ? {} : { starting_after: cursor.slice(begins.length) };
  let answer: unknown;
  try {
    answer = await asked(() => client.events.list({ ...params, limit: PAGE_SIZE, ...from }));
  } catch (error) {
    if (error instanceof ProviderApiError && error.kind === 'unauthorized') return null;
    throw error;
  }
  const { data, has_more } = parseAnswer(NAME, EVENTS_PAGE, answer);
  const last = data.at(-1);
  return { data, next: has_more && last !== undefined ? `${begins}${last.id}` : null };
}

function listedEvent(event: z.infer<typeof EVENTS_PAGE>['data'][number]): Listed {
  const { id: objectId, status } = event.data.object;
  return { kind: 'payment', objectId, state: status ?? 'unknown', body: bodyOf(event) };
}

/** A page of what was paid within the window, of PaymentIntents that were made before it. */
async function paidLate(client: Stripe, window: Window, cursor: string | null): Promise<Page> {
  const created = createdIn(window);
  const page = await eventsPage(client, { type: PAID, created }, { begins: EVENTS_CURSOR, cursor });
  // The same key has just listed PaymentIntents, so it is the right to this list that is missing.
  if (page === null) return { listed: [], next: null, notice: EVENTS_FORBIDDEN };
  const isLate = ({ type, data: { object } }: (typeof page.data)[number]) =>
    type === PAID && object.created < created.gte;
  return { listed: page.data.filter(isLate).map(listedEvent), next: page.next };
}

/**
 * A page of the window's events by which invoices say whose their payments are. They come before the payments, so that these are named when
 * they are taken in. A key that may not read events is told of after the payments.
 */
async function namingEvents(client: Stripe, window: Window, cursor: string | null): Promise<Page> {
  const params = { types: NAMING, created: createdIn(window) };
  const page = await eventsPage(client, params, { begins: NAMES_CURSOR, cursor });
  if (page === null) return { listed: [], next: null };
  return { listed: page.data.filter(({ type }) => NAMING.includes(type)).map(listedEvent), next: page.next };
}

/** A client of Stripe's package that repeats nothing by itself. */
export function openClient({ apiKey, baseUrl, timeoutMs = API_TIMEOUT_MS }: ProviderAccount): Stripe {
  const { hostname, port, protocol, href, origin } = new URL(baseUrl ?? 'https://api.stripe.com');
  // The SDK ignores a path, so the key would go to another service at the root of a proxy.
  if (href !== `${origin}/`) throw new ProviderApiError('refused', `${NAME}: the API's address must have no path`);
  return new Stripe(apiKey.reveal(), {
    apiVersion: API_VERSION,
    maxNetworkRetries: 0,
    timeout: timeoutMs,
    telemetry: false,
    host: hostname,
    port: port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port),
    protocol: protocol === 'http:' ? 'http' : 'https',
    // Stripe's other client repeats a request whose connection closed, also if repeats are switched off, and its timeout starts
    // again with every byte. Both take answers of any size, and never settle if the JSON is not an object.
    httpClient: Stripe.createFetchHttpClient(fetchObjects(NAME)),
  });
}

/** By Stripe's SDK. Lists the PaymentIntents, Refunds and Disputes of one account, the newest first. */
export const connectStripe: ConnectProviderApi = (account) => {
  keyParts(account.apiKey, { provider: NAME, form: KEY_FORMS[account.mode] });
  const livemode = account.mode === 'live';
  const client = openClient(account);
  const lists = {
    payment: (params: Stripe.PaymentIntentListParams) => client.paymentIntents.list(params),
    refund: (params: Stripe.RefundListParams) => client.refunds.list(params),
    dispute: (params: Stripe.DisputeListParams) => client.disputes.list(params),
  };
  const retrieves = {
    payment: (id: string) => client.paymentIntents.retrieve(id),
    refund: (id: string) => client.refunds.retrieve(id),
    dispute: (id: string) => client.disputes.retrieve(id),
  };
  async function listObjects(kind: ListedKind, window: Window, cursor: string | null): Promise<Page> {
    const created = createdIn(window);
    const after = cursor === null ? {} : { starting_after: cursor };
    const answer = await asked(() => lists[kind]({ created, limit: PAGE_SIZE, ...after }));
    const { data, has_more } = parseAnswer(NAME, PAGE, answer);
    const listed = data.map((object) => listedOf(kind, object, livemode)).filter((one) => one !== null);
    const next = has_more ? (data.at(-1)?.id ?? null) : null;
    if (kind !== 'payment' || next !== null) return { listed, next };
    const late = await paidLate(client, window, null);
    return { ...late, listed: [...listed, ...late.listed] };
  }
  return {
    kinds: ['payment', 'refund', 'dispute'],
    async account(timeoutMs: number) {
      const answer = await asked(() => client.accounts.retrieveCurrent({}, { timeout: timeoutMs }));
      return parseAnswer(NAME, ACCOUNT, answer).id;
    },
    async list(kind: ListedKind, window: Window, cursor: string | null) {
      if (cursor?.startsWith(EVENTS_CURSOR)) return paidLate(client, window, cursor);
      if (kind === 'payment' && (cursor === null || cursor.startsWith(NAMES_CURSOR))) {
        const names = await namingEvents(client, window, cursor);
        if (names.next !== null) return names;
        const first = await listObjects(kind, window, null);
        return { ...first, listed: [...names.listed, ...first.listed] };
      }
      return listObjects(kind, window, cursor);
    },
    async retrieve(kind: ListedKind, objectId: string) {
      if (!isPathId(objectId)) return null;
      const answer = await asked(() => retrieves[kind](objectId));
      return answer === null ? null : listedOf(kind, parseAnswer(NAME, OBJECT, answer), livemode);
    },
  };
};

/** The SDK's answer, or null for a 404. The SDK's errors quote answers, so they are not passed on. */
async function asked(ask: () => Promise<unknown>): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof Stripe.errors.StripeError)) throw unreachable(NAME, error);
    const { detail, statusCode, headers } = error;
    if (detail instanceof ProviderApiError) throw detail;
    if (statusCode === undefined) throw unreachable(NAME, detail);
    if (statusCode === 404) return null;
    const isRateLimit = error instanceof Stripe.errors.StripeRateLimitError;
    throw errorOfStatus(NAME, isRateLimit ? 429 : statusCode, headers?.['retry-after'] ?? null);
  }
}
