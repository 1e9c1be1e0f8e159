import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit } from '../../src/db/transaction.ts';
import { newId } from '../../src/ids.ts';
import { WarningKeeper } from '../../src/merchants/key-guard/keep-warnings.ts';
import { KeyGuard } from '../../src/merchants/key-guard/key-guard.ts';
import { listWarnings, storeWarnings } from '../../src/merchants/key-guard/warning-store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { bearer, type Operator, operatorOf } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';

const NOW = new Date('2026-11-29T15:20:30Z');
const CLOCK_KEY = `job-${NOW.getTime()}`;
let app: TestApp;
let operator: Operator;

beforeAll(async () => {
  app = await startTestApp({ clock: { now: () => NOW } });
  operator = operatorOf(app);
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

/** A merchant with a customer, whose keys are guarded so. */
async function newMerchant(mode: string) {
  const merchantId = await operator.newMerchant();
  const changed = await operator.call('PATCH', `/admin/merchants/${merchantId}`, { key_guard: mode });
  expect(changed.body.key_guard).toBe(mode);
  const key = bearer((await operator.newKey(merchantId)).key);
  const made = await app.call('POST', '/customers', { email: 'ada@example.com', name: 'Ada' }, key);
  const id: string = made.body.customer_id;
  const call = (method: string, path: string, body?: object) => app.call(method, path, body, key);
  const credit = (idempotency_key: string | null, amount = 10) =>
    call('POST', `/customers/${id}/wallets/ledger-entries`, {
      ...{ amount, currency: 'USD', entry_type: 'credit', idempotency_key },
    });
  return { merchantId, id, call, credit };
}

const warningOf = (answer: { headers: Headers }) => answer.headers.get('x-chokin-warning');

describe('the guard of keys by the API', () => {
  it('flags by a header, writes the entry all the same, and says nothing of others', async () => {
    const { credit } = await newMerchant('flag');
    expect(warningOf(await credit('order-4711'))).toBeNull();
    const flagged = await credit(CLOCK_KEY, 20);
    expect([flagged.status, warningOf(flagged)]).toEqual([200, 'unstable_key']);
    const again = await credit(CLOCK_KEY, 20);
    expect([again.status, again.body.code, warningOf(again)]).toEqual([409, 'IDEMPOTENCY_KEY_EXISTS', 'unstable_key']);
    expect(warningOf(await credit('order-4712'))).toBe('near_duplicate');
    expect(warningOf(await credit(`${CLOCK_KEY}x`))).toBe('unstable_key, near_duplicate');
  });

  it('refuses where that is wanted, also holds and single entries of batches, and warns of equal entries alone', async () => {
    const { id, call, credit } = await newMerchant('refuse');
    expect(await credit(CLOCK_KEY)).toMatchObject({ status: 422, body: { code: 'UNSTABLE_KEY' } });
    await credit('a');
    const second = await credit('b');
    expect([second.status, warningOf(second)]).toEqual([200, 'near_duplicate']);
    const hold = { amount: 1, currency: 'USD', idempotency_key: CLOCK_KEY };
    expect(await call('POST', `/customers/${id}/wallets/holds`, hold)).toMatchObject({ status: 422 });
    const entries = [CLOCK_KEY, 'c'].map((idempotency_key) => ({
      ...{ customer_id: id, amount: 5, currency: 'USD', entry_type: 'debit', idempotency_key },
    }));
    const batch = await call('POST', '/ledger-entries/batch', { entries });
    expect(batch.body.items).toMatchObject([{ code: 'UNSTABLE_KEY' }, { status: 'created' }]);
    const operations = entries.map(({ entry_type: _, ...rest }) => ({ op: 'place', ...rest }));
    const placed = await call('POST', '/holds/batch', { operations });
    expect(placed.body.items).toMatchObject([{ code: 'UNSTABLE_KEY' }, { status: 'done' }]);
  });

  it('does nothing where it is off', async () => {
    const { credit } = await newMerchant('off');
    expect(warningOf(await credit(CLOCK_KEY))).toBeNull();
    expect(warningOf(await credit('other'))).toBeNull();
  });

  it('counts what it finds', async () => {
    const { credit } = await newMerchant('flag');
    await credit(CLOCK_KEY);
    const { body } = await app.call('GET', '/metrics');
    expect(String(body)).toMatch(/chokin_key_warnings_total\{kind="unstable_key"\} [1-9]/);
  });

  it('lists the newest thousand of a merchant, newest first, and those of nobody else', async () => {
    const { merchantId, call } = await newMerchant('flag');
    const other = await newMerchant('flag');
    const guard = new KeyGuard({ clock: { now: () => NOW }, count: () => {} });
    const { pool } = app.database;
    const keeper = new WarningKeeper({ guard, pool, logger: createLogger('silent', 'test') });
    for (let count = 0; count < 3; count += 1)
      guard.checkKey({ merchantId, keyId: 'key_1', mode: 'flag' }, CLOCK_KEY, 'cus_a');
    guard.checkKey({ merchantId: other.merchantId, keyId: 'key_2', mode: 'flag' }, CLOCK_KEY, 'cus_b');
    await keeper.close();
    const first = (await call('GET', '/key-warnings?page_size=2')).body;
    expect(first.items).toMatchObject([
      { kind: 'unstable_key', idempotency_key: CLOCK_KEY, customer_id: 'cus_a', key_id: 'key_1', is_refused: false },
      {},
    ]);
    expect((await call('GET', `/key-warnings?page_size=2&cursor=${first.next_cursor}`)).body.items).toHaveLength(1);
    expect((await other.call('GET', '/key-warnings')).body.items).toMatchObject([{ customer_id: 'cus_b' }]);

    const warning = { merchantId, customerId: 'cus_a', idempotencyKey: CLOCK_KEY, otherKey: null, isRefused: false };
    const many = (count: number) =>
      Array.from({ length: count }, () => ({
        ...{
          ...warning,
          kind: 'unstable_key' as const,
          apiKeyId: 'key_1',
          createdAt: NOW,
          warningId: newId('keyWarning'),
        },
      }));
    const db = autocommit(pool);
    for (let batch = 0; batch < 11; batch += 1) await storeWarnings(db, merchantId, many(100));
    const kept = await listWarnings(db, merchantId, { before: null, pageSize: 2000, pageNumber: 0 });
    expect(kept).toHaveLength(1000);
    await storeWarnings(db, merchantId, kept.slice(0, 50));
    expect((await other.call('GET', '/key-warnings')).body.items).toHaveLength(1);
  });

  it('is changed by the operator alone, to what there is', async () => {
    const { merchantId } = await newMerchant('flag');
    const path = `/admin/merchants/${merchantId}`;
    expect(await operator.call('PATCH', path, { key_guard: 'perhaps' })).toMatchObject({ status: 422 });
    expect(await operator.call('PATCH', '/admin/merchants/bus_none', { key_guard: 'off' })).toMatchObject({
      status: 404,
    });
    expect((await operator.call('GET', path)).body.key_guard).toBe('flag');
  });
});
