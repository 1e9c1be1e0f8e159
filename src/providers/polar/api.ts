import { z } from 'zod';
import type { ConnectProviderApi, Listed, Page, Window } from '../shared/api.ts';
import { JsonClient } from '../shared/json-client.ts';
import { apiTime, bodyOf, isBefore, isWithin, keyParts, pageOf } from '../shared/listing.ts';

/*
 * | kind    | route            | listed                                       | event          |
 * |---------|------------------|----------------------------------------------|----------------|
 * | payment | GET /v1/orders/  | those that are `paid`, refunded since or not | order.paid     |
 * | refund  | GET /v1/refunds/ | all                                          | refund.updated |
 *
 * Polar lists disputes as well, but has no event of them: it settles them by refunds, which are listed. The pages are
 * numbered, so they are read from the newest back: what is made meanwhile can show an object twice, but hides none.
 * Refunds cannot be asked for by a time. Orders can; Polar does not document whether its limits are inclusive (its source
 * of August 2026 excludes both), so those are a little wide and the window is kept here.
 */

const NAME = 'polar';

/** Polar's maximum. */
const PAGE_SIZE = 100;

/** The version of the API whose orders and refunds the adapter of Polar reads. */
const API_VERSION = '2026-10';

const BASE_URLS = { live: 'https://api.polar.sh', test: 'https://sandbox-api.polar.sh' } as const;

/** An organization's token. A person's own, `polar_pat_…`, would list every organization of that person as one. */
const KEY_FORM = /^(polar_oat_\w{10,})$/;
const WANTED_KEY = 'the API key must be an organization access token (polar_oat_…), which sees one organization alone';

const TIMES = { created_at: apiTime, modified_at: apiTime.nullish() };
const ORDER = z.looseObject({ id: z.string(), status: z.string(), paid: z.boolean(), ...TIMES });
const REFUND = z.looseObject({ id: z.string(), status: z.string(), ...TIMES });

type Order = z.infer<typeof ORDER>;
type Refund = z.infer<typeof REFUND>;

const pageSchema = <Item extends z.ZodType>(item: Item) =>
  z.object({ items: z.array(item), pagination: z.object({ max_page: z.int() }) });

const ORDERS = pageSchema(ORDER);
const REFUNDS = pageSchema(REFUND);

function bodyAbout(type: string, data: Order | Refund): Buffer {
  return bodyOf({ type, timestamp: data.modified_at ?? data.created_at, data });
}

function listedOrder(order: Order): Listed {
  return { kind: 'payment', objectId: order.id, state: order.status, body: bodyAbout('order.paid', order) };
}

function listedRefund(refund: Refund): Listed {
  return { kind: 'refund', objectId: refund.id, state: refund.status, body: bodyAbout('refund.updated', refund) };
}

/** The number of the page after this one, unless this one reaches back beyond the window. */
function nextOf(
  { items, pagination }: { items: readonly (Order | Refund)[]; pagination: { max_page: number } },
  page: number,
  { since }: Window,
): string | null {
  const isPastWindow = items.some(({ created_at }) => isBefore(created_at, since));
  return isPastWindow || items.length === 0 || page >= pagination.max_page ? null : String(page + 1);
}

/** Polar, by its HTTP API. Its access tokens look the same in both modes. */
export const connectPolar: ConnectProviderApi = ({ apiKey, mode, baseUrl = BASE_URLS[mode], timeoutMs }) => {
  const [token] = keyParts(NAME, apiKey, KEY_FORM, WANTED_KEY);
  const client = new JsonClient({
    provider: NAME,
    baseUrl,
    headers: { authorization: `Bearer ${token}`, 'polar-version': API_VERSION },
    timeoutMs,
  });

  function queryOf(page: number, times: Readonly<Record<string, string>> = {}): URLSearchParams {
    return new URLSearchParams({ ...times, sorting: '-created_at', page: String(page), limit: String(PAGE_SIZE) });
  }

  async function listOrders(window: Window, page: number): Promise<Page> {
    const query = queryOf(page, {
      created_after: new Date(window.since.getTime() - 1).toISOString(),
      created_before: window.until.toISOString(),
    });
    const answer = pageOf(NAME, await client.get(`/v1/orders/?${query}`, ORDERS));
    const paid = answer.items.filter((order) => order.paid && isWithin(order.created_at, window));
    return { listed: paid.map(listedOrder), next: nextOf(answer, page, window) };
  }

  async function listRefunds(window: Window, page: number): Promise<Page> {
    const answer = pageOf(NAME, await client.get(`/v1/refunds/?${queryOf(page)}`, REFUNDS));
    const listed = answer.items.filter((refund) => isWithin(refund.created_at, window));
    return { listed: listed.map(listedRefund), next: nextOf(answer, page, window) };
  }

  async function retrieveOrder(id: string): Promise<Listed | null> {
    const order = await client.get(`/v1/orders/${id}`, ORDER);
    return order?.paid === true ? listedOrder(order) : null;
  }

  /** Polar has no route to one refund. */
  async function retrieveRefund(id: string): Promise<Listed | null> {
    const { items } = pageOf(NAME, await client.get(`/v1/refunds/?id=${id}`, REFUNDS));
    const found = items.find((refund) => refund.id === id);
    return found === undefined ? null : listedRefund(found);
  }

  return {
    kinds: ['payment', 'refund'],
    async list(kind, window, cursor) {
      if (kind === 'dispute') return { listed: [], next: null };
      const page = cursor === null ? 1 : Number(cursor);
      return kind === 'payment' ? listOrders(window, page) : listRefunds(window, page);
    },
    async retrieve(kind, objectId) {
      if (kind === 'dispute' || !z.guid().safeParse(objectId).success) return null;
      return kind === 'payment' ? retrieveOrder(objectId) : retrieveRefund(objectId);
    },
  };
};
