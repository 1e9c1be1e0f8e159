import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';

/**
 * A server that speaks as much of Svix's HTTP contract as the SDK's calls of ours need, written after Svix's API
 * reference and the behaviour of its open-source server. What it should do wrong is scripted per operation.
 */
export const SVIX_TOKEN = 'testsk_0123456789abcdef.eu';

export type SvixOperation =
  | 'application.create'
  | 'application.get'
  | 'application.patch'
  | 'application.delete'
  | 'eventType.upsert'
  | 'message.create'
  | 'endpoint.create'
  | 'endpoint.list'
  | 'endpoint.get'
  | 'endpoint.patch'
  | 'endpoint.delete'
  | 'endpoint.getSecret'
  | 'endpoint.rotateSecret'
  | 'endpoint.sendExample'
  | 'messageAttempt.listByMsg'
  | 'messageAttempt.listByEndpoint'
  | 'messageAttempt.resend'
  | 'authentication.appPortalAccess';

/**
 * What to do instead of answering well. `stores` and `dispatches` are how far a message gets before the trouble. `drip`: the
 * answer comes a byte at a time and never ends.
 */
export interface ScriptedAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly connection?: 'hang' | 'reset' | 'drip';
  /** Nothing is answered before. */
  readonly after?: Promise<unknown>;
  readonly stores?: boolean;
  readonly dispatches?: boolean;
}

export interface SvixRequest {
  readonly operation: SvixOperation;
  readonly params: readonly string[];
  readonly query: Readonly<Record<string, string>>;
  readonly idempotencyKey: string | undefined;
  readonly body: unknown;
  /** When it came, by `performance.now()`. */
  readonly atMs: number;
}

interface StoredMessage {
  readonly id: string;
  readonly eventId: string;
  readonly eventType: string;
  readonly payload: unknown;
}

interface StoredEndpoint {
  id: string;
  url: string;
  description: string;
  eventTypes: string[] | null;
  disabled: boolean;
  secret: string;
  createdAt: string;
  updatedAt: string;
}

interface StoredApplication {
  readonly id: string;
  uid: string;
  name: string;
  metadata: Readonly<Record<string, string>>;
  readonly endpoints: Map<string, StoredEndpoint>;
  readonly messages: Map<string, StoredMessage>;
  readonly attempts: Record<string, unknown>[];
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

const ROUTES: readonly (readonly [SvixOperation, string, RegExp])[] = [
  ['application.create', 'POST', /^\/api\/v1\/app$/],
  ['application.get', 'GET', /^\/api\/v1\/app\/([^/]+)$/],
  ['application.delete', 'DELETE', /^\/api\/v1\/app\/([^/]+)$/],
  ['application.patch', 'PATCH', /^\/api\/v1\/app\/([^/]+)$/],
  ['eventType.upsert', 'PUT', /^\/api\/v1\/event-type\/([^/]+)$/],
  ['message.create', 'POST', /^\/api\/v1\/app\/([^/]+)\/msg$/],
  ['endpoint.create', 'POST', /^\/api\/v1\/app\/([^/]+)\/endpoint$/],
  ['endpoint.list', 'GET', /^\/api\/v1\/app\/([^/]+)\/endpoint$/],
  ['endpoint.get', 'GET', /^\/api\/v1\/app\/([^/]+)\/endpoint\/([^/]+)$/],
  ['endpoint.patch', 'PATCH', /^\/api\/v1\/app\/([^/]+)\/endpoint\/([^/]+)$/],
  ['endpoint.delete', 'DELETE', /^\/api\/v1\/app\/([^/]+)\/endpoint\/([^/]+)$/],
  ['endpoint.getSecret', 'GET', /^\/api\/v1\/app\/([^/]+)\/endpoint\/([^/]+)\/secret$/],
  ['endpoint.rotateSecret', 'POST', /^\/api\/v1\/app\/([^/]+)\/endpoint\/([^/]+)\/secret\/rotate$/],
  ['endpoint.sendExample', 'POST', /^\/api\/v1\/app\/([^/]+)\/endpoint\/([^/]+)\/send-example$/],
  ['messageAttempt.listByMsg', 'GET', /^\/api\/v1\/app\/([^/]+)\/attempt\/msg\/([^/]+)$/],
  ['messageAttempt.listByEndpoint', 'GET', /^\/api\/v1\/app\/([^/]+)\/attempt\/endpoint\/([^/]+)$/],
  ['messageAttempt.resend', 'POST', /^\/api\/v1\/app\/([^/]+)\/msg\/([^/]+)\/endpoint\/([^/]+)\/resend$/],
  ['authentication.appPortalAccess', 'POST', /^\/api\/v1\/auth\/app-portal-access\/([^/]+)$/],
];

const applicationIn = z.object({
  uid: z.string(),
  name: z.string(),
  metadata: z.record(z.string(), z.string()).default({}),
});
const messageIn = z.object({ eventId: z.string(), eventType: z.string(), payload: z.record(z.string(), z.unknown()) });
const endpointIn = z.object({
  url: z.string(),
  description: z.string().optional(),
  eventTypes: z.array(z.string()).nullish(),
  disabled: z.boolean().optional(),
});
const DRIP_MS = 20;
const NOT_FOUND: Reply = { status: 404, body: { code: 'not_found', detail: 'Entity not found' } };

export class SvixServer {
  /** Every request, in the order of arrival. */
  readonly requests: SvixRequest[] = [];
  readonly applications = new Map<string, StoredApplication>();
  readonly eventTypes = new Map<string, unknown>();
  /** How many endpoints a page of a list holds. */
  pageSize = 250;
  /** Asked for every call that no script is for; null lets it be answered well. */
  decide: (call: SvixRequest) => ScriptedAnswer | null = () => null;
  readonly #scripts = new Map<SvixOperation, ScriptedAnswer[]>();
  readonly #idempotent = new Map<string, Reply>();
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  #ids = 0;
  #port = 0;

  static async start(): Promise<SvixServer> {
    const server = new SvixServer();
    await server.open();
    return server;
  }

  /** Listens again, at the same address, after {@link close}. */
  async open(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The next calls of `operation` get these answers, one each; then it answers well again. */
  script(operation: SvixOperation, ...answers: readonly ScriptedAnswer[]): void {
    this.#scripts.set(operation, [...(this.#scripts.get(operation) ?? []), ...answers]);
  }

  calls(operation: SvixOperation): readonly SvixRequest[] {
    return this.requests.filter((request) => request.operation === operation);
  }

  /** The application of a merchant, whichever installation made it. */
  ofMerchant(merchantId: string): StoredApplication | undefined {
    return [...this.applications.values()].find(({ uid }) => uid === merchantId || uid.endsWith(`.${merchantId}`));
  }

  /** The payloads a merchant's application has accepted, in order. */
  accepted(merchantId: string): readonly unknown[] {
    return [...(this.ofMerchant(merchantId)?.messages.values() ?? [])].map(({ payload }) => payload);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const url = new URL(request.url ?? '/', 'http://svix');
    const route = ROUTES.find(([, method, pattern]) => method === request.method && pattern.test(url.pathname));
    if (route === undefined) throw new Error(`no such route here: ${request.method} ${url.pathname}`);
    const [operation, , pattern] = route;
    const text = Buffer.concat(chunks).toString();
    const idempotencyKey = request.headers['idempotency-key'];
    const call: SvixRequest = {
      operation,
      params: (pattern.exec(url.pathname) ?? []).slice(1).map(decodeURIComponent),
      query: Object.fromEntries(url.searchParams),
      idempotencyKey: typeof idempotencyKey === 'string' ? idempotencyKey : undefined,
      body: text === '' ? null : JSON.parse(text),
      atMs: performance.now(),
    };
    this.requests.push(call);
    const scripted = this.#scripts.get(operation)?.shift() ?? this.decide(call);
    if (scripted !== null) return this.#misbehave(call, scripted, response);
    if (request.headers.authorization !== `Bearer ${SVIX_TOKEN}`) {
      return reply(response, { status: 401, body: { code: 'authentication_failed', detail: 'Invalid token' } });
    }
    const remembered = call.idempotencyKey === undefined ? undefined : this.#idempotent.get(call.idempotencyKey);
    const answer = remembered ?? this.#answer(call);
    if (call.idempotencyKey !== undefined && answer.status < 300) this.#idempotent.set(call.idempotencyKey, answer);
    reply(response, answer);
  }

  async #misbehave(call: SvixRequest, scripted: ScriptedAnswer, response: ServerResponse): Promise<void> {
    const { status = 500, headers = {}, body, connection, stores = false, dispatches = false, after } = scripted;
    if (stores) this.#storeMessage(call, dispatches);
    await after;
    if (connection === 'hang') return;
    if (connection === 'reset') {
      response.socket?.resetAndDestroy();
      return;
    }
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    if (connection === 'drip') {
      const dripping = setInterval(() => response.write(' '), DRIP_MS);
      response.on('close', () => clearInterval(dripping));
      return;
    }
    response.end(body ?? JSON.stringify({ code: 'scripted', detail: 'as scripted' }));
  }

  #answer(call: SvixRequest): Reply {
    const [first = '', second = '', third = ''] = call.params;
    if (call.operation === 'application.create') {
      const given = applicationIn.parse(call.body);
      const known = this.applications.get(given.uid);
      const made = { id: this.#id('app'), ...given, endpoints: new Map(), messages: new Map(), attempts: [] };
      this.applications.set(given.uid, known ?? made);
      return { status: known === undefined ? 201 : 200, body: shownApplication(known ?? made) };
    }
    if (call.operation === 'eventType.upsert') {
      this.eventTypes.set(first, call.body);
      return { status: 200, body: { name: first, ...z.object({}).loose().parse(call.body), ...times() } };
    }
    const application = this.applications.get(first) ?? [...this.applications.values()].find(({ id }) => id === first);
    if (application === undefined) return NOT_FOUND;
    switch (call.operation) {
      case 'application.get':
        return { status: 200, body: shownApplication(application) };
      case 'application.delete':
        this.applications.delete(application.uid);
        return { status: 204, body: null };
      case 'application.patch':
        this.applications.delete(application.uid);
        Object.assign(application, applicationIn.partial().parse(call.body));
        this.applications.set(application.uid, application);
        return { status: 200, body: shownApplication(application) };
      case 'message.create':
        return this.#storeMessage(call, true);
      case 'endpoint.create':
        return this.#createEndpoint(application, call);
      case 'endpoint.list': {
        const all = [...application.endpoints.values()];
        const from = Number(call.query.iterator ?? 0);
        const data = all.slice(from, from + this.pageSize).map(shown);
        const next = from + this.pageSize;
        return { status: 200, body: { data, iterator: String(next), done: next >= all.length } };
      }
      case 'authentication.appPortalAccess':
        return { status: 200, body: { url: `${this.url}/login#key=abc`, token: 'appsk_abc' } };
      case 'messageAttempt.listByMsg': {
        if (!application.messages.has(second)) return NOT_FOUND;
        const data = application.attempts.filter((attempt) => attempt.eventId === second);
        return { status: 200, body: { data, iterator: null, done: true } };
      }
      case 'messageAttempt.resend': {
        const message = application.messages.get(second);
        if (message === undefined || !application.endpoints.has(third)) return NOT_FOUND;
        this.#attempt(application, message, third);
        return { status: 202, body: {} };
      }
      default: {
        const endpoint = application.endpoints.get(second);
        return endpoint === undefined ? NOT_FOUND : this.#onEndpoint(application, endpoint, call);
      }
    }
  }

  #onEndpoint(application: StoredApplication, endpoint: StoredEndpoint, { operation, body }: SvixRequest): Reply {
    switch (operation) {
      case 'endpoint.patch':
        Object.assign(endpoint, endpointIn.partial().parse(body));
        return { status: 200, body: shown(endpoint) };
      case 'endpoint.delete':
        application.endpoints.delete(endpoint.id);
        return { status: 204, body: null };
      case 'endpoint.getSecret':
        return { status: 200, body: { key: endpoint.secret } };
      case 'endpoint.rotateSecret':
        endpoint.secret = `${endpoint.secret}x`;
        return { status: 204, body: null };
      case 'endpoint.sendExample': {
        const { eventType } = z.object({ eventType: z.string() }).parse(body);
        const id = this.#id('msg');
        const message = { id, eventId: id, eventType, payload: {} };
        application.messages.set(id, message);
        this.#attempt(application, message, endpoint.id);
        return { status: 200, body: { ...message, ...times() } };
      }
      case 'messageAttempt.listByEndpoint': {
        const data = application.attempts.filter((attempt) => attempt.endpointId === endpoint.id);
        return { status: 200, body: { data, iterator: null, done: true } };
      }
      default:
        return { status: 200, body: shown(endpoint) };
    }
  }

  #createEndpoint(application: StoredApplication, { body }: SvixRequest): Reply {
    const { url, description = '', eventTypes = null, disabled = false } = endpointIn.parse(body);
    const unknown = (eventTypes ?? []).find((name) => !this.eventTypes.has(name));
    if (unknown !== undefined) {
      const detail = [{ loc: ['body', 'eventTypes'], msg: `unknown event type ${unknown}`, type: 'value_error' }];
      return { status: 422, body: { detail } };
    }
    const id = this.#id('ep');
    const secret = `whsec_${Buffer.from(`${id}-secret-of-some-length`).toString('base64')}`;
    const endpoint = { id, url, description, eventTypes, disabled, secret, ...times() };
    application.endpoints.set(id, endpoint);
    return { status: 201, body: shown(endpoint) };
  }

  #storeMessage({ params: [merchantId = ''], body }: SvixRequest, dispatches: boolean): Reply {
    const application = this.applications.get(merchantId);
    if (application === undefined) return NOT_FOUND;
    const { eventId, eventType, payload } = messageIn.parse(body);
    if (application.messages.has(eventId)) {
      return { status: 409, body: { code: 'conflict', detail: 'A message with this uid exists' } };
    }
    const message = { id: this.#id('msg'), eventId, eventType, payload };
    application.messages.set(eventId, message);
    if (dispatches) for (const { id } of application.endpoints.values()) this.#attempt(application, message, id);
    return { status: 202, body: { ...message, timestamp: new Date().toISOString() } };
  }

  #attempt(application: StoredApplication, message: StoredMessage, endpointId: string): void {
    application.attempts.push({
      id: this.#id('atmpt'),
      msgId: message.id,
      eventId: message.eventId,
      endpointId,
      url: 'https://merchant.example/hook',
      response: 'ok',
      responseStatusCode: 200,
      responseDurationMs: 12,
      status: 0,
      statusText: 'success',
      triggerType: 0,
      timestamp: new Date().toISOString(),
      msg: { ...message, timestamp: new Date().toISOString() },
    });
  }

  #id(prefix: string): string {
    this.#ids += 1;
    return `${prefix}_svix${this.#ids}`;
  }
}

function times(): { createdAt: string; updatedAt: string; timestamp: string } {
  const now = new Date().toISOString();
  return { createdAt: now, updatedAt: now, timestamp: now };
}

function shownApplication({ id, uid, name, metadata }: StoredApplication): Record<string, unknown> {
  return { id, uid, name, metadata, ...times() };
}

function shown({ secret: _, ...endpoint }: StoredEndpoint): Record<string, unknown> {
  return { ...endpoint, metadata: {} };
}

function reply(response: ServerResponse, { status, body }: Reply): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(body === null ? undefined : JSON.stringify(body));
}
