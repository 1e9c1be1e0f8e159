import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { record } from '../../src/payments/record.ts';
import { lockPayments, savePayments } from '../../src/payments/store.ts';
import { paymentKeyText } from '../../src/payments/tables.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { refundFact } from '../support/payments.ts';
import { eventually } from '../support/wait.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
});
afterAll(() => database.drop());

const NOW = new Date('2026-11-01T00:00:00Z');
const key = {
  merchantId: MERCHANT,
  sourceId: 'src_stripe',
  paymentId: 'p',
  provider: 'stripe',
  refunds: 'auto' as const,
  disputes: 'hold' as const,
  capture: 'automatic' as const,
};

/** Records a refund on the payment, as the application of an event does; `meanwhile` runs while the payment is locked. */
function addRefund(
  refundId: string,
  meanwhile: () => Promise<void> = async () => {},
  paymentId = key.paymentId,
): Promise<void> {
  return transaction(database.pool, async (tx) => {
    const own = { ...key, paymentId };
    const payment = (await (await lockPayments(tx, [own], NOW)).read()).get(paymentKeyText(own));
    if (payment === undefined) throw new Error('the payment was not opened');
    await meanwhile();
    await savePayments(tx, [record(payment, refundFact({ refundId, paymentId }), null)], NOW);
  });
}

const refunds = async (paymentId = key.paymentId) =>
  (
    await database.pool.query('select part_id, ordinal from payment_part where payment_id = $1 order by ordinal', [
      paymentId,
    ])
  ).rows;

describe('the lives of payments', () => {
  it('are locked while they are worked on: what another transaction learned meanwhile is not overwritten', async () => {
    await addRefund('first');
    const others: Promise<void>[] = [];
    await addRefund('second', async () => {
      others.push(addRefund('third'), addRefund('fourth'));
      await eventually('both to wait for the lock', async () => (await waitingForLocks(database.pool)) === 2);
    });
    await Promise.all(others);
    const found = await refunds();
    expect(found.map((row) => row.ordinal)).toEqual([0, 1, 2, 3]);
    expect(found.map((row) => row.part_id).sort()).toEqual(['first', 'fourth', 'second', 'third']);
  });

  it('are read whole by whoever hears of one while another transaction opens it', async () => {
    const others: Promise<void>[] = [];
    const opening = async () => {
      others.push(addRefund('second', undefined, 'opening'), addRefund('third', undefined, 'opening'));
      await eventually('both to wait for the lock', async () => (await waitingForLocks(database.pool)) === 2);
    };
    await addRefund('first', opening, 'opening');
    await Promise.all(others);
    const found = await refunds('opening');
    expect(found.map((row) => row.ordinal)).toEqual([0, 1, 2]);
    expect(found.map((row) => row.part_id).sort()).toEqual(['first', 'second', 'third']);
  });

  it('are opened once by transactions that hear of one at the same time', async () => {
    const paymentId = 'new';
    const lives = await Promise.all(
      Array.from({ length: 8 }, () =>
        transaction(database.pool, async (tx) => (await lockPayments(tx, [{ ...key, paymentId }], NOW)).read()),
      ),
    );
    expect(lives.every((payments) => payments.size === 1)).toBe(true);
  });
});
