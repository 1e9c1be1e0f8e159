import { strict as assert } from 'node:assert';
import type DodoPayments from 'dodopayments';
import { z } from 'zod';
import { formatMinor } from '../../src/money.ts';
import type { SignedHeaders } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';
import type { MerchantEndpoint } from './merchant.ts';
import type { Story } from './story.ts';

/** What every scene plays on: the running service, seen from outside. */
export interface Stage {
  readonly story: Story;
  readonly client: DodoPayments;
  readonly endpoint: MerchantEndpoint;
  readonly baseUrl: string;
  readonly apiKey: string;
}

export type Currency = 'USD' | 'INR';

/** A wallet on the stage: what is done to it, what it must hold afterwards, what the merchant must hear of it. */
export class Actor {
  readonly #stage: Stage;
  readonly customerId: string;

  constructor(stage: Stage, customerId: string) {
    this.#stage = stage;
    this.customerId = customerId;
  }

  entry(entryType: 'credit' | 'debit', amount: number, reason: string, key: string): Promise<unknown> {
    return this.#stage.client.customers.wallets.ledgerEntries.create(this.customerId, {
      amount,
      currency: 'USD',
      entry_type: entryType,
      reason,
      idempotency_key: key,
    });
  }

  /** Gives credit that ends so many milliseconds from now. @returns when it ends */
  async promotion(amount: number, { name, lifeMs, key }: { name: string; lifeMs: number; key: string }): Promise<Date> {
    const end = new Date(Date.now() + lifeMs);
    const terms = { kind: 'promo', name, expires_at: end.toISOString() };
    const body = { amount, currency: 'USD', entry_type: 'credit', ...terms, idempotency_key: key };
    await api(this.#stage, 'POST', `${this.#wallets}/ledger-entries`, body);
    return end;
  }

  /** What of the dollars is in no lot, and what is in lots. */
  async lots(): Promise<unknown> {
    const { base, in_lots } = await api(this.#stage, 'GET', `${this.#wallets}/USD`);
    return { base, in_lots };
  }

  async balance(currency: Currency): Promise<number> {
    const wallets = await this.#stage.client.customers.wallets.list(this.customerId);
    return wallets.items.find((wallet) => wallet.currency === currency)?.balance ?? Number.NaN;
  }

  /** Sets money aside. @returns the hold's id */
  async hold(amount: number, key: string): Promise<string> {
    const body = { amount, currency: 'USD', idempotency_key: key };
    const { hold_id: id } = await api(this.#stage, 'POST', `${this.#wallets}/holds`, body);
    return String(id);
  }

  async capture(holdId: string, amount: number): Promise<void> {
    await api(this.#stage, 'POST', `${this.#wallets}/holds/${holdId}/capture`, { amount });
  }

  /** What is set aside in dollars, and what is left of the balance. */
  async setAside(): Promise<unknown> {
    const { held, available } = await api(this.#stage, 'GET', `${this.#wallets}/USD`);
    return { held, available };
  }

  get #wallets(): string {
    return `/customers/${this.customerId}/wallets`;
  }

  /** Waits for the balance and the webhook, and tells the line. */
  async expect(
    who: string,
    what: string,
    balance: number,
    currency: Currency = 'USD',
    heard = 'wallet.balance.changed',
  ): Promise<void> {
    await eventually(
      `a balance of ${formatMinor(balance, currency)} (${what})`,
      async () => (await this.balance(currency)) === balance,
    );
    await this.#stage.endpoint.event(heard, this.customerId, currency, balance);
    this.#stage.story.line({ who, what, balance: formatMinor(balance, currency), heard });
  }

  /** Waits for the balance and for another webhook than one of a balance. @returns what that says */
  async hears(heard: string, who: string, what: string, balance: number): Promise<Readonly<Record<string, unknown>>> {
    const { data } = await this.#stage.endpoint.message(heard, this.customerId);
    assert.equal(await this.balance('USD'), balance, what);
    this.#stage.story.line({ who, what, balance: formatMinor(balance, 'USD'), heard });
    return data;
  }

  /** Asks for something of this customer's. */
  ask(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    return api(this.#stage, method, `/customers/${this.customerId}${path}`, body);
  }

  /** Checks, after the events before it were applied, that nothing changed. */
  async expectNoChange(who: string, what: string, balance: number, currency: Currency = 'USD'): Promise<void> {
    assert.equal(await this.balance(currency), balance, what);
    this.#stage.story.line({ who, what, balance: formatMinor(balance, currency), heard: '(nothing: nothing changed)' });
  }
}

/** Tells the service where the merchant listens. */
export async function openEndpoint(stage: Stage): Promise<void> {
  const url = await stage.endpoint.listen();
  const { id } = await api(stage, 'POST', '/webhook-endpoints', { url, description: 'demo' });
  const { secret } = await api(stage, 'GET', `/webhook-endpoints/${String(id)}/secret`);
  stage.endpoint.secret = String(secret);
}

export function post({ baseUrl }: Stage, provider: string, body: string, headers: SignedHeaders): Promise<Response> {
  return fetch(`${baseUrl}/webhooks/${provider}`, { method: 'POST', body, headers });
}

/** Sends a provider's event, which must be taken. */
export async function deliver(stage: Stage, provider: string, body: string, headers: SignedHeaders): Promise<void> {
  const response = await post(stage, provider, body, headers);
  assert.equal(
    response.status,
    200,
    `the ${provider} delivery was answered ${response.status}: ${await response.text()}`,
  );
}

/** Waits until every event is applied and none is set aside, so that "nothing changed" means something. */
export async function allApplied(stage: Stage): Promise<void> {
  await eventually('every event to be applied', async () => {
    const { items } = await api(stage, 'GET', '/events?status=pending');
    return Array.isArray(items) && items.length === 0;
  });
  const { items } = await api(stage, 'GET', '/events?status=parked');
  assert.deepEqual(items, [], 'no event is parked');
}

/** Waits until an event is parked for this reason, and dismisses it as an operator would. */
export async function setAside(stage: Stage, reason: string, note: string): Promise<void> {
  const event = await eventually(`an event parked as ${reason}`, async () => {
    const { items } = await api(stage, 'GET', '/events?status=parked');
    return PARKED.parse(items).find((one) => one.reason === reason);
  });
  await api(stage, 'POST', `/events/${event.event_id}/dismiss`, { note });
}

const PARKED = z.array(z.object({ event_id: z.string(), reason: z.string() }));

async function api(
  { baseUrl, apiKey }: Stage,
  method: string,
  path: string,
  body?: unknown,
): Promise<Record<string, unknown>> {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const response = await fetch(
    baseUrl + path,
    body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) },
  );
  const answer = (await response.json()) as Record<string, unknown>;
  assert(response.ok, `${method} ${path} was answered ${response.status}: ${JSON.stringify(answer)}`);
  return answer;
}
