import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { z } from 'zod';

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
  readonly customer: string;
  readonly created: number;
  readonly metadata: Readonly<Record<string, string>>;
  status: string;
}

/**
 * What happens to the next request for a charge. `lost`: it is done, and the connection ends without an answer. `hang`: it is done, and
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

interface Remembered {
  readonly request: string;
  readonly status: number;
  readonly body: string;
}

/**
 * Stripe's API as far as off-session charges go. Its rules: docs.stripe.com/api/idempotent_requests (the first answer under a key is
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
  /** The keys of all requests for a charge, in the order of arrival. */
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

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://stripe');
    const body = await text(request);
    const answer = (status: number, json: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    };
    if (request.headers.authorization !== `Bearer ${this.#apiKey}`) return answer(401, errorBody('invalid_api_key'));
    const [, , kind, id] = url.pathname.split('/');
    if (request.method === 'POST' && url.pathname === '/v1/payment_intents') {
      return this.#charge({ body, key: String(request.headers['idempotency-key'] ?? ''), response });
    }
    if (kind === 'payment_intents' && id === undefined) return answer(200, this.#list(url.searchParams));
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

  async #charge({ body, key, response }: { body: string; key: string; response: ServerResponse }): Promise<void> {
    this.keys.push(key);
    const send = ({ status, body: json }: Pick<Remembered, 'status' | 'body'>) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(json);
    };
    const play = this.plays.shift();
    if (play === 'limited') return send({ status: 429, body: JSON.stringify(errorBody('rate_limit')) });
    if (play === 'busy') return send({ status: 409, body: JSON.stringify(errorBody('idempotency_key_in_use')) });
    const known = this.#remembered.get(key);
    if (known !== undefined && known.request !== body) {
      const error = { type: 'idempotency_error', message: 'Keys can only be used with the same parameters.' };
      return send({ status: 400, body: JSON.stringify({ error }) });
    }
    const made = known ?? this.#make(body, play === 'error');
    this.#remembered.set(key, made);
    if (play === 'lost') return void response.destroy();
    if (play === 'hang') return;
    if (typeof play === 'function') await play();
    send(made);
  }

  #make(request: string, isError: boolean): Remembered {
    const form = intentRequest.safeParse(Object.fromEntries(new URLSearchParams(request)));
    const remember = (status: number, json: unknown) => ({ request, status, body: JSON.stringify(json) });
    if (!form.success) return remember(400, errorBody('parameter_unknown'));
    const { amount, currency, customer, payment_method } = form.data;
    const method = this.methods.get(payment_method);
    if (method === undefined || method.customerId !== customer) {
      return remember(400, errorBody('resource_missing', { param: 'payment_method' }));
    }
    const { says } = method;
    const status = says === 'yes' ? 'succeeded' : says === 'processing' ? 'processing' : 'requires_payment_method';
    const metadata = Object.fromEntries(
      Object.entries(form.data).flatMap(([name, value]) => {
        const [, field] = /^metadata\[(\w+)\]$/.exec(name) ?? [];
        return field === undefined ? [] : [[field, String(value)]];
      }),
    );
    const id = `pi_${this.intents.length + 1}_${Math.random().toString(36).slice(2, 8)}`;
    const intent: ChargedIntent = { id, amount, currency, customer, created: this.now(), metadata, status };
    this.intents.push(intent);
    if (isError) return remember(500, { error: { type: 'api_error', message: 'Something went wrong.' } });
    if (status !== 'requires_payment_method') return remember(200, shown(intent));
    const code = says === 'authentication_required' ? says : says === 'expired_card' ? says : 'card_declined';
    const type = 'card_error';
    return remember(402, {
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
