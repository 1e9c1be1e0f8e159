import DodoPayments from 'dodopayments';
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
import { errorOfStatus, fetchObjects, isPathId, parseAnswer, readJson, unreachable } from '../shared/json-client.ts';
import { apiTime, bodyOf, isWithin, keyParts } from '../shared/listing.ts';
import { type Once, PageMemo, pageKey } from '../shared/page-memo.ts';

/*
 * | object  | state                                        | in the body of      |
 * |---------|----------------------------------------------|---------------------|
 * | payment | succeeded, failed, cancelled, processing     | payment.<state>     |
 * |         | partially_captured…; the adapter parks it    | payment.succeeded   |
 * |         | requires_…: nobody paid                      | left out            |
 * | refund  | succeeded, failed                            | refund.<state>      |
 * |         | pending, review: Dodo tells of the end alone | left out            |
 * | dispute | dispute_opened, dispute_won, …               | dispute.<state>     |
 *
 * Lists are of summaries. A refund's lacks its customer and metadata; a payment's does not say whether it only changed the
 * payment method of a subscription, and so is no money. Such objects are therefore retrieved one by one: all refunds,
 * and the payments that succeeded, cost something and name a subscription. `timestamp` is when the object was made.
 */

export const NAME = 'dodo';
/** The most that Dodo lists at once. */
export const PAGE_SIZE = 100;
/** Dodo documents no form of its keys, so this is what a header can carry. */
export const KEY_FORM = /^[\x21-\x7e]+$/;

/** An object of any kind, and what the client needs to know of it. */
interface Found {
  readonly kind: ListedKind;
  readonly objectId: string;
  readonly state: string;
  /** The event that would have told of it, or null if no event tells of this state. */
  readonly eventType: string | null;
  /** Whether it has everything that the adapter reads; else the object must be retrieved. */
  readonly isWhole: boolean;
  readonly object: Readonly<Record<string, unknown>> & { readonly created_at: string };
}

const objectId = z.string().min(1).max(200);
const state = z
  .string()
  .nullish()
  .transform((text) => text ?? 'unknown');

const PAYMENT_EVENTS: ReadonlyMap<string, string> = new Map([
  ['succeeded', 'payment.succeeded'],
  ['partially_captured', 'payment.succeeded'],
  ['partially_captured_and_capturable', 'payment.succeeded'],
  ['failed', 'payment.failed'],
  ['cancelled', 'payment.cancelled'],
  ['processing', 'payment.processing'],
]);

const PAYMENT = z
  .looseObject({
    payment_id: objectId,
    created_at: apiTime,
    status: state,
    total_amount: z.number(),
    subscription_id: z.string().nullish(),
    subscription_ids: z.array(z.string()).nullish(),
    is_update_payment_method: z.boolean().nullish(),
  })
  .transform((object): Found => {
    const { payment_id, status, total_amount, subscription_id, subscription_ids, is_update_payment_method } = object;
    const hasSubscription = typeof subscription_id === 'string' || (subscription_ids ?? []).length > 0;
    const mayBeSetUp = status === 'succeeded' && total_amount > 0 && hasSubscription;
    const isWhole = !mayBeSetUp || typeof is_update_payment_method === 'boolean';
    const eventType = PAYMENT_EVENTS.get(status) ?? null;
    return { kind: 'payment', objectId: payment_id, state: status, eventType, isWhole, object };
  });

const REFUND = z.looseObject({ refund_id: objectId, created_at: apiTime, status: state }).transform((object): Found => {
  const { refund_id, status } = object;
  const eventType = status === 'succeeded' || status === 'failed' ? `refund.${status}` : null;
  const isWhole = 'customer' in object && 'metadata' in object;
  return { kind: 'refund', objectId: refund_id, state: status, eventType, isWhole, object };
});

const DISPUTE = z
  .looseObject({ dispute_id: objectId, created_at: apiTime, dispute_status: state })
  .transform((object): Found => {
    const { dispute_id, dispute_status } = object;
    const [, end] = /^dispute_(opened|expired|accepted|cancelled|challenged|won|lost)$/.exec(dispute_status) ?? [];
    const eventType = end === undefined ? null : `dispute.${end}`;
    return { kind: 'dispute', objectId: dispute_id, state: dispute_status, eventType, isWhole: true, object };
  });

const OBJECTS = { payment: PAYMENT, refund: REFUND, dispute: DISPUTE };
const PAGES = {
  payment: z.object({ items: z.array(PAYMENT) }),
  refund: z.object({ items: z.array(REFUND) }),
  dispute: z.object({ items: z.array(DISPUTE) }),
};

const PAYLOAD_TYPES = { payment: 'Payment', refund: 'Refund', dispute: 'Dispute' } as const;

function listedOf({ kind, objectId, state, eventType, object }: Found): Listed | null {
  if (eventType === null) return null;
  const { business_id, created_at: timestamp } = object;
  const data = { payload_type: PAYLOAD_TYPES[kind], ...object };
  return {
    kind,
    objectId,
    state,
    body: bodyOf({ business_id, type: eventType, timestamp, data }),
  };
}

function pageNumberOf(cursor: string | null): number {
  if (/^\d{1,9}$/.test(cursor ?? '0')) return Number(cursor ?? 0);
  throw new ProviderApiError('refused', `${NAME} has no page of such a number`);
}

/** The options of the SDK's calls. */
interface CallOptions {
  readonly signal: AbortSignal;
}

type Call = (options: CallOptions) => { asResponse(): Promise<Response> };

/** The SDK, which by itself would send a request without an answer twice more: it sends each once. */
export function openDodo({ apiKey, mode, baseUrl }: ProviderAccount, timeoutMs: number): DodoPayments {
  return new DodoPayments({
    bearerToken: apiKey.reveal(),
    // Both are given, so that the SDK does not look for them in the environment.
    ...(baseUrl === undefined ? { environment: `${mode}_mode`, baseURL: null } : { baseURL: baseUrl }),
    webhookKey: null,
    maxRetries: 0,
    timeout: timeoutMs,
    // Otherwise a variable of the environment could make the SDK log whole answers.
    logLevel: 'off',
    // The SDK's own `fetch` would read an error's body of any size.
    fetch: fetchObjects(NAME),
  });
}

/** By Dodo's SDK. Lists the payments, refunds and disputes of one business. */
export const connectDodo: ConnectProviderApi = (account) => {
  keyParts(account.apiKey, { provider: NAME, form: KEY_FORM });
  const timeoutMs = account.timeoutMs ?? API_TIMEOUT_MS;
  const client = openDodo(account, timeoutMs);
  const lists = {
    payment: (query: DodoPayments.PaymentListParams, options: CallOptions) => client.payments.list(query, options),
    refund: (query: DodoPayments.RefundListParams, options: CallOptions) => client.refunds.list(query, options),
    dispute: (query: DodoPayments.DisputeListParams, options: CallOptions) => client.disputes.list(query, options),
  };
  const retrieves = {
    payment: (id: string, options: CallOptions) => client.payments.retrieve(id, options),
    refund: (id: string, options: CallOptions) => client.refunds.retrieve(id, options),
    dispute: (id: string, options: CallOptions) => client.disputes.retrieve(id, options),
  };
  const retrieve = async (kind: ListedKind, id: string): Promise<Found | null> => {
    const answer = await asked(timeoutMs, (options) => retrieves[kind](id, options));
    return answer === null ? null : parseAnswer(NAME, OBJECTS[kind], answer);
  };
  const retrieveListed = async ({ kind, objectId }: Found): Promise<Found> => {
    const whole = await retrieve(kind, objectId);
    if (whole === null) throw new ProviderApiError('unavailable', `${NAME} lists what it does not know`);
    return whole;
  };
  const complete = async (items: readonly Found[], once: Once<Found>): Promise<Listed[]> => {
    const listed: Listed[] = [];
    for (const found of items) {
      const whole = found.isWhole ? found : await once(found.objectId, () => retrieveListed(found));
      const one = listedOf(whole);
      if (one !== null) listed.push(one);
    }
    return listed;
  };
  const memo = new PageMemo<readonly Found[], Found>();
  return {
    kinds: ['payment', 'refund', 'dispute'],
    async list(kind: ListedKind, window: Window, cursor: string | null) {
      const pageNumber = pageNumberOf(cursor);
      // Dodo includes both ends, so objects of the time `until` are left out below.
      const bounds = { created_at_gte: window.since.toISOString(), created_at_lte: window.until.toISOString() };
      const query = { ...bounds, page_number: pageNumber, page_size: PAGE_SIZE };
      const list = async (): Promise<readonly Found[]> => {
        const answer = await asked(timeoutMs, (options) => lists[kind](query, options));
        return parseAnswer(NAME, PAGES[kind], answer).items;
      };
      return memo.read(pageKey(kind, window, cursor), list, async (items, once) => {
        const wanted = items.filter((item) => item.eventType !== null && isWithin(item.object.created_at, window));
        const listed = await complete(wanted, once);
        // As in the SDK's own paging, only an empty page shows that the list has ended.
        return { listed, next: items.length === 0 ? null : String(pageNumber + 1) };
      });
    },
    async retrieve(kind: ListedKind, objectId: string) {
      const found = isPathId(objectId) ? await retrieve(kind, objectId) : null;
      return found === null ? null : listedOf(found);
    },
  };
};

/**
 * The JSON of an answer, or null for a 404. The SDK's errors quote answers, so they are not passed on. The SDK also takes a text
 * for an empty list and has no time limit for reading an answer, so only the response is taken from it and read here.
 */
export async function asked(timeoutMs: number, call: Call): Promise<unknown> {
  const signal = AbortSignal.timeout(timeoutMs);
  let response: Response;
  try {
    response = await call({ signal }).asResponse();
  } catch (error) {
    const isTimeout = signal.aborted || error instanceof DodoPayments.APIConnectionTimeoutError;
    if (isTimeout) throw unreachable(NAME, { name: 'TimeoutError' });
    if (error instanceof Error && error.cause instanceof ProviderApiError) throw error.cause;
    if (!(error instanceof DodoPayments.APIError) || error.status === undefined) throw unreachable(NAME, error);
    if (error.status === 404) return null;
    throw errorOfStatus(NAME, error.status, error.headers?.get('retry-after') ?? null);
  }
  return readJson(NAME, response);
}
