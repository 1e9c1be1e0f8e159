import { createHash } from 'node:crypto';
import Stripe from 'stripe';
import { z } from 'zod';
import {
  API_TIMEOUT_MS,
  type ConnectProviderApi,
  type Listed,
  type ListedKind,
  type ProviderAccount,
  ProviderApiError,
  type Window,
} from '../shared/api.ts';
import { failureOf, fetchObjects, isPathId, parseAnswer, unreachable } from '../shared/json-client.ts';
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
 * An event's `created` is when it happened, which the API does not say: it is when the object was made. `livemode` is the
 * key's, since a Refund has none.
 */

const NAME = 'stripe';
/** The most that Stripe lists at once. */
const PAGE_SIZE = 100;
/** Secret and restricted keys; both name their mode. */
const KEY_FORMS = { test: /^(?:sk|rk)_test_\w+$/, live: /^(?:sk|rk)_live_\w+$/ } as const;

const OBJECT = z.looseObject({
  id: z.string().min(1).max(200),
  created: z.int(),
  status: z.string().nullish(),
  last_payment_error: z.unknown().optional(),
});
type StripeObject = z.infer<typeof OBJECT>;
const PAGE = z.object({ data: z.array(OBJECT), has_more: z.boolean() });

const CLOSED: ReadonlySet<unknown> = new Set(['won', 'lost', 'prevented', 'warning_closed']);

/** The event that would have told of the object, or null if it is one of no interest. */
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
  // The receiver tells deliveries apart by the event's id: the same object in the same state is the same event.
  const digest = createHash('sha256').update(`${object.id} ${state}`).digest('hex').slice(0, 32);
  const event = { id: `evt_listed_${digest}`, object: 'event', type, created: object.created, livemode };
  return { kind, objectId: object.id, state, body: bodyOf({ ...event, data: { object } }) };
}

/** Stripe counts in whole seconds, so an object of the second `s` is in the window if `since <= s < until`. */
function secondsFrom(date: Date): number {
  return Math.ceil(date.getTime() / 1000);
}

function openClient({ apiKey, baseUrl, timeoutMs = API_TIMEOUT_MS }: ProviderAccount): Stripe {
  const { hostname, port, protocol, href, origin } = new URL(baseUrl ?? 'https://api.stripe.com');
  // The SDK takes no path: the key would go to whatever answers at the root of a proxy.
  if (href !== `${origin}/`) throw new ProviderApiError('refused', `${NAME}: the API's address must have no path`);
  return new Stripe(apiKey.reveal(), {
    maxNetworkRetries: 0,
    timeout: timeoutMs,
    telemetry: false,
    host: hostname,
    port: port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port),
    protocol: protocol === 'http:' ? 'http' : 'https',
    // Stripe's other client repeats a request whose connection closed, whatever it was told, and its timeout starts again
    // with every byte. Either takes an answer of any size, and never answers to JSON that is no object.
    httpClient: Stripe.createFetchHttpClient(fetchObjects(NAME)),
  });
}

/** By Stripe's SDK. Lists the PaymentIntents, Refunds and Disputes of one account, the newest first. */
export const connectStripe: ConnectProviderApi = (account) => {
  keyParts(NAME, account.apiKey, KEY_FORMS[account.mode]);
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
  return {
    kinds: ['payment', 'refund', 'dispute'],
    async list(kind: ListedKind, { since, until }: Window, cursor: string | null) {
      const created = { gte: secondsFrom(since), lt: secondsFrom(until) };
      const after = cursor === null ? {} : { starting_after: cursor };
      const answer = await asked(() => lists[kind]({ created, limit: PAGE_SIZE, ...after }));
      const { data, has_more } = parseAnswer(NAME, PAGE, answer);
      const listed = data.map((object) => listedOf(kind, object, livemode)).filter((one) => one !== null);
      return { listed, next: has_more ? (data.at(-1)?.id ?? null) : null };
    },
    async retrieve(kind: ListedKind, objectId: string) {
      if (!isPathId(objectId)) return null;
      const answer = await asked(() => retrieves[kind](objectId));
      return answer === null ? null : listedOf(kind, parseAnswer(NAME, OBJECT, answer), livemode);
    },
  };
};

/** What the SDK answers, or null for a 404. The SDK's errors quote answers, so none is passed on. */
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
    throw failureOf(NAME, isRateLimit ? 429 : statusCode, headers?.['retry-after'] ?? null);
  }
}
