import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';

const NOW = new Date('2026-03-01T12:00:00Z');
let app: TestApp;
let wallets: string;

beforeAll(async () => {
  app = await startTestApp({ clock: { now: () => NOW } });
  wallets = `/customers/${await app.newCustomer()}/wallets`;
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const daysBack = (days: number) => new Date(NOW.getTime() - days * 86_400_000).toISOString();
const credit = (more: object) => ({ amount: 5, currency: 'USD', entry_type: 'credit', ...more });

describe('backdated entries', () => {
  it('example: backdated 91 days: 422', async () => {
    const { status, body } = await app.call(
      'POST',
      `${wallets}/ledger-entries`,
      credit({ effective_at: daysBack(91) }),
    );
    expect([status, body.code]).toEqual([422, 'EFFECTIVE_AT_OUT_OF_RANGE']);
  });

  it('show both dates, and balances go by when they were written', async () => {
    const effective_at = daysBack(30);
    expect((await app.call('POST', `${wallets}/ledger-entries`, credit({ effective_at }))).status).toBe(200);
    await app.call('POST', `${wallets}/ledger-entries`, credit({}));
    const { items } = (await app.call('GET', `${wallets}/ledger-entries`)).body;
    expect(items).toMatchObject([{ seq: 2 }, { seq: 1, effective_at, created_at: NOW.toISOString() }]);
    expect('effective_at' in items[0]).toBe(false);
    expect((await app.call('GET', `${wallets}/ledger-entries/${items[1].entry_id}`)).body.effective_at).toBe(
      effective_at,
    );
    expect((await app.call('GET', `${wallets}/USD?at=${daysBack(29)}`)).body.balance).toBe(0);
  });

  it('are written in batches too, each by itself', async () => {
    const customer_id = await app.newCustomer();
    const dates = [daysBack(1), daysBack(91), new Date(NOW.getTime() + 1).toISOString()];
    const entries = dates.map((effective_at) => credit({ customer_id, effective_at }));
    const { items } = (await app.call('POST', '/ledger-entries/batch', { entries })).body;
    const refused = { status: 'refused', code: 'EFFECTIVE_AT_OUT_OF_RANGE' };
    expect(items).toMatchObject([{ status: 'created', entry: { effective_at: daysBack(1) } }, refused, refused]);
  });

  it('are another request than the same without a date', async () => {
    const keyed = credit({ idempotency_key: 'k' });
    await app.call('POST', `${wallets}/ledger-entries`, { ...keyed, effective_at: daysBack(1) });
    const again = async (more: object) =>
      (await app.call('POST', `${wallets}/ledger-entries`, { ...keyed, ...more })).body.code;
    expect([
      await again({ effective_at: daysBack(1) }),
      await again({}),
      await again({ effective_at: daysBack(2) }),
    ]).toEqual([...['IDEMPOTENCY_KEY_EXISTS', 'IDEMPOTENCY_KEY_REUSED', 'IDEMPOTENCY_KEY_REUSED']]);
  });

  it('are not scheduled: what is to come has its time', async () => {
    const later = {
      post_at: new Date(NOW.getTime() + 1000).toISOString(),
      idempotency_key: 's',
      effective_at: daysBack(1),
    };
    expect((await app.call('POST', `${wallets}/scheduled-entries`, credit(later))).status).toBe(422);
  });
});
