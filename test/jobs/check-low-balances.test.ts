import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { onCitus } from '../../src/db/backend.ts';
import { HeldUpTooLongError } from '../../src/db/failures.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { checkLowBalances, type ScanPlace } from '../../src/ledger/low-balance/scan.ts';
import { lowBalanceCandidates } from '../../src/ledger/low-balance/store.ts';
import { setThreshold } from '../../src/ledger/low-balance/thresholds.ts';
import type { LedgerCommand } from '../../src/ledger/post.ts';
import { type LedgerSettings, postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { gatedPool } from '../support/gated-pool.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, RULE, SETTINGS } from '../support/ledger.ts';

const logger = createLogger('silent', 'test');
let database: TestDatabase;
let now = new Date('2026-03-01T12:00:00Z');
const later = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']);
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

const scan = (settings: LedgerSettings = SETTINGS) =>
  checkLowBalances({ pool: database.pool, settings, clock: { now: () => now }, onPosted: () => {}, logger });
const post = (customerId: string, amountMinor: number, isCredit: boolean) =>
  transaction(database.pool, (tx) =>
    postBatch(tx, [posting({ customerId, amountMinor, isCredit })], { ...SETTINGS, now }),
  );

async function alerts(customerId: string): Promise<string[]> {
  const { rows } = await database.pool.query<{ kind: string; reminder: boolean }>(
    'select kind, reminder from wallet_alert where customer_id = $1 order by alert_seq',
    [customerId],
  );
  return rows.map((row) => (row.reminder ? `${row.kind} again` : row.kind));
}

describe('the scan for low balances', () => {
  it('says nothing of wallets that never held credit, and nothing twice of those that postings spoke of', async () => {
    await post('cus_a', 2000, true);
    await post('cus_a', 1500, false);
    expect(await alerts('cus_a')).toEqual(['low']);
    expect((await scan()).alerts).toBe(0);
    expect(await alerts('cus_b')).toEqual([]);
  });

  it('does not call a small welcome gift low, until it is spent from', async () => {
    await post('cus_e', 500, true);
    await scan();
    expect(await alerts('cus_e')).toEqual([]);
    await post('cus_e', 100, false);
    expect(await alerts('cus_e')).toEqual(['low']);
  });

  it('finds what a changed threshold makes low, and its recovery', async () => {
    await post('cus_b', 5000, true);
    await database.pool.query(
      "update wallet set low_threshold = 6000 where customer_id = 'cus_b' and currency = 'USD'",
    );
    await scan();
    await scan();
    expect(await alerts('cus_b')).toEqual(['low']);
    await database.pool.query(
      "update wallet set low_threshold = 4600 where customer_id = 'cus_b' and currency = 'USD'",
    );
    await scan();
    // 5000 is above the threshold, but not by the margin of 10 per cent: it would hover.
    expect(await alerts('cus_b')).toEqual(['low']);
    await database.pool.query(
      "update wallet set low_threshold = 4000 where customer_id = 'cus_b' and currency = 'USD'",
    );
    await scan();
    expect(await alerts('cus_b')).toEqual(['low', 'recovered']);
  });

  it('raises the alert that the minimum interval held back, once the interval is over', async () => {
    await post('cus_c', 2000, true);
    await post('cus_c', 1500, false);
    await post('cus_c', 1500, true);
    await post('cus_c', 1500, false);
    expect(await alerts('cus_c')).toEqual(['low', 'recovered']);
    later(RULE.minIntervalSeconds - 60);
    expect((await scan()).alerts).toBe(0);
    later(120);
    await scan();
    expect(await alerts('cus_c')).toEqual(['low', 'recovered', 'low']);
  });

  it('reminds of a balance that stays low, if it is asked to', async () => {
    await post('cus_d', 2000, true);
    await post('cus_d', 1990, false);
    expect(await alerts('cus_d')).toEqual(['low']);
    later(7 * 86_400);
    await scan();
    expect(await alerts('cus_d')).toEqual(['low']);
    await scan({ ...SETTINGS, rule: { ...RULE, reminderSeconds: 86_400 } });
    expect(await alerts('cus_d')).toEqual(['low', 'low again']);
  });

  it('says in the end that an empty wallet was filled again, however often that happened within the interval', async () => {
    await post('cus_f', 2000, true);
    for (let flap = 0; flap < 100; flap += 1) {
      await post('cus_f', 2000, false);
      await post('cus_f', 2000, true);
    }
    expect(await alerts('cus_f')).toEqual(['low', 'depleted', 'recovered']);
    await post('cus_f', 2000, false);
    later(RULE.minIntervalSeconds);
    await scan();
    await scan();
    expect(await alerts('cus_f')).toEqual(['low', 'depleted', 'recovered', 'low', 'depleted']);
    await post('cus_f', 500, true);
    later(RULE.minIntervalSeconds);
    await scan();
    expect((await alerts('cus_f')).at(-1)).toBe('low');
  });

  it.each([
    ['cus_g', 2000, 'depleted', 'recovered'],
    ['cus_h', 400, 'recovered', 'low'],
    ['cus_i', 2000, 'low', 'recovered'],
  ])(
    'puts right the last word about %s, which the release before left wrong and forgot',
    async (customerId, balance, told, right) => {
      await post(customerId, balance, true);
      await database.pool.query(
        `with said as (
         insert into wallet_alert (merchant_id, customer_id, currency, alert_seq, kind, balance, version, created_at)
         values ('bus_default', $1, 'USD', 1, $2, 0, 1, $3))
       update wallet set alert_seq = 1, alerts_armed = true where customer_id = $1 and currency = 'USD'`,
        [customerId, told, now],
      );
      later(1);
      expect((await scan()).alerts).toBe(1);
      expect(await alerts(customerId)).toEqual([told, right]);
      expect((await scan()).alerts).toBe(0);
    },
  );

  it('says nothing again because a hold was told of meanwhile', async () => {
    await makeCustomers(database.pool, ['k']);
    await post('cus_k', 2000, true);
    await post('cus_k', 1500, false);
    const key = { merchantId: MERCHANT, customerId: 'cus_k', currency: 'USD' };
    const texts = { reason: null, referenceObjectId: null, metadata: null, idempotencyKey: 'k' };
    const place = { ...key, ...texts, op: 'place', amountMinor: 10, partial: false, expiresInSeconds: 10 } as const;
    const run = (command: LedgerCommand) =>
      transaction(database.pool, (tx) => postBatch(tx, [command], { ...SETTINGS, now }));
    await run(place);
    later(10);
    await run({ ...key, op: 'sweep' });
    expect((await scan()).alerts).toBe(0);
    expect(await alerts('cus_k')).toEqual(['low', 'hold_expired']);
    const candidates = await lowBalanceCandidates(autocommit(database.pool), RULE, {
      after: null,
      upTo: null,
      limit: 100,
    });
    expect(candidates).not.toContainEqual(key);
    await post('cus_k', 1500, true);
    expect(await alerts('cus_k')).toEqual(['low', 'hold_expired', 'recovered']);
  });

  // It counts the transactions of one Postgres: on Citus each merchant has his own.
  it.skipIf(onCitus())(
    'looks through a few wallets with each statement, and goes on where a run broke off',
    async () => {
      const names = Array.from({ length: 9 }, (_, index) => `part${index}`);
      const customers = await makeCustomers(database.pool, names);
      for (const customerId of customers) await post(customerId, 2000, true);
      const raised = { ...SETTINGS, rule: { ...RULE, defaultThresholds: new Map([['USD', 3000]]) } };
      // The database goes away among them, with the parts before done.
      let commits = 0;
      const away = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
      const pool = gatedPool(database.pool, async (sql) => {
        if (sql === 'commit') commits += 1;
        if (commits === 7 && sql.startsWith('begin')) throw away;
      });
      const services = { settings: raised, clock: { now: () => now }, onPosted: () => {}, logger, partSize: 4 };
      const place = { after: null };
      await expect(checkLowBalances({ ...services, pool }, place)).rejects.toBe(away);
      const raisedFor = async () =>
        (await Promise.all(customers.map(alerts))).filter((kinds) => kinds.length > 0).length;
      expect(place.after).not.toBeNull();
      const before = await raisedFor();
      expect(before).toBeGreaterThan(0);
      expect(before).toBeLessThan(names.length);
      const { alerts: rest } = await checkLowBalances({ ...services, pool: database.pool }, place);
      expect([place.after, await raisedFor()]).toEqual([null, names.length]);
      // No part that was done is looked at again.
      expect(rest).toBeLessThanOrEqual(names.length - before);
      expect((await checkLowBalances({ ...services, pool: database.pool }, place)).alerts).toBe(0);
    },
  );

  it('of a wallet that fails keeps nobody else’s alerts, fails at the end, and is made up for by the next', async () => {
    const mine = await makeCustomers(database.pool, ['fails0', 'fails1', 'fails2']);
    const others = await makeCustomers(database.pool, ['fails3', 'fails4'], 'bus_zzz');
    await transaction(database.pool, (tx) =>
      postBatch(
        tx,
        [
          ...mine.map((customerId) => posting({ customerId, amountMinor: 2000 })),
          ...others.map((customerId) => posting({ merchantId: 'bus_zzz', customerId, amountMinor: 2000 })),
        ],
        { ...SETTINGS, now },
      ),
    );
    const raised = { ...SETTINGS, rule: { ...RULE, defaultThresholds: new Map([['USD', 3000]]) } };
    await database.pool.query(
      "alter table wallet_alert add constraint refused check (customer_id <> 'cus_fails1') not valid",
    );
    const place = { after: null };
    let posted = 0;
    const services = { pool: database.pool, settings: raised, clock: { now: () => now }, logger };
    const onPosted = () => {
      posted += 1;
    };
    const run = () => checkLowBalances({ ...services, onPosted }, place);
    await expect(run()).rejects.toThrow('refused');
    const told = async () => (await Promise.all([...mine, ...others].map(alerts))).map((kinds) => kinds.join());
    expect(await told()).toEqual(['low', '', 'low', 'low', 'low']);
    expect([place.after, posted]).toEqual([null, 1]);
    await database.pool.query('alter table wallet_alert drop constraint refused');
    expect((await run()).alerts).toBe(1);
    expect(await told()).toEqual(['low', 'low', 'low', 'low', 'low']);
  });

  it('leaves the rest to the next run, which goes on behind them, where too many wallets are held up', async () => {
    const names = Array.from({ length: 25 }, (_, index) => `held${String(index).padStart(2, '0')}`);
    const customers = await makeCustomers(database.pool, names);
    await transaction(database.pool, (tx) =>
      postBatch(
        tx,
        customers.map((customerId) => posting({ customerId, amountMinor: 2000 })),
        { ...SETTINGS, now },
      ),
    );
    const raised = { ...SETTINGS, rule: { ...RULE, defaultThresholds: new Map([['USD', 3000]]) } };
    const place: ScanPlace = { after: { merchantId: MERCHANT, customerId: 'cus_held', currency: '' } };
    const services = { settings: raised, clock: { now: () => now }, onPosted: () => {}, logger, partSize: 24 };
    const warn = vi.spyOn(logger, 'warn');
    const realNow = performance.now.bind(performance);
    let lostMs = 0;
    const time = vi.spyOn(performance, 'now').mockImplementation(() => realNow() + lostMs);
    const pool = gatedPool(database.pool, async (sql) => {
      if (!sql.startsWith('begin')) return;
      lostMs += 15_000;
      throw Object.assign(new pg.DatabaseError('canceling statement', 0, 'error'), { code: '57014' });
    });
    await expect(checkLowBalances({ ...services, pool }, place)).rejects.toBeInstanceOf(HeldUpTooLongError);
    time.mockRestore();
    expect(warn.mock.calls.map(([, message]) => message)).toEqual(
      Array.from({ length: 20 }, () => 'a wallet that may be low was not looked at'),
    );
    warn.mockRestore();
    expect(place.after).toMatchObject({ customerId: 'cus_held23' });
    await checkLowBalances({ ...services, pool: database.pool }, place);
    expect(await Promise.all(['cus_held23', 'cus_held24'].map(alerts))).toEqual([[], ['low']]);
    await checkLowBalances({ ...services, pool: database.pool }, place);
    expect(await alerts('cus_held23')).toEqual(['low']);
  });

  it('watches a wallet that holds its threshold, also where the threshold came to the balance and not the balance to it', async () => {
    await post('cus_j', 500, true);
    const isWatched = async () => {
      const { rows } = await database.pool.query<{ alerts_armed: boolean }>(
        "select alerts_armed from wallet where customer_id = 'cus_j' and currency = 'USD'",
      );
      return rows[0]?.alerts_armed;
    };
    await scan();
    expect(await isWatched()).toBe(false);
    const key = { merchantId: MERCHANT, customerId: 'cus_j', currency: 'USD' };
    const setTo = (threshold: number | null) =>
      transaction(database.pool, (tx) => setThreshold(tx, { ...key, lowThreshold: threshold }, { ...SETTINGS, now }));
    await setTo(501);
    expect(await isWatched()).toBe(false);
    await scan({ ...SETTINGS, rule: { ...RULE, defaultThresholds: new Map([['USD', 500]]) } });
    expect(await isWatched()).toBe(false);
    await setTo(null);
    await scan({ ...SETTINGS, rule: { ...RULE, defaultThresholds: new Map([['USD', 500]]) } });
    expect(await isWatched()).toBe(true);
    await database.pool.query("update wallet set alerts_armed = false where customer_id = 'cus_j'");
    await setTo(500);
    expect(await isWatched()).toBe(true);
  });
});
