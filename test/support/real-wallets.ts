import { expect } from 'vitest';
import { autocommit } from '../../src/db/transaction.ts';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import { readWallets } from '../../src/ledger/store.ts';
import { type Answer, startTestApp, type TestApp } from './app.ts';
import { applyDueOnce, startInbox, type TestInbox, testSource } from './inbox.ts';
import { expectBooksToAgree, MERCHANT } from './ledger.ts';
import { signStripe } from './signing.ts';
import type { EntryRequest, ModelEvent, ModelResult, StatusRequest, WalletModel } from './wallet-model.ts';

const WAIT_SECONDS = 900;
/** Sells orders unless a payment says otherwise, so that early refunds are credited. The model knows no holds, so none is placed for a dispute. */
const SHOP = testSource('stripe', { defaultPurpose: 'order', disputes: 'record' });

/** The service that a {@link WalletModel} is compared with: the web process, and the application of events on demand. */
export class RealWallets {
  readonly app: TestApp;
  readonly #inbox: TestInbox;
  readonly #services: ApplyServices;
  #waitsOver = 0;

  private constructor(app: TestApp, inbox: TestInbox) {
    this.app = app;
    this.#inbox = inbox;
    const clock = { now: () => new Date(Date.now() + this.#waitsOver * (WAIT_SECONDS + 60) * 1000) };
    this.#services = { ...inbox.services, clock };
  }

  static async start(): Promise<RealWallets> {
    const app = await startTestApp();
    return new RealWallets(
      app,
      await startInbox(app.database, { sources: [SHOP], works: false, waitSeconds: WAIT_SECONDS }),
    );
  }

  async close(): Promise<void> {
    await this.#inbox.stop();
    await this.app.close();
  }

  /** Everything that waits for its payment has now waited long enough. */
  endWaits(): void {
    this.#waitsOver += 1;
  }

  async post({ customerId, ...request }: EntryRequest): Promise<ModelResult> {
    const answer = await this.app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, bodyOf(request));
    const { code, balance } = answer.body;
    if (answer.status === 200) return { kind: 'created', balance };
    expect(answer.status).toBe(STATUS_OF_CODE[code]);
    return outcomeOf(code, answer.body);
  }

  async postBatch(requests: readonly EntryRequest[]): Promise<readonly ModelResult[]> {
    const entries = requests.map(({ customerId, ...request }) => ({ customer_id: customerId, ...bodyOf(request) }));
    const { status, body } = await this.app.call('POST', '/ledger-entries/batch', { entries });
    expect(status).toBe(200);
    return body.items.map((item: Answer['body']) =>
      item.status === 'created' ? { kind: 'created', balance: item.wallet.balance } : outcomeOf(item.code, item),
    );
  }

  async setStatus({ customerId, currency, status }: StatusRequest): Promise<ModelResult> {
    const path = `/customers/${customerId}/wallets/${currency}/status`;
    const answer = await this.app.call('PUT', path, { status, reason: 'a sequence' });
    if (answer.status === 200) return { kind: answer.body.status };
    expect(answer.status).toBe(STATUS_OF_CODE[answer.body.code]);
    return { kind: answer.body.code };
  }

  /** Delivers an event as the provider does, and applies what is then to be applied. */
  async deliver(body: string): Promise<void> {
    const { status } = await this.app.call('POST', '/webhooks/stripe', body, { ...signStripe(body) });
    expect(status).toBe(200);
    await this.#applyAll();
  }

  async replay({ eventId, assignedTo }: ModelEvent): Promise<void> {
    const { rows } = await this.app.database.pool.query('select event_id from provider_event where delivery_key = $1', [
      eventId,
    ]);
    const body = assignedTo === null ? {} : { customer_id: assignedTo };
    const { status } = await this.app.call('POST', `/events/${rows[0]?.event_id}/replay`, body);
    expect(status).toBe(200);
    await this.#applyAll();
  }

  /** After every step. Events may write any number of entries, which the audit counts; requests write those of the model. */
  async expectSame(model: WalletModel, writes: 'requests' | 'events'): Promise<void> {
    const { pool } = this.app.database;
    const { customers } = model;
    const wallets = await readWallets(autocommit(pool), MERCHANT, customers);
    const versions = new Map(wallets.map((wallet) => [`${wallet.customerId} ${wallet.currency}`, wallet.version]));
    const balances = wallets.map(({ customerId, currency, balance, status }) => [
      `${customerId} ${currency}`,
      [balance, status],
    ]);
    expect(Object.fromEntries(balances)).toEqual(
      Object.fromEntries([...model.wallets].map(([name, { balance, status }]) => [name, [balance, status]])),
    );
    for (const [name, wallet] of model.wallets) {
      const version = versions.get(name) ?? -1;
      if (writes === 'requests') expect([name, version]).toEqual([name, wallet.version]);
      wallet.version = version;
    }
    const { rows } = await pool.query<{ delivery_key: string; verdict: string }>(
      "select delivery_key, concat_ws(': ', state, reason) as verdict from provider_event where delivery_key = any ($1)",
      [model.events.map((event) => event.eventId)],
    );
    expect(Object.fromEntries(rows.map((row) => [row.delivery_key, row.verdict]))).toEqual(
      Object.fromEntries(model.events.map((event) => [event.eventId, event.verdict])),
    );
    await expectBooksToAgree(pool);
  }

  async #applyAll(): Promise<void> {
    for (;;) {
      const results = await applyDueOnce(this.#services, 50);
      if (results.length === 0) return;
      expect(results.map(({ status }) => status)).toEqual(results.map(() => 'completed'));
    }
  }
}

const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  INSUFFICIENT_WALLET_FUNDS: 400,
  CUSTOMER_NOT_FOUND: 404,
  IDEMPOTENCY_KEY_EXISTS: 409,
  WALLET_FROZEN: 409,
  WALLET_CLOSED: 409,
  WALLET_NOT_EMPTY: 409,
  IDEMPOTENCY_KEY_REUSED: 422,
  UNSUPPORTED_CURRENCY: 422,
};

function bodyOf({ amount, currency, isCredit, key }: Omit<EntryRequest, 'customerId'>): object {
  return { amount, currency, entry_type: isCredit ? 'credit' : 'debit', idempotency_key: key };
}

function outcomeOf(code: string, { entry, available, required, shortfall }: Answer['body']): ModelResult {
  if (code === 'IDEMPOTENCY_KEY_EXISTS') return { kind: 'repeated', balance: entry.after_balance, seq: entry.seq };
  return available === undefined ? { kind: code } : { kind: code, details: { available, required, shortfall } };
}
