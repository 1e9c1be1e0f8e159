import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit, transaction } from '../../../src/db/transaction.ts';
import { newId } from '../../../src/ids.ts';
import type { Checkout } from '../../../src/ledger/checkouts/checkout.ts';
import {
  checkoutsByIds,
  findCheckouts,
  insertCheckouts,
  lockCheckouts,
  moveCheckouts,
  saveCheckouts,
} from '../../../src/ledger/checkouts/store.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { MERCHANT, makeCustomers } from '../../support/ledger.ts';

const START = new Date('2026-03-01T12:00:00Z');

let database: TestDatabase;
let customerId: string;

beforeAll(async () => {
  database = await createTestDatabase();
  [customerId = ''] = await makeCustomers(database.pool, ['shop']);
});
afterAll(() => database.drop());

function checkout(terms: Partial<Checkout> = {}): Checkout {
  return {
    ...{ merchantId: MERCHANT, customerId, checkoutId: newId('checkout'), currency: 'USD', state: 'open' },
    ...{ total: 5000, tax: 800, walletPart: 0, paymentPart: 5000, creditBought: 0, adjusted: 'none' },
    ...{ gatewayMinimum: 50, warnings: ['wallet_frozen'], amountCheck: 'exact', walletRefunds: 'proportional' },
    ...{ holdNo: null, captured: 0, uncollected: 0, walletReturned: 0, paymentRefunded: 0, overRefunded: false },
    ...{ sourceId: null, paymentId: null, seriesId: null, sessionId: null, sessionUrl: null },
    ...{ referenceObjectId: 'order-7', reason: 'Two lamps', metadata: { lamps: 2 } },
    ...{ idempotencyKey: newId('event'), fingerprint: 'ab'.repeat(32), expiresAt: new Date(START.getTime() + 1000) },
    ...{ prolongedUntil: null, createdAt: START, completedAt: null },
    ...terms,
  };
}

const due = async (one: Checkout) => {
  const { rows } = await database.pool.query<{ due_at: Date }>(
    'select due_at from checkout_due where checkout_id = $1',
    [one.checkoutId],
  );
  return rows.map((row) => row.due_at);
};

describe('the rows of checkouts', () => {
  it('are what was written, by id and by key', async () => {
    const [first, second] = [checkout(), checkout({ metadata: null, tax: null })];
    await transaction(database.pool, (tx) => insertCheckouts(tx, [first, second]));
    const ids = [second.checkoutId, first.checkoutId, newId('checkout')];
    expect(await checkoutsByIds(autocommit(database.pool), MERCHANT, ids)).toEqual([first, second]);
    expect(await checkoutsByIds(autocommit(database.pool), 'bus_other', ids)).toEqual([]);
    const found = await transaction(database.pool, (tx) => findCheckouts(tx, [second, second]));
    expect([...found.values()]).toEqual([second]);
  });

  it('stand on the work list while they are open, with the time at which they end', async () => {
    const one = checkout();
    await transaction(database.pool, (tx) => insertCheckouts(tx, [one]));
    expect(await due(one)).toEqual([one.expiresAt]);
    const prolongedUntil = new Date(START.getTime() + 9000);
    await transaction(database.pool, async (tx) => {
      const locked = await lockCheckouts(tx, MERCHANT, [one.checkoutId]);
      await saveCheckouts(
        tx,
        MERCHANT,
        locked.map((was) => ({ ...was, prolongedUntil })),
      );
    });
    expect(await due(one)).toEqual([prolongedUntil]);
    const paid = { ...one, state: 'completed', paymentId: 'pi_1', sourceId: 'src_stripe', completedAt: START } as const;
    await transaction(database.pool, (tx) => saveCheckouts(tx, MERCHANT, [paid]));
    expect(await due(one)).toEqual([]);
    expect(await checkoutsByIds(autocommit(database.pool), MERCHANT, [one.checkoutId])).toEqual([paid]);
  });

  it('go with their payments to another source of the same account', async () => {
    const [one, other] = [checkout({ sourceId: 'src_old' }), checkout({ sourceId: 'src_stripe' })];
    await transaction(database.pool, async (tx) => {
      await insertCheckouts(tx, [one, other]);
      await moveCheckouts(tx, { merchantId: 'bus_other', from: 'src_old', into: 'src_wrong' });
      await moveCheckouts(tx, { merchantId: MERCHANT, from: 'src_old', into: 'src_new' });
    });
    const found = await checkoutsByIds(autocommit(database.pool), MERCHANT, [one.checkoutId, other.checkoutId]);
    expect(found.map(({ sourceId }) => sourceId)).toEqual(['src_new', 'src_stripe']);
  });

  it('are not there to be saved under another merchant', async () => {
    const one = checkout();
    await transaction(database.pool, (tx) => insertCheckouts(tx, [one]));
    const saved = transaction(database.pool, (tx) => saveCheckouts(tx, 'bus_other', [{ ...one, state: 'expired' }]));
    await expect(saved).rejects.toThrow('not there');
  });

  it.each<[string, Partial<Checkout>]>([
    ['parts that are not the whole', { paymentPart: 4999 }],
    ['a part of the wallet without a hold', { walletPart: 1, paymentPart: 4999 }],
    ['paid by nobody', { state: 'completed', completedAt: START }],
    ['more returned than it cost', { walletReturned: 5001 }],
    ['captured while it is open', { captured: 1 }],
  ])('refuse %s', async (_, wrong) => {
    const inserted = transaction(database.pool, (tx) => insertCheckouts(tx, [checkout(wrong)]));
    await expect(inserted).rejects.toMatchObject({ code: '23514' });
  });
});
