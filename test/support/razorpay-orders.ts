import { z } from 'zod';
import { type JsonObject, providerFixture, within } from './provider-fixtures.ts';
import { found, ShopProvider, type ShopRequest } from './shop-provider.ts';
import { razorpayPayment, razorpayRefund, signRazorpay } from './signing.ts';

const notes = z
  .record(z.string().max(256), z.string().max(256))
  .refine((pairs) => Object.keys(pairs).length <= 15, 'at most 15 notes');
const orderRequest = z.strictObject({
  amount: z.int().min(100),
  currency: z.literal('INR'),
  receipt: z.string().max(40),
  notes,
});
const refundRequest = z.strictObject({ amount: z.int().min(100).optional() });

/** What the browser gives to Razorpay's Checkout. */
const checkoutOptions = z.strictObject({
  key: z.string(),
  order_id: z.string(),
  name: z.string(),
  notes,
});

interface Order extends z.infer<typeof orderRequest> {
  readonly id: string;
  paymentId: string | null;
  refunded: number;
}

/** The parts of Razorpay that a shop uses: orders, the Checkout in which a person pays one, refunds, and the events of all of them. */
export class RazorpayOrders extends ShopProvider {
  readonly #orders = new Map<string, Order>();
  readonly #keyId: string;
  readonly #keySecret: string;
  readonly #secret: string;

  constructor({ keyId, keySecret, secret }: { keyId: string; keySecret: string; secret: string }) {
    super();
    this.#keyId = keyId;
    this.#keySecret = keySecret;
    this.#secret = secret;
  }

  /** A person pays in the Checkout that a page of the shop opens. */
  async pay(page: string): Promise<void> {
    const [, given = ''] = /new Razorpay\((\{.*\})\)/.exec(page) ?? [];
    const options = checkoutOptions.parse(JSON.parse(given));
    if (options.key !== this.#keyId) throw new Error('not the id of the key');
    const order = found(this.#orders, options.order_id);
    if (order.paymentId !== null) throw new Error('Razorpay takes one payment of an order');
    order.paymentId = `pay_double${order.id.slice('order_double'.length)}`;
    const { paymentId, amount, currency } = order;
    const payment = { paymentId, amount, currency, notes: options.notes };
    const captured = withOrder(razorpayPayment(payment), order.id);
    await this.#deliver(captured);
    await this.#deliver(orderPaid(captured, order));
  }

  protected override async answer({ route, headers, body }: ShopRequest): Promise<object> {
    const expected = Buffer.from(`${this.#keyId}:${this.#keySecret}`).toString('base64');
    if (headers.authorization !== `Basic ${expected}`) throw new Error('The api key provided is invalid');
    const [, refunded] = /^POST \/v1\/payments\/(\w+)\/refund$/.exec(route) ?? [];
    if (refunded !== undefined) return this.#refund(refunded, refundRequest.parse(JSON.parse(body)));
    if (route === 'POST /v1/orders') return this.#makeOrder(orderRequest.parse(JSON.parse(body)));
    throw new Error('The requested URL was not found on the server.');
  }

  protected override refusal(description: string) {
    const error = { code: 'BAD_REQUEST_ERROR', description, source: 'business', step: null, reason: null };
    return { status: 400, json: { error } };
  }

  #makeOrder(asked: z.infer<typeof orderRequest>): object {
    const order = { ...asked, id: `order_double${this.#orders.size + 1}`, paymentId: null, refunded: 0 };
    this.#orders.set(order.id, order);
    return shown(order);
  }

  async #refund(paymentId: string, asked: z.infer<typeof refundRequest>): Promise<object> {
    const order = [...this.#orders.values()].find((one) => one.paymentId === paymentId);
    if (order === undefined) throw new Error('The id provided does not exist');
    const { amount = order.amount - order.refunded } = asked;
    if (order.refunded + amount > order.amount) throw new Error('The total refund amount is greater than the payment');
    const refundId = `rfnd_double${order.id.slice('order_double'.length)}_${order.refunded}`;
    order.refunded += amount;
    const { currency, notes: paymentNotes } = order;
    const event = razorpayRefund({ paymentId, refundId, amount, currency, paymentNotes });
    await this.#deliver(event);
    return within(JSON.parse(event) as JsonObject, 'payload', 'refund', 'entity');
  }

  #deliver(body: string): Promise<void> {
    return this.send(body, signRazorpay(body, this.#secret));
  }
}

function shown({ id, amount, currency, receipt, notes: pairs }: Order): JsonObject {
  return {
    ...{ id, entity: 'order', amount, amount_paid: 0, amount_due: amount, currency, receipt },
    ...{ offer_id: null, status: 'created', attempts: 0, notes: pairs, created_at: Math.floor(Date.now() / 1000) },
  };
}

function withOrder(captured: string, orderId: string): string {
  const event = JSON.parse(captured) as JsonObject;
  within(event, 'payload', 'payment', 'entity').order_id = orderId;
  return JSON.stringify(event);
}

/** `order.paid` of the payment that `payment.captured` tells. */
function orderPaid(captured: string, order: Order): string {
  const event = providerFixture('razorpay', 'order.paid');
  const payload = within(event, 'payload');
  payload.payment = within(JSON.parse(captured) as JsonObject, 'payload').payment;
  const paid = { ...shown(order), amount_paid: order.amount, amount_due: 0, attempts: 1, status: 'paid' };
  payload.order = { entity: paid };
  return JSON.stringify(event);
}
