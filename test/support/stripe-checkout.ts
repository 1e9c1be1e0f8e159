import { z } from 'zod';
import { found, ShopProvider, type ShopRequest } from './shop-provider.ts';
import { signStripe, stripePaymentSucceeded, stripeRefund } from './signing.ts';

const MINUTE = 60;
const DAY = 24 * 60 * MINUTE;
/** What the tutorials put on a payment. */
const METADATA =
  /^(?:payment_intent_data\[metadata\]|metadata)\[(wallet_(?:token|customer_id|purpose|checkout_id|topup_id))\]$/;

/** As it is bracketed in a form: `line_items[0][price_data][currency]`. */
const sessionRequest = z.strictObject({
  mode: z.literal('payment'),
  success_url: z.url(),
  cancel_url: z.url().optional(),
  expires_at: z.coerce
    .number()
    .int()
    .refine((at) => {
      const left = at - Date.now() / 1000;
      return left >= 30 * MINUTE && left <= DAY;
    }, 'wants 30 minutes to 24 hours from now')
    .optional(),
  'line_items[0][quantity]': z.coerce.number().int().positive(),
  'line_items[0][price_data][currency]': z.string().regex(/^[a-z]{3}$/),
  'line_items[0][price_data][unit_amount]': z.coerce.number().int().min(50),
  'line_items[0][price_data][product_data][name]': z.string().min(1),
});
const refundRequest = z.strictObject({
  payment_intent: z.string(),
  amount: z.coerce.number().int().positive().optional(),
});
/** A charge of a saved card without the customer. */
const chargeRequest = z.strictObject({
  amount: z.coerce.number().int().min(50),
  currency: z.string().regex(/^[a-z]{3}$/),
  customer: z.string(),
  payment_method: z.string(),
  off_session: z.literal('true'),
  confirm: z.literal('true'),
});
const customerRequest = z.strictObject({ email: z.email(), name: z.string() });
const attachRequest = z.strictObject({ customer: z.string() });

interface Payment {
  readonly paymentId: string;
  readonly amount: number;
  readonly currency: string;
  readonly metadata: Readonly<Record<string, string>>;
}

interface Session extends Payment {
  readonly id: string;
  state: 'open' | 'complete' | 'expired';
}

/**
 * The parts of Stripe that a shop uses: Checkout sessions, charges of a saved card, refunds, the page where a person pays, and the
 * events of all of them.
 */
export class StripeCheckout extends ShopProvider {
  readonly #sessions = new Map<string, Session>();
  readonly #payments = new Map<string, Payment>();
  readonly #refunded = new Map<string, number>();
  /** The first answer under each idempotency key, which is given again; other parameters under it are an error. */
  readonly #answers = new Map<string, { readonly body: string; readonly answer: object }>();
  readonly #secret: string;
  readonly #apiKey: string;
  /** The saved cards of each customer, the newest first; a test card of Stripe by its name. */
  readonly #cards = new Map<string, string[]>();

  constructor({ secret, apiKey }: { readonly secret: string; readonly apiKey: string }) {
    super();
    this.#secret = secret;
    this.#apiKey = apiKey;
  }

  /** A person pays at the page of a session, the newest unless said otherwise. */
  async pay(sessionId?: string): Promise<void> {
    const session = sessionId === undefined ? [...this.#sessions.values()].at(-1) : found(this.#sessions, sessionId);
    if (session === undefined) throw new Error('there is no session to pay for');
    if (session.state !== 'open') throw new Error(`the session is ${session.state}`);
    session.state = 'complete';
    await this.#paid(session);
  }

  protected override async answer({ route, headers, body }: ShopRequest): Promise<object> {
    if (headers.authorization !== `Bearer ${this.#apiKey}`) throw new Error('not the API key');
    const key = headers['idempotency-key'];
    const before = typeof key === 'string' ? this.#answers.get(key) : undefined;
    if (before !== undefined) {
      if (before.body !== body) throw new Error('Keys can only be used with the same parameters.');
      return before.answer;
    }
    const answer = await this.#route(route, Object.fromEntries(new URLSearchParams(body)));
    if (typeof key === 'string') this.#answers.set(key, { body, answer });
    return answer;
  }

  protected override refusal(message: string) {
    const declined = DECLINED.exec(message)?.[1];
    if (declined === undefined) return { status: 400, json: { error: { type: 'invalid_request_error', message } } };
    const code = declined === 'authentication_required' ? declined : 'card_declined';
    const error = { type: 'card_error', code, decline_code: declined, message: 'Your card was declined.' };
    return { status: 402, json: { error } };
  }

  async #route(route: string, form: Readonly<Record<string, string>>): Promise<object> {
    const { metadata, rest } = split(form);
    const [, expired] = /^POST \/v1\/checkout\/sessions\/(\w+)\/expire$/.exec(route) ?? [];
    if (expired !== undefined) return this.#expire(expired);
    if (route === 'POST /v1/checkout/sessions') return this.#makeSession(sessionRequest.parse(rest), metadata);
    const [, attached] = /^POST \/v1\/payment_methods\/(\w+)\/attach$/.exec(route) ?? [];
    if (attached !== undefined) return this.#attach(attached, attachRequest.parse(rest));
    const [, listed] = /^GET \/v1\/customers\/(\w+)\/payment_methods\?limit=1$/.exec(route) ?? [];
    if (listed !== undefined) return this.#listCards(listed);
    if (route === 'POST /v1/customers') return this.#makeCustomer(customerRequest.parse(rest));
    if (route === 'POST /v1/payment_intents') return this.#charge(chargeRequest.parse(rest), metadata);
    if (route === 'POST /v1/refunds') return this.#refund(refundRequest.parse(rest));
    throw new Error(`Unrecognized request URL (${route})`);
  }

  #makeSession(asked: z.infer<typeof sessionRequest>, metadata: Readonly<Record<string, string>>): object {
    const id = `cs_test_double${this.#sessions.size + 1}`;
    const amount = asked['line_items[0][quantity]'] * asked['line_items[0][price_data][unit_amount]'];
    const currency = asked['line_items[0][price_data][currency]'];
    const session: Session = { id, paymentId: this.#newPaymentId(), amount, currency, metadata, state: 'open' };
    this.#sessions.set(id, session);
    this.#payments.set(session.paymentId, session);
    return this.#shown(session);
  }

  #expire(id: string): object {
    const session = found(this.#sessions, id);
    if (session.state !== 'open') throw new Error('Only Checkout Sessions with a status in ["open"] can be expired.');
    session.state = 'expired';
    return this.#shown(session);
  }

  #shown({ id, state, amount, currency }: Session): object {
    const url = state === 'open' ? `https://checkout.stripe.com/c/pay/${id}` : null;
    return { id, object: 'checkout.session', status: state, amount_total: amount, currency, url };
  }

  #makeCustomer({ email, name }: z.infer<typeof customerRequest>): object {
    const id = `cus_double${this.#cards.size + 1}`;
    this.#cards.set(id, []);
    return { id, object: 'customer', email, name };
  }

  #attach(card: string, { customer }: z.infer<typeof attachRequest>): object {
    found(this.#cards, customer).unshift(card);
    return { id: card, object: 'payment_method', type: 'card', customer };
  }

  #listCards(customer: string): object {
    const data = found(this.#cards, customer).map((id) => ({ id, object: 'payment_method', type: 'card', customer }));
    return {
      object: 'list',
      url: `/v1/customers/${customer}/payment_methods`,
      has_more: false,
      data: data.slice(0, 1),
    };
  }

  async #charge(asked: z.infer<typeof chargeRequest>, metadata: Readonly<Record<string, string>>): Promise<object> {
    const { amount, currency, customer, payment_method: card } = asked;
    if (!found(this.#cards, customer).includes(card)) throw new Error(`No such PaymentMethod: '${card}'`);
    if (card === 'pm_card_authenticationRequired') throw new Error('declined: authentication_required');
    const payment = { paymentId: this.#newPaymentId(), amount, currency, metadata };
    this.#payments.set(payment.paymentId, payment);
    await this.#paid(payment);
    return { id: payment.paymentId, object: 'payment_intent', amount, currency, status: 'succeeded', metadata };
  }

  async #refund({ payment_intent: paymentId, amount: asked }: z.infer<typeof refundRequest>): Promise<object> {
    const { amount: paid, currency } = found(this.#payments, paymentId);
    const before = this.#refunded.get(paymentId) ?? 0;
    const amount = asked ?? paid - before;
    if (amount <= 0 || before + amount > paid) throw new Error(`Refund amount is greater than unrefunded amount.`);
    this.#refunded.set(paymentId, before + amount);
    const refundId = `re_double${paymentId.slice('pi_double'.length)}${before === 0 ? '' : `_${before}`}`;
    await this.#deliver(stripeRefund({ paymentId, refundId, amount, currency, status: 'succeeded' }));
    return { id: refundId, object: 'refund', amount, currency, payment_intent: paymentId, status: 'succeeded' };
  }

  #newPaymentId(): string {
    return `pi_double000000000000000${this.#payments.size + 1}`;
  }

  #paid({ paymentId, amount, currency, metadata }: Payment): Promise<void> {
    return this.#deliver(stripePaymentSucceeded({ paymentId, amount, currency, metadata }));
  }

  #deliver(body: string): Promise<void> {
    return this.send(body, signStripe(body, this.#secret));
  }
}

const DECLINED = /^declined: (\w+)$/;

/** The metadata of a form, and the rest of it. */
function split(form: Readonly<Record<string, string>>) {
  const metadata: Record<string, string> = {};
  const rest: Record<string, string> = {};
  for (const [name, value] of Object.entries(form)) {
    const [, field] = METADATA.exec(name) ?? [];
    if (field === undefined) rest[name] = value;
    else metadata[field] = value;
  }
  if (Object.keys(form).some((name) => name.includes('metadata')) && Object.keys(metadata).length === 0)
    throw new Error('metadata that no tutorial writes');
  return { metadata, rest };
}
