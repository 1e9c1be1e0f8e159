import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { asOfOnePostgres } from '../../src/db/node-errors.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';

/*
 * The constraints of `entry` are the last wall: they hold against our own mistakes and against whoever writes by hand. So
 * entries are inserted here as no code of ours would, by the owner of the table, each good but for one thing.
 */

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['wall']);
});
afterAll(() => database.drop());

const GOOD = {
  merchant_id: MERCHANT,
  customer_id: 'cus_wall',
  currency: 'USD',
  seq: 1,
  amount: 100,
  is_credit: true,
  event_type: 'merchant_adjustment',
  before_balance: 0,
  after_balance: 100,
  reason: null,
  reference_object_id: null,
  metadata: null,
  idempotency_key: 'key',
  fingerprint: Buffer.alloc(32),
  created_at: '2026-01-01T00:00:00Z',
};

type Columns = Partial<Record<keyof typeof GOOD, unknown>>;

/** Inserts a good entry but for `columns`, and takes it back. @returns the constraint that refused it, or null */
async function refusedBy(columns: Columns): Promise<string | null> {
  const row = { ...GOOD, ...columns };
  const names = Object.keys(row);
  const places = names.map((_, index) => `$${index + 1}`);
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query(`insert into entry (${names.join()}) values (${places.join()})`, Object.values(row));
    return null;
  } catch (error) {
    const refusal = asOfOnePostgres(error);
    if (!(refusal instanceof pg.DatabaseError) || refusal.constraint === undefined) throw error;
    return refusal.constraint;
  } finally {
    await client.query('rollback');
    client.release();
  }
}

const debit = (event_type: string): Columns => ({ event_type, is_credit: false, after_balance: -100 });
const credit = (event_type: string): Columns => ({ event_type });
const LARGEST = Number.MAX_SAFE_INTEGER;

it.each<[string, Columns]>([
  ['a credit', {}],
  ['an adjustment downwards', { is_credit: false, before_balance: 100, after_balance: 0 }],
  ['a debt that taking back leaves', debit('payment_reversal')],
  ['a credit to a debtor', { before_balance: -500, after_balance: -400 }],
  ['one without a key', { idempotency_key: null, fingerprint: null }],
  ['the largest', { amount: LARGEST, after_balance: LARGEST }],
])('takes %s', async (_, columns) => {
  expect(await refusedBy(columns)).toBeNull();
});

it.each<[string, string, Columns]>([
  ['entry_adds_up', 'a balance above the sum', { after_balance: 101 }],
  ['entry_adds_up', 'a balance below the sum', { after_balance: 99 }],
  ['entry_adds_up', 'a debit that adds', { is_credit: false, before_balance: 0, after_balance: 100 }],
  ['entry_overdraft', 'an adjustment beyond the balance', debit('merchant_adjustment')],
  ['entry_overdraft', 'an expiry beyond the balance', debit('credit_expired')],
  ['entry_overdraft', 'a void beyond the balance', debit('credit_voided')],
  ...['payment', 'refund', 'dispute_reversal', 'bonus', 'checkout_refunded'].map((type): [string, string, Columns] => [
    'entry_direction',
    `a debit as ${type}`,
    { event_type: type, is_credit: false, before_balance: 500, after_balance: 400 },
  ]),
  ...[
    ...['payment_reversal', 'refund_reversal', 'dispute', 'hold_captured', 'credit_expired', 'credit_voided'],
    ...['bonus_reversal', 'checkout_refund_reversal'],
  ].map((type): [string, string, Columns] => ['entry_direction', `a credit as ${type}`, credit(type)]),
  ['entry_key_with_fingerprint', 'a key without a fingerprint', { fingerprint: null }],
  ['entry_key_with_fingerprint', 'a fingerprint without a key', { idempotency_key: null }],
  ['entry_fingerprint_check', 'half a fingerprint', { fingerprint: Buffer.alloc(16) }],
  ['entry_idempotency_key_check', 'an empty key', { idempotency_key: '' }],
  ['entry_idempotency_key_check', 'a key without an end', { idempotency_key: 'k'.repeat(1301) }],
  ['entry_amount_check', 'nothing', { amount: 0, after_balance: 0 }],
  ['entry_amount_check', 'less than nothing', { amount: -100, after_balance: -100 }],
  ['entry_seq_check', 'an entry before the first', { seq: 0 }],
  [
    'entry_after_balance_check',
    'a balance that JavaScript rounds',
    { before_balance: 1, amount: LARGEST, after_balance: '9007199254740992' },
  ],
  ['entry_event_type_check', 'an event of no kind', { event_type: 'gift' }],
  ['entry_metadata_check', 'metadata that is a list', { metadata: '[]' }],
  ['entry_reason_check', 'a reason without an end', { reason: 'r'.repeat(1001) }],
  ['entry_reference_object_id_check', 'a reference without an end', { reference_object_id: 'r'.repeat(256) }],
  ['entry_merchant_id_customer_id_currency_fkey', 'an entry of no wallet', { customer_id: `cus_${randomUUID()}` }],
])('%s refuses %s', async (constraint, _, columns) => {
  expect(await refusedBy(columns)).toBe(constraint);
});
