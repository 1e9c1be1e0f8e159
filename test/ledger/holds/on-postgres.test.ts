import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { audit } from '../../../src/audit/checks.ts';
import { autocommit, type Tx, transaction } from '../../../src/db/transaction.ts';
import { LedgerBatches } from '../../../src/ledger/batches.ts';
import { sizeAlerts } from '../../../src/ledger/claimed.ts';
import type { CaptureHold, PlaceHold } from '../../../src/ledger/holds/hold.ts';
import type { LedgerCommand } from '../../../src/ledger/post.ts';
import { postBatch, readWallets } from '../../../src/ledger/store.ts';
import { expectSameOfNewRows } from '../../support/audit.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { HoldModel, holdSteps, inModelWords } from '../../support/hold-model.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../../support/ledger.ts';
import { waitingForLocks } from '../../support/lock-waits.ts';
import { movedBy, unguarded } from '../../support/tampering.ts';

const START = new Date('2026-03-01T12:00:00Z');

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(40);
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

const run = (commands: readonly LedgerCommand[], now = START, { pool } = database) =>
  transaction(pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now }));

const later = (seconds: number) => new Date(START.getTime() + seconds * 1000);

function place(customerId: string, amountMinor: number, idempotencyKey: string): PlaceHold {
  return {
    ...{ op: 'place', merchantId: MERCHANT, customerId, currency: 'USD', amountMinor, partial: false },
    ...{ expiresInSeconds: 900, reason: null, referenceObjectId: 'job', metadata: null, idempotencyKey },
  };
}

function capture(customerId: string, holdNo: number, amountMinor: number): CaptureHold {
  return {
    ...{ op: 'capture', merchantId: MERCHANT, customerId, currency: 'USD', holdNo, amountMinor, isFinal: true },
    ...{ beyond: 'refuse', late: 'refuse', reason: null, metadata: null, idempotencyKey: null },
  };
}

async function wallet(customerId: string, { pool } = database) {
  const wallets = await readWallets(autocommit(pool), MERCHANT, [customerId]);
  const found = wallets.find(({ currency }) => currency === 'USD');
  if (found === undefined) throw new Error(`no wallet of ${customerId}`);
  return found;
}

/** Customers with this balance each. */
async function funded(names: readonly string[], amountMinor: number): Promise<string[]> {
  const customers = await makeCustomers(database.pool, names);
  await run(customers.map((customerId) => posting({ customerId, amountMinor })));
  return customers;
}

/** Holds, captures and the rest of a customer's rows, in text. */
async function rowsOf(customerId: string): Promise<unknown> {
  const { rows } = await database.pool.query<{ rows: unknown }>(
    `select jsonb_build_object(
      'wallet', (select jsonb_agg(w order by currency) from wallet w where customer_id = $1),
      'entries', (select jsonb_agg(e order by currency, seq) from entry e where customer_id = $1),
      'holds', (select jsonb_agg(h order by hold_no) from hold h where customer_id = $1),
      'closed', (select jsonb_agg(h order by hold_no) from closed_hold h where customer_id = $1),
      'captures', (select jsonb_agg(c order by seq) from hold_capture c where customer_id = $1),
      'due', (select jsonb_agg(d) from wallet_due d where customer_id = $1)) as rows`,
    [customerId],
  );
  return rows[0]?.rows;
}

describe('holds and entries on Postgres', () => {
  // Of its own, since the claw-backs here belong to no payment, which the audit notices.
  let modelled: TestDatabase;

  beforeAll(async () => {
    modelled = await createTestDatabase();
  });

  afterAll(async () => {
    await modelled.drop();
  });

  it('decide as the model does, batch after batch, while the clock jumps', async () => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(holdSteps(['cus_x', 'cus_y']), async (steps) => {
        runs += 1;
        const names = new Map([
          ['cus_x', `cus_x${runs}`],
          ['cus_y', `cus_y${runs}`],
        ]);
        const customers = await makeCustomers(modelled.pool, [`x${runs}`, `y${runs}`]);
        const model = new HoldModel(customers, new Date('2026-01-01T00:00:00Z').getTime());
        let clock = START.getTime();
        for (const { seconds, commands: drawn } of steps) {
          clock += seconds * 1000;
          const commands = drawn.map((one): LedgerCommand => ({ ...one, customerId: names.get(one.customerId) ?? '' }));
          const expected = commands.map((command) => model.do(command, clock));
          expect((await run(commands, new Date(clock), modelled)).map(inModelWords)).toEqual(expected);
        }
        for (const customerId of customers) {
          const { balance, held } = await wallet(customerId, modelled);
          expect([balance, held]).toEqual([model.wallets.get(customerId)?.balance, model.heldIn(customerId)]);
        }
      }),
      { numRuns: 25 },
    );
    const { disagreements } = await audit(autocommit(modelled.pool));
    // Claw-backs and disputes here are of no payment.
    expect(disagreements.filter(({ rule }) => !/^(?:5 once: no entry claims a payment|8e )/.test(rule))).toEqual([]);
  });
});

describe('holds on Postgres', () => {
  it('example 11: are no more than the balance when 200 are placed at once, and are captured or expire, never both', async () => {
    const [customer = ''] = await funded(['racing'], 300);
    const placed = await Promise.all(
      Array.from({ length: 200 }, (_, index) => run([place(customer, 10, `r${index}`)])),
    );
    expect(placed.flat().filter(({ kind }) => kind === 'placed')).toHaveLength(30);
    expect(await wallet(customer)).toMatchObject({ balance: 300, held: 300, openHolds: 30 });
    const key = { merchantId: MERCHANT, customerId: customer, currency: 'USD' };
    // The clock of the sweeps says that the holds are over, that of the captures does not yet.
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, (_, index) => [
        run([capture(customer, index + 1, 5)], later(899)),
        run([{ ...key, op: 'sweep' }], later(index % 2 === 0 ? 899 : 900)),
      ]).flat(),
    );
    const captured = outcomes.flat().filter(({ kind }) => kind === 'captured').length;
    const after = await wallet(customer);
    expect(after).toMatchObject({ held: 0, openHolds: 0, dueAt: null });
    expect(300 - after.balance).toBe(5 * captured);
    const { rows } = await database.pool.query<{ state: string; captured: number; count: number }>(
      'select state, captured, count(*)::int from closed_hold where customer_id = $1 group by 1, 2 order by 1',
      [customer],
    );
    const of = (state: string, taken: number) =>
      rows.find((row) => row.state === state && Number(row.captured) === taken)?.count ?? 0;
    expect([of('captured', 5), of('expired', 0)]).toEqual([captured, 30 - captured]);
    await expectBooksToAgree(database.pool);
  });

  it('are not placed and not captured where the transaction fails after it was written', async () => {
    const [customer = ''] = await funded(['failing'], 100);
    await run([place(customer, 60, 'kept')]);
    const before = await rowsOf(customer);
    const failing = transaction(database.pool, async (tx) => {
      await postBatch(tx, [place(customer, 40, 'lost'), capture(customer, 1, 20)], { ...SETTINGS, now: START });
      throw new Error('stop');
    });
    await expect(failing).rejects.toThrow('stop');
    expect(await rowsOf(customer)).toEqual(before);
    await run([place(customer, 40, 'lost'), capture(customer, 1, 20)]);
    expect(await wallet(customer)).toMatchObject({ balance: 80, held: 40, holdSeq: 2 });
  });

  it('do not wake the announcer when they are placed, changed or released', async () => {
    const [customer = ''] = await funded(['quiet'], 100);
    await database.pool.query('delete from unannounced_wallet where customer_id = $1', [customer]);
    await database.pool.query('update wallet set announced_version = version where customer_id = $1', [customer]);
    const key = { merchantId: MERCHANT, customerId: customer, currency: 'USD', holdNo: 1 };
    await run([place(customer, 50, 'q')]);
    await run([{ ...key, op: 'change', amountMinor: 60, expiresInSeconds: 100 }]);
    await run([{ ...key, op: 'release', reason: 'not needed' }]);
    const listed = () => database.pool.query('select 1 from unannounced_wallet where customer_id = $1', [customer]);
    expect((await listed()).rowCount).toBe(0);
    await run([place(customer, 50, 'q2')]);
    await run([{ ...key, op: 'sweep' }], later(900));
    expect((await listed()).rowCount).toBe(1);
    const { rows } = await database.pool.query('select kind, details from wallet_alert where customer_id = $1', [
      customer,
    ]);
    const expired = {
      holdId: `hold_${customer}_USD_2`,
      amount: 50,
      captured: 0,
      expired: 50,
      referenceObjectId: 'job',
    };
    expect(rows).toEqual([{ kind: 'hold_expired', details: { available: 100, holds: [expired] } }]);
  });

  it('wake the announcer at once where a request ends another hold on its way', async () => {
    const [customer = ''] = await funded(['waking'], 100);
    let now = START;
    let wakes = 0;
    const onPosted = () => {
      wakes += 1;
    };
    const ledger = new LedgerBatches({ pool: database.pool, settings: SETTINGS, clock: { now: () => now }, onPosted });
    const key = { merchantId: MERCHANT, customerId: customer, currency: 'USD', holdNo: 2 };
    await ledger.hold(place(customer, 10, 'first'));
    expect(wakes).toBe(0);
    now = later(900);
    await ledger.hold(place(customer, 10, 'second'));
    expect(wakes).toBe(1);
    await ledger.hold({ ...key, op: 'release', reason: null });
    expect(wakes).toBe(1);
  });

  it('are read in parts where thousands of many wallets end in one batch', async () => {
    const customers = await funded(
      Array.from({ length: 21 }, (_, index) => `crowded${index}`),
      2000,
    );
    for (const customerId of customers) {
      await run(Array.from({ length: 1000 }, (_, index) => place(customerId, 1, `c${index}`)));
    }
    const read: number[] = [];
    await transaction(database.pool, (tx) => {
      const counting = new Proxy(tx, {
        get: (target, name) => {
          if (name !== 'queryArrays') return boundTo(target, name);
          return async (sql: string | { name: string; text: string }, values: readonly unknown[]) => {
            const result = await target.queryArrays(sql, values);
            if (typeof sql !== 'string' && sql.name === 'find-open-holds') read.push(result.rows.length);
            return result;
          };
        },
      });
      const debits = customers.map((customerId) => posting({ customerId, amountMinor: 2000, isCredit: false }));
      return postBatch(counting, debits, { ...SETTINGS, now: later(900) });
    });
    expect(read).toEqual([20_000, 1000]);
    expect(await wallet(customers[20] ?? '')).toMatchObject({ balance: 0, held: 0, openHolds: 0 });
  });

  it('of one that is debited late are read by two captures, however many there were', async () => {
    const [customer = ''] = await funded(['many_captures'], 1000);
    await run([place(customer, 500, 'parts')]);
    const part = { ...capture(customer, 1, 1), isFinal: false };
    await run(Array.from({ length: 300 }, (_, index) => ({ ...part, idempotencyKey: `api:part${index}` })));
    const late = { ...capture(customer, 1, 50), late: 'debit' as const, idempotencyKey: 'api:late' };
    expect(await run([late], later(900))).toMatchObject([
      { kind: 'captured', hold: { captured: 300, beyond: 50, lateDebits: 1 } },
    ]);
    const again = await run([{ ...late, idempotencyKey: 'api:later' }], later(901));
    expect(again).toMatchObject([{ kind: 'refused', hold: { captured: 300, beyond: 50, lateDebits: 1 } }]);
  });

  it('leave the work list when they are swept, and stay on it while another one ends later', async () => {
    const [customer = ''] = await funded(['listed'], 100);
    const key = { merchantId: MERCHANT, customerId: customer, currency: 'USD' };
    const due = async () => {
      const { rows } = await database.pool.query('select due_at from wallet_due where customer_id = $1', [customer]);
      return rows.map(({ due_at }) => due_at);
    };
    await run([place(customer, 10, 'first'), { ...place(customer, 10, 'second'), expiresInSeconds: 1800 }]);
    expect(await due()).toEqual([later(900)]);
    await run([{ ...key, op: 'sweep' }], later(900));
    expect(await due()).toEqual([later(1800)]);
    // Nothing ends: it stays on the list all the same.
    await run([{ ...key, op: 'sweep' }], later(1000));
    expect(await due()).toEqual([later(1800)]);
    // The sweep ends what is over; the command behind it places another one, which ends sooner than nothing.
    await run([{ ...key, op: 'sweep' }, place(customer, 10, 'third')], later(1800));
    expect(await due()).toEqual([later(2700)]);
    await run([{ ...key, op: 'release', holdNo: 3, reason: null }], later(1801));
    await run([{ ...key, op: 'sweep' }], later(1802));
    expect(await due()).toEqual([]);
  });

  it('take no text out of the database when they end, and keep it', async () => {
    const [customer = ''] = await funded(['texts'], 100);
    const key = { merchantId: MERCHANT, customerId: customer, currency: 'USD' };
    const metadata = { note: 'x'.repeat(10_000) };
    const texts = { reason: 'y'.repeat(1000), metadata };
    const placed = Array.from({ length: 9 }, (_, index) => ({ ...place(customer, 1, `t${index}`), ...texts }));
    // The last one is placed and released at once, so that its texts are nowhere else yet.
    await run([...placed, { ...key, op: 'release', holdNo: 9, reason: 'not needed' }]);
    let bytes = 0;
    const outcomes = await transaction(database.pool, (tx) => {
      const weighing = new Proxy(tx, {
        get: (target, name) => {
          if (name !== 'queryArrays') return boundTo(target, name);
          return async (sql: string | { name: string; text: string }, values: readonly unknown[]) => {
            const result = await target.queryArrays(sql, values);
            const sent = values.map((one) => (Buffer.isBuffer(one) ? one.length : JSON.stringify(one).length));
            bytes += sent.reduce((sum, one) => sum + one, 0) + JSON.stringify(result).length;
            return result;
          };
        },
      });
      return postBatch(weighing, [{ ...key, op: 'sweep' }], { ...SETTINGS, now: later(900) });
    });
    expect(outcomes).toMatchObject([{ kind: 'swept', wallet: { held: 0, openHolds: 0 } }]);
    expect(bytes).toBeLessThan(20_000);
    const { rows } = await database.pool.query<{ state: string; kept: boolean }>(
      `select state, reason = $2 and metadata = $3::jsonb as kept from closed_hold where customer_id = $1 order by hold_no`,
      [customer, texts.reason, JSON.stringify(metadata)],
    );
    expect(rows).toEqual(placed.map((_, index) => ({ state: index === 8 ? 'released' : 'expired', kept: true })));
    const claim = { ...key, fromVersion: 1, toVersion: 1, fromAlertSeq: 0, toAlertSeq: 1 };
    const rest = { attempts: 0, createdAt: START, traceParent: null };
    const alerts = await database.pool.query('select details::text as text from wallet_alert where customer_id = $1', [
      customer,
    ]);
    // The announcer counts what an alert tells of holds as what it reads.
    expect(await sizeAlerts(autocommit(database.pool), [{ ...claim, ...rest, toAlertSeq: 0 }])).toEqual([0]);
    expect(await sizeAlerts(autocommit(database.pool), [{ ...claim, ...rest }])).toEqual([
      500 + alerts.rows[0].text.length,
    ]);
    // Whoever asks for one that ends in the same moment gets it with its texts.
    await run([{ ...place(customer, 1, 'named'), ...texts }]);
    const again = await run([{ ...place(customer, 1, 'named'), ...texts }], later(900));
    expect(again).toMatchObject([{ kind: 'held_before', hold: { state: 'expired', ...texts } }]);
  });

  it('are written where their wallet stands by then, if it moved while its lock was waited for, or by the same transaction', async () => {
    const [customer = ''] = await funded(['moving'], 100);
    const [isHeld, mayEnd] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const debit = posting({ customerId: customer, amountMinor: 30, isCredit: false });
    const moving = transaction(database.pool, async (tx) => {
      await postBatch(tx, [debit], { ...SETTINGS, now: START });
      expect(await postBatch(tx, [place(customer, 20, 'own')], { ...SETTINGS, now: START })).toMatchObject([
        { kind: 'placed' },
      ]);
      isHeld.resolve();
      await mayEnd.promise;
    });
    await isHeld.promise;
    const placing = run([place(customer, 50, 'behind'), place(customer, 1, 'too much')]);
    await vi.waitUntil(async () => (await waitingForLocks(database.pool, '%for update of w%')) > 0, {
      timeout: 30_000,
    });
    mayEnd.resolve();
    await moving;
    expect(await placing).toMatchObject([{ kind: 'placed' }, { kind: 'refused' }]);
    expect(await wallet(customer)).toMatchObject({ balance: 70, held: 70, openHolds: 2, holdSeq: 2 });
  });

  it('are written by a statement of their own where they are placed and nothing else happens to any wallet', async () => {
    const [one = '', other = '', third = ''] = await funded(['placed1', 'placed2', 'placed3'], 1000);
    const key = { merchantId: MERCHANT, customerId: one, currency: 'USD' };
    const writes: string[] = [];
    const write = (commands: readonly LedgerCommand[], now = START) =>
      transaction(database.pool, (tx) => {
        const noting = new Proxy(tx, {
          get: (target, name) => {
            if (name !== 'queryArrays') return boundTo(target, name);
            return (sql: string | { name: string; text: string }, values: readonly unknown[]) => {
              if (typeof sql !== 'string' && sql.name.startsWith('write-')) writes.push(sql.name);
              return target.queryArrays(sql, values);
            };
          },
        });
        return postBatch(noting, commands, { ...SETTINGS, now });
      });
    const texts = { reason: 'a reason', metadata: { a: 1 } };
    const refused = place(one, 5000, 'p2');
    await write([{ ...place(one, 10, 'p1'), ...texts }, place(one, 20, 'p3'), refused, place(other, 30, 'p1')]);
    await write([place(one, 40, 'p4'), place(one, 10, 'p1')], later(1));
    expect(writes.splice(0)).toEqual(['write-placed-holds', 'write-placed-holds']);
    const { rows } = await database.pool.query(
      `select hold_no, amount, captured, reason, metadata, idempotency_key, created_at, expires_at from hold
       where customer_id = $1 order by 1`,
      [one],
    );
    const plain = { captured: 0, reason: null, metadata: null, created_at: START, expires_at: later(900) };
    expect(rows).toEqual([
      { ...plain, hold_no: 1, amount: 10, idempotency_key: 'p1', ...texts },
      { ...plain, hold_no: 2, amount: 20, idempotency_key: 'p3' },
      { ...plain, hold_no: 3, amount: 40, idempotency_key: 'p4', created_at: later(1), expires_at: later(901) },
    ]);
    expect(await wallet(one)).toMatchObject({ balance: 1000, held: 70, openHolds: 3, holdSeq: 3, dueAt: later(900) });
    expect(await wallet(other)).toMatchObject({ held: 30, openHolds: 1, holdSeq: 1, dueAt: later(900) });
    // Something is changed, captured, released, debited or ends, of this wallet or another one.
    await write([place(one, 1, 'p5'), { ...key, op: 'change', holdNo: 1, amountMinor: 11, expiresInSeconds: null }]);
    await write([place(one, 1, 'p6'), { ...key, op: 'release', holdNo: 5, reason: null }]);
    await write([place(one, 1, 'p7'), capture(one, 6, 1)]);
    await write([place(one, 1, 'p8'), posting({ customerId: third, amountMinor: 1, isCredit: false })]);
    await write([place(other, 1, 'p9')], later(900));
    expect(writes.splice(0)).toEqual(Array.from({ length: 5 }, () => 'write-postings-and-holds'));
    // One that was released leaves the list as it is; the next is on it already.
    await write([{ ...key, customerId: other, op: 'release', holdNo: 2, reason: null }], later(901));
    await write([place(other, 1, 'p10')], later(902));
    expect(writes).toEqual(['write-postings-and-holds', 'write-placed-holds']);
    expect(await wallet(other)).toMatchObject({ held: 1, openHolds: 1, dueAt: later(1802) });
  });

  it('are not placed where one of that number is there', async () => {
    const [customer = ''] = await funded(['placed_twice'], 1000);
    await run([place(customer, 10, 'first')]);
    await unguarded(
      database.pool,
      `update wallet set hold_seq = 0, open_holds = 0, held = 0, due_at = null where customer_id = '${customer}' and currency = 'USD'`,
    );
    const before = await rowsOf(customer);
    await expect(run([place(customer, 20, 'second')])).rejects.toMatchObject({ code: '23505' });
    expect(await rowsOf(customer)).toEqual(before);
    await unguarded(
      database.pool,
      `update wallet set hold_seq = 1, open_holds = 1, held = 10, due_at = '${later(900).toISOString()}' where customer_id = '${customer}' and currency = 'USD'`,
    );
  });

  it('make no statement for wallets that have none', async () => {
    const [customer = ''] = await funded(['plain'], 5000);
    await run([place(customer, 10, 'one')]);
    const names: string[] = [];
    await transaction(database.pool, async (tx) => {
      const counting = new Proxy(tx, {
        get: (target, name) => {
          if (name !== 'queryArrays') return boundTo(target, name);
          return (sql: string | { name: string; text: string }, values: readonly unknown[]) => {
            names.push(typeof sql === 'string' ? sql : sql.name);
            return target.queryArrays(sql, values);
          };
        },
      });
      const debit = posting({ customerId: customer, amountMinor: 1, isCredit: false, idempotencyKey: 'api:x' });
      await postBatch(counting, [debit], { ...SETTINGS, now: START });
    });
    expect(names).toEqual(['lock-wallets', 'find-entries-by-keys', 'write-postings']);
  });

  it.each([
    'update closed_hold set captured = captured + 1, released = released - 1',
    "update closed_hold set reason = 'another'",
    'delete from closed_hold',
    'delete from hold_capture',
    'update hold_capture set beyond = beyond + 1',
  ])('refuses to change what is over: %s', async (statement) => {
    await expect(database.pool.query(statement)).rejects.toThrow('is insert-only');
  });

  it.each<[string, string, string]>([
    ['8a', 'update wallet set held = held + 1', 'update wallet set held = held - 1'],
    ['8b', 'update wallet set hold_seq = hold_seq + 1', 'update wallet set hold_seq = hold_seq - 1'],
    [
      '8c',
      'update hold set captured = captured + 1, amount = amount + 1',
      'update hold set captured = captured - 1, amount = amount - 1',
    ],
    [
      '8d',
      `update wallet_due set due_at = ${movedBy('due_at', '1 hour')}`,
      `update wallet_due set due_at = ${movedBy('due_at', '-1 hour')}`,
    ],
  ])('the audit notices by rule %s: %s', async (rule, tamper, undo) => {
    const [customer = ''] = await funded([`tampered_${rule}`], 100);
    await run([place(customer, 10, 'one')]);
    const condition = ` where customer_id = '${customer}'${tamper.includes('wallet set') ? " and currency = 'USD'" : ''}`;
    await database.pool.query(tamper + condition);
    const { disagreements } = await audit(autocommit(database.pool));
    await expectSameOfNewRows(autocommit(database.pool));
    await database.pool.query(undo + condition);
    expect(new Set(disagreements.map((one) => one.rule.slice(0, 2)))).toEqual(new Set([rule]));
    expect(disagreements[0]?.subject).toContain(customer);
  });

  it('the audit notices a hold of a wallet that is not there, which no foreign key refuses', async () => {
    const [customer = ''] = await funded(['without_wallet'], 100);
    await run([place(customer, 10, 'one')]);
    const moved = (from: string, to: string) =>
      database.pool.query(
        `update hold set currency = '${to}' where customer_id = '${customer}' and currency = '${from}'`,
      );
    await moved('USD', 'EUR');
    const { disagreements } = await audit(autocommit(database.pool));
    await moved('EUR', 'USD');
    const subjects = disagreements.filter(({ rule }) => rule.startsWith('8a')).map(({ subject }) => subject);
    expect(subjects.toSorted()).toEqual([`${MERCHANT}/${customer}/EUR`, `${MERCHANT}/${customer}/USD`]);
    expect((await audit(autocommit(database.pool))).disagreements).toEqual([]);
  });

  it.each([
    ['released, and called expired, so that it could be debited late', "state = 'expired'"],
    ['released, and called captured', "state = 'captured'"],
  ])('the audit notices that a hold was %s', async (name, tampered) => {
    const [customer = ''] = await funded([`other_state_${name.length}`], 100);
    await run([
      place(customer, 10, 'one'),
      { op: 'release', merchantId: MERCHANT, customerId: customer, currency: 'USD', holdNo: 1, reason: null },
    ]);
    const change = (set: string) =>
      unguarded(database.pool, `update closed_hold set ${set} where customer_id = '${customer}'`);
    await change(tampered);
    const { disagreements } = await audit(autocommit(database.pool));
    await expectSameOfNewRows(autocommit(database.pool));
    await change("state = 'released'");
    expect(disagreements).toMatchObject([
      { rule: '8c holds: each ended as its state says', subject: expect.stringContaining(customer) },
    ]);
    expect((await audit(autocommit(database.pool))).disagreements).toEqual([]);
  });
});

/** A transaction's own methods work on itself alone, so one that stands before it cannot be their `this`. */
function boundTo(target: Tx, name: string | symbol): unknown {
  const own: unknown = Reflect.get(target, name);
  return typeof own === 'function' ? own.bind(target) : own;
}
