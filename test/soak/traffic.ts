import { setTimeout as delay } from 'node:timers/promises';
import { signStripe, stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { type CheckoutAnswer, CheckoutTraffic } from './checkouts.ts';
import type { Mallory } from './hostile.ts';
import { LotTraffic } from './lots.ts';
import type { Plan, Random } from './plan.ts';
import { RefillTraffic } from './refills.ts';
import { ScheduleTraffic } from './schedules.ts';
import { StatusTraffic } from './statuses.ts';
import { ADMIN_KEY } from './world.ts';

/** A wallet, and what it must come to by everything that was said to succeed. */
export interface Account {
  readonly merchantId: string;
  readonly customerId: string;
  readonly apiKey: string;
  readonly webhookPath: string;
  readonly webhookSecret: string;
  owedMinor: number;
}

/** The fields of answers that are looked into. */
interface Answer extends Partial<CheckoutAnswer> {
  readonly code: string;
  readonly merchant_id: string;
  readonly customer_id: string;
  readonly key: string;
  readonly webhook_path: string;
  readonly hold_id?: string;
  readonly hold?: { readonly hold_id: string };
  readonly entry?: { readonly amount: number };
  readonly available?: number;
  readonly scheduled_entry_id?: string;
  readonly scheduled_entry?: { readonly scheduled_entry_id: string };
  readonly topup_id?: string;
  readonly checkout?: CheckoutAnswer;
  readonly topup?: { readonly topup_id: string };
  readonly items?: readonly {
    readonly lot_id: string;
    readonly name: string | null;
    readonly topup_id?: string;
    readonly origin?: string;
    readonly amount?: number;
  }[];
}

/** A request, and the codes by which it may be refused. */
interface Asked {
  readonly method?: string;
  readonly path: string;
  readonly account: Account;
  readonly body?: object;
  readonly codes: readonly string[];
}

export interface TrafficCounts {
  events: number;
  deliveries: number;
  refusedForgeries: number;
  debits: number;
  insufficient: number;
  /** Holds, by what was done with them. */
  captures: number;
  releases: number;
  lapses: number;
  troubles: number;
  /** What must never happen, in words. */
  readonly wrongs: string[];
}

const PAUSE_MS = 100;
/** A provider repeats what it is not answered 2xx for, a merchant a debit that it has no answer to. */
const RETRY_MS = 250;

/** Providers and merchants at work, with their faults; each of them goes on until `signal`, and then ends what it began. */
export class Traffic {
  readonly accounts: Account[] = [];
  readonly acknowledged: { merchantId: string; eventId: string }[] = [];
  readonly counts: TrafficCounts = {
    events: 0,
    deliveries: 0,
    refusedForgeries: 0,
    debits: 0,
    insufficient: 0,
    captures: 0,
    releases: 0,
    lapses: 0,
    troubles: 0,
    wrongs: [],
  };
  readonly lots = new LotTraffic(this);
  readonly refills = new RefillTraffic(this);
  readonly schedules = new ScheduleTraffic(this);
  readonly statuses = new StatusTraffic(this);
  readonly checkouts: CheckoutTraffic;
  /** Pairs of events of which one is applied, and the other parked. */
  readonly oneIsParked: (readonly [string, string])[] = [];
  readonly #plan: Plan;
  readonly #addresses: readonly string[];
  readonly #underWay = new Set<Promise<void>>();
  #ids = 0;

  /** @param letPass makes a checkout's time be over soon */
  constructor(
    plan: Plan,
    { addresses, letPass }: { addresses: readonly string[]; letPass: (checkoutId: string) => Promise<void> },
  ) {
    this.#plan = plan;
    this.#addresses = addresses;
    this.checkouts = new CheckoutTraffic(this, letPass);
  }

  /** Merchants, keys, sources and customers, by the admin routes. */
  async prepare(random: Random): Promise<void> {
    const admin = (path: string, body: object) => this.#insist(random, 'POST', path, ADMIN_KEY, body);
    for (let merchant = 0; merchant < this.#plan.merchants; merchant += 1) {
      const { merchant_id: merchantId } = await admin('/admin/merchants', { name: `Soak ${merchant}`, mode: 'test' });
      const path = `/admin/merchants/${merchantId}`;
      const { key: apiKey } = await admin(`${path}/api-keys`, { name: 'soak', scopes: ['read', 'write'] });
      const webhookSecret = `whsec_soak_${merchant}_${this.#plan.seed}`;
      const source = { provider: 'stripe', name: 'Soak', webhook_secret: webhookSecret };
      const { webhook_path: webhookPath } = await admin(`${path}/sources`, source);
      const accounts = [...Array<Account[]>(this.#plan.customersEach).fill(this.accounts), this.statuses.accounts];
      for (const own of accounts) {
        const body = { email: 'soak@example.com', name: 'Soak' };
        const { customer_id: customerId } = await this.#insist(random, 'POST', '/customers', apiKey, body);
        own.push({ merchantId, customerId, apiKey, webhookPath, webhookSecret, owedMinor: 0 });
      }
    }
  }

  /** A merchant that means no good, with a key, a source and a customer. */
  async prepareMallory(random: Random): Promise<Mallory> {
    const admin = (path: string, body: object) => this.#insist(random, 'POST', path, ADMIN_KEY, body);
    const { merchant_id: merchantId } = await admin('/admin/merchants', { name: 'Mallory', mode: 'test' });
    const path = `/admin/merchants/${merchantId}`;
    const { key: apiKey } = await admin(`${path}/api-keys`, { name: 'soak', scopes: ['read', 'write'] });
    const source = { provider: 'stripe', name: 'Soak', webhook_secret: `whsec_mallory_${this.#plan.seed}` };
    const { webhook_path: webhookPath } = await admin(`${path}/sources`, source);
    const person = { email: 'mallory@example.com', name: 'Mallory' };
    const { customer_id: customerId } = await this.#insist(random, 'POST', '/customers', apiKey, person);
    return { apiKey, customerId, webhookPath };
  }

  /** Resolves when the signal has come and everything that was begun is answered. */
  async run(random: Random, signal: AbortSignal): Promise<void> {
    const provide = async (own: Random) => {
      while (!signal.aborted) await this.#pay(own, signal);
    };
    const call = async (own: Random) => {
      while (!signal.aborted) await this.#act(own, signal);
    };
    const workers = [
      ...Array.from({ length: this.#plan.providers }, () => provide(random.fork())),
      ...Array.from({ length: this.#plan.callers }, () => call(random.fork())),
    ];
    await Promise.all(workers);
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    await this.statuses.end(random);
  }

  #act(random: Random, signal: AbortSignal): Promise<void> {
    const kind = random.next();
    if (kind < 0.25) return this.#hold(random, signal);
    if (kind < 0.35) return this.lots.play(random);
    if (kind < 0.45) return this.checkouts.play(random, signal);
    if (kind < 0.53) return this.refills.play(random, signal);
    if (kind < 0.58) return this.schedules.play(random);
    return kind < 0.68 ? this.statuses.play(random) : this.#debit(random);
  }

  /** A payment with its refunds or its dispute, each told by an event of its own. */
  async #pay(random: Random, signal: AbortSignal): Promise<void> {
    const account = random.pick([...this.accounts, ...this.statuses.accounts]);
    const amount = random.int(1, 5_000);
    const paymentId = this.id('pi');
    const metadata = { wallet_customer_id: account.customerId };
    const bodies = [stripePaymentSucceeded({ eventId: this.id('evt'), paymentId, amount, currency: 'usd', metadata })];
    let effect = amount;
    const fate = random.int(1, 10);
    const part = { paymentId, currency: 'usd' };
    if (fate <= 3) {
      const refunded = random.int(1, amount);
      effect -= refunded;
      const first = random.int(0, refunded);
      for (const share of [first, refunded - first]) {
        if (share === 0) continue;
        const refund = { ...part, eventId: this.id('evt'), refundId: this.id('re'), amount: share };
        bodies.push(stripeRefund({ ...refund, status: 'succeeded' }));
      }
    } else if (fate <= 5) {
      const isLost = random.chance(0.5);
      if (isLost) effect -= amount;
      const dispute = { ...part, disputeId: this.id('dp'), amount };
      bodies.push(stripeDispute({ ...dispute, eventId: this.id('evt'), status: 'needs_response' }));
      bodies.push(
        stripeDispute({ ...dispute, eventId: this.id('evt'), type: 'closed', status: isLost ? 'lost' : 'won' }),
      );
    }
    account.owedMinor += effect;
    for (const body of bodies) this.tell(account, body, random.fork(), signal);
    await delay(random.int(0, PAUSE_MS));
  }

  /** Begins to deliver an event, which goes on beside whatever else is done. */
  tell(account: Account, body: string, random: Random, signal: AbortSignal): void {
    this.#goOn(this.#tell(account, body, random, signal));
  }

  #goOn(work: Promise<void>): void {
    const one = work
      .catch((error: unknown) => void this.counts.wrongs.push(String(error)))
      .finally(() => this.#underWay.delete(one));
    this.#underWay.add(one);
  }

  /** Delivers an event as an unreliable provider does: late, doubled, garbled on the way, until it is answered 2xx. */
  async #tell(account: Account, body: string, random: Random, signal: AbortSignal): Promise<void> {
    const { reordered, dropped, corrupted, duplicated } = this.#plan;
    this.counts.events += 1;
    const patience = { signal };
    const wait = (ms: number) => delay(ms, null, patience).catch(() => {});
    if (random.chance(reordered)) await wait(random.int(1, 3_000));
    if (random.chance(dropped)) await wait(random.int(500, 5_000));
    if (random.chance(corrupted)) await this.#forge(account, body, random);
    await this.#deliver(account, body, random);
    while (random.chance(duplicated)) await this.#deliver(account, body, random);
    const { id: eventId } = JSON.parse(body);
    this.acknowledged.push({ merchantId: account.merchantId, eventId });
  }

  async #deliver({ webhookPath, webhookSecret }: Account, body: string, random: Random): Promise<void> {
    for (;;) {
      this.counts.deliveries += 1;
      const headers = { ...signStripe(body, webhookSecret) };
      const status = await this.#ask(random, webhookPath, { method: 'POST', body, headers });
      if (status.status === 200) return;
      if (status.status !== 503 && status.status !== 0)
        this.counts.wrongs.push(`a delivery was answered ${status.status}`);
      this.counts.troubles += 1;
      await delay(RETRY_MS);
    }
  }

  /** One bit of the body is flipped on the way: it must be refused, unless the service is away. */
  async #forge({ webhookPath, webhookSecret }: Account, body: string, random: Random): Promise<void> {
    const bytes = Buffer.from(body);
    const at = random.int(0, bytes.length - 1);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7));
    const headers = { ...signStripe(body, webhookSecret) };
    const { status } = await this.#ask(random, webhookPath, { method: 'POST', body: bytes, headers });
    if (status === 401) this.counts.refusedForgeries += 1;
    else if (status !== 0 && status !== 503) this.counts.wrongs.push(`a forgery was answered ${status}`);
  }

  /** A debit under a key, repeated until it is answered; sometimes the same is sent twice at once. */
  async #debit(random: Random): Promise<void> {
    const account = random.pick(this.accounts);
    const amount = random.int(1, 300);
    const body = { amount, currency: 'USD', entry_type: 'debit', idempotency_key: this.id('key') };
    const path = `/customers/${account.customerId}/wallets/ledger-entries`;
    const ask = async (): Promise<boolean> => {
      for (;;) {
        const answer = await this.#call(random, 'POST', path, account.apiKey, body);
        if (answer.status === 200) return true;
        const code = answer.body?.code;
        if (answer.status === 409 && code === 'IDEMPOTENCY_KEY_EXISTS') return true;
        if (answer.status === 400 && code === 'INSUFFICIENT_WALLET_FUNDS') return false;
        if (answer.status !== 0 && answer.status !== 503)
          this.counts.wrongs.push(`a debit was answered ${answer.status} ${code}`);
        this.counts.troubles += 1;
        await delay(RETRY_MS);
      }
    };
    const answers = await Promise.all(random.chance(this.#plan.duplicated) ? [ask(), ask()] : [ask()]);
    // Of two at once, one may find the money gone that the other found, only if neither was made before.
    if (answers.includes(true)) {
      this.counts.debits += 1;
      account.owedMinor -= amount;
    } else this.counts.insufficient += 1;
    await delay(random.int(0, PAUSE_MS));
  }

  /** A hold that is captured in whole or part, released, or left to its end; each request under its key until it is answered. */
  async #hold(random: Random, signal: AbortSignal): Promise<void> {
    const account = random.pick(this.accounts);
    const path = `/customers/${account.customerId}/wallets/holds`;
    const amount = random.int(1, 300);
    const life = { expires_in_seconds: random.int(10, 30), partial: random.chance(0.3) };
    const request = { amount, currency: 'USD', idempotency_key: this.id('hold'), ...life };
    const placed = await this.answered(random, { path, account, body: request, codes: ['INSUFFICIENT_WALLET_FUNDS'] });
    const holdId = placed?.hold?.hold_id ?? placed?.hold_id;
    if (holdId === undefined) {
      this.counts.insufficient += 1;
      return;
    }
    await delay(random.int(0, PAUSE_MS));
    const fate = random.int(1, 10);
    const codes = ['HOLD_NOT_OPEN', 'HOLD_AMOUNT_EXCEEDED', 'INSUFFICIENT_WALLET_FUNDS'];
    const one = `${path}/${holdId}`;
    if (fate <= 6) {
      const body = { amount: random.int(1, amount), beyond: 'up_to_balance', idempotency_key: this.id('capture') };
      const done = await this.answered(random, { path: `${one}/capture`, account, body, codes });
      account.owedMinor -= done?.entry?.amount ?? 0;
      this.counts.captures += 1;
    } else if (fate <= 8) {
      await this.answered(random, { path: `${one}/release`, account, body: {}, codes });
      this.counts.releases += 1;
    } else {
      // Nobody ends it. Some are asked for when they are over.
      this.counts.lapses += 1;
      if (fate === 10) this.#goOn(this.#captureLate(random.fork(), account, { path: `${one}/capture`, signal }));
    }
  }

  /** A capture that comes after the hold has ended, as a debit. */
  async #captureLate(random: Random, account: Account, { path, signal }: { path: string; signal: AbortSignal }) {
    await delay(31_000, null, { signal }).catch(() => {});
    const body = { late: 'debit', beyond: 'up_to_balance', idempotency_key: this.id('late') };
    const codes = ['HOLD_NOT_OPEN', 'INSUFFICIENT_WALLET_FUNDS'];
    const done = await this.answered(random, { path, account, body, codes });
    account.owedMinor -= done?.entry?.amount ?? 0;
  }

  /** Asks until it is answered, and sometimes twice at once. Null where it is refused by one of these codes. */
  async answered(random: Random, { method = 'POST', path, account, body, codes }: Asked): Promise<Answer | null> {
    const ask = async (): Promise<Answer | null> => {
      for (;;) {
        const { status, body: answer } = await this.#call(random, method, path, account.apiKey, body);
        if (status === 200 || (status === 409 && answer?.code === 'IDEMPOTENCY_KEY_EXISTS')) return answer;
        if (answer !== null && codes.includes(answer.code)) return null;
        if (status !== 0 && status !== 503) this.counts.wrongs.push(`${path} was answered ${status} ${answer?.code}`);
        this.counts.troubles += 1;
        await delay(RETRY_MS);
      }
    };
    const answers = await Promise.all(random.chance(this.#plan.duplicated) ? [ask(), ask()] : [ask()]);
    return answers.find((one) => one !== null) ?? null;
  }

  async #insist(random: Random, method: string, path: string, key: string, body: object): Promise<Answer> {
    const { status, body: answer } = await this.#call(random, method, path, key, body);
    if (status !== 200 || answer === null) throw new Error(`${path} was answered ${status} ${JSON.stringify(answer)}`);
    return answer;
  }

  #call(random: Random, method: string, path: string, key: string, body?: object) {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    return this.#ask(random, path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  }

  async #ask(random: Random, path: string, init: RequestInit): Promise<{ status: number; body: Answer | null }> {
    try {
      const signal = AbortSignal.timeout(30_000);
      const response = await fetch(random.pick(this.#addresses) + path, { ...init, signal });
      return { status: response.status, body: (await response.json()) as Answer };
    } catch {
      return { status: 0, body: null };
    }
  }

  /** One that nobody had before. */
  id(prefix: string): string {
    this.#ids += 1;
    return `${prefix}_soak${this.#plan.seed}_${this.#ids}`;
  }
}
