import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from './plan.ts';
import type { Account, Traffic } from './traffic.ts';

/** How long a lot may last, in ms: soon over, since the soak waits for all of them; a pause adds its own time to it. */
const LIFE_MS = { least: 2_000, most: 12_000 };
const PAUSE_MS = 100;

/** What a wallet's status and what is in it may be reasons to refuse. */
const REFUSED = ['WALLET_FROZEN', 'WALLET_CLOSED', 'INSUFFICIENT_WALLET_FUNDS'];

/**
 * A merchant who freezes, pauses, closes and opens wallets while payments come to them and they are debited, held, captured and given credit
 * that ends. They are of customers of their own, so that nothing is refused to what the other traffic counts on.
 */
export class StatusTraffic {
  readonly accounts: Account[] = [];
  changes = 0;
  refused = 0;
  readonly #traffic: Traffic;

  constructor(traffic: Traffic) {
    this.#traffic = traffic;
  }

  /** Does one thing to one of the wallets. */
  async play(random: Random): Promise<void> {
    const account = random.pick(this.accounts);
    const kind = random.next();
    if (kind < 0.35) await this.#change(random, account);
    else if (kind < 0.55) await this.#hold(random, account);
    else await this.#entry(random, account);
    await delay(random.int(0, PAUSE_MS));
  }

  /** Makes every wallet active, so that what was paused comes to its end. */
  async end(random: Random): Promise<void> {
    for (const account of this.accounts) await this.#set(random, account, { status: 'active' });
  }

  async #change(random: Random, account: Account): Promise<void> {
    const asked = random.pick([
      { status: 'active' },
      { status: 'active' },
      { status: 'frozen' },
      { status: 'frozen', pause_expiry: true },
      { status: 'closed' },
    ]);
    // One that has nothing is closed more often: what comes to it opens it again.
    if (asked.status === 'closed') await this.#takeAll(random, account);
    await this.#set(random, account, asked);
    this.changes += 1;
  }

  async #set(random: Random, account: Account, asked: object): Promise<void> {
    const path = `/customers/${account.customerId}/wallets/USD/status`;
    const body = { ...asked, reason: 'soak' };
    await this.#traffic.answered(random, { method: 'PUT', path, account, body, codes: ['WALLET_NOT_EMPTY'] });
  }

  /** As a merchant pays out what is left before he closes a wallet. */
  async #takeAll(random: Random, account: Account): Promise<void> {
    const path = `/customers/${account.customerId}/wallets/USD`;
    const wallet = await this.#traffic.answered(random, { method: 'GET', path, account, codes: [] });
    const amount = wallet?.available ?? 0;
    if (amount > 0) await this.#post(random, account, { amount, entry_type: 'debit' });
  }

  async #entry(random: Random, account: Account): Promise<void> {
    const amount = random.int(1, 500);
    if (random.chance(0.4)) return this.#post(random, account, { amount, entry_type: 'debit' });
    const end = new Date(Date.now() + random.int(LIFE_MS.least, LIFE_MS.most));
    const terms = random.chance(0.6) ? { kind: 'promo', expires_at: end.toISOString() } : {};
    await this.#post(random, account, { amount, entry_type: 'credit', ...terms });
  }

  async #post(random: Random, account: Account, entry: { amount: number; entry_type: string }): Promise<void> {
    const path = `/customers/${account.customerId}/wallets/ledger-entries`;
    const body = { ...entry, currency: 'USD', idempotency_key: this.#traffic.id('status') };
    const codes = [...REFUSED, 'EXPIRY_IN_THE_PAST', 'LOT_LIMIT_EXCEEDED'];
    const done = await this.#traffic.answered(random, { path, account, body, codes });
    if (done === null) this.refused += 1;
    else account.owedMinor += entry.entry_type === 'credit' ? entry.amount : -entry.amount;
  }

  /** A hold that is captured, whatever the wallet has become by then, or left to its end. */
  async #hold(random: Random, account: Account): Promise<void> {
    const path = `/customers/${account.customerId}/wallets/holds`;
    const body = { amount: random.int(1, 300), currency: 'USD', partial: true, expires_in_seconds: 10 };
    const request = { ...body, idempotency_key: this.#traffic.id('status_hold') };
    const placed = await this.#traffic.answered(random, { path, account, body: request, codes: REFUSED });
    const holdId = placed?.hold?.hold_id ?? placed?.hold_id;
    if (holdId === undefined) {
      this.refused += 1;
      return;
    }
    if (random.chance(0.3)) return;
    if (random.chance(0.5)) await this.#change(random, account);
    const asked = { beyond: 'up_to_balance', idempotency_key: this.#traffic.id('status_capture') };
    const codes = [...REFUSED, 'HOLD_NOT_OPEN'];
    const done = await this.#traffic.answered(random, {
      path: `${path}/${holdId}/capture`,
      account,
      body: asked,
      codes,
    });
    account.owedMinor -= done?.entry?.amount ?? 0;
  }
}
