import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JsonObject } from './provider-fixtures.ts';

/**
 * Servers that speak as much of the HTTP APIs of Paddle, Polar and Lemon Squeezy as reconciliation reads. They show the
 * objects they are given; a parameter that their provider does not have is refused. Each rule names its source; README.md
 * beside this file says what is only believed.
 */

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

/** What to do instead of answering well. */
export interface ScriptedReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly text?: string;
}

/** A path that it may be asked under as well, as if a proxy were in front of it. */
export const PROXY_PATH = '/behind/a-proxy';

const REQUEST_ID = 'b15ec92e-8688-40d4-a04d-f44cbec93355';

interface Route {
  readonly path: RegExp;
  readonly parameters: readonly string[];
  /** @param id what the path names, if it names an object */
  readonly answer: (query: URLSearchParams, id: string) => Reply;
}

/** How a provider words a failure. */
type Failure = (status: number, code: string) => unknown;

export class ProviderApiServer {
  /** Path and query of every request, in the order of arrival. */
  readonly requests: string[] = [];
  readonly #script: (ScriptedReply | null)[] = [];
  readonly #key: string;
  readonly #routes: readonly Route[];
  readonly #failure: Failure;
  readonly #server = createServer((request, response) => this.#serve(request, response));

  private constructor(key: string, routes: readonly Route[], failure: Failure) {
    this.#key = key;
    this.#routes = routes;
    this.#failure = failure;
  }

  static async start(key: string, routes: readonly Route[], failure: Failure): Promise<ProviderApiServer> {
    const server = new ProviderApiServer(key, routes, failure);
    await new Promise<void>((resolve) => {
      server.#server.listen(0, '127.0.0.1', resolve);
    });
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next requests get these replies, one each, or a good answer for null; then it answers well again. */
  script(...replies: readonly (ScriptedReply | null)[]): void {
    this.#script.push(...replies);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve({ url = '/', method, headers }: IncomingMessage, response: ServerResponse): void {
    this.requests.push(decodeURIComponent(url));
    const scripted = this.#script.shift() ?? null;
    if (scripted !== null) {
      response.writeHead(scripted.status, scripted.headers);
      response.end(scripted.text ?? JSON.stringify(this.#failure(scripted.status, 'scripted')));
      return;
    }
    const { status, body } = this.#answer(
      new URL(url.replace(PROXY_PATH, ''), this.url),
      method ?? '',
      headers.authorization ?? '',
    );
    // Paddle gives every answer an id (its OpenAPI description); for the other providers it does no harm.
    response.writeHead(status, { 'content-type': 'application/json', 'request-id': REQUEST_ID });
    response.end(JSON.stringify(body));
  }

  #answer({ pathname, searchParams }: URL, method: string, authorization: string): Reply {
    const fail = (status: number, code: string): Reply => ({ status, body: this.#failure(status, code) });
    // The scheme's name is of either case (RFC 9110, 11.1), and Paddle's own package writes it small.
    if (authorization.replace(/^bearer /i, '') !== this.#key) return fail(401, 'unauthorized');
    const route = this.#routes.find(({ path }) => path.test(pathname));
    if (route === undefined || method !== 'GET') return fail(404, 'not_found');
    if ([...searchParams.keys()].some((name) => !route.parameters.includes(name))) return fail(400, 'bad_parameter');
    const reply = route.answer(searchParams, route.path.exec(pathname)?.[1] ?? '');
    if (reply.status === 400) return fail(400, 'bad_request');
    return reply.status === 404 ? fail(404, 'not_found') : reply;
  }
}

const NOT_FOUND: Reply = { status: 404, body: null };
const BAD_REQUEST: Reply = { status: 400, body: null };
const timeOf = (object: JsonObject): number => Date.parse(String(object.created_at));

/** The page of `all` that a number and a size ask for, both from one. */
function numbered(all: readonly JsonObject[], page: number, size: number): readonly JsonObject[] {
  return all.slice((page - 1) * size, page * size);
}

export interface PaddleObjects {
  readonly transactions: JsonObject[];
  readonly adjustments: JsonObject[];
}

export const PADDLE_API_KEY = 'pdl_sdbx_apikey_01gtgztp8f4kek3yd4g1wrksa3_q6TGTJyvoIz7LDtXT65bX7_AQO';

const META = { request_id: REQUEST_ID };

/** The maxima of `per_page` in Paddle's OpenAPI description. */
const PADDLE_PER_PAGE = { transactions: 30, adjustments: 50 } as const;
/** `AdjustmentAction` of @paddle/paddle-node-sdk 3.10.0, whose query takes one of them, as the description's does. */
const PADDLE_ACTIONS: ReadonlySet<string> = new Set([
  ...['credit', 'credit_reverse', 'refund', 'chargeback', 'chargeback_reverse'],
  ...['chargeback_warning', 'chargeback_warning_reverse'],
]);

/**
 * By Paddle's OpenAPI description (github.com/PaddleHQ/paddle-openapi, 2025-05): its parameters, `data` and `meta`, errors,
 * and `next`, which is there even on the last page. That ids sort by creation: developer.paddle.com, "Filter and sort".
 * @param maxPerPage how many it gives at most, whatever is asked for
 */
export function startPaddleApi(
  { transactions, adjustments }: PaddleObjects,
  maxPerPage = Number.POSITIVE_INFINITY,
): Promise<ProviderApiServer> {
  const page = (name: keyof typeof PADDLE_PER_PAGE, all: readonly JsonObject[], query: URLSearchParams): Reply => {
    const action = query.get('action');
    const isRefused = Number(query.get('per_page')) > PADDLE_PER_PAGE[name];
    if (isRefused || (action !== null && !PADDLE_ACTIONS.has(action))) return BAD_REQUEST;
    const isAscending = query.get('order_by') === 'id[ASC]';
    const sorted = all.toSorted((a, b) => (String(a.id) < String(b.id) === isAscending ? -1 : 1));
    const after = query.get('after');
    const rest = after === null ? sorted : sorted.slice(sorted.findIndex(({ id }) => id === after) + 1);
    const perPage = Math.min(Number(query.get('per_page') ?? PADDLE_PER_PAGE[name]), maxPerPage);
    const data = rest.slice(0, perPage);
    const next = new URLSearchParams(query);
    next.set('after', String(data.at(-1)?.id ?? ''));
    const pagination = {
      per_page: perPage,
      next: `https://api.paddle.com/${name}?${next}`,
      has_more: rest.length > perPage,
      estimated_total: all.length,
    };
    return { status: 200, body: { data, meta: { ...META, pagination } } };
  };
  const isOneOf = (names: string | null, name: unknown) => names === null || names.split(',').includes(String(name));
  const paging = ['after', 'order_by', 'per_page'];
  const routes: readonly Route[] = [
    {
      path: /^\/transactions$/,
      parameters: [...paging, 'status', 'created_at[GTE]', 'created_at[LT]'],
      answer(query) {
        const since = Date.parse(query.get('created_at[GTE]') ?? '0001-01-01');
        const until = Date.parse(query.get('created_at[LT]') ?? '9999-01-01');
        const isAskedFor = (one: JsonObject) => timeOf(one) >= since && timeOf(one) < until;
        const found = transactions.filter((one) => isOneOf(query.get('status'), one.status) && isAskedFor(one));
        return page('transactions', found, query);
      },
    },
    {
      path: /^\/transactions\/(txn_\w+)$/,
      parameters: [],
      answer(_query, id) {
        const data = transactions.find((one) => one.id === id);
        return data === undefined ? NOT_FOUND : { status: 200, body: { data, meta: META } };
      },
    },
    {
      path: /^\/adjustments$/,
      parameters: [...paging, 'id', 'action', 'status', 'transaction_id'],
      answer(query) {
        const filters = ['id', 'action', 'status', 'transaction_id'];
        const isAskedFor = (one: JsonObject) => filters.every((name) => isOneOf(query.get(name), one[name]));
        return page('adjustments', adjustments.filter(isAskedFor), query);
      },
    },
  ];
  return ProviderApiServer.start(PADDLE_API_KEY, routes, (_status, code) => ({
    error: { type: 'request_error', code, detail: 'as the reference words it', documentation_url: '' },
    meta: META,
  }));
}

export interface PolarObjects {
  readonly orders: JsonObject[];
  readonly refunds: JsonObject[];
  readonly disputes?: JsonObject[];
}

/** With the fields that the type Dispute of @polar-sh/sdk 1.0.1 requires. */
export function polarDispute(id: string, orderId: string, changes: JsonObject = {}): JsonObject {
  const [created_at, modified_at] = ['2026-10-28T12:00:00.000Z', null];
  return {
    ...{ id, order_id: orderId, created_at, modified_at, payment_id: '5b1c9f0e-6d1a-4f6e-9a43-000000000001' },
    ...{ status: 'needs_response', resolved: false, closed: false, amount: 5000, tax_amount: 950, currency: 'usd' },
    ...{ reason: 'fraudulent', evidence_due_by: null, past_due: false, case_id: null },
    customer: {
      ...{ id: '5b1c9f0e-6d1a-4f6e-9a43-000000000002', created_at, modified_at, metadata: {}, external_id: null },
      ...{ email: 'ada@example.com', email_verified: true, type: 'individual', name: 'Ada', billing_name: null },
      ...{ billing_address: null, tax_id: null, organization_id: '5b1c9f0e-6d1a-4f6e-9a43-000000000003' },
      ...{ deleted_at: null, avatar_url: null, first_user_event_at: null },
    },
    ...changes,
  };
}

export const POLAR_ACCESS_TOKEN = 'polar_oat_0123456789abcdefghijABCDEFGHIJ';

/**
 * By Polar's OpenAPI description of 2026-10 and its server's source (github.com/polarsource/polar): limits above 100 count
 * as 100 (kit/pagination.py), lists are newest first unless sorted, errors are `{error, detail}` (exception_handlers.py).
 */
export function startPolarApi(
  { orders, refunds, disputes = [] }: PolarObjects,
  maxLimit = 100,
): Promise<ProviderApiServer> {
  const page = (all: readonly JsonObject[], query: URLSearchParams): Reply => {
    const limit = Math.min(Number(query.get('limit') ?? 10), maxLimit);
    // Newest first, which is also what Polar does unasked.
    const sorted = all.toSorted((a, b) => timeOf(b) - timeOf(a));
    const pagination = { total_count: all.length, max_page: Math.ceil(all.length / limit) };
    return { status: 200, body: { items: numbered(sorted, Number(query.get('page') ?? 1), limit), pagination } };
  };
  const routes: Route[] = [
    {
      path: /^\/v1\/orders\/$/,
      parameters: ['page', 'limit', 'sorting', 'created_after', 'created_before'],
      answer(query) {
        // Polar's source excludes both limits (order/service.py), but its description does not say so, and this may change. Here
        // one limit is exclusive and the other inclusive, so that a client must be right in both cases.
        const after = Date.parse(query.get('created_after') ?? '0001-01-01');
        const before = Date.parse(query.get('created_before') ?? '9999-01-01');
        return page(
          orders.filter((one) => timeOf(one) > after && timeOf(one) <= before),
          query,
        );
      },
    },
    {
      path: /^\/v1\/orders\/([0-9a-f-]{36})$/,
      parameters: [],
      answer(_query, id) {
        const body = orders.find((one) => one.id === id);
        return body === undefined ? NOT_FOUND : { status: 200, body };
      },
    },
    {
      path: /^\/v1\/refunds\/$/,
      parameters: ['id', 'page', 'limit', 'sorting'],
      answer(query) {
        const id = query.get('id');
        return page(
          refunds.filter((one) => id === null || one.id === id),
          query,
        );
      },
    },
  ];
  routes.push(
    {
      path: /^\/v1\/disputes\/$/,
      parameters: ['page', 'limit', 'sorting', 'status', 'order_id', 'organization_id'],
      answer: (query) => page(disputes, query),
    },
    {
      path: /^\/v1\/disputes\/([0-9a-f-]{36})$/,
      parameters: [],
      answer(_query, id) {
        const body = disputes.find((one) => one.id === id);
        return body === undefined ? NOT_FOUND : { status: 200, body };
      },
    },
  );
  return ProviderApiServer.start(POLAR_ACCESS_TOKEN, routes, (_status, code) => ({ error: code, detail: 'as worded' }));
}

export interface LemonSqueezyObjects {
  readonly orders: JsonObject[];
  readonly invoices: JsonObject[];
}

export const LEMONSQUEEZY_API_KEY = 'eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiI5NGQ1OWNlZi0x.c2lnbmF0dXJl-_x';

/**
 * By docs.lemonsqueezy.com/api: "List all orders", "List all subscription invoices" (newest first, these filters), "Getting
 * started" (`page[size]` of 1 to 100, 10 unless said; errors of JSON:API); the types of @lemonsqueezy/lemonsqueezy.js 4.0.0.
 */
export function startLemonSqueezyApi(objects: LemonSqueezyObjects, maxPageSize = 100): Promise<ProviderApiServer> {
  const attributesOf = (resource: JsonObject) => resource.attributes as JsonObject;
  const routesOf = (name: string, all: readonly JsonObject[]): readonly Route[] => [
    {
      path: new RegExp(`^/v1/${name}$`),
      // The official package always sends `include`, empty.
      parameters: ['page[number]', 'page[size]', 'filter[store_id]', 'include'],
      answer(query) {
        const store = query.get('filter[store_id]');
        const found = all.filter((one) => store === null || String(attributesOf(one).store_id) === store);
        const sorted = found.toSorted((a, b) => timeOf(attributesOf(b)) - timeOf(attributesOf(a)));
        const perPage = Math.min(Number(query.get('page[size]') ?? 10), maxPageSize);
        const currentPage = Number(query.get('page[number]') ?? 1);
        const lastPage = Math.max(1, Math.ceil(found.length / perPage));
        const data = numbered(sorted, currentPage, perPage);
        const from = (currentPage - 1) * perPage + 1;
        const meta = {
          page: { currentPage, from, lastPage, perPage, to: from + data.length - 1, total: found.length },
        };
        const linkTo = (page: number): string =>
          `https://api.lemonsqueezy.com/v1/${name}?page%5Bnumber%5D=${page}&page%5Bsize%5D=${perPage}&sort=-createdAt`;
        const links = { first: linkTo(1), last: linkTo(lastPage) };
        return { status: 200, body: { meta, jsonapi: { version: '1.0' }, links, data } };
      },
    },
    {
      path: new RegExp(`^/v1/${name}/(\\d+)$`),
      parameters: [],
      answer(_query, id) {
        const data = all.find((one) => one.id === id);
        const links = { self: `https://api.lemonsqueezy.com/v1/${name}/${id}` };
        return data === undefined ? NOT_FOUND : { status: 200, body: { jsonapi: { version: '1.0' }, links, data } };
      },
    },
  ];
  const routes = [...routesOf('orders', objects.orders), ...routesOf('subscription-invoices', objects.invoices)];
  return ProviderApiServer.start(LEMONSQUEEZY_API_KEY, routes, (status, title) => ({
    jsonapi: { version: '1.0' },
    errors: [{ status: String(status), title, detail: 'as worded' }],
  }));
}
