import { z } from 'zod';
import { type ConnectProviderApi, type Listed, type ListedKind, ProviderApiError, type Window } from '../shared/api.ts';
import { isPathId, JsonClient } from '../shared/json-client.ts';
import { bodyOf, keyParts, requireList } from '../shared/listing.ts';
import { type Once, PageMemo, pageKey } from '../shared/page-memo.ts';

/*
 * Uses plain HTTP, since the package razorpay 2.9.8 has no timeout, loses the Retry-After header, and throws a TypeError when a
 * connection fails.
 *
 * | object  | state                                              | in the body of             |
 * |---------|----------------------------------------------------|----------------------------|
 * | payment | captured, and refunded if it was captured before   | payment.captured           |
 * |         | failed                                             | payment.failed             |
 * |         | created, authorized, and refunded uncaptured       | left out: no money came    |
 * | refund  | pending, processed, failed                         | refund.created, .processed, |
 * |         |                                                    | .failed                    |
 * | dispute | open, under_review, won, lost, closed              | payment.dispute.created,   |
 * |         |                                                    | .under_review, .won, …     |
 *
 * A refund's body carries its payment too, which is retrieved: the adapter reads from it whether the money ever came, and
 * whose it was. `created_at` is when the object was made.
 */

const NAME = 'razorpay';
/** The most that Razorpay lists at once. */
const PAGE_SIZE = 100;
/** The key's id, which names its mode, and its secret. */
const KEY_FORMS = { test: /^rzp_test_\w+:[\x21-\x7e]+$/, live: /^rzp_live_\w+:[\x21-\x7e]+$/ } as const;

const NO_SUCH_ID = z.object({
  error: z.object({
    code: z.literal('BAD_REQUEST_ERROR'),
    description: z.string().regex(/^The id provided does not exist$| is not a valid id$/),
  }),
});

const OBJECT = z.looseObject({
  id: z.string().min(1).max(200),
  created_at: z.int(),
  status: z.string(),
  captured: z.boolean().nullish(),
  payment_id: z.string().nullish(),
});
type RazorpayObject = z.infer<typeof OBJECT>;
const PAGE = z.object({ items: z.array(OBJECT) });

const REFUND_EVENTS: ReadonlyMap<string, string> = new Map([
  ['pending', 'refund.created'],
  ['processed', 'refund.processed'],
  ['failed', 'refund.failed'],
]);

const DISPUTE_EVENTS: ReadonlyMap<string, string> = new Map([
  ['open', 'payment.dispute.created'],
  ['under_review', 'payment.dispute.under_review'],
  ['won', 'payment.dispute.won'],
  ['lost', 'payment.dispute.lost'],
  ['closed', 'payment.dispute.closed'],
]);

/** The event that would have told of the object, or null if no event tells of its state. */
const EVENT_TYPES: Readonly<Record<ListedKind, (object: RazorpayObject) => string | null>> = {
  payment({ status, captured }) {
    if (captured === true) return 'payment.captured';
    return status === 'failed' ? 'payment.failed' : null;
  },
  refund: ({ status }) => REFUND_EVENTS.get(status) ?? null,
  dispute: ({ status }) => DISPUTE_EVENTS.get(status) ?? null,
};

function listedOf(kind: ListedKind, object: RazorpayObject, payment: RazorpayObject | null): Listed | null {
  const eventType = EVENT_TYPES[kind](object);
  if (eventType === null) return null;
  const body = {
    entity: 'event',
    event: eventType,
    contains: payment === null ? [kind] : [kind, 'payment'],
    payload: { [kind]: { entity: object }, ...(payment === null ? {} : { payment: { entity: payment } }) },
    created_at: object.created_at,
  };
  return { kind, objectId: object.id, state: object.status, body: bodyOf(body) };
}

const ROUTES = { payment: '/v1/payments', refund: '/v1/refunds', dispute: '/v1/disputes' } as const;

/** The times that Razorpay takes: it answers 400 to others ("from must be between …", its reference of all payments). */
const EARLIEST_SECONDS = 946_684_800;
const LATEST_SECONDS = 4_765_046_400;
const within = (seconds: number): number => Math.min(Math.max(seconds, EARLIEST_SECONDS), LATEST_SECONDS);

/**
 * The page from the `skip`th object on. Objects that are made meanwhile could shift the pages, but `to` keeps them out; and as
 * the newest are listed first, an object could at worst be shown twice. It is not documented whether `from` and `to` are
 * included, so a second more is asked for at both ends, and what is outside is left out. Disputes cannot be limited by time, by
 * Razorpay's reference and its own package, so all of them are read.
 */
function pagePath(kind: ListedKind, { since, until }: Window, skip: number): string {
  const from = within(Math.floor(since.getTime() / 1000) - 1);
  const to = within(Math.ceil(until.getTime() / 1000) + 1);
  const bounds = kind === 'dispute' ? '' : `from=${from}&to=${to}&`;
  return `${ROUTES[kind]}?${bounds}count=${PAGE_SIZE}&skip=${skip}`;
}

function isWithin({ since, until }: Window, { created_at }: RazorpayObject): boolean {
  const createdMs = created_at * 1000;
  return createdMs >= since.getTime() && createdMs < until.getTime();
}

function skipOf(cursor: string | null): number {
  if (/^\d{1,9}$/.test(cursor ?? '0')) return Number(cursor ?? 0);
  throw new ProviderApiError('refused', `${NAME} has no page that begins so`);
}

/** Lists the payments, refunds and disputes of one account. Its API key is `key_id:key_secret`. */
export const connectRazorpay: ConnectProviderApi = ({ apiKey, mode, baseUrl, timeoutMs }) => {
  keyParts(apiKey, { provider: NAME, form: KEY_FORMS[mode] });
  const client = new JsonClient({
    provider: NAME,
    baseUrl: baseUrl ?? 'https://api.razorpay.com',
    headers: { authorization: `Basic ${Buffer.from(apiKey.reveal()).toString('base64')}` },
    notFound: NO_SUCH_ID,
    timeoutMs,
  });
  const find = async (kind: ListedKind, id: string): Promise<RazorpayObject | null> =>
    isPathId(id) ? client.get(`${ROUTES[kind]}/${id}`, OBJECT) : null;
  const memo = new PageMemo<readonly RazorpayObject[], RazorpayObject | null>();

  /** @param once remembers payments that were asked for before */
  async function complete(
    kind: ListedKind,
    object: RazorpayObject,
    once: Once<RazorpayObject | null>,
  ): Promise<Listed | null> {
    const paymentId = kind === 'refund' ? (object.payment_id ?? null) : null;
    const payment = paymentId === null ? null : await once(paymentId, () => find('payment', paymentId));
    return listedOf(kind, object, payment);
  }

  return {
    kinds: ['payment', 'refund', 'dispute'],
    async list(kind: ListedKind, window: Window, cursor: string | null) {
      const skip = skipOf(cursor);
      const list = async () => requireList(NAME, await client.get(pagePath(kind, window, skip), PAGE)).items;
      return memo.read(pageKey(kind, window, cursor), list, async (items, once) => {
        const listed: Listed[] = [];
        for (const object of items.filter((item) => isWithin(window, item))) {
          const one = await complete(kind, object, once);
          if (one !== null) listed.push(one);
        }
        return { listed, next: items.length === 0 ? null : String(skip + items.length) };
      });
    },
    async retrieve(kind: ListedKind, objectId: string) {
      const object = await find(kind, objectId);
      return object === null ? null : complete(kind, object, (_, ask) => ask());
    },
  };
};
