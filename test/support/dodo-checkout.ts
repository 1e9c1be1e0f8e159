import { z } from 'zod';
import { type JsonObject, within } from './provider-fixtures.ts';
import { found, ShopProvider, type ShopRequest } from './shop-provider.ts';
import { dodoPayment, dodoRefund, signDodo } from './signing.ts';

const sessionRequest = z.strictObject({
  product_cart: z
    .array(z.strictObject({ product_id: z.string(), quantity: z.literal(1), amount: z.int().positive() }))
    .length(1),
  customer: z.strictObject({ email: z.email(), name: z.string() }),
  billing_currency: z.literal('USD'),
  metadata: z.record(z.string(), z.string()),
  feature_flags: z.strictObject({ allow_discount_code: z.literal(false) }),
  return_url: z.url(),
  cancel_url: z.url(),
});
const refundRequest = z.strictObject({
  payment_id: z.string(),
  items: z
    .array(z.strictObject({ item_id: z.string(), amount: z.int().positive() }))
    .length(1)
    .optional(),
});

interface Session {
  readonly productId: string;
  readonly paymentId: string;
  /** What the shop asked for, and what the buyer pays with the tax that Dodo adds. */
  readonly amount: number;
  readonly total: number;
  readonly metadata: Readonly<Record<string, string>>;
  refunded: number;
}

/**
 * The parts of Dodo Payments that a shop uses: checkout sessions of one product whose price the shop says, refunds, and the events of
 * both. Dodo is the seller: it adds the tax of the buyer's country to what it charges.
 */
export class DodoCheckout extends ShopProvider {
  readonly #sessions = new Map<string, Session>();
  readonly #apiKey: string;
  readonly #productId: string;
  readonly #secret: string;
  taxPercent = 0;

  constructor({ apiKey, productId, secret }: { apiKey: string; productId: string; secret: string }) {
    super();
    this.#apiKey = apiKey;
    this.#productId = productId;
    this.#secret = secret;
  }

  /** A person pays at the page of the newest session. */
  async pay(): Promise<void> {
    const session = [...this.#sessions.values()].at(-1);
    if (session === undefined) throw new Error('there is no session to pay for');
    const { paymentId, total, metadata } = session;
    await this.#deliver(dodoPayment({ paymentId, amount: total, currency: 'USD', metadata }));
  }

  protected override async answer({ route, headers, body }: ShopRequest): Promise<object> {
    if (headers.authorization !== `Bearer ${this.#apiKey}`) throw new Error('not the API key');
    if (route === 'POST /checkouts') return this.#makeSession(sessionRequest.parse(JSON.parse(body)));
    if (route === 'POST /refunds') return this.#refund(refundRequest.parse(JSON.parse(body)));
    throw new Error('Not found');
  }

  protected override refusal(message: string) {
    return { status: 422, json: { code: 'INVALID_REQUEST_PARAMETERS', message } };
  }

  #makeSession({ product_cart: [item], metadata }: z.infer<typeof sessionRequest>): object {
    if (item?.product_id !== this.#productId) throw new Error('there is no such product');
    const number = this.#sessions.size + 1;
    const { amount } = item;
    const total = amount + Math.round((amount * this.taxPercent) / 100);
    const paymentId = `pay_dododouble${number}`;
    this.#sessions.set(paymentId, { productId: item.product_id, paymentId, amount, total, metadata, refunded: 0 });
    const session_id = `cks_double${number}`;
    return { session_id, checkout_url: `https://test.checkout.dodopayments.com/session/${session_id}` };
  }

  async #refund({ payment_id: paymentId, items }: z.infer<typeof refundRequest>): Promise<object> {
    const session = found(this.#sessions, paymentId);
    const [item = { item_id: session.productId, amount: session.total - session.refunded }] = items ?? [];
    if (item.item_id !== session.productId) throw new Error('there is no such item');
    const { amount } = item;
    if (session.refunded + amount > session.total) throw new Error('more than was paid');
    const refundId = `ref_double${session.paymentId.slice('pay_dododouble'.length)}_${session.refunded}`;
    session.refunded += amount;
    const isPartial = session.refunded < session.total;
    const refund = { paymentId, refundId, amount, currency: 'USD', isPartial, status: 'succeeded' } as const;
    const event = dodoRefund(refund);
    await this.#deliver(event);
    const { payload_type: _, ...answer } = within(JSON.parse(event) as JsonObject, 'data');
    return answer;
  }

  #deliver(body: string): Promise<void> {
    return this.send(body, signDodo(body, this.#secret));
  }
}
