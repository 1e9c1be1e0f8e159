import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { closeRelease } from '../../src/db/installation.ts';
import { autocommit, Tx, transaction } from '../../src/db/transaction.ts';
import { settleAllDue } from '../../src/schedules/due.ts';
import { DUE_GRANTS } from '../../src/schedules/post-grants.ts';
import { endSchedule } from '../../src/schedules/put-schedule.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree, MERCHANT, SETTINGS } from '../support/ledger.ts';
import { alterTable } from '../support/tampering.ts';

const DAY = 86_400;
const logger = createLogger('silent', 'test');
let now = new Date('2026-01-15T12:00:00Z');
let app: TestApp;

beforeAll(async () => {
  app = await startTestApp({ clock: { now: () => now } });
  await closeRelease(autocommit(app.database.pool), 'once');
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const pass = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};

/** What the job of a worker does. */
const work = (settings = SETTINGS) => {
  const { signal } = new AbortController();
  const clock = { now: () => now };
  return settleAllDue({ pool: app.database.pool, settings, clock, onPosted: () => {}, signal, logger }, DUE_GRANTS);
};

async function newCustomer() {
  const id = await app.newCustomer();
  const call = (method: string, path: string, body?: object) =>
    app.call(method, `/customers/${id}/wallets${path}`, body);
  const one = '/USD/grant-schedules/monthly';
  return {
    id,
    call,
    put: (more: object = {}) => call('PUT', one, { amount: 500, every: 'month', ...more }),
    get: async () => (await call('GET', one)).body,
    end: () => call('DELETE', one),
    balance: async () => (await call('GET', '/USD')).body.balance,
    /** When each grant was due, the first one first. */
    granted: async () => {
      const { items } = (await call('GET', '/ledger-entries?page_size=100')).body;
      return items.map((entry: { metadata: { due_at: string } }) => entry.metadata.due_at.slice(0, 16)).reverse();
    },
    alerts: async () => {
      const sql =
        "select details from wallet_alert where customer_id = $1 and kind = 'grant_skipped' order by alert_seq";
      return (await app.database.pool.query(sql, [id])).rows.map(({ details }) => details);
    },
  };
}

describe('grant schedules', () => {
  it('example 16: monthly grant 500 from 31 January 00:00 Europe/Berlin: 28 Feb, 31 Mar, 30 Apr, each once over summer time; worker away for two months: both made up', async () => {
    now = new Date('2026-01-15T12:00:00Z');
    const { put, get, balance, granted } = await newCustomer();
    const { status, body } = await put({ anchor_at: '2026-01-31T00:00:00+01:00', time_zone: 'Europe/Berlin' });
    expect([status, body.status, body.next_at]).toEqual([200, 'active', '2026-01-30T23:00:00.000Z']);
    const due = ['2026-01-30T23:00', '2026-02-27T23:00', '2026-03-30T22:00', '2026-04-29T22:00'];
    for (const [index, one] of due.entries()) {
      now = new Date(Date.parse(`${one}:00Z`) - 1);
      await work();
      expect(await balance()).toBe(500 * index);
      pass(0.001);
      await Promise.all([work(), work()]);
      await work();
      expect(await balance()).toBe(500 * (index + 1));
    }
    now = new Date('2026-06-30T12:00:00Z');
    await work();
    expect(await granted()).toEqual([...due, '2026-05-30T22:00', '2026-06-29T22:00']);
    expect(await get()).toMatchObject({ next_period: 6, next_at: '2026-07-30T22:00:00.000Z' });
  });

  it('make credit that ends as long after its period was due as it says, and skip what would be over', async () => {
    const { put, call, balance, alerts } = await newCustomer();
    const start = now;
    await put({ every: 'day', expires_in_days: 3, name: 'Daily', priority: 10 });
    pass(5 * DAY);
    await work();
    expect(await balance()).toBe(3 * 500);
    const { items } = (await call('GET', '/lots')).body;
    const ends = [3, 4, 5].map((day) => new Date(start.getTime() + (day + 3) * DAY * 1000).toISOString());
    expect(items.map((lot: { expires_at: string }) => lot.expires_at)).toEqual(ends);
    expect(items[0]).toMatchObject({ kind: 'promo', name: 'Daily', priority: 10 });
    expect(await alerts()).toMatchObject([{ fromPeriod: 0, toPeriod: 2, reason: 'expired', scheduleId: 'monthly' }]);
  });

  it('make up for twelve periods at most, and tell of the others', async () => {
    const { put, balance, alerts } = await newCustomer();
    await put({ every: 'day' });
    pass(20 * DAY);
    await work();
    expect(await balance()).toBe(12 * 500);
    expect(await alerts()).toMatchObject([{ fromPeriod: 0, toPeriod: 8, reason: 'too_old', amount: 500 }]);
  });

  it('grant nothing that was due before they were made', async () => {
    const { put, balance, get } = await newCustomer();
    await put({ every: 'day', anchor_at: '2020-01-01T00:00:00Z', count: 2 });
    await work();
    expect(await balance()).toBe(0);
    pass(5 * DAY);
    await work();
    expect(await balance()).toBe(1000);
    expect(await get()).toMatchObject({ status: 'finished', next_at: null });
  });

  it('change from the next period on: what is due is granted as it was', async () => {
    const { put, balance } = await newCustomer();
    await put({ every: 'day' });
    pass(2 * DAY);
    expect((await put({ every: 'day', amount: 7 })).body).toMatchObject({ amount: 7, next_period: 3, incarnation: 1 });
    expect(await balance()).toBe(1500);
    pass(DAY);
    await work();
    expect(await balance()).toBe(1507);
    await put({ every: 'day', amount: 7 });
    await work();
    expect(await balance()).toBe(1507);
  });

  it('grant nothing for the time of a pause', async () => {
    const { put, get, balance } = await newCustomer();
    await put({ every: 'day' });
    pass(DAY);
    await put({ every: 'day', paused: true });
    expect(await balance()).toBe(1000);
    expect(await get()).toMatchObject({ status: 'paused', next_at: null });
    pass(3.5 * DAY);
    await work();
    await put({ every: 'day' });
    await work();
    expect(await balance()).toBe(1000);
    pass(0.5 * DAY);
    await work();
    expect(await balance()).toBe(1500);
  });

  it('end when they are deleted, after what is due, and are others when they are made anew', async () => {
    const { put, end, balance, get } = await newCustomer();
    await put({ every: 'day' });
    pass(DAY);
    const ended = await end();
    expect(ended.body).toMatchObject({ status: 'ended', next_at: null, next_period: 2 });
    expect((await end()).body).toEqual(ended.body);
    expect(await balance()).toBe(1000);
    pass(5 * DAY);
    await work();
    expect(await balance()).toBe(1000);
    // The same numbers of periods are granted under other keys.
    expect((await put({ every: 'week', amount: 1 })).body).toMatchObject({ incarnation: 2, next_period: 0 });
    await work();
    expect(await balance()).toBe(1001);
    expect(await get()).toMatchObject({ status: 'active', every: 'week' });
  });

  it('end at a time or after a number of periods', async () => {
    const { put, balance, get } = await newCustomer();
    const ends_at = new Date(now.getTime() + 2 * DAY * 1000).toISOString();
    await put({ every: 'day', ends_at });
    pass(5 * DAY);
    await work();
    expect(await balance()).toBe(1000);
    expect(await get()).toMatchObject({ status: 'finished' });
    // Prolonged, it goes on with the period that is due now; the days in which it was finished are past.
    await put({ every: 'day', count: 8 });
    expect(await get()).toMatchObject({ status: 'active', next_period: 5 });
    await work();
    expect(await balance()).toBe(1500);
    pass(9 * DAY);
    await work();
    expect(await balance()).toBe(5 * 500);
    expect(await get()).toMatchObject({ status: 'finished', next_period: 8 });
  });

  it('that were finished and are prolonged grant nothing of the time in which they were finished', async () => {
    const { put, balance, granted, get, alerts } = await newCustomer();
    const start = now;
    await put({ count: 2 });
    pass(60 * DAY);
    await work();
    expect([await balance(), (await get()).status]).toEqual([1000, 'finished']);
    now = new Date(start.getTime() + 366 * DAY * 1000);
    await put({ count: 24 });
    await work();
    expect(await balance()).toBe(1000);
    pass(31 * DAY);
    await work();
    expect((await granted()).slice(2)).toHaveLength(1);
    expect(await get()).toMatchObject({ status: 'active', next_period: 14 });
    expect(await alerts()).toEqual([]);
  });

  it('that come to their last period only when they are prolonged grant nothing beyond it that is past', async () => {
    const { put, balance, get } = await newCustomer();
    await put({ every: 'day', count: 2 });
    pass(4.5 * DAY);
    await put({ every: 'day', count: null });
    expect(await balance()).toBe(1000);
    await work();
    expect(await balance()).toBe(1000);
    expect(await get()).toMatchObject({ next_period: 5 });
  });

  it('are paused and prolonged without what is past, in either order', async () => {
    const { put, balance } = await newCustomer();
    await put({ every: 'day', count: 1 });
    pass(3.5 * DAY);
    await put({ every: 'day', count: 10, paused: true });
    pass(2 * DAY);
    await put({ every: 'day', count: 10 });
    await work();
    expect(await balance()).toBe(500);
  });

  it('are not changed nor made in a wallet that is closed, which is said', async () => {
    const { put, call, get, balance } = await newCustomer();
    await put({ every: 'day' });
    await work();
    await call('POST', '/ledger-entries', { amount: 500, currency: 'USD', entry_type: 'debit' });
    expect((await call('PUT', '/USD/status', { status: 'closed', reason: 'why' })).status).toBe(200);
    const before = await get();
    for (const seconds of [0, DAY]) {
      pass(seconds);
      const { status, body } = await put({ every: 'day', amount: 7 });
      expect([status, body.code]).toEqual([409, 'WALLET_CLOSED']);
      expect(await get()).toEqual(before);
    }
    await work();
    expect(await get()).toMatchObject({ status: 'ended', amount: 500 });
    expect((await put({ every: 'day' })).body.code).toBe('WALLET_CLOSED');
    expect(await balance()).toBe(0);
  });

  it('of which something is due that cannot be granted now are neither changed nor deleted meanwhile', async () => {
    const { id, put, call, get, balance } = await newCustomer();
    await put({ every: 'day' });
    const key = { merchantId: MERCHANT, customerId: id, currency: 'USD', scheduleId: 'monthly' };
    const without = { ...SETTINGS, now, currencies: new Set(['INR']) };
    const end = () => transaction(app.database.pool, (tx) => endSchedule(tx, key, without));
    await expect(end()).rejects.toMatchObject({ refusal: { code: 'UNSUPPORTED_CURRENCY' } });
    await app.database.pool.query("update installation set lots_from = now() + interval '1 day'");
    try {
      const changed = await put({ every: 'day', amount: 7 });
      expect([changed.status, changed.body.code]).toEqual([503, 'LOTS_NOT_YET']);
      const ended = await call('DELETE', '/USD/grant-schedules/monthly');
      expect([ended.status, ended.body.code]).toEqual([503, 'LOTS_NOT_YET']);
    } finally {
      await app.database.pool.query('update installation set lots_from = now()');
    }
    expect(await get()).toMatchObject({ status: 'active', amount: 500, next_period: 0 });
    await work();
    expect(await balance()).toBe(500);
  });

  it.each([
    ['a paid refill', { charge: true }, 'charge'],
    ['a zone that is none', { time_zone: 'Europe/Nowhere' }, 'time_zone'],
    ['an anchor of a century ago', { every: 'day', anchor_at: '1900-01-01T00:00:00Z' }, 'anchor_at'],
    ['an end that is past', { ends_at: '2020-01-01T00:00:00Z' }, 'ends_at'],
    ['an id with a colon', null, null],
  ])('are refused with %s', async (_, more, field) => {
    const { put, call } = await newCustomer();
    if (more === null) {
      expect((await call('PUT', '/USD/grant-schedules/a%3Ab', { amount: 1, every: 'day' })).status).toBe(404);
      return;
    }
    const { status, body } = await put(more);
    expect([status, body.code]).toEqual([422, 'INVALID_REQUEST_BODY']);
    expect(body.message).toContain(`${field}: `);
  });

  it('keep their calendar', async () => {
    const { put } = await newCustomer();
    const { body } = await put({ time_zone: 'Europe/Berlin' });
    for (const more of [{ every: 'day' }, { time_zone: 'UTC' }, { anchor_at: '2026-01-01T00:00:00Z' }]) {
      expect((await put({ time_zone: 'Europe/Berlin', ...more })).status).toBe(422);
    }
    expect((await put({ time_zone: 'Europe/Berlin', anchor_at: body.anchor_at })).status).toBe(200);
  });

  it('are 50 at most of a wallet, and one under an id that is put at once', async () => {
    const { id, call, put } = await newCustomer();
    const all = await Promise.all(Array.from({ length: 5 }, () => put({ every: 'day' })));
    expect(all.map(({ body }) => body.incarnation)).toEqual([1, 1, 1, 1, 1]);
    for (let number = 1; number < 50; number += 1)
      await call('PUT', `/USD/grant-schedules/s${number}`, { amount: 1, every: 'year', paused: true });
    expect((await call('PUT', '/USD/grant-schedules/one-more', { amount: 1, every: 'day' })).body.code).toBe(
      'CONFLICT',
    );
    expect((await call('GET', '/USD/grant-schedules')).body.items).toHaveLength(50);
    expect((await app.call('GET', '/customers/cus_none/wallets/USD/grant-schedules')).status).toBe(404);
    await app.database.pool.query('update grant_schedule set next_at = null, ended_at = now() where customer_id = $1', [
      id,
    ]);
  });

  it('go on in a frozen wallet, and end in a closed one', async () => {
    const { put, call, balance, get, alerts } = await newCustomer();
    const setStatus = (status: string) => call('PUT', '/USD/status', { status, reason: 'why' });
    await put({ every: 'day' });
    await setStatus('frozen');
    await work();
    expect(await balance()).toBe(500);
    await setStatus('active');
    await call('POST', '/ledger-entries', { amount: 500, currency: 'USD', entry_type: 'debit' });
    expect((await setStatus('closed')).status).toBe(200);
    pass(DAY);
    await work();
    expect(await get()).toMatchObject({ status: 'ended', next_at: null });
    expect(await alerts()).toMatchObject([{ fromPeriod: 1, toPeriod: 1, reason: 'WALLET_CLOSED' }]);
    await setStatus('active');
    pass(5 * DAY);
    await work();
    expect(await balance()).toBe(0);
  });

  it('wait for a currency that is configured again', async () => {
    const { put, balance, get } = await newCustomer();
    await put({ every: 'month' });
    await work({ ...SETTINGS, currencies: new Set(['INR']) });
    expect([await balance(), (await get()).next_period]).toEqual([0, 0]);
    pass(3600);
    await work({ ...SETTINGS, currencies: new Set(['INR']) });
    pass(60);
    const { disagreements } = await audit(autocommit(app.database.pool), { rule: null, now });
    expect(disagreements).toMatchObject([{ rule: '14b scheduled: none waits long after its time' }]);
    pass(3600);
    await work();
    expect(await balance()).toBe(500);
  });
});

describe('the audit', () => {
  it.each([
    [
      'a grant whose schedule knows nothing of it',
      'update grant_schedule set done = first_period where customer_id = $1',
    ],
    [
      'a grant of a schedule that was never made so often',
      'update grant_schedule set incarnation = 0 where customer_id = $1',
    ],
    ['a grant without its schedule', 'delete from grant_schedule where customer_id = $1'],
  ])('finds %s', async (_, sql) => {
    const { id, put } = await newCustomer();
    await put();
    await work();
    const client = await app.database.pool.connect();
    try {
      await client.query('begin');
      await alterTable(client, 'alter table grant_schedule drop constraint grant_schedule_incarnation_check');
      await client.query(sql, [id]);
      const { disagreements } = await audit(new Tx(client));
      const rules = disagreements.map(({ rule }) => rule).filter((rule) => !rule.startsWith('6b'));
      expect(rules).toEqual(['11d grants: each is of a period that its schedule has settled']);
    } finally {
      // One that is not given back would keep the file from its end.
      await client.query('rollback');
      client.release();
    }
  });
});
