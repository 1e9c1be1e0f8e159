import type { Random } from '../soak/plan.ts';
import type { FaultRig } from './fault-rig.ts';
import { TRY_AGAIN, type TrafficAnswer } from './fault-traffic.ts';
import { signStripe, stripePaymentSucceeded, stripeRefund } from './signing.ts';
import { eventually } from './wait.ts';
import type { WebFleet } from './web-fleet.ts';

/** How long callers and provider go on trying before the test fails. */
const PATIENCE_MS = 60_000;

interface EntryRequest {
  readonly customer_id: string;
  readonly amount: number;
  readonly currency: 'USD';
  readonly entry_type: 'credit' | 'debit';
  readonly idempotency_key: string;
}

/** An entry that must be in the books. */
export interface Booked {
  readonly customerId: string;
  readonly key: string | null;
  /** In minor units; negative for a debit. */
  readonly changeMinor: number;
  /** What the wallet held after it, where a caller was told. */
  readonly balance: number | null;
}

/**
 * Callers who credit, debit and repeat, alone and in batches, and a provider whose events come twice and out of order; all on
 * the same few wallets in USD, at any process of the fleet. They write down what they were told.
 */
export class Hammer {
  /** By the stored idempotency key. */
  readonly booked = new Map<string, Booked>();
  readonly refused = new Set<string>();
  readonly wrongs: string[] = [];
  readonly #rig: FaultRig;
  readonly #fleet: WebFleet;
  readonly #customers: readonly string[];
  #ids = 0;

  constructor(rig: FaultRig, fleet: WebFleet, customers: readonly string[]) {
    this.#rig = rig;
    this.#fleet = fleet;
    this.#customers = customers;
  }

  /** One caller, one thing after another. */
  async run(random: Random, turns: number): Promise<void> {
    const earlier: EntryRequest[] = [];
    for (let turn = 0; turn < turns; turn += 1) {
      const die = random.int(1, 10);
      if (die <= 2) await this.#pay(random);
      else if (die === 3 && earlier.length > 0) await this.#insist([random.pick(earlier)], random);
      else {
        const requests = Array.from({ length: die <= 7 ? 1 : random.int(2, 8) }, () => this.#newRequest(random));
        earlier.push(...requests);
        // Now and then a batch names one of its own keys twice, or one that was used before.
        const again = requests.length > 1 && random.chance(0.3) ? [random.pick(earlier)] : [];
        await this.#insist([...requests, ...again], random);
      }
    }
  }

  #newId(prefix: string): string {
    this.#ids += 1;
    return `${prefix}_${this.#ids}`;
  }

  #newRequest(random: Random): EntryRequest {
    return {
      customer_id: random.pick(this.#customers),
      amount: random.int(1, 400),
      currency: 'USD',
      entry_type: random.chance(0.6) ? 'debit' : 'credit',
      idempotency_key: this.#newId('key'),
    };
  }

  /** Asks any of the processes, again and again under the same keys, until every request is answered for good. */
  async #insist(requests: readonly EntryRequest[], random: Random): Promise<void> {
    let pending = requests;
    const ask = async () => {
      const answers = await this.#askOnce(pending, random);
      pending = pending.filter((request, index) => !this.#note(request, answers[index]));
      return pending.length === 0;
    };
    await eventually('every request to be answered', ask, PATIENCE_MS);
  }

  /** @returns whether the answer is one for good */
  #note({ customer_id: customerId, ...request }: EntryRequest, answer: TrafficAnswer | undefined): boolean {
    if (answer === undefined || TRY_AGAIN.has(answer.status)) return false;
    const key = `api:${request.idempotency_key}`;
    const before = this.booked.get(key);
    const { code, entry, balance = entry?.after_balance } = answer.body;
    const isAccepted = answer.status === 200 || (answer.status === 409 && code === 'IDEMPOTENCY_KEY_EXISTS');
    if (isAccepted && before !== undefined) {
      if (answer.status === 200) this.wrongs.push(`${key} was carried out twice`);
      if (before.balance !== balance) this.wrongs.push(`${key} left ${before.balance} and then ${balance}`);
    } else if (isAccepted) {
      const changeMinor = request.entry_type === 'credit' ? request.amount : -request.amount;
      this.refused.delete(key);
      this.#book(key, { customerId, key, changeMinor, balance });
    } else if (answer.status === 400 && code === 'INSUFFICIENT_WALLET_FUNDS' && request.entry_type === 'debit') {
      if (before !== undefined) this.wrongs.push(`${key} was carried out and then refused`);
      this.refused.add(key);
    } else this.wrongs.push(`${key} was answered ${answer.status} ${code}`);
    return true;
  }

  #book(key: string, entry: Booked): void {
    this.booked.set(key, entry);
    const { owed } = this.#rig.traffic;
    owed.set(entry.customerId, (owed.get(entry.customerId) ?? 0) + entry.changeMinor);
  }

  /** A payment, and mostly a refund of a part of it, told at once and more than once, so that either may come first. */
  async #pay(random: Random): Promise<void> {
    const [customerId, paymentId, refundId] = [random.pick(this.#customers), this.#newId('pi'), this.#newId('re')];
    const [paid, events] = [random.int(1, 300), [this.#newId('evt'), this.#newId('evt')]];
    const refunded = random.chance(0.7) ? random.int(1, paid) : 0;
    const payment = { paymentId, amount: paid, currency: 'usd', metadata: { wallet_customer_id: customerId } };
    const refund = { paymentId, refundId, amount: refunded, currency: 'usd', status: 'succeeded' } as const;
    const bodies = [stripePaymentSucceeded({ ...payment, eventId: `${events[0]}` })];
    const key = `src_stripe:payment:${paymentId}`;
    this.#book(key, { customerId, key, changeMinor: paid, balance: null });
    if (refunded > 0) {
      bodies.push(stripeRefund({ ...refund, eventId: `${events[1]}` }));
      const refundKey = `src_stripe:refund:${paymentId}:${refundId}`;
      this.#book(refundKey, { customerId, key: refundKey, changeMinor: -refunded, balance: null });
    }
    const deliveries = bodies.flatMap((body) =>
      Array.from({ length: random.int(1, 3) }, () => ({ body, own: random.fork() })),
    );
    await Promise.all(deliveries.map(({ body, own }) => this.#deliver(body, own)));
    for (const eventId of events.slice(0, bodies.length)) this.#rig.traffic.acknowledged.add(eventId);
  }

  /** One answer for each request, as if it had been asked alone. */
  async #askOnce(requests: readonly EntryRequest[], random: Random): Promise<readonly TrafficAnswer[]> {
    const process = random.int(0, this.#fleet.size - 1);
    const [first] = requests;
    if (requests.length === 1 && first !== undefined) {
      const { customer_id, ...body } = first;
      return [await this.#fleet.call(process, 'POST', `/customers/${customer_id}/wallets/ledger-entries`, body)];
    }
    const { status, body } = await this.#fleet.call(process, 'POST', '/ledger-entries/batch', { entries: requests });
    if (status !== 200) return requests.map(() => ({ status, body }));
    return requests.map((_, index) => {
      const item = body.items[index];
      return { status: STATUS_OF_ITEM[item.code ?? item.status] ?? 500, body: item };
    });
  }

  /** A provider repeats an event, at any of the processes, until it is taken. */
  async #deliver(body: string, random: Random): Promise<void> {
    const tell = async () => {
      const request = { method: 'POST', path: '/webhooks/stripe', body, headers: { ...signStripe(body) } } as const;
      return (await this.#fleet.ask(random.int(0, this.#fleet.size - 1), request)).status === 200;
    };
    await eventually('a delivery to be taken', tell, PATIENCE_MS);
  }
}

const STATUS_OF_ITEM: Readonly<Record<string, number>> = {
  created: 200,
  INSUFFICIENT_WALLET_FUNDS: 400,
  IDEMPOTENCY_KEY_EXISTS: 409,
  SERVICE_UNAVAILABLE: 503,
  TOO_MANY_REQUESTS: 429,
};
