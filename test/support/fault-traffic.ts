import { signStripe, stripeDispute, stripePaymentSucceeded, stripeRefund } from './signing.ts';
import { eventually } from './wait.ts';

/** An answer of the service; status 0 if there was none. */
export interface TrafficAnswer {
  readonly status: number;
  /** Parsed JSON; tests look into it freely. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape is what the test is about
  readonly body: any;
}

/** An event of the provider, and what it changes on the customer's balance in USD once it is applied. */
export interface TrafficEvent {
  readonly eventId: string;
  readonly customerId: string;
  readonly effectMinor: number;
  readonly body: string;
}

export interface Debit {
  readonly customerId: string;
  readonly amountMinor: number;
  readonly key: string;
}

/** How long provider and merchant go on trying before the test fails. */
const PATIENCE_MS = 30_000;

/** A payment provider and a merchant who repeat each request until it is answered, and write down what they were promised. */
export class FaultTraffic {
  /** The ids of the events whose delivery was answered 2xx. */
  readonly acknowledged = new Set<string>();
  /** What each customer's balance in USD must come to by all that was answered with success, in minor units. */
  readonly owed = new Map<string, number>();
  /** The statuses of answers other than 2xx, 0 where none came. */
  readonly troubles: number[] = [];
  readonly baseURL: string;
  readonly #apiKey: string;
  readonly #debited = new Set<string>();

  constructor(baseURL: string, apiKey: string) {
    this.baseURL = baseURL;
    this.#apiKey = apiKey;
  }

  /** One API call, once. */
  call(method: string, path: string, body?: object): Promise<TrafficAnswer> {
    return this.#ask(path, {
      method,
      headers: { authorization: `Bearer ${this.#apiKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  /** A customer whose wallet in USD holds `creditMinor`, by an adjustment. */
  async newCustomer(creditMinor = 0): Promise<string> {
    const made = await this.call('POST', '/customers', { email: 'ada@example.com', name: 'Ada' });
    if (made.status !== 200) throw new Error(`no customer was made: ${made.status} ${JSON.stringify(made.body)}`);
    const customerId: string = made.body.customer_id;
    if (creditMinor > 0) {
      const entry = { amount: creditMinor, currency: 'USD', entry_type: 'credit' };
      const { status } = await this.call('POST', `/customers/${customerId}/wallets/ledger-entries`, entry);
      if (status !== 200) throw new Error(`the credit was answered ${status}`);
    }
    this.owed.set(customerId, creditMinor);
    return customerId;
  }

  /** One try of the provider to deliver an event, signed at this moment. @returns the status, 0 if no answer came */
  async deliverOnce({ eventId, customerId, effectMinor, body }: TrafficEvent): Promise<number> {
    const { status } = await this.#ask('/webhooks/stripe', { method: 'POST', headers: { ...signStripe(body) }, body });
    if (isSuccess(status) && !this.acknowledged.has(eventId)) {
      this.acknowledged.add(eventId);
      this.#owe(customerId, effectMinor);
    }
    return status;
  }

  /** The provider delivers again and again until it is answered 2xx, as providers do. */
  async deliver(event: TrafficEvent): Promise<void> {
    await eventually('a delivery to be taken', async () => isSuccess(await this.deliverOnce(event)), PATIENCE_MS);
  }

  /** One try of the merchant to debit a wallet in USD. The first success counts. */
  async debitOnce(debit: Debit): Promise<TrafficAnswer> {
    const path = `/customers/${debit.customerId}/wallets/ledger-entries`;
    return this.#noteDebit(debit, await this.call('POST', path, debitBody(debit)));
  }

  /** The merchant repeats the debit under the same key until it is answered: 200, or 409 with the entry. */
  debit(debit: Debit): Promise<TrafficAnswer> {
    return eventually('a debit to be answered', async () => settled(await this.debitOnce(debit)), PATIENCE_MS);
  }

  /** One try of many debits in one request; an answer for each, 200, 409, 429 or 503 as if it had been sent alone. */
  async debitBatchOnce(debits: readonly Debit[]): Promise<readonly TrafficAnswer[]> {
    const entries = debits.map((debit) => ({ customer_id: debit.customerId, ...debitBody(debit) }));
    const { status, body } = await this.call('POST', '/ledger-entries/batch', { entries });
    return debits.map((debit, index) => {
      if (status !== 200) return { status, body };
      const item = body.items[index];
      return this.#noteDebit(debit, { status: STATUS_OF_ITEM[item.code ?? item.status] ?? 500, body: item });
    });
  }

  async #ask(path: string, init: RequestInit): Promise<TrafficAnswer> {
    try {
      const response = await fetch(`${this.baseURL}${path}`, init);
      const body = await response.json();
      if (!response.ok) this.troubles.push(response.status);
      return { status: response.status, body };
    } catch {
      this.troubles.push(0);
      return { status: 0, body: null };
    }
  }

  #noteDebit({ customerId, amountMinor, key }: Debit, answer: TrafficAnswer): TrafficAnswer {
    if (settled(answer) !== null && !this.#debited.has(key)) {
      this.#debited.add(key);
      this.#owe(customerId, -amountMinor);
    }
    return answer;
  }

  #owe(customerId: string, amountMinor: number): void {
    this.owed.set(customerId, (this.owed.get(customerId) ?? 0) + amountMinor);
  }
}

const newId = (prefix: string): string => `${prefix}_${crypto.randomUUID().replaceAll('-', '')}`;

/** An event that tells of a new payment to the customer's wallet. */
export function paymentEvent(
  customerId: string,
  amountMinor: number,
  paymentId = newId('pi'),
  more: Readonly<Record<string, string>> = {},
): TrafficEvent {
  const eventId = newId('evt');
  const metadata = { wallet_customer_id: customerId, ...more };
  const body = stripePaymentSucceeded({ eventId, paymentId, amount: amountMinor, currency: 'usd', metadata });
  return { eventId, customerId, effectMinor: amountMinor, body };
}

/** A payment and its refund, of which the refund's event comes first. */
export function earlyRefund(
  customerId: string,
  paidMinor: number,
  refundMinor: number,
): { refund: TrafficEvent; payment: TrafficEvent } {
  const paymentId = newId('pi');
  const eventId = newId('evt');
  const refund = { paymentId, amount: refundMinor, currency: 'usd', status: 'succeeded' } as const;
  return {
    refund: { eventId, customerId, effectMinor: -refundMinor, body: stripeRefund({ eventId, ...refund }) },
    payment: paymentEvent(customerId, paidMinor, paymentId),
  };
}

/** A dispute of the payment is opened, and then won. */
export function disputeEvents({ customerId, effectMinor: amount, body }: TrafficEvent): readonly TrafficEvent[] {
  const paymentId: string = JSON.parse(body).data.object.id;
  const dispute = { paymentId, disputeId: newId('du'), amount, currency: 'usd' };
  return (['needs_response', 'won'] as const).map((status) => {
    const eventId = newId('evt');
    const type = status === 'won' ? 'closed' : 'created';
    return { eventId, customerId, effectMinor: 0, body: stripeDispute({ ...dispute, type, eventId, status }) };
  });
}

export function newDebit(customerId: string, amountMinor: number): Debit {
  return { customerId, amountMinor, key: newId('key') };
}

function debitBody({ amountMinor, key }: Debit): object {
  return { amount: amountMinor, currency: 'USD', entry_type: 'debit', idempotency_key: key };
}

const STATUS_OF_ITEM: Readonly<Record<string, number>> = {
  created: 200,
  IDEMPOTENCY_KEY_EXISTS: 409,
  SERVICE_UNAVAILABLE: 503,
  TOO_MANY_REQUESTS: 429,
};

const isSuccess = (status: number): boolean => status >= 200 && status < 300;

/** Nothing was done, or nobody knows: the same is asked again. A merchant with too much under way is answered 429. */
export const TRY_AGAIN: ReadonlySet<number> = new Set([0, 429, 503]);

/** An answer that settles a debit, or null. @throws {Error} if it was refused for good, which this traffic never asks for */
function settled(answer: TrafficAnswer): TrafficAnswer | null {
  if (answer.status === 200) return answer;
  if (answer.status === 409 && answer.body.code === 'IDEMPOTENCY_KEY_EXISTS') return answer;
  if (TRY_AGAIN.has(answer.status)) return null;
  throw new Error(`a debit was answered ${answer.status} ${JSON.stringify(answer.body)}`);
}
