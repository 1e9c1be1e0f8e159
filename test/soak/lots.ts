import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from '../../src/db/pool.ts';
import type { Random } from './plan.ts';
import type { Account, Traffic } from './traffic.ts';

/** Credit with terms that was given, and what must be true of it by everything that was answered. */
interface Given {
  readonly account: Account;
  /** The lot's name, by which it is found again, and so is what follows it after a give-back. */
  readonly name: string;
  readonly amount: number;
  /** When it may end. Of a change whose answer was lost nobody knows. Empty: never. */
  readonly ends: (number | null)[];
  voided: number;
}

const SOONEST_MS = 2_000;
/** Soon, since the soak waits for all of them before it looks at the books. */
const LATEST_MS = 12_000;
const PAUSE_MS = 100;

/** A merchant who gives promotions, takes some away, and moves their ends. All of it ends within seconds, or never. */
export class LotTraffic {
  readonly given: Given[] = [];
  voids = 0;
  changes = 0;
  readonly #traffic: Traffic;

  constructor(traffic: Traffic) {
    this.#traffic = traffic;
  }

  /** Gives credit with terms, and then does one more thing to it or none. */
  async play(random: Random): Promise<void> {
    const account = random.pick(this.#traffic.accounts);
    const amount = random.int(1, 500);
    const name = this.#traffic.id('lot');
    const end = random.chance(0.8) ? this.#end(random) : null;
    const terms = {
      ...{ kind: end === null || random.chance(0.7) ? 'promo' : 'adjustment', name },
      ...(end === null ? {} : { expires_at: new Date(end).toISOString() }),
      ...(random.chance(0.5) ? { priority: random.int(0, 100) } : {}),
    };
    const body = { amount, currency: 'USD', entry_type: 'credit', ...terms, idempotency_key: name };
    const wallets = `/customers/${account.customerId}/wallets`;
    const path = `${wallets}/ledger-entries`;
    const codes = ['EXPIRY_IN_THE_PAST', 'LOT_LIMIT_EXCEEDED'];
    if ((await this.#traffic.answered(random, { path, account, body, codes })) === null) return;
    account.owedMinor += amount;
    const one: Given = { account, name, amount, ends: [end], voided: 0 };
    this.given.push(one);
    await delay(random.int(0, PAUSE_MS));
    const fate = random.int(1, 10);
    if (fate > 5) return;
    const lotId = await this.#find(random, one);
    // A debt took it all, or it has ended.
    if (lotId === null) return;
    await (fate <= 2
      ? this.#void(random, one, `${wallets}/lots/${lotId}`)
      : this.#change(random, one, `${wallets}/lots/${lotId}`));
  }

  #end(random: Random): number {
    return Date.now() + random.int(SOONEST_MS, LATEST_MS);
  }

  async #find(random: Random, { account, name }: Given): Promise<string | null> {
    const path = `/customers/${account.customerId}/wallets/lots?page_size=100`;
    const listed = await this.#traffic.answered(random, { method: 'GET', path, account, codes: [] });
    return listed?.items?.find((lot) => lot.name === name)?.lot_id ?? null;
  }

  async #void(random: Random, one: Given, path: string): Promise<void> {
    const { account, amount } = one;
    const part = random.chance(0.5) ? { amount: random.int(1, amount) } : {};
    const body = { ...part, reason: 'soak', idempotency_key: this.#traffic.id('void') };
    const codes = ['LOT_NOT_OPEN', 'LOT_AMOUNT_EXCEEDED', 'INSUFFICIENT_WALLET_FUNDS'];
    const done = await this.#traffic.answered(random, { path: `${path}/void`, account, body, codes });
    one.voided += done?.entry?.amount ?? 0;
    account.owedMinor -= done?.entry?.amount ?? 0;
    this.voids += 1;
  }

  async #change(random: Random, one: Given, path: string): Promise<void> {
    const { account } = one;
    const end = random.chance(0.9) ? this.#end(random) : null;
    const body = {
      expires_at: end === null ? null : new Date(end).toISOString(),
      priority: random.int(0, 100),
      reason: 'soak',
    };
    const codes = ['LOT_NOT_OPEN', 'EXPIRY_IN_THE_PAST'];
    one.ends.push(end);
    await this.#traffic.answered(random, { method: 'PATCH', path, account, body, codes });
    this.changes += 1;
  }
}

/** What lots came to that must not be, in words; and what of each customer's dollars has expired. */
export async function findWrongLots(
  pool: Pool,
  given: readonly Given[],
): Promise<{ wrongs: readonly string[]; expired: ReadonlyMap<string, number> }> {
  const { rows } = await pool.query<{
    name: string;
    expired: number;
    voided: number;
    ended_at: Date | null;
    open: number;
  }>(`
    select name, sum(expired)::int as expired, sum(voided)::int as voided, count(*) filter (where state = 'open')::int as open,
      min(closed_at) filter (where state = 'expired') as ended_at
    from (select name, expired, voided, 'open' as state, null::timestamptz as closed_at from lot
      union all select name, expired, voided, state, closed_at from closed_lot) x
    group by name`);
  const byName = new Map(rows.map((row) => [row.name, row]));
  const wrongs: string[] = [];
  for (const { name, amount, ends, voided } of given) {
    const lot = byName.get(name);
    // All of it repaid a debt.
    if (lot === undefined) continue;
    if (lot.voided !== voided) wrongs.push(`of lot ${name}, ${lot.voided} are voided instead of ${voided}`);
    if (lot.expired + lot.voided > amount) wrongs.push(`of lot ${name} of ${amount}, more than that is gone`);
    const earliest = Math.min(...ends.map((end) => end ?? Number.POSITIVE_INFINITY));
    if (lot.ended_at !== null && lot.ended_at.getTime() < earliest)
      wrongs.push(`lot ${name} ended at ${lot.ended_at.toISOString()}, before its end`);
    if (lot.open > 0 && !ends.includes(null)) wrongs.push(`lot ${name} is open after its end`);
  }
  const { rows: sums } = await pool.query<{ customer_id: string; expired: number }>(
    `select customer_id, sum(amount)::int as expired from entry where event_type = 'credit_expired' and currency = 'USD' group by 1`,
  );
  return { wrongs, expired: new Map(sums.map((row) => [row.customer_id, row.expired])) };
}
