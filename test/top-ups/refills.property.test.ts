import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { invariant, RefusalError } from '../../src/errors.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { deleteRule, resumeRule } from '../../src/top-ups/manage.ts';
import { deleteRefill, putRefill, settleDue } from '../support/refill-rig.ts';
import { rounds } from '../support/rounds.ts';
import { TopUpRig } from '../support/top-up-rig.ts';

/*
 * Schedules that charge, beside a naive model: it knows which period was noted and with how much, by a calendar of its own, and whether
 * anybody may be charged at all. Whatever is begun must be what it says, within the rule; and what may be charged is.
 */

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const CAP = 9_000;
const MOST_A_DAY = 2;
const INTERVAL_MS = 600_000;
const WAITS_MS = 31 * DAY;
const ZONES = ['UTC', 'America/New_York', 'Asia/Kolkata'] as const;

let rig: TopUpRig;
beforeAll(async () => {
  rig = await TopUpRig.start();
});
afterAll(async () => {
  const { disagreements } = await audit(autocommit(rig.database.pool));
  expect(disagreements.filter(({ rule }) => rule.startsWith('11'))).toEqual([]);
  await rig.stop();
});

interface Row {
  readonly topup_id: string;
  readonly origin: string;
  readonly state: string;
  readonly amount: number;
  readonly idempotency_key: string | null;
  readonly created_at: Date;
}

interface Noted {
  readonly incarnation: number;
  readonly period: number;
  readonly amount: number;
}

interface Made {
  readonly incarnation: number;
  readonly every: 'day' | 'month';
  readonly anchorAt: Date;
  amount: number;
  paused: boolean;
  done: number;
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('work' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('settle' as const, 'charge' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(MINUTE, 11 * MINUTE, 61 * MINUTE, 7 * 60 * MINUTE, DAY, 5 * DAY, 32 * DAY, 100 * DAY),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('month-end' as const), before: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pay' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('say' as const), says: fc.constantFrom('yes', 'insufficient_funds') }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      amount: fc.integer({ min: 100, max: 5_000 }),
      every: fc.constantFrom('day' as const, 'month' as const),
      paused: fc.constantFrom(false, false, false, true),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('delete' as const, 'resume' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('rule' as const), is: fc.constantFrom('on', 'on', 'off', 'gone') }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('status' as const), is: fc.constantFrom('active', 'frozen') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('debit' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer One> ? One : never;

/** Period k by hand, in UTC. */
function dueAt({ every, anchorAt }: Made, k: number): number {
  if (every === 'day') return anchorAt.getTime() + k * DAY;
  const month = anchorAt.getUTCMonth() + k;
  const days = new Date(Date.UTC(anchorAt.getUTCFullYear(), month + 1, 0)).getUTCDate();
  const date = Math.min(anchorAt.getUTCDate(), days);
  return Date.UTC(anchorAt.getUTCFullYear(), month, date) + (anchorAt.getTime() % DAY);
}

class Play {
  readonly key: WalletKey;
  readonly #zone: string;
  #made: Made | null = null;
  #incarnations = 0;
  #noted: Noted | null = null;
  #isOn = true;
  #isActive = true;
  readonly #seen = new Set<string>();

  constructor(key: WalletKey, zone: string) {
    this.key = key;
    this.#zone = zone;
  }

  async do(one: Step): Promise<void> {
    switch (one.do) {
      case 'work':
        await this.#work();
        break;
      case 'settle':
        await this.#settle();
        break;
      case 'charge':
        await rig.run();
        break;
      case 'pass':
        rig.pass(one.ms);
        break;
      case 'month-end': {
        const next = Date.UTC(rig.now.getUTCFullYear(), rig.now.getUTCMonth() + 1, 1);
        rig.now = new Date(next - (one.before ? 1 : 0));
        break;
      }
      case 'pay':
        await this.#pay();
        break;
      case 'say': {
        const card = rig.stripe.methods.get(this.key.customerId.replace('cus_c', 'pm_'));
        if (card !== undefined) card.says = one.says;
        break;
      }
      case 'put':
        await this.#put(one);
        break;
      case 'delete':
        if (this.#made !== null) await deleteRefill(rig, this.key);
        this.#made = null;
        this.#noted = null;
        break;
      case 'resume':
        if (this.#isOn) await transaction(rig.database.pool, (tx) => resumeRule(tx, this.key, rig.now)).catch(refused);
        break;
      case 'rule':
        await this.#rule(one.is);
        break;
      case 'status':
        this.#isActive = one.is === 'active';
        await rig.database.pool.query('update wallet set status = $2 where customer_id = $1', [
          this.key.customerId,
          one.is,
        ]);
        break;
      case 'debit':
        if (this.#isActive) await rig.post(this.key, 900, false);
        break;
    }
    await this.#check();
  }

  async #work(): Promise<void> {
    await this.#settle();
    // Whatever it waited for, it is looked at within five minutes after that.
    rig.pass(6 * MINUTE);
    await this.#settle();
    const mustCharge = await this.#mustCharge();
    await rig.run();
    if (mustCharge === null) return;
    const keys = (await this.#rows()).map((row) => row.idempotency_key);
    expect(keys.some((key) => key === mustCharge || key?.startsWith(`${mustCharge}#`))).toBe(true);
  }

  /** The key of a period that nothing keeps from being charged now, and that was not tried; null if there is none. */
  async #mustCharge(): Promise<string | null> {
    const noted = this.#noted;
    const made = this.#made;
    if (noted === null || made === null || !this.#isActive || !this.#isOn) return null;
    if (rig.now.getTime() - dueAt(made, noted.period) > WAITS_MS) return null;
    const { rows: rules } = await rig.database.pool.query(
      'select suspended_reason, retry_at from topup_rule where customer_id = $1',
      [this.key.customerId],
    );
    const [rule] = rules;
    if (rule.suspended_reason !== null || (rule.retry_at !== null && rule.retry_at > rig.now)) return null;
    const rows = await this.#rows();
    if (rows.some(({ state }) => state === 'charged')) return null;
    const last = rows.at(-1)?.created_at.getTime() ?? 0;
    if (rig.now.getTime() - last < INTERVAL_MS) return null;
    const today = rows.filter(({ created_at: at }) => this.#day(at) === this.#day(rig.now));
    const month = rows.filter(({ created_at: at }) => this.#month(at) === this.#month(rig.now));
    const used = sum(month.filter(({ state }) => state === 'succeeded'));
    if (today.length >= MOST_A_DAY || used + noted.amount > CAP) return null;
    const key = keyOf(noted);
    return rows.some((row) => row.idempotency_key === key) ? null : key;
  }

  async #settle(): Promise<void> {
    await settleDue(rig);
    this.#note();
    if (!this.#isOn) {
      // Nobody looks before the wallet is, which is what ends it.
      await rig.run();
      this.#noted = null;
    }
  }

  /** The newest period that is due is the one that is to be charged, as it is now. */
  #note(): void {
    const made = this.#made;
    if (made === null || made.paused) return;
    let end = made.done;
    while (dueAt(made, end) <= rig.now.getTime()) end += 1;
    if (end === made.done) return;
    const isOld = rig.now.getTime() - dueAt(made, end - 1) > WAITS_MS;
    this.#noted = isOld ? null : { incarnation: made.incarnation, period: end - 1, amount: made.amount };
    made.done = end;
  }

  async #put({ amount, every, paused }: Extract<Step, { do: 'put' }>): Promise<void> {
    const before = this.#made;
    const wish = { amountMinor: amount, every: before?.every ?? every, anchorAt: before?.anchorAt ?? rig.now, paused };
    const isMade = await putRefill(rig, this.key, wish).then(() => true, refused);
    // What was settled on the way is undone with it.
    if (!isMade) return;
    if (before === null) {
      this.#incarnations += 1;
      this.#made = { incarnation: this.#incarnations, every, anchorAt: rig.now, amount, paused, done: 0 };
      return;
    }
    this.#note();
    if (paused) this.#noted = null;
    // What was due during a pause is not made up for.
    if (before.paused && !paused) while (dueAt(before, before.done) < rig.now.getTime()) before.done += 1;
    Object.assign(before, { amount, paused });
  }

  async #rule(is: string): Promise<void> {
    if (is === 'gone') {
      await transaction(rig.database.pool, (tx) => deleteRule(tx, this.key, rig.now)).catch(refused);
      this.#isOn = false;
    } else {
      await putRule(this.key, this.#zone, is === 'on');
      this.#isOn = is === 'on';
    }
    if (!this.#isOn) this.#noted = null;
  }

  async #pay(): Promise<void> {
    const charged = (await this.#rows()).filter(({ state }) => state === 'charged');
    if (charged.length === 0) return;
    await rig.tellPaid(this.key);
    await rig.tellPaid(this.key);
  }

  async #check(): Promise<void> {
    const rows = await this.#rows();
    for (const row of rows.filter(({ topup_id: id }) => !this.#seen.has(id))) {
      this.#seen.add(row.topup_id);
      expect([this.#isOn, this.#isActive]).toEqual([true, true]);
      if (row.origin !== 'schedule') continue;
      const { idempotency_key: key = '', amount } = row;
      expect(this.#noted).not.toBeNull();
      invariant(this.#noted !== null && this.#made !== null, 'checked before');
      expect([key?.split('#')[0], amount]).toEqual([keyOf(this.#noted), this.#noted.amount]);
      expect(row.created_at.getTime() - dueAt(this.#made, this.#noted.period)).toBeLessThanOrEqual(WAITS_MS);
    }
    const counting = rows.filter(({ state }) => state === 'charged' || state === 'succeeded');
    for (const own of Map.groupBy(counting, ({ created_at: at }) => this.#month(at)).values())
      expect(sum(own)).toBeLessThanOrEqual(CAP);
    for (const own of Map.groupBy(rows, ({ created_at: at }) => this.#day(at)).values())
      expect(own.length).toBeLessThanOrEqual(MOST_A_DAY);
    for (const [index, row] of rows.entries()) {
      const before = rows[index - 1]?.created_at.getTime() ?? 0;
      expect(row.created_at.getTime() - before).toBeGreaterThanOrEqual(INTERVAL_MS);
    }
    const periods = Map.groupBy(rows, (row) => row.idempotency_key?.split('#')[0] ?? row.topup_id);
    for (const own of periods.values()) {
      expect(own.length).toBeLessThanOrEqual(3);
      expect(own.filter((row) => counting.includes(row)).length).toBeLessThanOrEqual(1);
    }
    expect(rig.intentsOf(this.key)).toHaveLength(rows.length);
  }

  async #rows(): Promise<readonly Row[]> {
    const { rows } = await rig.database.pool.query<Row>(
      'select * from topup where customer_id = $1 order by created_at, topup_id',
      [this.key.customerId],
    );
    return rows;
  }

  #day(time: Date): string {
    return time.toLocaleDateString('en-CA', { timeZone: this.#zone });
  }

  #month(time: Date): string {
    return this.#day(time).slice(0, 7);
  }
}

const keyOf = ({ incarnation, period }: Noted) => `grant_USD_monthly_${incarnation}_${period}`;
const sum = (rows: readonly Pick<Row, 'amount'>[]) => rows.reduce((all, { amount }) => all + Number(amount), 0);

function refused(error: unknown): false {
  if (error instanceof RefusalError) return false;
  throw error;
}

function putRule(key: WalletKey, timeZone: string, enabled: boolean): Promise<void> {
  const providerCustomerId = key.customerId.replace('cus_c', 'cus_s');
  const payment = { sourceId: rig.source.sourceId, providerCustomerId, paymentMethodId: null };
  const bounds = { monthlyCap: CAP, maxPerDay: MOST_A_DAY, threshold: 500, amount: 700, maxCharge: 1400 };
  return rig.putRule(key, { payment, ...bounds, timeZone, enabled });
}

it('charge what the model says, never more than the rule allows, and all that it does', async () => {
  const run = fc.asyncProperty(
    fc.array(step, { minLength: 10, maxLength: 30 }),
    fc.constantFrom(...ZONES),
    fc.integer({ min: 1, max: 31 }),
    async (steps, zone, day) => {
      rig.now = new Date(Date.UTC(2026, 0, day, 12));
      const key = await rig.begin({}, 5000);
      await putRule(key, zone, true);
      const play = new Play(key, zone);
      await play.do({ do: 'put', amount: 2000, every: day % 2 === 0 ? 'day' : 'month', paused: false });
      for (const one of steps) await play.do(one);
      // What is left would be due in the runs that follow.
      await play.do({ do: 'delete' });
      await play.do({ do: 'rule', is: 'gone' });
    },
  );
  await fc.assert(run, { numRuns: rounds(15, 150), endOnFailure: process.env.FAULTS !== 'all' });
}, 600_000);
