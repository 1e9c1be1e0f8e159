import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../../src/audit/checks.ts';
import { onCitus } from '../../../src/db/backend.ts';
import { autocommit, type Tx, transaction } from '../../../src/db/transaction.ts';
import type { LotTerms } from '../../../src/ledger/entry.ts';
import { type Drainable, drain, inDrainOrder } from '../../../src/ledger/lots/drain.ts';
import { eraseLotTexts, FIRST_LOT } from '../../../src/ledger/lots/erase.ts';
import { LotOwners } from '../../../src/ledger/lots/owners.ts';
import { getLot, lotsOfEntry } from '../../../src/ledger/lots/read.ts';
import type { LedgerCommand } from '../../../src/ledger/post.ts';
import { postBatch, readWallets } from '../../../src/ledger/store.ts';
import { expectSameOfNewRows } from '../../support/audit.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../../support/ledger.ts';
import { waitingForLocks } from '../../support/lock-waits.ts';
import { inLotWords, LotModel, lotSteps } from '../../support/lot-model.ts';
import { movedBy, unguarded } from '../../support/tampering.ts';
import { eventually } from '../../support/wait.ts';

/** What is guessed of lots is guessed in nearly every test here. */
const OWNERS = new LotOwners();
const START = new Date('2026-03-01T12:00:00Z');
const DAY = 86_400;

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(40);
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

const run = (commands: readonly LedgerCommand[], now = START, { pool } = database) =>
  transaction(pool, (tx) => postBatch(tx, commands, { ...SETTINGS, lotOwners: OWNERS, now }));

const later = (seconds: number) => new Date(START.getTime() + seconds * 1000);

const keyOf = (customerId: string) => ({ merchantId: MERCHANT, customerId, currency: 'USD' });

function lot(customerId: string, amountMinor: number, overrides: Partial<LotTerms> = {}) {
  const terms: LotTerms = { kind: 'promo', name: 'Welcome', priority: 50, end: { days: 1 }, ...overrides };
  return posting({ customerId, amountMinor, terms });
}

async function wallet(customerId: string, { pool } = database) {
  const wallets = await readWallets(autocommit(pool), MERCHANT, [customerId]);
  const found = wallets.find(({ currency }) => currency === 'USD');
  if (found === undefined) throw new Error(`no wallet of ${customerId}`);
  return found;
}

/** A customer with this base. */
async function funded(name: string, amountMinor: number): Promise<string> {
  const [customer = ''] = await makeCustomers(database.pool, [name]);
  await run([posting({ customerId: customer, amountMinor })]);
  return customer;
}

interface OpenLot extends Drainable {
  readonly remaining: number;
}

/** All open lots, by number. */
async function openLots(customerId: string): Promise<OpenLot[]> {
  const { rows } = await database.pool.query<OpenLot>(
    `select lot_no as "lotNo", kind, priority, expires_at as "expiresAt", remaining from lot where customer_id = $1 order by lot_no`,
    [customerId],
  );
  return rows;
}

/** The transaction, which notes how many lots each reading of open ones finds. */
function countRows(tx: Tx, read: number[]): Tx {
  return new Proxy(tx, {
    get: (target, name) => {
      if (name !== 'queryArrays') return boundTo(target, name);
      return async (sql: string | { name: string; text: string }, values: readonly unknown[]) => {
        const answer = await target.queryArrays(sql, values);
        if (typeof sql !== 'string' && /^find-(?:open-lots|lots-in-reach)$/.test(sql.name))
          read.push(answer.rows.length);
        return answer;
      };
    },
  });
}

const place = {
  ...{ op: 'place' as const, amountMinor: 5, partial: false, expiresInSeconds: 900, reason: null, metadata: null },
  ...{ referenceObjectId: null, idempotencyKey: 'api:reach' },
};

/** All rows of a customer, in text. */
async function rowsOf(customerId: string): Promise<unknown> {
  const { rows } = await database.pool.query<{ rows: unknown }>(
    `select jsonb_build_object(
      'wallet', (select jsonb_agg(w order by currency) from wallet w where customer_id = $1),
      'entries', (select jsonb_agg(e order by currency, seq) from entry e where customer_id = $1),
      'lots', (select jsonb_agg(l order by lot_no) from lot l where customer_id = $1),
      'closed', (select jsonb_agg(l order by lot_no) from closed_lot l where customer_id = $1),
      'movements', (select jsonb_agg(m order by seq, lot_no) from lot_movement m where customer_id = $1),
      'changes', (select jsonb_agg(c order by lot_no, change_no) from lot_change c where customer_id = $1),
      'due', (select jsonb_agg(d) from wallet_due d where customer_id = $1)) as rows`,
    [customerId],
  );
  return rows[0]?.rows;
}

describe('lots, holds and entries on Postgres', () => {
  // Of its own, since the claw-backs here belong to no payment, which the audit notices.
  let modelled: TestDatabase;

  beforeAll(async () => {
    modelled = await createTestDatabase();
  });

  afterAll(async () => {
    await modelled.drop();
  });

  it('decide as the model does, batch after batch, each first in a transaction that fails, while the clock jumps', async () => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(lotSteps(['cus_x', 'cus_y']), async (steps) => {
        runs += 1;
        const names = new Map([
          ['cus_x', `cus_x${runs}`],
          ['cus_y', `cus_y${runs}`],
        ]);
        const customers = await makeCustomers(modelled.pool, [`x${runs}`, `y${runs}`]);
        const model = new LotModel(customers, new Date('2026-01-01T00:00:00Z').getTime());
        let clock = START.getTime();
        for (const { seconds, commands: drawn } of steps) {
          clock += seconds * 1000;
          const commands = drawn.map((one): LedgerCommand => ({ ...one, customerId: names.get(one.customerId) ?? '' }));
          const expected = commands.map((command) => model.do(command, clock));
          const failing = transaction(modelled.pool, async (tx) => {
            await postBatch(tx, commands, { ...SETTINGS, now: new Date(clock) });
            throw new Error('stop');
          });
          await expect(failing).rejects.toThrow('stop');
          expect((await run(commands, new Date(clock), modelled)).map(inLotWords)).toEqual(expected);
        }
        for (const customerId of customers) {
          expect((await wallet(customerId, modelled)).balance).toBe(model.balanceOf(customerId));
          const { rows } = await modelled.pool.query<{ row: string }>(
            `select concat_ws(' ', lot_no, kind, state, remaining, spent, expired, voided, taken_back, priority,
                coalesce((extract(epoch from expires_at) * 1000)::bigint::text, 'Infinity')) as row
              from (
                select lot_no, kind, 'open' as state, remaining, spent, expired, voided, taken_back, priority, expires_at from lot where customer_id = $1
                union all
                select lot_no, kind, state, 0, spent, expired, voided, taken_back, priority, expires_at from closed_lot where customer_id = $1) l
              order by lot_no`,
            [customerId],
          );
          expect(rows.map(({ row }) => row)).toEqual(model.lotsOf(customerId));
        }
      }),
      { numRuns: 25 },
    );
    const { disagreements } = await audit(autocommit(modelled.pool));
    expect(
      disagreements.filter(({ rule }) => rule !== '5 once: no entry claims a payment that does not know it'),
    ).toEqual([]);
  });
});

describe('lots on Postgres', () => {
  it('example 15: are spent or expire, never both, when 100 debits race their end', async () => {
    const customer = await funded('racing', 200);
    await run([lot(customer, 500)]);
    const end = DAY;
    await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        run(
          [posting({ customerId: customer, amountMinor: 10, isCredit: false })],
          later(index % 2 === 0 ? end - 1 : end),
        ),
      ),
    );
    const { balance, inLots } = await wallet(customer);
    const { rows } = await database.pool.query<{ debits: string; expired: string; base: string }>(
      `select coalesce(sum(amount) filter (where event_type = 'merchant_adjustment'), 0) as debits,
          coalesce(sum(amount) filter (where event_type = 'credit_expired'), 0) as expired,
          coalesce(sum(amount + coalesce((select sum(m.amount) from lot_movement m
            where m.merchant_id = e.merchant_id and m.customer_id = e.customer_id and m.currency = e.currency and m.seq = e.seq), 0))
            filter (where event_type = 'merchant_adjustment'), 0) as base
        from entry e where customer_id = $1 and not is_credit`,
      [customer],
    );
    const [sums] = rows;
    const [debits, expired, base] = [Number(sums?.debits), Number(sums?.expired), Number(sums?.base)];
    expect(debits + expired).toBe(700 - balance);
    expect(expired).toBeLessThanOrEqual(500);
    expect(base).toBeLessThanOrEqual(200);
    expect([inLots, balance >= 0]).toEqual([0, true]);
    await expectBooksToAgree(database.pool);
  });

  it('leave nothing where the transaction fails after it was written', async () => {
    const customer = await funded('failing', 100);
    await run([lot(customer, 60)]);
    const before = await rowsOf(customer);
    const commands: LedgerCommand[] = [
      lot(customer, 40),
      posting({ customerId: customer, amountMinor: 80, isCredit: false }),
      {
        ...{ ...keyOf(customer), op: 'change_lot', lotNo: 2, end: { at: null }, priority: null },
        ...{ reason: 'asked', actor: 'key:one' },
      },
    ];
    const failing = transaction(database.pool, async (tx) => {
      await postBatch(tx, commands, { ...SETTINGS, now: START });
      throw new Error('stop');
    });
    await expect(failing).rejects.toThrow('stop');
    expect(await rowsOf(customer)).toEqual(before);
    await run(commands);
    expect(await wallet(customer)).toMatchObject({ balance: 120, inLots: 20, openLots: 1, lotSeq: 2 });
  });

  it('make no statement for wallets that have none, one more for those that do, and another for those of which one opens or closes', async () => {
    const customer = await funded('plain', 5000);
    const names: string[] = [];
    const debit = (amountMinor: number) =>
      transaction(database.pool, async (tx) => {
        const counting = new Proxy(tx, {
          get: (target, name) => {
            if (name !== 'queryArrays') return boundTo(target, name);
            return (sql: string | { name: string; text: string }, values: readonly unknown[]) => {
              // Of those without a name, what is said of a low balance is the only one.
              if (typeof sql !== 'string') names.push(sql.name);
              else expect(sql).toContain('insert into wallet_alert');
              return target.queryArrays(sql, values);
            };
          },
        });
        const one = posting({
          customerId: customer,
          amountMinor,
          isCredit: false,
          idempotencyKey: `api:${amountMinor}`,
        });
        await postBatch(counting, [one], { ...SETTINGS, now: START });
      });
    await debit(1);
    expect(names.splice(0)).toEqual(['lock-wallets', 'find-entries-by-keys', 'write-postings']);
    await run([lot(customer, 10, { priority: 90, end: null, kind: 'adjustment' })]);
    await debit(2);
    expect(names.splice(0)).toEqual(['lock-wallets', 'find-entries-by-keys', 'find-open-lots', 'write-postings']);
    await debit(4990);
    expect(names.splice(0)).toEqual(['lock-wallets', 'find-entries-by-keys', 'find-open-lots', 'write-postings']);
    await debit(10);
    expect(names.splice(0)).toEqual([
      ...['lock-wallets', 'find-entries-by-keys', 'find-open-lots'],
      'write-postings-and-draws',
    ]);
    await debit(7);
    expect(names).toEqual([
      ...['lock-wallets', 'find-entries-by-keys', 'find-open-lots'],
      ...['write-postings-and-holds', 'write-lots'],
    ]);
  });

  it('are drawn on in their order, though of many only those are read that the debits reach', async () => {
    const customer = await funded('many', 700);
    const kinds: LotTerms['kind'][] = ['promo', 'adjustment'];
    const given = fc.sample(
      fc.record({
        kind: fc.constantFrom(...kinds),
        priority: fc.constantFrom(0, 49, 50, 50, 51, 100),
        end: fc.constantFrom(null, { days: 400 }, { days: 401 }, { days: 4000 }),
        amount: fc.integer({ min: 1, max: 90 }),
      }),
      { numRuns: 40, seed: 7 },
    );
    await run(given.map(({ amount, ...terms }) => lot(customer, amount, terms)));
    const amounts = fc.sample(fc.integer({ min: 1, max: 60 }), { numRuns: 60, seed: 7 });
    const read: number[] = [];
    while (amounts.length > 0) {
      const before = await openLots(customer);
      const { balance, inLots } = await wallet(customer);
      const debits = amounts
        .splice(0, 3)
        .map((amountMinor) => posting({ customerId: customer, amountMinor, isCredit: false }));
      const amount = debits.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
      if (amount > balance) break;
      await transaction(database.pool, (tx) => postBatch(countRows(tx, read), debits, { ...SETTINGS, now: START }));
      const drained = drain([...before].sort(inDrainOrder), { base: balance - inLots, amount, isBaseFirst: false });
      const left = before.flatMap((one) => {
        const remaining = one.remaining - (drained.find(({ lot }) => lot.lotNo === one.lotNo)?.amount ?? 0);
        return remaining === 0 ? [] : [{ ...one, remaining }];
      });
      expect((await openLots(customer)).map(({ lotNo, remaining }) => [lotNo, remaining])).toEqual(
        left.map(({ lotNo, remaining }) => [lotNo, remaining]),
      );
    }
    expect(Math.max(...read)).toBeLessThan(20);
  });

  it('are guessed from what was seen last, and read again where that is not so any more', async () => {
    const customer = await funded('guessed', 100);
    const read: number[] = [];
    const debit = posting({ customerId: customer, amountMinor: 1, isCredit: false });
    const post = async (...commands: LedgerCommand[]) => {
      read.length = 0;
      const moment = { ...SETTINGS, lotOwners: OWNERS, now: START };
      return transaction(database.pool, (tx) => postBatch(countRows(tx, read), commands, moment));
    };
    const elsewhere = (...commands: LedgerCommand[]) =>
      transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now: START }));
    const given = Array.from({ length: 6 }, (_, index) => lot(customer, 10, { end: { days: index + 30 } }));
    await run(given.slice(0, 2));
    await post(debit);
    expect(read).toEqual([2]);
    // It had two, and has six.
    await elsewhere(...given.slice(2));
    await post(debit);
    expect(read).toEqual([6]);
    await post(debit);
    expect(read).toEqual([1]);
    // Now a hold may keep any of them.
    await elsewhere({ ...place, ...keyOf(customer) });
    await post(debit);
    expect(read).toEqual([1, 6]);
    // Nothing is left of them; it is known afterwards.
    await elsewhere({ op: 'release', ...keyOf(customer), holdNo: 1, reason: null }, { ...debit, amountMinor: 56 });
    await post(debit);
    expect(read).toEqual([0]);
    await post(debit);
    expect(read).toEqual([]);
    expect(await wallet(customer)).toMatchObject({ balance: 98, inLots: 0, openLots: 0 });
  });

  it('are all read where a hold may keep some, and for anything but debits', async () => {
    const customer = await funded('reach', 100);
    const lots = Array.from({ length: 6 }, (_, index) => lot(customer, 10, { end: { days: index + 30 } }));
    await run(lots);
    const debit = posting({ customerId: customer, amountMinor: 1, isCredit: false });
    const readBy = async (commands: readonly LedgerCommand[]) => {
      const read: number[] = [];
      await transaction(database.pool, (tx) => postBatch(countRows(tx, read), commands, { ...SETTINGS, now: START }));
      return read;
    };
    expect(await readBy([debit])).toEqual([1]);
    // 9 are left in the first, of 10 in each.
    expect(await readBy([debit, { ...debit, amountMinor: 8 }])).toEqual([1]);
    expect(await readBy([{ ...debit, amountMinor: 11 }])).toEqual([2]);
    expect(await readBy([debit, posting({ customerId: customer, amountMinor: 1 })])).toEqual([4]);
    await run([{ ...place, ...keyOf(customer) }]);
    expect(await readBy([debit])).toEqual([4]);
  });

  // What the server counts of a session, each node counts of its own.
  it.skipIf(onCitus())(
    'cost a plain debit no row: it reads its wallet, and writes that, an entry, and a note of it',
    async () => {
      const customer = await funded('rows', 5000);
      await database.pool.query("delete from unannounced_wallet where customer_id = $1 and currency = 'USD'", [
        customer,
      ]);
      const read: unknown[] = [];
      const one = posting({ customerId: customer, amountMinor: 1, isCredit: false, idempotencyKey: 'api:rows' });
      // Of the session, as far as it has told nobody: those of this transaction are the difference.
      const counted = async (tx: Tx) => {
        const { rows } = await tx.query<{ name: string; rows: number }>(
          `select relname as name, (n_tup_ins + n_tup_upd + n_tup_del)::int as rows from pg_stat_xact_user_tables order by 1`,
        );
        return rows;
      };
      const written = await transaction(database.pool, async (tx) => {
        const before = new Map((await counted(tx)).map(({ name, rows }) => [name, rows]));
        const counting = new Proxy(tx, {
          get: (target, name) => {
            if (name !== 'queryArrays') return boundTo(target, name);
            return async (sql: string | { name: string; text: string }, values: readonly unknown[]) => {
              const result = await target.queryArrays(sql, values);
              read.push([typeof sql === 'string' ? sql : sql.name, result.rows.length, result.rows[0]?.length ?? 0]);
              return result;
            };
          },
        });
        await postBatch(counting, [one], { ...SETTINGS, now: START });
        const after = (await counted(tx)).map(({ name, rows }) => ({ name, rows: rows - (before.get(name) ?? 0) }));
        return after.filter(({ rows }) => rows > 0).map(({ name, rows }) => `${name} ${rows}`);
      });
      // A column more of each wallet is a price that all pay: it is to be a decision. The last one, its row's place, spares holds a look for it.
      expect(read.slice(0, 2)).toEqual([
        ['lock-wallets', 1, 26],
        ['find-entries-by-keys', 0, 0],
      ]);
      expect(read).toHaveLength(3);
      expect(written).toEqual(['entry 1', 'unannounced_wallet 1', 'wallet 1']);
    },
  );

  it('leave the work list when they end, and stay on it while another one ends later', async () => {
    const customer = await funded('listed', 100);
    const due = async () => {
      const { rows } = await database.pool.query('select due_at from wallet_due where customer_id = $1', [customer]);
      return rows.map(({ due_at }) => due_at);
    };
    await run([lot(customer, 2), lot(customer, 2, { end: { days: 3 } })]);
    expect(await due()).toEqual([later(DAY)]);
    await run([{ ...keyOf(customer), op: 'sweep' }], later(DAY));
    expect(await due()).toEqual([later(2 * DAY)]);
    await run([{ ...keyOf(customer), op: 'sweep' }], later(3 * DAY));
    expect(await due()).toEqual([]);
    const { rows } = await database.pool.query(
      "select kind, details from wallet_alert where customer_id = $1 and kind like 'credit%'",
      [customer],
    );
    expect(rows).toEqual(
      [1, 2].map((lotNo) => {
        return { kind: 'credit_expired', details: { lots: [{ lotId: `lot_${customer}_USD_${lotNo}`, amount: 2 }] } };
      }),
    );
  });

  it('keep a name that was struck out struck out when they close', async () => {
    const customer = await funded('named', 100);
    await run([lot(customer, 10), lot(customer, 10)]);
    const key = { ...keyOf(customer), lotNo: 1 };
    expect(await getLot(autocommit(database.pool), key)).toMatchObject({ name: 'Welcome', state: 'open' });
    await transaction(database.pool, async (tx) => {
      const erased = new Proxy(tx, {
        get: (target, name) => {
          if (name !== 'queryArrays') return boundTo(target, name);
          return async (sql: string | { name: string; text: string }, values: readonly unknown[]) => {
            const isWriting = typeof sql !== 'string' && sql.name === 'write-lots';
            if (isWriting)
              await tx.query('update lot set name = null where customer_id = $1 and lot_no = 1', [customer]);
            return target.queryArrays(sql, values);
          };
        },
      });
      const debit = posting({ customerId: customer, amountMinor: 20, isCredit: false });
      await postBatch(erased, [debit], { ...SETTINGS, now: START });
    });
    expect(await getLot(autocommit(database.pool), key)).toMatchObject({ name: null, state: 'drained' });
    expect(await getLot(autocommit(database.pool), { ...key, lotNo: 2 })).toMatchObject({ name: 'Welcome' });
  });

  it.each([
    ['closes', { op: 'void_lot', amountMinor: null, reason: 'why', idempotencyKey: 'void' }],
    ['changes', { op: 'change_lot', end: { at: null }, priority: 10, reason: 'why', actor: 'key:one' }],
  ] as const)(
    'are not written at all where one that %s is not there, or a new one is there already',
    async (name, command) => {
      const customer = await funded(`missing_${name}`, 100);
      await run([lot(customer, 10)]);
      const key = { ...keyOf(customer), lotNo: 1 };
      const before = await wallet(customer);
      /** Carries it out in a transaction in which this has happened to the lots between reading and writing. */
      const amid = (sql: string, asked: LedgerCommand) =>
        transaction(database.pool, async (tx) => {
          const odd = new Proxy(tx, {
            get: (target, name) => {
              if (name !== 'queryArrays') return boundTo(target, name);
              return async (statement: string | { name: string; text: string }, values: readonly unknown[]) => {
                if (typeof statement !== 'string' && statement.name === 'write-lots') await tx.query(sql, [customer]);
                return target.queryArrays(statement, values);
              };
            },
          });
          await postBatch(odd, [asked], { ...SETTINGS, now: START });
        });
      const divided = { code: '22012' };
      await expect(amid('delete from lot where customer_id = $1', { ...key, ...command })).rejects.toMatchObject(
        divided,
      );
      const another = `insert into lot select (jsonb_populate_record(l, '{"lot_no": 2}')).* from lot l where customer_id = $1`;
      await expect(amid(another, lot(customer, 10))).rejects.toMatchObject(divided);
      expect(await wallet(customer)).toEqual(before);
      expect(await openLots(customer)).toHaveLength(1);
      await run([lot(customer, 20), { ...key, ...command }]);
      expect(await openLots(customer)).toHaveLength(name === 'closes' ? 1 : 2);
    },
  );

  it('are written where one is opened and spent in one batch, beside one that was there', async () => {
    const customer = await funded('at_once', 1);
    await run([lot(customer, 10)]);
    await run([lot(customer, 20), posting({ customerId: customer, amountMinor: 25, isCredit: false })]);
    expect(await openLots(customer)).toMatchObject([{ remaining: 5 }]);
    await run([lot(customer, 20), posting({ customerId: customer, amountMinor: 25, isCredit: false })]);
    expect(await openLots(customer)).toEqual([]);
  });

  it('are noticed by the audit where one had more than its amount at any time', async () => {
    const customer = await funded('overfull', 100);
    await run([lot(customer, 10)]);
    await database.pool.query(
      `insert into lot_movement select merchant_id, customer_id, currency, 1, 1, 5 from lot where customer_id = $1`,
      [customer],
    );
    const { disagreements } = await audit(autocommit(database.pool));
    await expectSameOfNewRows(autocommit(database.pool));
    await unguarded(database.pool, `delete from lot_movement where customer_id = '${customer}' and seq = 1`);
    expect(disagreements).toContainEqual({
      rule: '9b lots: none ever had less than nothing, or more than its amount',
      subject: `${MERCHANT}/${customer}/USD lot 1`,
      detail: '15 of 10 after entry 2',
    });
  });

  it('of an entry are listed in the order in which they are spent', async () => {
    const customer = await funded('in_order', 100);
    await run([lot(customer, 10), lot(customer, 10, { end: { days: 9 } }), lot(customer, 10, { priority: 10 })]);
    await run([posting({ customerId: customer, amountMinor: 25, isCredit: false })]);
    const moved = await lotsOfEntry(autocommit(database.pool), keyOf(customer), 5);
    expect(moved.map(({ lotNo, amountMinor }) => [lotNo, amountMinor])).toEqual([
      [3, -10],
      [1, -10],
      [2, -5],
    ]);
  });

  it('lose their names at once with a batch that closes them', async () => {
    const customer = await funded('erased', 100);
    await run([lot(customer, 10)]);
    const { pool } = database;
    const erasing = await transaction(pool, async (tx) => {
      await postBatch(tx, [posting({ customerId: customer, amountMinor: 10, isCredit: false })], {
        ...SETTINGS,
        now: START,
      });
      const erased = eraseLotTexts(autocommit(pool), { merchantId: MERCHANT, customerId: customer }, FIRST_LOT);
      await eventually(
        'the erasure to wait for the batch',
        async () => (await waitingForLocks(pool, '%erase_lot_texts%')) > 0,
      );
      return { erased };
    });
    await erasing.erased;
    const key = { ...keyOf(customer), lotNo: 1 };
    expect(await getLot(autocommit(pool), key)).toMatchObject({ name: null, state: 'drained' });
  });

  it.each([
    'update closed_lot set spent = spent + 1, amount = amount + 1',
    "update closed_lot set name = 'another'",
    'delete from closed_lot',
    'update lot_movement set amount = amount + 1',
    'delete from lot_movement',
    "update lot_change set actor = 'somebody'",
    'delete from lot_change',
  ])('refuses to change what is over: %s', async (statement) => {
    await expect(database.pool.query(statement)).rejects.toThrow('is insert-only');
  });

  it.each<[string, string, string, string]>([
    ['9a', 'wallet', 'in_lots = in_lots + 1', 'in_lots = in_lots - 1'],
    ['9a', 'wallet', 'lot_seq = lot_seq + 1', 'lot_seq = lot_seq - 1'],
    ['9b', 'lot', 'expired = expired + 1, spent = spent - 1', 'expired = expired - 1, spent = spent + 1'],
    ['9b', 'lot', 'amount = amount + 2, spent = spent + 2', 'amount = amount - 2, spent = spent - 2'],
    ['9b', 'lot', 'taken_back = taken_back + 1, spent = spent - 1', 'taken_back = taken_back - 1, spent = spent + 1'],
    ['9b', 'lot', 'origin_seq = origin_seq - 1', 'origin_seq = origin_seq + 1'],
    ['9f', 'lot', 'priority = priority + 1', 'priority = priority - 1'],
    ['9f', 'lot', 'changes = changes + 1', 'changes = changes - 1'],
    ['9g', 'wallet_due', `due_at = ${movedBy('due_at', '3 days')}`, `due_at = ${movedBy('due_at', '-3 days')}`],
  ])('the audit notices by rule %s: %s, %s', async (rule, table, tamper, undo) => {
    const customer = await funded(`tampered_${rule}_${tamper.replace(/\W/g, '').slice(0, 20)}`, 100);
    const change = { end: { at: later(2 * DAY) }, priority: 40, reason: 'asked', actor: 'key:one' };
    await run([
      lot(customer, 10),
      posting({ customerId: customer, amountMinor: 4, isCredit: false }),
      { ...keyOf(customer), op: 'change_lot', lotNo: 1, ...change },
    ]);
    const condition = ` where customer_id = '${customer}' and currency = 'USD'`;
    await database.pool.query(`update ${table} set ${tamper}${condition}`);
    const { disagreements } = await audit(autocommit(database.pool));
    await expectSameOfNewRows(autocommit(database.pool));
    await database.pool.query(`update ${table} set ${undo}${condition}`);
    expect(new Set(disagreements.map((one) => one.rule.slice(0, 2)))).toEqual(new Set([rule]));
    expect(disagreements[0]?.subject).toContain(customer);
  });

  it('the audit notices those that nobody ends, but not what a hold keeps', async () => {
    const [kept, left] = [await funded('kept_over', 100), await funded('left_over', 100)];
    await run([lot(kept, 10), lot(left, 10)]);
    const hold = { op: 'place', amountMinor: 110, partial: false, expiresInSeconds: 10 * DAY } as const;
    const texts = { reason: null, referenceObjectId: null, metadata: null, idempotencyKey: 'job' };
    await run([{ ...keyOf(kept), ...hold, ...texts }]);
    const overdue = async (now: Date) => {
      const { disagreements } = await audit(autocommit(database.pool), { rule: null, now });
      return disagreements.filter(({ subject }) => subject.includes(kept) || subject.includes(left));
    };
    expect(await overdue(later(DAY + 3600))).toEqual([]);
    const found = await overdue(later(DAY + 3601));
    expect(found.map(({ rule }) => rule)).toEqual(['9g lots: none is open long after its end']);
    expect(found[0]?.subject).toContain(left);
  });

  it.each([
    ['9b', 'closed_lot', "state = 'expired'", "state = 'voided'"],
    [
      '9e',
      'closed_lot',
      `expires_at = ${movedBy('expires_at', '1 day')}`,
      `expires_at = ${movedBy('expires_at', '-1 day')}`,
    ],
    ['9c', 'lot_movement', 'amount = -amount', 'amount = -amount'],
  ])('the audit notices by rule %s what triggers refuse: %s, %s', async (rule, table, tamper, undo) => {
    const customer = await funded(`refused_${rule}`, 100);
    await run([lot(customer, 10)]);
    const voided = { ...keyOf(customer), op: 'void_lot', lotNo: 1, amountMinor: null, reason: 'a mistake' } as const;
    if (rule === '9e') await run([{ ...keyOf(customer), op: 'sweep' }], later(DAY));
    else await run([{ ...voided, idempotencyKey: 'api:void' }]);
    const set = (what: string) =>
      unguarded(database.pool, `update ${table} set ${what} where customer_id = '${customer}'`);
    await set(tamper);
    const { disagreements } = await audit(autocommit(database.pool));
    await expectSameOfNewRows(autocommit(database.pool));
    await set(undo);
    expect(disagreements.map((one) => one.rule.slice(0, 2))).toContain(rule);
    expect(disagreements[0]?.subject).toContain(customer);
    expect((await audit(autocommit(database.pool))).disagreements).toEqual([]);
  });
});

/** A transaction's own methods work on itself alone, so one that stands before it cannot be their `this`. */
function boundTo(target: Tx, name: string | symbol): unknown {
  const own: unknown = Reflect.get(target, name);
  return typeof own === 'function' ? own.bind(target) : own;
}
