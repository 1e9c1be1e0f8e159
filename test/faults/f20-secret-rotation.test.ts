import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit, paymentEvent, type TrafficEvent } from '../support/fault-traffic.ts';
import { startProcess } from '../support/process.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import { STRIPE_SECRET, signStripe } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';
import { WebFleet } from '../support/web-fleet.ts';

/**
 * F20: a provider's secret is replaced in the middle of its deliveries, for a source of the environment (restarts) and
 * for one in the database (commands), and a merchant's API key in the middle of its debits. Old and new are both
 * accepted until the old one is taken away, and refused from then on; nothing is lost.
 */
const OLD = STRIPE_SECRET;
const NEW = 'whsec_theNewStripeSecret0123456789abcdef';
/** Processes see a source that was changed after 5 s, and a revoked key after 10 s, at the latest. */
const SEEN_MS = 25_000;
const PROCESSES = [0, 1] as const;
/** Between two deliveries or debits of one caller. */
const PACE_MS = 25;

let rig: FaultRig;
let fleet: WebFleet;

beforeAll(async () => {
  rig = await FaultRig.start({ ENCRYPTION_KEY });
  [fleet] = await Promise.all([WebFleet.start(rig, PROCESSES.length, 20), rig.startWorkerHere()]);
});

afterAll(async () => {
  await rig.expectAllWell();
  await fleet.close();
  await rig.close();
});

/** The command line, as an operator uses it beside the running service. @returns its JSON */
async function chokin(words: string, environment: Record<string, string> = {}) {
  const given = { DATABASE_URL: rig.database.url, ENCRYPTION_KEY, ...environment };
  const command = startProcess('src/cli/chokin.ts', given, [...words.split(' '), '--json']);
  expect(await command.exited, command.output()).toBe(0);
  return JSON.parse(command.stdout());
}

/** Signed with each of the secrets, as Stripe does while one is rolled. */
function signedWith(body: string, secrets: readonly string[]): Record<string, string> {
  const at = Math.floor(Date.now() / 1000);
  const [first = '', ...others] = secrets.map((secret) => signStripe(body, secret, at)['stripe-signature'] ?? '');
  const more = others.map((header) => header.slice(header.indexOf(',')));
  return { 'content-type': 'application/json', 'stripe-signature': [first, ...more].join('') };
}

/** One try to deliver an event. @returns the status, 0 if no answer came */
type Post = (body: string, headers: Record<string, string>) => Promise<number>;

/** Deliveries that go on, each tried until it is taken, signed with the secrets that the provider has at the moment. */
class Provider {
  secrets: readonly string[] = [OLD];
  taken = 0;
  readonly #customerId: string;
  readonly #post: Post;
  readonly #stopping = new AbortController();
  readonly #running: Promise<unknown>;

  constructor(customerId: string, post: Post) {
    this.#customerId = customerId;
    this.#post = post;
    this.#running = Promise.all([this.#deliver(), this.#deliver()]);
  }

  /** Delivers a further event, once. */
  try(secrets: readonly string[], post = this.#post): Promise<number> {
    return this.#try(paymentEvent(this.#customerId, 3), secrets, post);
  }

  /** A good many more of its deliveries are taken. */
  async goesOn(): Promise<void> {
    const { taken } = this;
    await eventually('deliveries to go on', () => this.taken > taken + 10, 60_000);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #deliver(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const event = paymentEvent(this.#customerId, 7);
      await eventually(
        'an event to be taken',
        async () => (await this.#try(event, this.secrets, this.#post)) === 200,
        60_000,
      );
      this.taken += 1;
      await delay(PACE_MS);
    }
  }

  async #try({ eventId, effectMinor, body }: TrafficEvent, secrets: readonly string[], post: Post): Promise<number> {
    const status = await post(body, signedWith(body, secrets));
    if (status === 200) {
      rig.traffic.acknowledged.add(eventId);
      owe(this.#customerId, effectMinor);
    }
    return status;
  }
}

function owe(customerId: string, amountMinor: number): void {
  rig.traffic.owed.set(customerId, (rig.traffic.owed.get(customerId) ?? 0) + amountMinor);
}

async function newCustomer(): Promise<string> {
  const { body } = await fleet.call(0, 'POST', '/customers', { email: 'ada@example.com', name: 'Ada' });
  owe(body.customer_id, 0);
  return body.customer_id;
}

it.concurrent('the secret of a source of the environment is rotated by two restarts', {
  timeout: 120_000,
}, async () => {
  const url = `http://127.0.0.1:${rig.environment.PORT}/webhooks/stripe`;
  const provider = new Provider(await newCustomer(), async (body, headers) => {
    const answer = await fetch(url, { method: 'POST', headers, body }).catch(() => null);
    return answer?.status ?? 0;
  });
  const first = await rig.startWeb();
  await provider.goesOn();
  expect(await provider.try([NEW])).toBe(401);

  expect(await first.end('SIGTERM')).toBe(0);
  const second = await rig.startWeb({ STRIPE_WEBHOOK_SECRET: `${NEW},${OLD}` });
  await provider.goesOn();
  for (const secrets of [[OLD], [NEW], [OLD, NEW], [NEW, OLD]]) expect(await provider.try(secrets)).toBe(200);
  provider.secrets = [OLD, NEW];
  await provider.goesOn();
  expect(second.output()).toContain('signed with an older secret');
  provider.secrets = [NEW];
  await provider.goesOn();

  expect(await second.end('SIGTERM')).toBe(0);
  await rig.startWeb({ STRIPE_WEBHOOK_SECRET: NEW });
  await provider.goesOn();
  expect(await provider.try([OLD])).toBe(401);
  for (const secrets of [[NEW], [OLD, NEW]]) expect(await provider.try(secrets)).toBe(200);
  await provider.stop();
});

it.concurrent('the secret of a source in the database is rotated by two commands', { timeout: 120_000 }, async () => {
  const source = await chokin('sources create --provider stripe --name Main', { CHOKIN_WEBHOOK_SECRET: OLD });
  const to = (process: number): Post => {
    return async (body, headers) =>
      (await fleet.ask(process, { method: 'POST', path: source.webhook_path, body, headers })).status;
  };
  let turn = 0;
  const provider = new Provider(await newCustomer(), (body, headers) => {
    turn += 1;
    return to(turn)(body, headers);
  });
  await provider.goesOn();
  expect(await provider.try([NEW])).toBe(401);

  // The provider signs with the new one before every process knows it; what is refused comes again.
  await chokin(`sources add-secret ${source.source_id}`, { CHOKIN_WEBHOOK_SECRET: NEW });
  provider.secrets = [NEW];
  await provider.goesOn();
  for (const process of PROCESSES) {
    const accepts = async () => (await provider.try([NEW], to(process))) === 200;
    await eventually('the new secret to be accepted', accepts, SEEN_MS);
    expect(await provider.try([OLD], to(process))).toBe(200);
  }

  const { secrets } = await chokin(`sources show ${source.source_id}`);
  await chokin(`sources remove-secret ${source.source_id} ${secrets.at(-1).secret_id}`);
  for (const process of PROCESSES) {
    const refuses = async () => (await provider.try([OLD], to(process))) === 401;
    await eventually('the old secret to be refused', refuses, SEEN_MS);
    expect(await provider.try([NEW], to(process))).toBe(200);
  }
  await provider.goesOn();
  await provider.stop();
});

it.concurrent('an API key is rotated by two commands', { timeout: 120_000 }, async () => {
  const customerId = await newCustomer();
  const path = `/customers/${customerId}/wallets/ledger-entries`;
  const credit = { amount: 100_000, currency: 'USD', entry_type: 'credit' };
  expect((await fleet.call(0, 'POST', path, credit)).status).toBe(200);
  owe(customerId, credit.amount);
  const old = await chokin('keys create --name Shop --scopes read,write');
  let key: string = old.key;
  let debits = 0;
  const stopping = new AbortController();
  const debiting = debitUntilStopped();
  await goesOn();

  const renewed = await chokin(`keys rotate ${old.key_id} --grace 1h`);
  for (const process of PROCESSES) {
    for (const one of [old.key, renewed.key]) expect(await statusWith(process, one)).toBe(200);
  }
  await goesOn();
  // The old key ends before the merchant uses the new one: what is refused until then is asked again.
  await chokin(`keys revoke ${old.key_id}`);
  for (const process of PROCESSES) {
    await eventually('the old key to be refused', async () => (await statusWith(process, old.key)) === 401, SEEN_MS);
    expect(await statusWith(process, renewed.key)).toBe(200);
  }
  key = renewed.key;
  await goesOn();
  stopping.abort();
  await debiting;

  async function statusWith(process: number, one: string): Promise<number> {
    return (await fleet.call(process, 'GET', `/customers/${customerId}`, undefined, one)).status;
  }

  function goesOn(): Promise<boolean> {
    const before = debits;
    return eventually('debits to go on', () => debits > before + 10, 60_000);
  }

  /** One after another, each repeated under its key until it is answered, as merchants do. */
  async function debitUntilStopped(): Promise<void> {
    while (!stopping.signal.aborted) {
      const { amountMinor, key: idempotencyKey } = newDebit(customerId, 2);
      const debit = { amount: amountMinor, currency: 'USD', entry_type: 'debit', idempotency_key: idempotencyKey };
      const isAnswered = async () => {
        const { status } = await fleet.call(debits, 'POST', path, debit, key);
        // After sixty wrong keys in a minute, an address is not listened to.
        if (status === 401) await delay(20 * PACE_MS);
        return status === 200 || status === 409;
      };
      await eventually('a debit to be answered', isAnswered, 60_000);
      owe(customerId, -amountMinor);
      debits += 1;
      await delay(PACE_MS);
    }
  }
});
