import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from '../../src/db/pool.ts';
import type { Random } from './plan.ts';
import type { Account, Traffic } from './traffic.ts';

/** What was scheduled, and what may become of it by all that was answered. */
interface Planned {
  readonly account: Account;
  readonly amount: number;
  readonly may: ReadonlySet<string>;
}

const SOONEST_MS = 3_000;
/** Soon, since the soak waits for all of them before it looks at the books. */
const LATEST_MS = 12_000;
const PAUSE_MS = 100;

/** A merchant who schedules entries and grants, and takes some of them back before they are due, or just too late. */
export class ScheduleTraffic {
  readonly #entries = new Map<string, Planned>();
  /** By the id of the schedule; each grants once, if it is not deleted before. */
  readonly #grants = new Map<string, Planned>();
  readonly #traffic: Traffic;

  constructor(traffic: Traffic) {
    this.#traffic = traffic;
  }

  get planned(): number {
    return this.#entries.size + this.#grants.size;
  }

  async play(random: Random): Promise<void> {
    const account = random.pick(this.#traffic.accounts);
    await (random.chance(0.6) ? this.#scheduleEntry(random, account) : this.#scheduleGrant(random, account));
    await delay(random.int(0, PAUSE_MS));
  }

  async #scheduleEntry(random: Random, account: Account): Promise<void> {
    const isCredit = random.chance(0.5);
    const amount = random.int(1, 500);
    const path = `/customers/${account.customerId}/wallets/scheduled-entries`;
    const body = {
      ...{ amount, currency: 'USD', entry_type: isCredit ? 'credit' : 'debit', post_at: soon(random) },
      idempotency_key: this.#traffic.id('planned'),
    };
    // Its time may have come before it was first heard.
    const codes = ['INVALID_REQUEST_BODY', 'CONFLICT'];
    const made = await this.#traffic.answered(random, { path, account, body, codes });
    const id = made?.scheduled_entry?.scheduled_entry_id ?? made?.scheduled_entry_id;
    if (id === undefined) return;
    const planned = { account, amount: isCredit ? amount : -amount };
    const ends = isCredit ? ['posted'] : ['posted', 'skipped'];
    this.#entries.set(id, { ...planned, may: new Set(ends) });
    if (random.chance(0.7)) return;
    await delay(random.int(0, LATEST_MS / 2));
    const cancel = { path: `${path}/${id}/cancel`, account, body: {}, codes: ['SCHEDULED_ENTRY_NOT_OPEN'] };
    const canceled = await this.#traffic.answered(random, cancel);
    if (canceled !== null) this.#entries.set(id, { ...planned, may: new Set(['canceled']) });
  }

  async #scheduleGrant(random: Random, account: Account): Promise<void> {
    const amount = random.int(1, 500);
    const scheduleId = this.#traffic.id('grant');
    const path = `/customers/${account.customerId}/wallets/USD/grant-schedules/${scheduleId}`;
    const anchor = soon(random);
    const body = { amount, every: 'day', anchor_at: anchor, count: 1 };
    // What was due before it was first heard is not granted.
    const begunMs = Date.now();
    const made = await this.#traffic.answered(random, { method: 'PUT', path, account, body, codes: ['CONFLICT'] });
    const isInTime = Date.now() < Date.parse(anchor);
    if (made === null) return;
    const planned = { account, amount };
    this.#grants.set(scheduleId, { ...planned, may: new Set(isInTime ? ['granted'] : ['granted', 'not granted']) });
    if (random.chance(0.7) || begunMs + SOONEST_MS < Date.now()) return;
    await delay(random.int(0, LATEST_MS / 2));
    await this.#traffic.answered(random, { method: 'DELETE', path, account, codes: ['SCHEDULE_NOT_FOUND'] });
    const isBefore = Date.now() < Date.parse(anchor);
    this.#grants.set(scheduleId, {
      ...planned,
      may: new Set(isBefore ? ['not granted'] : ['granted', 'not granted']),
    });
  }

  /** What became of schedules that must not be, in words; and what each customer got or lost by them. */
  async findWrongs(pool: Pool): Promise<{ wrongs: readonly string[]; moved: ReadonlyMap<string, number> }> {
    const wrongs: string[] = [];
    const moved = new Map<string, number>();
    const move = ({ account: { customerId }, amount }: Planned) =>
      moved.set(customerId, (moved.get(customerId) ?? 0) + amount);
    const { rows } = await pool.query<{ id: string; state: string; posted: number | null }>(`
      select s.scheduled_entry_id as id, s.state, case when e.is_credit then e.amount else -e.amount end as posted
      from scheduled_entry s left join entry e
        on (e.merchant_id, e.customer_id, e.currency, e.seq) = (s.merchant_id, s.customer_id, s.currency, s.entry_seq)`);
    const states = new Map(rows.map((row) => [row.id, row]));
    for (const [id, planned] of this.#entries) {
      const { state = 'gone', posted = null } = states.get(id) ?? {};
      if (!planned.may.has(state))
        wrongs.push(`the scheduled entry ${id} is ${state}, of ${[...planned.may].join(', ')}`);
      if ((state === 'posted' ? planned.amount : null) !== posted)
        wrongs.push(`the scheduled entry ${id} is ${state}, and posted ${posted}`);
      if (state === 'posted') move(planned);
    }
    const { rows: entries } = await pool.query<{ key: string; amount: number }>(
      `select idempotency_key as key, amount from entry where idempotency_key like 'grant\\_USD\\_%'`,
    );
    for (const [id, planned] of this.#grants) {
      const grants = entries.filter(({ key }) => key.startsWith(`grant_USD_${id}_`));
      const state = grants.length > 0 ? 'granted' : 'not granted';
      if (!planned.may.has(state)) wrongs.push(`the grant ${id} is ${state}`);
      if (grants.length > 1 || grants.some(({ amount }) => amount !== planned.amount))
        wrongs.push(`the grant ${id} of ${planned.amount} gave ${grants.map(({ amount }) => amount).join(' and ')}`);
      if (grants.length > 0) move(planned);
    }
    for (const { id } of rows) if (!this.#entries.has(id)) wrongs.push(`nobody knows of the scheduled entry ${id}`);
    return { wrongs, moved };
  }
}

function soon(random: Random): string {
  return new Date(Date.now() + random.int(SOONEST_MS, LATEST_MS)).toISOString();
}
