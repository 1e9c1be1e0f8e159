import { z } from 'zod';
import { type ConnectProviderApi, type Listed, type Page, ProviderApiError, type Window } from '../shared/api.ts';
import { JsonClient } from '../shared/json-client.ts';
import { apiTime, bodyOf, isBefore, isWithin, keyParts, requireList } from '../shared/listing.ts';

/*
 * | kind    | route             | listed                                       | event          |
 * |---------|-------------------|----------------------------------------------|----------------|
 * | payment | GET /v1/orders/   | those that are `paid`, refunded since or not | order.paid     |
 * | refund  | GET /v1/refunds/  | all                                          | refund.updated |
 * | dispute | GET /v1/disputes/ | all; wants the scope `disputes:read`         | dispute.listed |
 *
 * Polar has no event of disputes, so that the last is one of our own making (Polar's OpenAPI description of 2026-10 and the
 * types of @polar-sh/sdk 1.0.1 have the route and the states). The pages are numbered, so they are read from the newest back: what is made meanwhile can show an object twice, but hides none.
 * Refunds cannot be asked for by a time. Orders can; Polar does not document whether its limits are inclusive (its source
 * of August 2026 excludes both), so those are a little wide and the window is kept here.
 */

const NAME = 'polar';

/** Polar's maximum. */
const PAGE_SIZE = 100;

/** The version of the API whose orders and refunds the adapter of Polar reads. */
const API_VERSION = '2026-10';

const BASE_URLS = { live: 'https://api.polar.sh', test: 'https://sandbox-api.polar.sh' } as const;

/** An organization's token. A personal one, `polar_pat_…`, would list all organizations of that person together. */
const KEY_FORM = /^(polar_oat_\w{10,})$/;
const WANTED_KEY = 'the API key must be an organization access token (polar_oat_…), which sees one organization alone';

const TIMES = { created_at: apiTime, modified_at: apiTime.nullish() };
const ORDER = z.looseObject({ id: z.string(), status: z.string(), paid: z.boolean(), ...TIMES });
const REFUND = z.looseObject({ id: z.string(), status: z.string(), ...TIMES });
const DISPUTE = z.looseObject({ id: z.string(), status: z.string(), ...TIMES });

type Order = z.infer<typeof ORDER>;
type Refund = z.infer<typeof REFUND>;
type Dispute = z.infer<typeof DISPUTE>;

const pageSchema = <Item extends z.ZodType>(item: Item) =>
  z.object({ items: z.array(item), pagination: z.object({ max_page: z.int() }) });

const ORDERS = pageSchema(ORDER);
const REFUNDS = pageSchema(REFUND);
const DISPUTES = pageSchema(DISPUTE);

function bodyAbout(type: string, data: Order | Refund | Dispute): Buffer {
  return bodyOf({ type, timestamp: data.modified_at ?? data.created_at, data });
}

function listedOrder(order: Order): Listed {
  return { kind: 'payment', objectId: order.id, state: order.status, body: bodyAbout('order.paid', order) };
}

function listedRefund(refund: Refund): Listed {
  return { kind: 'refund', objectId: refund.id, state: refund.status, body: bodyAbout('refund.updated', refund) };
}

/** Polar has no event of disputes; this one is of our own making. */
function listedDispute(dispute: Dispute): Listed {
  return { kind: 'dispute', objectId: dispute.id, state: dispute.status, body: bodyAbout('dispute.listed', dispute) };
}

/** A token that was made for refunds alone may not read disputes, and is to be told so. */
async function mayReadDisputes<Answer>(asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked;
  } catch (error) {
    if (!(error instanceof ProviderApiError) || error.kind !== 'unauthorized') throw error;
    throw new ProviderApiError('unauthorized', `${error.message}: it wants the scope disputes:read`);
  }
}

/** The number of the page after this one, unless this one reaches back beyond the window. */
function nextOf(
  { items, pagination }: { items: readonly (Order | Refund | Dispute)[]; pagination: { max_page: number } },
  page: number,
  { since }: Window,
): string | null {
  const isPastWindow = items.some(({ created_at }) => isBefore(created_at, since));
  return isPastWindow || items.length === 0 || page >= pagination.max_page ? null : String(page + 1);
}

/** Polar, by its HTTP API. Its access tokens look the same in both modes. */
export const connectPolar: ConnectProviderApi = ({ apiKey, mode, baseUrl = BASE_URLS[mode], timeoutMs }) => {
  const [token] = keyParts(apiKey, { provider: NAME, form: KEY_FORM, problem: WANTED_KEY });
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
    const answer = requireList(NAME, await client.get(`/v1/orders/?${query}`, ORDERS));
    const paid = answer.items.filter((order) => order.paid && isWithin(order.created_at, window));
    return { listed: paid.map(listedOrder), next: nextOf(answer, page, window) };
  }

  async function listRefunds(window: Window, page: number): Promise<Page> {
    const answer = requireList(NAME, await client.get(`/v1/refunds/?${queryOf(page)}`, REFUNDS));
    const listed = answer.items.filter((refund) => isWithin(refund.created_at, window));
    return { listed: listed.map(listedRefund), next: nextOf(answer, page, window) };
  }

  async function listDisputes(window: Window, page: number): Promise<Page> {
    const asked = mayReadDisputes(client.get(`/v1/disputes/?${queryOf(page)}`, DISPUTES));
    const answer = requireList(NAME, await asked);
    const listed = answer.items.filter((dispute) => isWithin(dispute.created_at, window));
    return { listed: listed.map(listedDispute), next: nextOf(answer, page, window) };
  }

  async function retrieveOrder(id: string): Promise<Listed | null> {
    const order = await client.get(`/v1/orders/${id}`, ORDER);
    return order?.paid === true ? listedOrder(order) : null;
  }

  /** Finds one refund in a list, since Polar has no route for a single one. */
  async function retrieveRefund(id: string): Promise<Listed | null> {
    const { items } = requireList(NAME, await client.get(`/v1/refunds/?id=${id}`, REFUNDS));
    const found = items.find((refund) => refund.id === id);
    return found === undefined ? null : listedRefund(found);
  }

  async function retrieveDispute(id: string): Promise<Listed | null> {
    const dispute = await mayReadDisputes(client.get(`/v1/disputes/${id}`, DISPUTE));
    return dispute === null ? null : listedDispute(dispute);
  }

  const lists = { payment: listOrders, refund: listRefunds, dispute: listDisputes };
  const retrieves = { payment: retrieveOrder, refund: retrieveRefund, dispute: retrieveDispute };
  return {
    kinds: ['payment', 'refund', 'dispute'],
    list: (kind, window, cursor) => lists[kind](window, cursor === null ? 1 : Number(cursor)),
    retrieve: async (kind, objectId) => (z.guid().safeParse(objectId).success ? retrieves[kind](objectId) : null),
  };
};
