import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerStripeEvents, DIALECTS, type Kind, type Reply, stripeAccount } from './provider-api-dialects.ts';
import type { JsonObject } from './provider-fixtures.ts';

/** Keys of the form each provider uses, of test mode. */
export const API_KEYS = {
  stripe: 'sk_test_51ChokinTests',
  dodo: 'dodo.test.ChokinTests',
  razorpay: 'rzp_test_ChokinTests:a-razorpay-key-secret',
} as const;

export type ServedProvider = keyof typeof API_KEYS;

/** What every kind of object has. Where something is not said, it stays as the provider's fixture has it. */
interface NewObject {
  readonly id: string;
  /** Minor units. */
  readonly amount?: number;
  /** Upper or lower case; it is served in the provider's. */
  readonly currency?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly createdAt?: Date;
  /** The provider's own word. */
  readonly status?: string;
  /** Fields in the provider's own words. */
  readonly fields?: JsonObject;
}

export interface NewPayment extends NewObject {
  readonly customerId?: string | null;
  readonly email?: string | null;
}

export interface NewRefundOrDispute extends NewObject {
  readonly paymentId: string | null;
}

/** What to answer instead; a number is a status. `half`: the connection is cut in the middle of the body. */
export type Misbehaviour = number | 'hang' | 'cut' | 'half' | 'html' | 'other';

/** A path that it may be asked under as well, as if a proxy were in front of it. */
export const PROXY_PATH = '/behind/a-proxy';

export interface ApiRequest {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
}

interface Script {
  readonly what: Misbehaviour | null;
  readonly retryAfterSeconds?: number | undefined;
}

/** An e-mail address in every error body, which must never reach a message of ours. */
export const QUOTED_EMAIL = 'somebody@private.example';

/**
 * A server that speaks a provider's routes to list and to retrieve payments, refunds and disputes, over objects that the
 * test adds. It lists the newest first: Stripe documents it (docs.stripe.com/api/pagination), of Dodo and Razorpay it is
 * believed. The rules of each provider are in provider-api-dialects.ts.
 */
export class ProviderApiServer {
  /** Every request, in the order of arrival. */
  readonly requests: ApiRequest[] = [];
  /** Whose account the key opens, where the provider says so (Stripe), or what to answer instead of saying it. */
  account: string | Misbehaviour = 'acct_1ChokinTests';
  /** What `GET /v1/events` of Stripe lists, the newest first, or the status that it answers instead. */
  events: JsonObject[] | number = [];
  /** The headers of every request, in the order of arrival. */
  readonly headers: IncomingMessage['headers'][] = [];
  /** Further keys that open the account, by how the header that carries them looks. */
  otherApiKeys: RegExp | null = null;
  readonly #provider: ServedProvider;
  readonly #apiKey: string;
  readonly #objects: Readonly<Record<Kind, JsonObject[]>> = { payment: [], refund: [], dispute: [] };
  readonly #scripts: Script[] = [];
  #allowed = Number.POSITIVE_INFINITY;
  readonly #server = createServer((request, response) => this.#serve(request, response));

  private constructor(provider: ServedProvider, apiKey: string) {
    this.#provider = provider;
    this.#apiKey = apiKey;
  }

  static async start(
    provider: ServedProvider,
    { apiKey = API_KEYS[provider] }: { readonly apiKey?: string } = {},
  ): Promise<ProviderApiServer> {
    const server = new ProviderApiServer(provider, apiKey);
    await new Promise<void>((resolve) => {
      server.#server.listen(0, '127.0.0.1', resolve);
    });
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Adds a payment, and returns it as the API shows it. It can be changed afterwards. */
  addPayment(payment: NewPayment): JsonObject {
    return this.#add('payment', DIALECTS[this.#provider].payment(payment));
  }

  addRefund(refund: NewRefundOrDispute): JsonObject {
    return this.#add('refund', DIALECTS[this.#provider].refund(refund));
  }

  addDispute(dispute: NewRefundOrDispute): JsonObject {
    return this.#add('dispute', DIALECTS[this.#provider].dispute(dispute));
  }

  /** Misbehaves at the next `count` requests, or, with `after`, at those that come after so many good ones. */
  failNext(
    what: Misbehaviour,
    { count = 1, after = 0, retryAfterSeconds }: { count?: number; after?: number; retryAfterSeconds?: number } = {},
  ): void {
    for (let index = 0; index < after; index += 1) this.#scripts.push({ what: null });
    for (let index = 0; index < count; index += 1) this.#scripts.push({ what, retryAfterSeconds });
  }

  /** Begins a window of the rate limit: so many requests are answered, and the others with 429. */
  allow(requests: number): void {
    this.#allowed = requests;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #add(kind: Kind, object: JsonObject): JsonObject {
    this.#objects[kind].push(object);
    return object;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://provider');
    this.headers.push(request.headers);
    const path = url.pathname.replace(PROXY_PATH, '');
    const query = Object.fromEntries(url.searchParams);
    if (path === ACCOUNT_PATHS[this.#provider]) {
      this.#serveAccount(request, response);
      return;
    }
    if (this.#provider === 'stripe' && path === '/v1/events') {
      this.#serveEvents(request, response, query);
      return;
    }
    this.requests.push({ path: url.pathname, query });
    this.#allowed -= 1;
    const { what = null, retryAfterSeconds } = this.#allowed < 0 ? { what: 429 } : (this.#scripts.shift() ?? {});
    if (typeof what === 'string') {
      misbehave(what, response);
      return;
    }
    const retryAfter = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
    const dialect = DIALECTS[this.#provider];
    if (what !== null) send(response, dialect.failure(what, 'scripted', `for ${QUOTED_EMAIL}`), retryAfter);
    else if (!this.#knows(request)) {
      send(response, dialect.failure(401, 'unauthorized', `not the key of ${QUOTED_EMAIL}`));
    } else
      send(
        response,
        dialect.answer(path, query, (kind) => this.#newestFirst(kind)),
      );
  }

  #knows({ headers: { authorization = '' } }: Pick<IncomingMessage, 'headers'>): boolean {
    return (
      authorization === DIALECTS[this.#provider].authorization(this.#apiKey) ||
      (this.otherApiKeys?.test(authorization) ?? false)
    );
  }

  /** Apart from the lists, whose scripts and requests tests count. */
  #serveAccount({ headers }: IncomingMessage, response: ServerResponse): void {
    const dialect = DIALECTS[this.#provider];
    const { account } = this;
    if (!this.#knows({ headers })) {
      send(response, dialect.failure(401, 'unauthorized', `not the key of ${QUOTED_EMAIL}`));
    } else if (typeof account === 'number') {
      send(response, dialect.failure(account, 'scripted', `for ${QUOTED_EMAIL}`));
    } else if (isMisbehaviour(account)) misbehave(account, response);
    else send(response, { status: 200, body: stripeAccount(account) });
  }

  /** Apart from the other lists as well. A restricted key without the right is answered 403 (docs.stripe.com/api/errors). */
  #serveEvents({ headers }: IncomingMessage, response: ServerResponse, query: ApiRequest['query']): void {
    const dialect = DIALECTS[this.#provider];
    const { events } = this;
    if (headers.authorization !== dialect.authorization(this.#apiKey)) {
      send(response, dialect.failure(401, 'unauthorized', `not the key of ${QUOTED_EMAIL}`));
    } else if (typeof events === 'number') {
      send(response, dialect.failure(events, 'scripted', `for ${QUOTED_EMAIL}`));
    } else send(response, answerStripeEvents(query, events));
  }

  #newestFirst(kind: Kind): JsonObject[] {
    const { madeAtMs } = DIALECTS[this.#provider];
    return this.#objects[kind].toReversed().sort((one, other) => madeAtMs(other) - madeAtMs(one));
  }
}

function send(response: ServerResponse, { status, body }: Reply, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

/** docs.stripe.com/api/accounts/retrieve, without an id: of the account that the key is of. */
const ACCOUNT_PATHS: Readonly<Partial<Record<ServedProvider, string>>> = { stripe: '/v1/account' };

const MISBEHAVIOURS = ['hang', 'cut', 'half', 'html', 'other'] as const;
const isMisbehaviour = (what: string): what is (typeof MISBEHAVIOURS)[number] =>
  MISBEHAVIOURS.some((one) => one === what);

function misbehave(what: Exclude<Misbehaviour, number>, response: ServerResponse): void {
  switch (what) {
    case 'hang':
      return;
    case 'cut':
      response.socket?.resetAndDestroy();
      return;
    case 'half':
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      response.write('{"items":[', () => response.socket?.resetAndDestroy());
      return;
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' });
      response.end('<html>Maintenance</html>');
      return;
    case 'other':
      send(response, { status: 200, body: { unexpected: QUOTED_EMAIL } });
  }
}
