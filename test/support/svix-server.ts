import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { applicationHandlers } from './svix/applications.ts';
import { attemptHandlers } from './svix/attempts.ts';
import { type BodyOf, CONTRACT, type OperationContract, type QueryOf, type SvixOperation } from './svix/contract.ts';
import { SvixWorker } from './svix/delivery.ts';
import { endpointHandlers } from './svix/endpoints.ts';
import { eventTypeHandlers } from './svix/event-types.ts';
import { messageHandlers, storeMessage } from './svix/messages.ts';
import { breachesOfAnswer, breachesOfRequest, type RawRequest, readBody, readQuery } from './svix/reading.ts';
import { refusal, SvixRefusal, type SvixReply } from './svix/refusals.ts';
import { checkBodySize } from './svix/rules.ts';
import type { StoredApplication, StoredEventType } from './svix/store.ts';
import type { Call, Handlers, SvixWorld } from './svix/world.ts';

export type { SvixOperation } from './svix/contract.ts';

/** The one token that the double takes. */
export const SVIX_TOKEN = 'testsk_0123456789abcdef.eu';

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

interface Arrived {
  readonly call: SvixRequest;
  readonly raw: RawRequest;
  readonly url: string;
  readonly authorization: string | undefined;
}

const ROUTES: readonly (readonly [SvixOperation, string, RegExp])[] = (Object.keys(CONTRACT) as SvixOperation[]).map(
  (operation) => {
    const { method, path } = CONTRACT[operation];
    // A slash at the end is read over (lib.rs, NormalizePath).
    return [operation, method, new RegExp(`^${path.replaceAll(/\{[a-z_]+\}/g, '([^/]+)')}/?$`)];
  },
);

const DRIP_MS = 20;

/**
 * A double of the open-source Svix server, version 1.100.0: it refuses what that one refuses, answers as that one does and
 * sends what it accepts. Its files, in svix/, say for each rule where it was read; test/svix runs one suite on the double
 * and on a real server. What it should do wrong is scripted per operation.
 *
 * What the real one does and this does not: check that an event type's schemas are JSON schemas, throttle, forget contents
 * after 90 days and keys after 12 hours, disable an endpoint that failed for 5 days, and try again by itself unless a test
 * sets `worker.retrySchedule`.
 */
export class SvixServer {
  /** Every request, in the order of arrival. */
  readonly requests: SvixRequest[] = [];
  /** Delivers what is accepted. */
  readonly worker = new SvixWorker();
  /** By uid. */
  readonly applications = new Map<string, StoredApplication>();
  readonly eventTypes = new Map<string, StoredEventType>();
  /** Asked for every call that no script is for; null lets it be answered well. */
  decide: (call: SvixRequest) => ScriptedAnswer | null = () => null;
  /**
   * What a request of ours, by the SDK or without it, or an answer of the double has against Svix's published description.
   * {@link close} fails if there is anything, so that no test passes with a request that Svix does not know.
   */
  readonly breaches: string[] = [];
  readonly #world: SvixWorld = {
    applications: this.applications,
    eventTypes: this.eventTypes,
    worker: this.worker,
    pageSize: 250,
    givesMessages: false,
  };
  readonly #handlers: Handlers = {
    'health.get': () => ({ status: 200, body: { database: { status: 'ok' } } }),
    ...applicationHandlers(this.#world),
    ...eventTypeHandlers(this.#world),
    ...messageHandlers(this.#world),
    ...endpointHandlers(this.#world),
    ...attemptHandlers(this.#world),
  };
  readonly #scripts = new Map<SvixOperation, ScriptedAnswer[]>();
  readonly #remembered = new Map<string, Promise<SvixReply>>();
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch((error: unknown) => {
      this.breaches.push(error instanceof Error ? `the double failed: ${error.stack}` : 'the double failed');
      response.destroy();
    });
  });
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

  /** The most that a page of a list holds, however much is asked for. */
  set pageSize(size: number) {
    this.#world.pageSize = size;
  }

  /**
   * Svix's cloud gives a message with each attempt when asked by `with_msg` (SDK 2.5.0, `MessageAttemptOut.msg`); the
   * open-source server does not know that parameter.
   */
  set givesMessages(gives: boolean) {
    this.#world.givesMessages = gives;
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
    return [...this.applications.values()].find(({ uid }) => uid?.replace(/^ins_[0-9a-f]+\./, '') === merchantId);
  }

  /** The payloads a merchant's application has accepted, in order. */
  accepted(merchantId: string): readonly unknown[] {
    return [...(this.ofMerchant(merchantId)?.messages.values() ?? [])].map(({ payload }) => payload);
  }

  /** @throws {Error} if Svix's description does not have what was asked or answered */
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await this.worker.close();
    await new Promise((resolve) => this.#server.close(resolve));
    if (this.breaches.length > 0)
      throw new Error(`not as Svix describes it:\n${[...new Set(this.breaches)].join('\n')}`);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const arrived = this.#read(request, bytes.toString());
    if (arrived === null) {
      response.writeHead(404).end();
      return;
    }
    const { call } = arrived;
    const scripted = this.#scripts.get(call.operation)?.shift() ?? this.decide(call);
    if (scripted !== null) return this.#misbehave(arrived, scripted, response);
    const answer = await this.#answerOnce(arrived, bytes.length);
    this.#note(call.operation, breachesOfAnswer(call.operation, answer));
    reply(response, answer);
  }

  /** The request, noted; null if there is no such route. */
  #read(request: IncomingMessage, text: string): Arrived | null {
    const { headers, method = '', url: path = '/' } = request;
    const isMarkedAs = /^(?:svix-libs|Chokin-Webhooks)\//.test(headers['user-agent'] ?? '');
    const url = new URL(path, 'http://svix');
    const route = ROUTES.find(([, routeMethod, pattern]) => routeMethod === method && pattern.test(url.pathname));
    if (route === undefined) {
      if (isMarkedAs)
        this.breaches.push(`${method} ${url.pathname}: the description, or svix/contract.ts, has no such route`);
      return null;
    }
    const [operation, , pattern] = route;
    const params = (pattern.exec(url.pathname) ?? []).slice(1).map(decodeURIComponent);
    const raw = { operation, params, search: url.searchParams, headers, text };
    if (isMarkedAs) this.#note(operation, breachesOfRequest(raw));
    const key = headers['idempotency-key'];
    const call: SvixRequest = {
      operation,
      params,
      query: Object.fromEntries(url.searchParams),
      idempotencyKey: typeof key === 'string' ? key : undefined,
      body: parseOrNull(text),
      atMs: performance.now(),
    };
    this.requests.push(call);
    return { call, raw, url: path, authorization: headers.authorization };
  }

  #note(operation: SvixOperation, breaches: readonly string[]): void {
    this.breaches.push(...breaches.map((breach) => `${operation}: ${breach}`));
  }

  async #misbehave({ raw, call }: Arrived, scripted: ScriptedAnswer, response: ServerResponse): Promise<void> {
    const { status = 500, headers = {}, body, connection, stores = false, dispatches = false, after } = scripted;
    if (stores && call.operation === 'message.create') this.#storeMessage(raw, dispatches);
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

  /** As far as a server gets that stores a message and then fails; one that it refuses is not stored. */
  #storeMessage({ params: [idOrUid = ''], text }: RawRequest, dispatches: boolean): void {
    try {
      const body = readBody('message.create', text) as BodyOf<'message.create'>;
      const { application, message } = storeMessage(this.#world, idOrUid, body);
      if (dispatches) this.worker.dispatch({ application, message });
    } catch (error) {
      if (!(error instanceof SvixRefusal)) throw error;
    }
  }

  /**
   * core/idempotency.rs: POSTs with one key, token and address are one, of which the answer is remembered if it was 2xx; the
   * second waits for the first. A refused one is tried anew. (It forgets after 12 hours, and when the server starts.)
   */
  async #answerOnce(arrived: Arrived, bytes: number): Promise<SvixReply> {
    const { call, raw, url, authorization } = arrived;
    const isRemembered = CONTRACT[call.operation].method === 'POST' && call.idempotencyKey !== undefined;
    if (!isRemembered || authorization === undefined) return this.#answer(call.operation, raw, bytes, authorization);
    const key = JSON.stringify([authorization, call.idempotencyKey, url]);
    const earlier = await this.#remembered.get(key);
    if (earlier !== undefined && earlier.status < 300) return earlier;
    const made = Promise.resolve(this.#answer(call.operation, raw, bytes, authorization));
    this.#remembered.set(key, made);
    return made;
  }

  #answer<T extends SvixOperation>(
    operation: T,
    { params, search, text }: RawRequest,
    bytes: number,
    authorization: string | undefined,
  ): SvixReply {
    const contract: OperationContract = CONTRACT[operation];
    const handler: (call: Call<T>) => SvixReply = this.#handlers[operation];
    try {
      const query = readQuery(contract.query, search) as QueryOf<T>;
      if (operation !== 'health.get' && authorization !== `Bearer ${SVIX_TOKEN}`) {
        throw refusal(401, 'authentication_failed', 'Invalid token');
      }
      // The application of the path is looked for before the body is read.
      if (params.length > 1 || operation === 'endpoint.create' || operation === 'application.patch') {
        this.#handlers['application.get']({ params, query: {}, body: null, asksForMessages: false });
      }
      checkBodySize(bytes);
      const body = readBody(operation, text) as BodyOf<T>;
      return handler({ params, query, body, asksForMessages: search.get('with_msg') === 'true' });
    } catch (error) {
      if (error instanceof SvixRefusal) return error.reply;
      throw error;
    }
  }
}

function parseOrNull(text: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function reply(response: ServerResponse, { status, body }: SvixReply): void {
  response.writeHead(status, body === null ? {} : { 'content-type': 'application/json' });
  response.end(body === null ? undefined : JSON.stringify(body));
}
