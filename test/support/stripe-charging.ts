import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { stripeAccount } from './provider-api-dialects.ts';
import { type OpenSession, openSession, shownSession } from './stripe-sessions.ts';

/** A saved payment method, and what its bank says: yes, `processing`, or a decline code. */
export interface SavedMethod {
  readonly id: string;
  readonly customerId: string;
  readonly fingerprint: string | null;
  says: 'yes' | 'processing' | (string & {});
}

export interface ChargedIntent {
  readonly id: string;
  readonly amount: number;
  readonly currency: string;
  readonly customer: string | null;
  readonly created: number;
  readonly metadata: Readonly<Record<string, string>>;
  status: string;
}

/**
 * What happens to the next request for a charge or a Checkout session. `lost`: it is done, and the connection ends without an answer. `hang`: it is done, and
 * no answer ever comes. `error`: it is done, and the answer is an error 500, which is remembered under the key. `limited`: 429, nothing
 * is done or remembered. `busy`: 409, another request with the key is under way. A function is called when it is done, before the answer.
 */
export type ChargePlay = 'lost' | 'hang' | 'error' | 'limited' | 'busy' | (() => Promise<void>);

/** As it is bracketed in a form, and nothing else: the request that the adapter is to make. */
const intentRequest = z.strictObject({
  amount: z.coerce.number().int().positive(),
  currency: z.string().regex(/^[a-z]{3}$/),
  customer: z.string(),
  payment_method: z.string(),
  confirm: z.literal('true'),
  off_session: z.literal('true'),
  error_on_requires_action: z.literal('true'),
  'automatic_payment_methods[enabled]': z.literal('true'),
  'automatic_payment_methods[allow_redirects]': z.literal('never'),
  'metadata[wallet_customer_id]': z.string(),
  'metadata[wallet_purpose]': z.literal('topup'),
  'metadata[wallet_topup_id]': z.string(),
});

interface Made {
  readonly status: number;
  readonly body: string;
}

interface Remembered extends Made {
  readonly request: string;
}

const SERVER_ERROR = { error: { type: 'api_error', message: 'Something went wrong.' } };

function made(status: number, json: unknown): Made {
  return { status, body: JSON.stringify(json) };
}

/**
 * Stripe's API as far as off-session charges go, and Checkout sessions (stripe-sessions.ts), and whose account the key opens. Its rules: docs.stripe.com/api/idempotent_requests (the first answer under a key is
 * given again, a 500 too; other parameters under it are an error; what fails before the work begins is not remembered; two at once are
 * a conflict), docs.stripe.com/declines/codes and stripe-ruby issue 838 (an off-session payment that wants authentication is declined,
 * with 402, though a PaymentIntent is made), docs.stripe.com/api/payment_intents/list, docs.stripe.com/api/errors, and the types of stripe 23.1.0.
 */
export class StripeCharging {
  readonly #server: Server;
  readonly #apiKey: string;
  readonly #remembered = new Map<string, Remembered>();
  readonly methods = new Map<string, SavedMethod>();
  /** The method that each customer pays with unless told otherwise. */
  readonly defaults = new Map<string, string>();
  readonly intents: ChargedIntent[] = [];
  readonly sessions: OpenSession[] = [];
  /** Whose account the key opens; null: a restricted key may not ask. */
  account: string | null = 'acct_charging';
  /** The keys of all requests for a charge or a session, in the order of arrival. */
  readonly keys: string[] = [];
  readonly plays: ChargePlay[] = [];
  /** What `created` is counted from, in seconds. */
  now = () => Math.floor(Date.now() / 1000);
  #port = 0;

  constructor(apiKey: string) {
    this.#apiKey = apiKey;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  /** Listens, again at the same port after {@link stop}. */
  async start(): Promise<string> {
    await once(this.#server.listen(this.#port, '127.0.0.1'), 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    return `http://127.0.0.1:${this.#port}`;
  }

  /** From now on connections are refused. */
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Keys are forgotten after about a day. */
  forgetKeys(): void {
    this.#remembered.clear();
  }

  addMethod(method: Omit<SavedMethod, 'says'> & Partial<Pick<SavedMethod, 'says'>>): SavedMethod {
    const added = { says: 'yes', ...method };
    this.methods.set(added.id, added);
    this.defaults.set(added.customerId, added.id);
    return added;
  }

  /** Somebody pays at the page of a session. @returns the payment that its events are about */
  pay(sessionId: string, status = 'succeeded'): ChargedIntent {
    const session = this.sessions.find(({ id }) => id === sessionId);
    if (session === undefined) throw new Error(`there is no session ${sessionId}`);
    const { amount, currency, metadata } = session;
    return this.#add({ amount, currency, customer: null, metadata, status });
  }

  #add(intent: Omit<ChargedIntent, 'id' | 'created'>): ChargedIntent {
    const id = `pi_${this.intents.length + 1}_${Math.random().toString(36).slice(2, 8)}`;
    const added = { id, created: this.now(), ...intent };
    this.intents.push(added);
    return added;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://stripe');
    const body = await text(request);
    const answer = (status: number, json: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    };
    if (request.headers.authorization !== `Bearer ${this.#apiKey}`) return answer(401, errorBody('invalid_api_key'));
    const [, , kind, id] = url.pathname.split('/');
    const key = String(request.headers['idempotency-key'] ?? '');
    if (request.method === 'POST' && url.pathname === '/v1/payment_intents') {
      return this.#once({ body, key, response }, (isError) => this.#charge(body, isError));
    }
    if (request.method === 'POST' && url.pathname === '/v1/checkout/sessions') {
      return this.#once({ body, key, response }, (isError) => this.#openSession(body, isError));
    }
    if (url.pathname === '/v1/account') {
      return this.account === null
        ? answer(403, errorBody('insufficient_permissions'))
        : answer(200, stripeAccount(this.account));
    }
    if (kind === 'payment_intents' && id === undefined) return answer(200, this.#list(url.searchParams));
    if (kind === 'payment_intents') {
      const intent = this.intents.find((one) => one.id === id);
      return intent === undefined ? answer(404, errorBody('resource_missing')) : answer(200, shown(intent));
    }
    if (kind === 'payment_methods') {
      const method = this.methods.get(id ?? '');
      if (method === undefined) return answer(404, errorBody('resource_missing', { param: 'payment_method' }));
      const { customerId: customer, fingerprint } = method;
      return answer(200, {
        id,
        object: 'payment_method',
        type: 'card',
        customer,
        card: { brand: 'visa', fingerprint },
      });
    }
    if (kind === 'customers' && id !== undefined) {
      const default_payment_method = this.defaults.get(id) ?? null;
      return answer(200, {
        id,
        object: 'customer',
        default_source: null,
        invoice_settings: { default_payment_method },
      });
    }
    return answer(404, errorBody('resource_missing'));
  }

  /** The newest first, as all lists of Stripe. */
  #list(query: URLSearchParams): unknown {
    const since = Number(query.get('created[gte]') ?? 0);
    const own = this.intents.filter((one) => one.customer === query.get('customer') && one.created >= since);
    const after = own.toReversed().findIndex(({ id }) => id === query.get('starting_after')) + 1;
    const limit = Number(query.get('limit') ?? 10);
    const data = own.toReversed().slice(after, after + limit);
    return { object: 'list', url: '/v1/payment_intents', has_more: own.length > after + limit, data: data.map(shown) };
  }

  async #once(
    { body, key, response }: { readonly body: string; readonly key: string; readonly response: ServerResponse },
    make: (isError: boolean) => Made,
  ): Promise<void> {
    this.keys.push(key);
    const send = ({ status, body: json }: Made) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(json);
    };
    const play = this.plays.shift();
    if (play === 'limited') return send(made(429, errorBody('rate_limit')));
    if (play === 'busy') return send(made(409, errorBody('idempotency_key_in_use')));
    const known = this.#remembered.get(key);
    if (known !== undefined && known.request !== body) {
      const error = { type: 'idempotency_error', message: 'Keys can only be used with the same parameters.' };
      return send(made(400, { error }));
    }
    const answer = known ?? { request: body, ...make(play === 'error') };
    this.#remembered.set(key, answer);
    if (play === 'lost') return void response.destroy();
    if (play === 'hang') return;
    if (typeof play === 'function') await play();
    send(answer);
  }

  #openSession(body: string, isError: boolean): Made {
    const id = `cs_test_${this.sessions.length + 1}${Math.random().toString(36).slice(2, 8)}`;
    const session = openSession(body, { id, now: this.now() });
    if ('code' in session) return made(400, errorBody(session.code, { param: session.param }));
    this.sessions.push(session);
    return isError ? made(500, SERVER_ERROR) : made(200, shownSession(session));
  }

  #charge(request: string, isError: boolean): Made {
    const form = intentRequest.safeParse(Object.fromEntries(new URLSearchParams(request)));
    if (!form.success) return made(400, errorBody('parameter_unknown'));
    const { amount, currency, customer, payment_method } = form.data;
    const method = this.methods.get(payment_method);
    if (method === undefined || method.customerId !== customer) {
      return made(400, errorBody('resource_missing', { param: 'payment_method' }));
    }
    const { says } = method;
    const status = says === 'yes' ? 'succeeded' : says === 'processing' ? 'processing' : 'requires_payment_method';
    const metadata = Object.fromEntries(
      Object.entries(form.data).flatMap(([name, value]) => {
        const [, field] = /^metadata\[(\w+)\]$/.exec(name) ?? [];
        return field === undefined ? [] : [[field, String(value)]];
      }),
    );
    const intent = this.#add({ amount, currency, customer, metadata, status });
    if (isError) return made(500, SERVER_ERROR);
    if (status !== 'requires_payment_method') return made(200, shown(intent));
    const code = says === 'authentication_required' ? says : says === 'expired_card' ? says : 'card_declined';
    const type = 'card_error';
    return made(402, {
      error: { type, code, decline_code: says, message: 'Declined.', payment_intent: shown(intent) },
    });
  }
}

function shown({ created, ...intent }: ChargedIntent) {
  return { object: 'payment_intent', created, livemode: false, last_payment_error: null, ...intent };
}

function errorBody(code: string, more: object = {}) {
  return { error: { type: 'invalid_request_error', code, message: 'Refused.', ...more } };
}
