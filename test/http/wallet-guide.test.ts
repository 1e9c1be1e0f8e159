import type DodoPayments from 'dodopayments';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';

/** The examples of Dodo Payments' wallet guide through their own SDK; only the base URL and the key are ours. */

let app: TestApp;
let client: DodoPayments;
let customerId: string;

beforeAll(async () => {
  app = await startTestApp();
  client = app.sdk;
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const failure = (work: Promise<unknown>) =>
  work.then(
    () => expect.unreachable('this should have been refused'),
    (error: InstanceType<typeof DodoPayments.APIError>) => error,
  );

describe('the wallet guide', () => {
  it('creates a customer, and finds it again', async () => {
    const customer = await client.customers.create({
      email: 'grace@example.com',
      name: 'Grace Hopper',
      phone_number: '+1 555 0100',
      metadata: { plan: 'pro', seats: 3, trial: false },
    });
    customerId = customer.customer_id;
    expect(customer).toEqual({
      customer_id: expect.stringMatching(/^cus_/),
      business_id: 'bus_default',
      email: 'grace@example.com',
      name: 'Grace Hopper',
      phone_number: '+1 555 0100',
      metadata: { plan: 'pro', seats: 3, trial: false },
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    });
    expect(await client.customers.retrieve(customerId)).toEqual(customer);
  });

  it('has a wallet in each currency from the start', async () => {
    const { items, total_balance_usd } = await client.customers.wallets.list(customerId);
    const wallet = {
      customer_id: customerId,
      balance: 0,
      held: 0,
      available: 0,
      status: 'active',
      created_at: expect.any(String),
      head: null,
      updated_at: expect.any(String),
    };
    expect(items).toEqual([
      { ...wallet, currency: 'INR' },
      { ...wallet, currency: 'USD' },
    ]);
    expect(total_balance_usd).toBe(0);
  });

  it('gives a welcome credit', async () => {
    const wallet = await client.customers.wallets.ledgerEntries.create(customerId, {
      amount: 1000,
      currency: 'USD',
      entry_type: 'credit',
      reason: 'Welcome bonus',
      idempotency_key: `welcome_${customerId}`,
    });
    expect(wallet).toMatchObject({ customer_id: customerId, currency: 'USD', balance: 1000 });
  });

  it('charges for usage, and says when the balance is insufficient', async () => {
    const wallet = await client.customers.wallets.ledgerEntries.create(customerId, {
      amount: 250,
      currency: 'USD',
      entry_type: 'debit',
      reason: 'API usage',
      idempotency_key: 'usage_1',
    });
    expect(wallet.balance).toBe(750);
    const error = await failure(
      client.customers.wallets.ledgerEntries.create(customerId, { amount: 751, currency: 'USD', entry_type: 'debit' }),
    );
    expect(error.status).toBe(400);
    expect(error.message).toContain('Insufficient balance');
    expect(error.error).toEqual({
      code: 'INSUFFICIENT_WALLET_FUNDS',
      message: expect.any(String),
      available: 750,
      required: 751,
      shortfall: 1,
    });
  });

  it('sells credits', async () => {
    const wallet = await client.customers.wallets.ledgerEntries.create(customerId, {
      amount: 5000,
      currency: 'USD',
      entry_type: 'credit',
      reason: 'Credit purchase - Invoice #123',
      idempotency_key: 'invoice_123',
    });
    expect(wallet.balance).toBe(5750);
  });

  it('keeps a wallet in each currency, and adds them up in dollars', async () => {
    await client.customers.wallets.ledgerEntries.create(customerId, {
      amount: 100_000,
      currency: 'INR',
      entry_type: 'credit',
      idempotency_key: 'rupees',
    });
    const wallets = await client.customers.wallets.list(customerId);
    expect(wallets.items.find((wallet) => wallet.currency === 'USD')?.balance).toBe(5750);
    expect(wallets.items.find((wallet) => wallet.currency === 'INR')?.balance).toBe(100_000);
    expect(wallets.total_balance_usd).toBe(5750 + 1190);
    expect(wallets).not.toHaveProperty('unconverted_currencies');
  });

  it('tells a repeated request by its key, in one request', async () => {
    const repeat = {
      amount: 5000,
      currency: 'USD',
      entry_type: 'credit',
      reason: 'Credit purchase - Invoice #123',
      idempotency_key: 'invoice_123',
    } as const;
    let requests = 0;
    const counting = client.withOptions({
      fetch: (input, init) => {
        requests += 1;
        return fetch(input as string, init);
      },
    });
    const error = await failure(counting.customers.wallets.ledgerEntries.create(customerId, repeat));
    expect(error.status).toBe(409);
    expect(requests).toBe(1);
    expect(error.error).toMatchObject({
      code: 'IDEMPOTENCY_KEY_EXISTS',
      entry: { amount: 5000, is_credit: true, after_balance: 5750, idempotency_key: 'invoice_123' },
    });
    const reused = await failure(counting.customers.wallets.ledgerEntries.create(customerId, { ...repeat, amount: 1 }));
    expect(reused.status).toBe(422);
    expect(reused.error).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
    expect(reused.message).not.toContain('api:');
  });

  it('lists the ledger, newest first', async () => {
    const seen = [];
    for await (const entry of client.customers.wallets.ledgerEntries.list(customerId)) seen.push(entry);
    expect(
      seen.map((entry) => [entry.currency, entry.is_credit, entry.amount, entry.before_balance, entry.after_balance]),
    ).toEqual([
      ['INR', true, 100_000, 0, 100_000],
      ['USD', true, 5000, 750, 5750],
      ['USD', false, 250, 1000, 750],
      ['USD', true, 1000, 0, 1000],
    ]);
    expect(seen[3]).toMatchObject({
      id: `ent_${customerId}_USD_1`,
      business_id: 'bus_default',
      customer_id: customerId,
      event_type: 'merchant_adjustment',
      reason: 'Welcome bonus',
      reference_object_id: null,
    });
  });

  it('iterates over many pages when the SDK is told that pages count from 0', async () => {
    const id = await app.newCustomer();
    for (let n = 1; n <= 25; n += 1) {
      await client.customers.wallets.ledgerEntries.create(id, { amount: n, currency: 'USD', entry_type: 'credit' });
    }
    const amounts = [];
    const query = { currency: 'USD', page_number: 0 } as const;
    for await (const entry of client.customers.wallets.ledgerEntries.list(id, query)) amounts.push(entry.amount);
    expect(amounts).toEqual(Array.from({ length: 25 }, (_, index) => 25 - index));
    // The SDK goes on from no page at all to page 2; a loop that names none must still see every entry, once.
    const plain = [];
    for await (const entry of client.customers.wallets.ledgerEntries.list(id, { currency: 'USD' }))
      plain.push(entry.amount);
    expect(plain).toEqual(amounts);
    const page = await client.customers.wallets.ledgerEntries.list(id, { page_size: 4, page_number: 2 });
    expect(page.items.map((entry) => entry.amount)).toEqual([17, 16, 15, 14]);
  });

  it('changes and lists customers', async () => {
    const updated = await client.customers.update(customerId, {
      name: 'Rear Admiral Hopper',
      metadata: { plan: 'max' },
    });
    expect(updated).toMatchObject({
      name: 'Rear Admiral Hopper',
      email: 'grace@example.com',
      metadata: { plan: 'max' },
    });
    const names = async (query: Parameters<typeof client.customers.list>[0]) =>
      (await client.customers.list(query)).items.map((customer) => customer.name);
    expect(await names({})).toEqual(['Ada', 'Rear Admiral Hopper']);
    expect(await names({ name: 'ADMIRAL' })).toEqual(['Rear Admiral Hopper']);
    expect(await names({ name: '%' })).toEqual([]);
    expect(await names({ email: 'Grace@Example.com' })).toEqual(['Rear Admiral Hopper']);
    expect(await names({ email: 'grace' })).toEqual([]);
    expect(await names({ page_size: 1, page_number: 1 })).toEqual(['Rear Admiral Hopper']);
    expect(await names({ created_at_gte: '2999-01-01T00:00:00Z' })).toEqual([]);
    expect(await names({ created_at_lte: '2999-01-01T00:00:00Z' })).toHaveLength(2);
    expect(await client.customers.update(customerId, { phone_number: null })).toMatchObject({ phone_number: null });
  });
});
