import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DIALECTS, type Kind, type Reply } from './provider-api-dialects.ts';
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
    const path = url.pathname.replace(PROXY_PATH, '');
    const query = Object.fromEntries(url.searchParams);
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
    else if (request.headers.authorization !== dialect.authorization(this.#apiKey)) {
      send(response, dialect.failure(401, 'unauthorized', `not the key of ${QUOTED_EMAIL}`));
    } else
      send(
        response,
        dialect.answer(path, query, (kind) => this.#newestFirst(kind)),
      );
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
