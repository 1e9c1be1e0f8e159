import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from '../../src/db/pool.ts';
import { stripePaymentSucceeded } from '../support/signing.ts';
import type { Random } from './plan.ts';
import type { Account, Traffic } from './traffic.ts';

/** What was done about a top-up, by which alone its end can be foretold. */
interface Deed {
  /** The payments that carry its id. */
  readonly paid: string[];
  /** That it failed was answered well. */
  isFailed: boolean;
}

const PAUSE_MS = 100;
const SOON_MS = 8_000;
const OF_RULES = ['TOP_UP_RULE_NOT_FOUND', 'WALLET_CLOSED'];

/** A merchant with top-up rules, and schedules that charge by them, who charges when he is asked to: once, twice, with tax on top, late, or not at all. */
export class RefillTraffic {
  readonly #deeds = new Map<string, Deed>();
  /** By the id of a schedule that charges once: how much. */
  readonly #scheduled = new Map<string, number>();
  readonly #traffic: Traffic;
  rules = 0;
  payments = 0;

  constructor(traffic: Traffic) {
    this.#traffic = traffic;
  }

  get requests(): number {
    return this.#deeds.size;
  }

  async play(random: Random, signal: AbortSignal): Promise<void> {
    const account = random.pick(this.#traffic.accounts);
    const fate = random.int(1, 10);
    if (fate <= 4) await this.#setRule(random, account);
    else if (fate <= 5) await this.#topUpByHand(random, account, signal);
    else if (fate <= 6) await this.#schedule(random, account);
    else await this.#actOnRequests(random, account, signal);
    await delay(random.int(0, PAUSE_MS));
  }

  async #setRule(random: Random, account: Account): Promise<void> {
    this.rules += 1;
    const path = `${walletOf(account)}/top-up-rule`;
    if (random.chance(0.1)) {
      await this.#traffic.answered(random, { method: 'DELETE', path, account, codes: OF_RULES });
      return;
    }
    if (random.chance(0.2)) {
      await this.#traffic.answered(random, {
        path: `${path}/resume`,
        account,
        body: { reason: 'soak' },
        codes: OF_RULES,
      });
      return;
    }
    const threshold = random.int(0, 3_000);
    const mode = random.chance(0.5)
      ? { mode: 'amount', amount: random.int(100, 2_000), max_charge: random.int(2_000, 10_000) }
      : { mode: 'target', target: threshold + random.int(1, 3_000) };
    const body = {
      ...{ enabled: random.chance(0.9), threshold, ...mode, monthly_cap: 1_000_000, payment: null },
      ...{ min_interval_seconds: 60, max_per_day: 10 },
      consent: { accepted_at: new Date().toISOString(), text_version: 'soak' },
    };
    await this.#traffic.answered(random, { method: 'PUT', path, account, body, codes: [] });
  }

  async #topUpByHand(random: Random, account: Account, signal: AbortSignal): Promise<void> {
    const amount = random.int(100, 2_000);
    const body = { amount, idempotency_key: this.#traffic.id('manual') };
    const path = `${walletOf(account)}/top-ups`;
    const begun = await this.#traffic.answered(random, { path, account, body, codes: ['TOP_UP_IN_FLIGHT'] });
    const topUpId = begun?.topup?.topup_id ?? begun?.topup_id;
    if (topUpId === undefined) return;
    this.#deeds.set(topUpId, { paid: [], isFailed: false });
    if (random.chance(0.8)) this.#pay(random, account, { topUpId, amount, signal });
  }

  /** One period that is due soon; some are taken back before, or just too late. */
  async #schedule(random: Random, account: Account): Promise<void> {
    const amount = random.int(100, 2_000);
    const scheduleId = this.#traffic.id('refill');
    const path = `${walletOf(account)}/grant-schedules/${scheduleId}`;
    const anchor = new Date(Date.now() + random.int(0, SOON_MS)).toISOString();
    const body = { amount, every: 'month', anchor_at: anchor, count: 1, charge: true };
    // A wallet without an enabled rule has none, and one has so many at most.
    const codes = ['INVALID_REQUEST_BODY', 'CONFLICT', 'WALLET_CLOSED'];
    this.#scheduled.set(scheduleId, amount);
    const made = await this.#traffic.answered(random, { method: 'PUT', path, account, body, codes });
    if (made === null || random.chance(0.7)) return;
    await delay(random.int(0, SOON_MS));
    await this.#traffic.answered(random, { method: 'DELETE', path, account, codes: ['SCHEDULE_NOT_FOUND'] });
  }

  async #actOnRequests(random: Random, account: Account, signal: AbortSignal): Promise<void> {
    const path = `${walletOf(account)}/top-ups?status=requested&page_size=100`;
    const listed = await this.#traffic.answered(random, { method: 'GET', path, account, codes: [] });
    for (const { topup_id: topUpId, origin, amount } of listed?.items ?? []) {
      if (topUpId === undefined || amount === undefined || origin === 'manual' || this.#deeds.has(topUpId)) continue;
      this.#deeds.set(topUpId, { paid: [], isFailed: false });
      await this.#act(random, account, { topUpId, amount, signal });
    }
  }

  async #act(random: Random, account: Account, asked: Asked): Promise<void> {
    const fate = random.int(1, 10);
    // Nobody does anything about some, which end after a day.
    if (fate === 10) return;
    if (fate >= 7) await this.#fail(random, account, asked);
    if (fate <= 6 || fate === 9) this.#pay(random, account, asked);
    // A second payment with the same id is credited as any other.
    if (fate === 6) this.#pay(random, account, asked);
  }

  async #fail(random: Random, account: Account, { topUpId }: Asked): Promise<void> {
    const path = `${walletOf(account)}/top-ups/${topUpId}/fail`;
    const body = { decline_code: random.pick(['insufficient_funds', 'expired_card', 'do_not_honor']) };
    // Asked twice, it has ended by the first; either way it is declined then.
    await this.#traffic.answered(random, { path, account, body, codes: ['TOP_UP_NOT_OPEN'] });
    const deed = this.#deeds.get(topUpId);
    if (deed !== undefined) deed.isFailed = true;
  }

  /** What is paid is credited, tax and all. */
  #pay(random: Random, account: Account, { topUpId, amount, signal }: Asked): void {
    const paid = amount + (random.chance(0.3) ? random.int(1, 300) : 0);
    const paymentId = this.#traffic.id('pi_refill');
    const { customerId } = account;
    const metadata = { wallet_customer_id: customerId, wallet_purpose: 'topup', wallet_topup_id: topUpId };
    const event = { eventId: this.#traffic.id('evt'), paymentId, amount: paid, currency: 'usd', metadata };
    this.payments += 1;
    account.owedMinor += paid;
    this.#deeds.get(topUpId)?.paid.push(paymentId);
    this.#traffic.tell(account, stripePaymentSucceeded(event), random.fork(), signal);
  }

  /** What top-ups came to that must not be, in words. */
  async findWrongs(pool: Pool): Promise<readonly string[]> {
    const { rows } = await pool.query<Found>(
      'select topup_id, origin, state, payment_id, amount, idempotency_key from topup',
    );
    const wrongs: string[] = [];
    const known = new Set(rows.map((row) => row.topup_id));
    for (const id of this.#deeds.keys()) if (!known.has(id)) wrongs.push(`the top-up ${id} is gone`);
    for (const { topup_id: id, origin, state, payment_id: paymentId } of rows) {
      const { paid, isFailed } = this.#deeds.get(id) ?? { paid: [], isFailed: false };
      const wanted = paid.length > 0 ? 'succeeded' : isFailed ? 'declined' : 'requested';
      if (state !== wanted) wrongs.push(`the top-up ${id} (${origin}) is ${state} instead of ${wanted}`);
      if (state === 'succeeded' && !paid.includes(paymentId ?? ''))
        wrongs.push(`the top-up ${id} was paid by ${paymentId}, which does not carry its id`);
    }
    return [...wrongs, ...this.#wronglyScheduled(rows.filter(({ origin }) => origin === 'schedule'))];
  }

  /** Each schedule was due once: one of its top-ups is paid, or to be paid, and those that came to nothing are beside it. */
  #wronglyScheduled(rows: readonly Found[]): readonly string[] {
    const open = new Set<string>();
    return rows.flatMap(({ topup_id: id, idempotency_key: key, amount, state }) => {
      const scheduleId = /^grant_USD_(.*)_1_0(?:#[23])?$/.exec(key ?? '')?.[1] ?? '';
      const isOpen = state === 'requested' || state === 'succeeded';
      const isRight = this.#scheduled.get(scheduleId) === amount && !(isOpen && open.has(scheduleId));
      if (isOpen) open.add(scheduleId);
      return isRight ? [] : [`the top-up ${id} of ${amount}, ${state}, was begun by the schedule of ${key}`];
    });
  }
}

interface Found {
  readonly topup_id: string;
  readonly origin: string;
  readonly state: string;
  readonly payment_id: string | null;
  readonly amount: number;
  readonly idempotency_key: string | null;
}

interface Asked {
  readonly topUpId: string;
  readonly amount: number;
  readonly signal: AbortSignal;
}

function walletOf({ customerId }: Account): string {
  return `/customers/${customerId}/wallets/USD`;
}
