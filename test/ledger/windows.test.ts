import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onCitus } from '../../src/db/backend.ts';
import { autocommit, type Queryable, transaction } from '../../src/db/transaction.ts';
import type { Wallet } from '../../src/ledger/entry.ts';
import { listHolds } from '../../src/ledger/holds/read.ts';
import { listClosedLots } from '../../src/ledger/lots/read.ts';
import { readWallets } from '../../src/ledger/store.ts';
import {
  firstPlace,
  NUMBERS_A_PAGE,
  nextPlace,
  type Place,
  pagePlace,
  placeText,
  readPlace,
  windowsAt,
} from '../../src/ledger/windows.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';

/** Pages of holds and of closed lots look through a bounded part of them, however few fit. */

const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 4 * NUMBERS_A_PAGE }), { maxLength: 12 });

describe('the pages of what is numbered in wallets', () => {
  it('hold all that fits once, the newest of each wallet first, and each looks through so many numbers at most', () => {
    const wallets = fc.record({ USD: numbers, EUR: numbers });
    fc.assert(
      fc.property(wallets, fc.integer({ min: 1, max: 5 }), (fitting, pageSize) => {
        const newest = { USD: Math.max(0, ...fitting.USD) + 7, EUR: Math.max(0, ...fitting.EUR) };
        const all = Object.entries(fitting).flatMap(([currency, own]) => own.map((number) => ({ currency, number })));
        const seen: { currency: string; number: number }[] = [];
        let place: Place | null = new Map(Object.entries(newest).map(([currency, number]) => [currency, number + 1]));
        for (let pages = 0; place !== null; pages += 1) {
          expect(pages).toBeLessThan(2 * (all.length + 4) + 8);
          const windows = windowsAt(place, true);
          for (const { lowest, below } of windows) expect(below - lowest).toBeLessThanOrEqual(NUMBERS_A_PAGE);
          const isSeen = ({ currency, number }: (typeof all)[number]) =>
            windows.some((one) => one.currency === currency && one.lowest <= number && number < one.below);
          const found = all.filter(isSeen).sort((a, b) => b.number - a.number);
          const page = { found: found.slice(0, pageSize), pageSize, skipped: 0 };
          seen.push(...page.found);
          const next: Place | null = nextPlace(windows, page);
          place = next === null ? null : readPlace(placeText(next));
        }
        for (const [currency, own] of Object.entries(fitting)) {
          const shown = seen.filter((one) => one.currency === currency).map(({ number }) => number);
          expect(shown).toEqual(own.toSorted((a, b) => b - a));
        }
      }),
    );
  });

  it.each(['', 'USD', 'USD.0', 'USD.-1', 'usd.1', 'USD.1.2', 'USD.1~', 'USD.1~USD.2', `USD.${'9'.repeat(16)}`])(
    'have no cursor such as %j',
    (cursor) => {
      expect(readPlace(cursor)).toBeNull();
    },
  );
});

describe('on Postgres', () => {
  const MANY = 25_000;
  let database: TestDatabase;
  let customerId: string;
  let wallets: readonly Wallet[];

  beforeAll(async () => {
    database = await createTestDatabase();
    [customerId = ''] = await makeCustomers(database.pool, ['long']);
    const own = `'${MERCHANT}', '${customerId}', 'USD', n`;
    // Of each, only the oldest fits.
    await database.pool.query(
      `insert into closed_hold (merchant_id, customer_id, currency, hold_no, kind, amount, captured, idempotency_key, fingerprint, created_at,
         state, released, closed_at)
       select ${own}, 'api', 5, 0, 'k' || n, decode(repeat('ab', 32), 'hex'), now(), case n when 1 then 'expired' else 'released' end, 5, now()
       from generate_series(1, ${MANY}) n`,
    );
    await database.pool.query(
      `insert into closed_lot (merchant_id, customer_id, currency, lot_no, kind, priority, amount, spent, expired, voided, taken_back, notices,
         origin_seq, changes, created_at, state, closed_at)
       select ${own}, case n when 1 then 'paid' else 'promo' end, 50, 5, 5, 0, 0, 0, 0, n, 0, now(), 'drained', now()
       from generate_series(1, ${MANY}) n`,
    );
    await database.pool.query(
      'update wallet set hold_seq = $1, lot_seq = $1 where customer_id = $2 and currency = $3',
      [...[MANY, customerId, 'USD']],
    );
    await database.pool.query('analyze closed_hold, closed_lot');
    wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  });
  afterAll(() => database.drop());

  /** What a read comes to, and how many rows of a table it looked at. */
  const counted = <Result>(table: string, read: (db: Queryable) => Promise<Result>) =>
    transaction(database.pool, async (tx) => {
      await tx.query('set local plan_cache_mode = force_generic_plan');
      const readSoFar = async () => {
        const { rows } = await tx.query<{ read: string }>(
          'select seq_tup_read + coalesce(idx_tup_fetch, 0) as read from pg_stat_xact_user_tables where relname = $1',
          [table],
        );
        return Number(rows[0]?.read);
      };
      const before = await readSoFar();
      const result = await read(tx);
      return { result, rowsRead: (await readSoFar()) - before };
    });

  const page = { currency: null, pageSize: 10, pageNumber: 0 };

  // Counts of one Postgres: of Citus, each node keeps its own.
  it.skipIf(onCitus()).each([
    [
      'closed_hold',
      async (db: Queryable, from: Place | null) => {
        const { holds, next } = await listHolds(
          db,
          { merchantId: MERCHANT, customerId, wallets },
          { ...page, state: 'expired', from },
        );
        return { found: holds.map(({ holdNo }) => holdNo), next };
      },
    ],
    [
      'closed_lot',
      async (db: Queryable, from: Place | null) => {
        const query = { ...page, kind: 'paid', expiresBefore: null, from } as const;
        const { lots, next } = await listClosedLots(db, { merchantId: MERCHANT, customerId, wallets }, query);
        return { found: lots.map(({ lotNo }) => lotNo), next };
      },
    ],
  ] as const)('a page of %s of which one in many fits reads no more than its window', async (table, read) => {
    const pages: number[][] = [];
    let from: Place | null = null;
    do {
      const { result, rowsRead }: Awaited<ReturnType<typeof counted<Awaited<ReturnType<typeof read>>>>> = await counted(
        table,
        (db) => read(db, from),
      );
      expect(rowsRead).toBeLessThanOrEqual(NUMBERS_A_PAGE + 10);
      pages.push(result.found);
      from = result.next;
    } while (from !== null);
    expect(pages).toEqual([[], [], [1]]);
  });

  it.skipIf(onCitus())('a page of all holds reads no more than it shows', async () => {
    const all = { ...page, state: null, from: null };
    const { result, rowsRead } = await counted('closed_hold', (db) =>
      listHolds(db, { merchantId: MERCHANT, customerId, wallets }, all),
    );
    expect(result.holds.map(({ holdNo }) => holdNo)).toEqual(Array.from({ length: 10 }, (_, index) => MANY - index));
    expect(result.next).toEqual(new Map([['USD', MANY - 9]]));
    expect(rowsRead).toBeLessThanOrEqual(20);
  });

  it('goes on in each wallet by number, though clocks differed', async () => {
    const [other = ''] = await makeCustomers(database.pool, ['clocks']);
    await database.pool.query(
      `insert into closed_hold (merchant_id, customer_id, currency, hold_no, kind, amount, captured, idempotency_key, fingerprint, created_at,
         state, released, closed_at)
       select '${MERCHANT}', $1, c, n, 'api', 5, 0, 'k' || n, decode(repeat('ab', 32), 'hex'), now() - n * 7 % 5 * interval '1 minute',
         'released', 5, now()
       from generate_series(1, 9) n, unnest(array['USD', 'INR']) c`,
      [other],
    );
    await database.pool.query("update wallet set hold_seq = 9 where customer_id = $1 and currency in ('USD', 'INR')", [
      other,
    ]);
    const db = autocommit(database.pool);
    const own = { merchantId: MERCHANT, customerId: other, wallets: await readWallets(db, MERCHANT, [other]) };
    const seen: Record<string, number[]> = { USD: [], INR: [] };
    let from: Place | null = null;
    do {
      const { holds, next } = await listHolds(db, own, { ...page, pageSize: 2, state: 'released', from });
      for (const { currency, holdNo } of holds) seen[currency]?.push(holdNo);
      from = next;
    } while (from !== null);
    const all = [9, 8, 7, 6, 5, 4, 3, 2, 1];
    expect(seen).toEqual({ USD: all, INR: all });
  });

  it('begins at the newest of each wallet, or below, whatever is asked for', () => {
    const newest = firstPlace(wallets, ({ holdSeq }) => holdSeq);
    expect(pagePlace(newest, null, null)).toEqual(new Map([['USD', MANY + 1]]));
    expect(pagePlace(newest, null, 'EUR').size).toBe(0);
    expect(pagePlace(newest, new Map([['USD', Number.MAX_SAFE_INTEGER]]), 'USD')).toEqual(new Map([['USD', MANY + 1]]));
    expect(
      pagePlace(
        newest,
        new Map([
          ['USD', 7],
          ['EUR', 7],
          ['XXX', 7],
        ]),
        null,
      ),
    ).toEqual(new Map([['USD', 7]]));
  });
});
