import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import { signStripe, stripePaymentSucceeded, stripeRefund } from './signing.ts';

/** As it is bracketed in a form: `line_items[0][price_data][currency]`. */
const sessionRequest = z.strictObject({
  mode: z.literal('payment'),
  success_url: z.url(),
  'line_items[0][quantity]': z.coerce.number().int().positive(),
  'line_items[0][price_data][currency]': z.string().regex(/^[a-z]{3}$/),
  'line_items[0][price_data][unit_amount]': z.coerce.number().int().min(50),
  'line_items[0][price_data][product_data][name]': z.string().min(1),
  'payment_intent_data[metadata][wallet_token]': z.string().min(1),
});
const refundRequest = z.strictObject({ payment_intent: z.string() });

interface Session {
  readonly id: string;
  readonly paymentId: string;
  readonly amount: number;
  readonly currency: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The parts of Stripe that a shop uses: Checkout sessions, refunds, the page where a person pays, and the events of both. */
export class StripeCheckout {
  readonly #server: Server;
  readonly #sessions: Session[] = [];
  readonly #secret: string;
  readonly #apiKey: string;
  /** Where events go, as `stripe listen --forward-to` was told. */
  forwardTo = '';

  constructor({ secret, apiKey }: { readonly secret: string; readonly apiKey: string }) {
    this.#secret = secret;
    this.#apiKey = apiKey;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        response.writeHead(400).end(JSON.stringify({ error: { type: 'invalid_request_error', message } }));
      });
    });
  }

  async listen(): Promise<string> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  /** A person pays at the page of the newest session. */
  async pay(): Promise<void> {
    const session = this.#sessions.at(-1);
    if (session === undefined) throw new Error('there is no session to pay for');
    const { paymentId, amount, currency, metadata } = session;
    await this.#send(stripePaymentSucceeded({ paymentId, amount, currency, metadata }));
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.headers.authorization !== `Bearer ${this.#apiKey}`) throw new Error('not the API key');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const form = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
    const answer = await this.#route(`${request.method} ${request.url}`, form);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }

  async #route(route: string, form: unknown): Promise<object> {
    if (route === 'POST /v1/checkout/sessions') return this.#makeSession(sessionRequest.parse(form));
    if (route === 'POST /v1/refunds') return this.#refund(refundRequest.parse(form).payment_intent);
    throw new Error(`Unrecognized request URL (${route})`);
  }

  #makeSession(asked: z.infer<typeof sessionRequest>): object {
    const id = `cs_test_double${this.#sessions.length + 1}`;
    const session = {
      id,
      paymentId: `pi_double000000000000000${this.#sessions.length + 1}`,
      amount: asked['line_items[0][quantity]'] * asked['line_items[0][price_data][unit_amount]'],
      currency: asked['line_items[0][price_data][currency]'],
      metadata: { wallet_token: asked['payment_intent_data[metadata][wallet_token]'] },
    };
    this.#sessions.push(session);
    return { id, object: 'checkout.session', status: 'open', url: `https://checkout.stripe.com/c/pay/${id}` };
  }

  async #refund(paymentId: string): Promise<object> {
    const paid = this.#sessions.find((session) => session.paymentId === paymentId);
    if (paid === undefined) throw new Error(`No such payment_intent: '${paymentId}'`);
    const { amount, currency } = paid;
    const refundId = `re_double${paymentId.slice('pi_double'.length)}`;
    await this.#send(stripeRefund({ paymentId, refundId, amount, currency, status: 'succeeded' }));
    return { id: refundId, object: 'refund', amount, currency, payment_intent: paymentId, status: 'succeeded' };
  }

  async #send(body: string): Promise<void> {
    const headers = signStripe(body, this.#secret);
    const response = await fetch(this.forwardTo, { method: 'POST', body, headers });
    if (!response.ok) throw new Error(`the event was answered ${response.status}`);
  }
}
