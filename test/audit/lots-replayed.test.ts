import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { autocommit, Tx, transaction } from '../../src/db/transaction.ts';
import type { LotTerms } from '../../src/ledger/entry.ts';
import { eraseLotTexts, FIRST_LOT } from '../../src/ledger/lots/erase.ts';
import type { LedgerCommand } from '../../src/ledger/post.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { WITHOUT_GUARDS } from '../support/tampering.ts';

/**
 * Aim: whoever moves what a debit took from one lot to another, and everything that adds up to it, is named by the audit. Method: books
 * that agree, then each edit of all that the other rules compare, undone afterwards.
 */

const START = new Date('2026-03-01T12:00:00Z');
const later = (hours: number) => new Date(START.getTime() + hours * 3_600_000);
const KEY = { merchantId: MERCHANT, customerId: 'cus_ada', currency: 'USD' };

let database: TestDatabase;

const run = (commands: readonly LedgerCommand[], now = START) =>
  transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now }));

function lot(amountMinor: number, overrides: Partial<LotTerms> = {}) {
  const terms: LotTerms = { kind: 'promo', name: 'Welcome', priority: 50, end: { days: 30 }, ...overrides };
  return posting({ customerId: 'cus_ada', amountMinor, terms, idempotencyKey: `api:${amountMinor}` });
}

const debit = (amountMinor: number) => posting({ customerId: 'cus_ada', amountMinor, isCredit: false });

/** Entries 1 to 6: a base of 1000, lots 1 to 3, of which lot 1 is spent first, and two debits before lot 3 is moved before it. */
beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['ada', 'bob']);
  await run([posting({ customerId: 'cus_ada', amountMinor: 1000 }), lot(300), lot(400, { end: { days: 60 } })]);
  await run([lot(500, { kind: 'adjustment', end: null, priority: 60 }), debit(100), debit(1400)], later(1));
  const change = { ...KEY, op: 'change_lot', end: null, reason: 'sooner', actor: 'key:key_1' } as const;
  await run([{ ...change, lotNo: 3, priority: 10 }], later(2));
  await run([debit(50)], later(3));
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

/** The rules that are named after statements; the triggers stand in the way of nobody who owns them. */
async function namedAfter(...statements: string[]): Promise<readonly string[]> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query(WITHOUT_GUARDS);
    for (const statement of statements) await client.query(statement);
    const { disagreements } = await audit(new Tx(client), { rule: null });
    return [
      ...new Set(
        disagreements.map(({ rule, subject }) => `${rule.split(':')[0]} ${subject.split(' ').slice(1).join(' ')}`),
      ),
    ];
  } finally {
    await client.query('rollback');
    client.release();
  }
}

const moved = async (customerId: string, seq: number) =>
  (
    await database.pool.query(
      'select lot_no::int as lot, amount::int from lot_movement where customer_id = $1 and seq = $2',
      [customerId, seq],
    )
  ).rows;

const moveTo = (seq: number, from: number, to: number) =>
  `update lot_movement set lot_no = ${to} where customer_id = 'cus_ada' and seq = ${seq} and lot_no = ${from}`;

describe('the audit plays lots again', () => {
  it('and finds nothing where each debit took them in their order, before and after a change of terms', async () => {
    expect(await namedAfter()).toEqual([]);
  });

  it('names a debit that took from a lot which was not its turn, though everything else adds up', async () => {
    const named = await namedAfter(
      moveTo(5, 1, 2),
      // What is left of both is spent by the next entry, in whatever shares.
      "update lot_movement set amount = -300 where customer_id = 'cus_ada' and seq = 6 and lot_no = 1",
      "update lot_movement set amount = -300 where customer_id = 'cus_ada' and seq = 6 and lot_no = 2",
    );
    expect(named).toEqual(['9h lots entry 5']);
  });

  it('names a debit that took from the base what was the turn of a lot', async () => {
    const named = await namedAfter(
      "delete from lot_movement where customer_id = 'cus_ada' and seq = 7",
      "update lot set remaining = remaining + 50, spent = spent - 50 where customer_id = 'cus_ada' and lot_no = 3",
      "update wallet set in_lots = in_lots + 50 where customer_id = 'cus_ada' and currency = 'USD'",
    );
    expect(named).toEqual(['9h lots entry 7']);
  });

  it.each([
    ['name', "update closed_lot set name = 'Goodbye' where customer_id = 'cus_ada' and lot_no = 1", 'entry 2'],
    ['kind', "update closed_lot set kind = 'adjustment' where customer_id = 'cus_ada' and lot_no = 2", 'entry 3'],
    [
      'end',
      "update closed_lot set expires_at = (expires_at at time zone 'UTC' - interval '1 hour') at time zone 'UTC' where customer_id = 'cus_ada' and lot_no = 1",
      'entry 2',
    ],
    [
      'first priority',
      "update lot_change set old_priority = 70 where customer_id = 'cus_ada' and lot_no = 3",
      'entry 4',
    ],
  ])('names a lot whose %s is not what was asked for', async (_, statement, entry) => {
    expect(await namedAfter(statement)).toEqual([`9f lots ${entry}`]);
  });

  it('says nothing of a name that was struck out', async () => {
    await makeCustomers(database.pool, ['eve']);
    await run([{ ...lot(200), customerId: 'cus_eve' }], later(4));
    await database.pool.query(
      `insert into customer_erasure (merchant_id, customer_id, requested_at, with_texts, phase, not_before)
       values ($1, 'cus_eve', now(), true, 'entries', now())`,
      [MERCHANT],
    );
    await transaction(database.pool, (tx) =>
      eraseLotTexts(tx, { merchantId: MERCHANT, customerId: 'cus_eve' }, FIRST_LOT),
    );
    expect(await namedAfter()).toEqual([]);
  });

  it('says nothing of a capture in a paused wallet, which takes what is next and not what would be over, also after the pause', async () => {
    await makeCustomers(database.pool, ['pia']);
    const key = { ...KEY, customerId: 'cus_pia' };
    const given = (amount: number, terms: Partial<LotTerms>) => ({ ...lot(amount, terms), customerId: 'cus_pia' });
    const set = { ...key, op: 'change_status', reason: 'why', actor: 'key:key_1' } as const;
    await run([given(300, { priority: 10, end: null }), given(200, { end: { days: 1 } })]);
    const texts = { reason: null, referenceObjectId: null, metadata: null };
    const hold = {
      ...key,
      ...texts,
      op: 'place',
      amountMinor: 100,
      partial: false,
      idempotencyKey: 'api:hold',
    } as const;
    await run([{ ...hold, expiresInSeconds: 86_400 * 5 }]);
    const capture = { ...key, op: 'capture', holdNo: 1, amountMinor: null, isFinal: true, beyond: 'refuse' } as const;
    await run([{ ...set, status: 'frozen', pauseExpiry: true }], later(12));
    await run([{ ...capture, ...texts, late: 'refuse', idempotencyKey: 'api:capture' }], later(48));
    expect(await moved('cus_pia', 3)).toEqual([{ lot: 1, amount: -100 }]);
    expect(await namedAfter()).toEqual([]);
    // What would be right without the pause is named.
    const other = "update lot_movement set lot_no = 2 where customer_id = 'cus_pia' and seq = 3";
    expect(await namedAfter(other)).toContain('9h lots entry 3');
    await run([{ ...set, status: 'active', pauseExpiry: null }], later(60));
    expect(await namedAfter()).toEqual([]);
  });

  it('follows a wallet through more entries than it reads at once, beside short ones', async () => {
    await run([posting({ customerId: 'cus_bob', amountMinor: 100 }), { ...lot(900), customerId: 'cus_bob' }], later(4));
    await run(
      Array.from({ length: 700 }, () => ({ ...debit(1), customerId: 'cus_bob' })),
      later(5),
    );
    expect(await namedAfter()).toEqual([]);
    const named = await namedAfter(
      "delete from lot_movement where customer_id = 'cus_bob' and seq = 650",
      "update lot set remaining = remaining + 1, spent = spent - 1 where customer_id = 'cus_bob' and lot_no = 1",
      "update wallet set in_lots = in_lots + 1 where customer_id = 'cus_bob' and currency = 'USD'",
    );
    expect(named).toContain('9h lots entry 650');
  });
});

it('finds nothing wrong where a bonus that was taken comes back, and more with it', async () => {
  const terms: LotTerms = { kind: 'promo', name: null, priority: 50, end: { days: 90 } };
  const keyOf = (number: number) => `api:bonus${number}`;
  const ofBonus = { customerId: 'cus_bob', referenceObjectId: 'pi_x' };
  const given = (amountMinor: number, number: number, restores: readonly string[]) =>
    posting({ ...ofBonus, amountMinor, eventType: 'bonus', terms, restores, idempotencyKey: keyOf(number) });
  // No payment stands behind these entries, which other rules name.
  const own = await createTestDatabase();
  await makeCustomers(own.pool, ['bob']);
  const write = (one: LedgerCommand) =>
    transaction(own.pool, (tx) => postBatch(tx, [one], { ...SETTINGS, now: START }));
  await write(given(33, 1, []));
  const taken = { amountMinor: 33, isCredit: false, eventType: 'bonus_reversal', origins: [keyOf(1)] } as const;
  await write(posting({ ...ofBonus, ...taken, restores: [keyOf(1)], idempotencyKey: keyOf(2) }));
  await write(given(66, 3, [keyOf(1), keyOf(2)]));
  const { disagreements } = await audit(autocommit(own.pool), { rule: null });
  await own.drop();
  expect(disagreements.filter(({ rule }) => rule.startsWith('9'))).toEqual([]);
});
