import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { closeRelease } from '../../src/db/installation.ts';
import { autocommit, Tx } from '../../src/db/transaction.ts';
import { settleAllDue } from '../../src/schedules/due.ts';
import { DUE_ENTRIES } from '../../src/schedules/post-entries.ts';
import { scheduleEntry } from '../../src/schedules/schedule-entry.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree, LOT_RULE, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { changeTriggers } from '../support/tampering.ts';

const DAY = 86_400;
const logger = createLogger('silent', 'test');
let now = new Date('2026-01-30T12:00:00Z');
let app: TestApp;

beforeAll(async () => {
  app = await startTestApp({ clock: { now: () => now } });
  await closeRelease(autocommit(app.database.pool), 'once');
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const later = (seconds: number) => new Date(now.getTime() + seconds * 1000);
const pass = (seconds: number) => {
  now = later(seconds);
};

/** What the job of a worker does. */
const work = (kind = DUE_ENTRIES) => {
  const { signal } = new AbortController();
  const onPosted = () => {};
  return settleAllDue(
    { pool: app.database.pool, settings: SETTINGS, clock: { now: () => now }, onPosted, signal, logger },
    kind,
  );
};

/** Makes as many of the customer's one scheduled entry. */
const COPIES = `
  insert into scheduled_entry
  select (jsonb_populate_record(s, jsonb_build_object('scheduled_entry_id', $1 || n, 'idempotency_key', $1 || n))).*
  from scheduled_entry s, generate_series(2, $2::int) n where s.customer_id = $1`;

let keys = 0;
async function newCustomer(balance = 0) {
  const id = await app.newCustomer();
  const call = (method: string, path: string, body?: object) =>
    app.call(method, `/customers/${id}/wallets${path}`, body);
  const credit = (amount: number) => call('POST', '/ledger-entries', { amount, currency: 'USD', entry_type: 'credit' });
  if (balance > 0) await credit(balance);
  return {
    id,
    call,
    credit,
    schedule: (more: object = {}) => {
      keys += 1;
      const entry = { amount: 100, currency: 'USD', entry_type: 'debit', post_at: later(60).toISOString() };
      return call('POST', '/scheduled-entries', { ...entry, idempotency_key: `k${keys}`, ...more });
    },
    balance: async () => (await call('GET', '/USD')).body.balance,
    entries: async () => (await call('GET', '/ledger-entries?page_size=100')).body.items,
    one: async (id: string) => (await call('GET', `/scheduled-entries/${id}`)).body,
    alerts: async () => {
      const { rows } = await app.database.pool.query(
        "select details from wallet_alert where customer_id = $1 and kind = 'scheduled_entry_skipped' order by alert_seq",
        [id],
      );
      return rows.map(({ details }) => details);
    },
  };
}

describe('scheduled entries', () => {
  it('example: 31 January scheduled at 23:59:59 in a zone with summer time posts once', async () => {
    const { schedule, balance, entries, one } = await newCustomer(500);
    const { status, body } = await schedule({ post_at: '2026-01-31T23:59:59+01:00', reason: 'Plan in January' });
    expect([status, body.status, body.post_at]).toEqual([200, 'scheduled', '2026-01-31T22:59:59.000Z']);
    now = new Date('2026-01-31T22:59:58Z');
    expect(await work()).toBe(0);
    now = new Date('2026-01-31T22:59:59Z');
    expect(await work()).toBe(1);
    expect(await work()).toBe(0);
    expect(await balance()).toBe(400);
    const [entry] = await entries();
    expect(entry).toMatchObject({ amount: 100, is_credit: false, reason: 'Plan in January', idempotency_key: null });
    expect(await one(body.scheduled_entry_id)).toMatchObject({ status: 'posted', entry_id: entry.entry_id, tries: 0 });
  });

  it('example: worker away for two days: posted late with post_at in metadata', async () => {
    const { schedule, entries } = await newCustomer();
    const post_at = later(60).toISOString();
    await schedule({ entry_type: 'credit', post_at, metadata: { plan: 'a' } });
    pass(2 * DAY);
    await work();
    expect(await entries()).toMatchObject([{ metadata: { plan: 'a', post_at }, created_at: now.toISOString() }]);
  });

  it('are posted in the order in which they are due', async () => {
    const { schedule, balance, alerts } = await newCustomer(150);
    const second = (await schedule({ post_at: later(20).toISOString() })).body;
    const first = (await schedule({ amount: 90, post_at: later(10).toISOString() })).body;
    pass(60);
    await work();
    expect(await balance()).toBe(60);
    expect(await alerts()).toMatchObject([{ scheduledEntryId: second.scheduled_entry_id }]);
    expect(first.scheduled_entry_id).not.toBe(second.scheduled_entry_id);
  });

  it('are skipped and told of, or tried again every day until the money is there', async () => {
    const { schedule, credit, balance, one, alerts } = await newCustomer(50);
    const skipped = (await schedule()).body.scheduled_entry_id;
    const retried = (await schedule({ on_shortfall: 'retry' })).body.scheduled_entry_id;
    pass(60);
    await work();
    expect(await one(skipped)).toMatchObject({
      status: 'skipped',
      skipped_for: 'INSUFFICIENT_WALLET_FUNDS',
      entry_id: null,
    });
    expect(await one(retried)).toMatchObject({
      status: 'scheduled',
      tries: 1,
      next_attempt_at: later(DAY).toISOString(),
    });
    expect(await alerts()).toMatchObject([{ scheduledEntryId: skipped, amount: 100, isCredit: false }]);
    pass(DAY);
    await credit(50);
    await work();
    expect(await one(retried)).toMatchObject({ status: 'posted', tries: 1 });
    expect(await balance()).toBe(0);
  });

  it('of a frozen wallet are debited once it is not frozen any more, where that is wanted', async () => {
    const { schedule, call, balance, one } = await newCustomer(500);
    await call('PUT', '/USD/status', { status: 'frozen', reason: 'why' });
    const skipped = (await schedule()).body.scheduled_entry_id;
    const retried = (await schedule({ on_shortfall: 'retry' })).body.scheduled_entry_id;
    pass(60);
    await work();
    expect(await one(skipped)).toMatchObject({ status: 'skipped', skipped_for: 'WALLET_FROZEN' });
    await call('PUT', '/USD/status', { status: 'active', reason: 'why' });
    pass(DAY);
    await work();
    expect(await one(retried)).toMatchObject({ status: 'posted' });
    expect(await balance()).toBe(400);
  });

  it('become lots, which end as long after they were due as they say', async () => {
    const { schedule, call } = await newCustomer();
    const due = later(60);
    await schedule({ entry_type: 'credit', kind: 'promo', expires_in_days: 30, name: 'Gift' });
    pass(5 * DAY);
    await work();
    const { items } = (await call('GET', '/lots')).body;
    const end = new Date(due.getTime() + 30 * DAY * 1000).toISOString();
    expect(items).toMatchObject([{ kind: 'promo', name: 'Gift', remaining: 100, expires_at: end }]);
  });

  it('are not credited where what they give would be over by then', async () => {
    const { schedule, balance, alerts } = await newCustomer();
    await schedule({ entry_type: 'credit', kind: 'promo', expires_in_days: 1 });
    pass(3 * DAY);
    await work();
    expect([await balance(), (await alerts())[0].code]).toEqual([0, 'EXPIRY_IN_THE_PAST']);
  });

  it('are canceled until they are posted', async () => {
    const { schedule, call, balance } = await newCustomer(500);
    const [one, other] = [(await schedule()).body.scheduled_entry_id, (await schedule()).body.scheduled_entry_id];
    const cancel = (id: string) => call('POST', `/scheduled-entries/${id}/cancel`);
    expect((await cancel(one)).body).toMatchObject({ status: 'canceled', next_attempt_at: null });
    expect((await cancel(one)).status).toBe(200);
    pass(60);
    await work();
    expect(await balance()).toBe(400);
    const late = await cancel(other);
    expect([late.status, late.body.code]).toEqual([409, 'SCHEDULED_ENTRY_NOT_OPEN']);
    expect(late.body.scheduled_entry).toMatchObject({ status: 'posted' });
    expect((await cancel('sen_none')).body.code).toBe('SCHEDULED_ENTRY_NOT_FOUND');
  });

  it('are listed by the customer, the newest first', async () => {
    const { schedule, call } = await newCustomer();
    const ids: string[] = [];
    for (let number = 0; number < 3; number += 1) ids.unshift((await schedule()).body.scheduled_entry_id);
    const list = async (query: string) =>
      (await call('GET', `/scheduled-entries${query}`)).body.items.map(
        (one: { scheduled_entry_id: string }) => one.scheduled_entry_id,
      );
    expect(await list('')).toEqual(ids);
    expect(await list(`?before_id=${ids[0]}&page_size=1`)).toEqual([ids[1]]);
    expect(await list('?status=posted')).toEqual([]);
    expect((await app.call('GET', '/customers/cus_none/wallets/scheduled-entries')).status).toBe(404);
  });

  it('are scheduled once under a key, whenever it is repeated', async () => {
    const { schedule } = await newCustomer();
    const request = { idempotency_key: 'once', post_at: later(60).toISOString() };
    const { body } = await schedule(request);
    pass(DAY);
    await work();
    const again = await schedule(request);
    expect([again.status, again.body.code]).toEqual([409, 'IDEMPOTENCY_KEY_EXISTS']);
    expect(again.body.scheduled_entry.scheduled_entry_id).toBe(body.scheduled_entry_id);
    expect((await schedule({ ...request, on_shortfall: 'retry' })).body.code).toBe('IDEMPOTENCY_KEY_REUSED');
    expect((await schedule({ ...request, amount: 101 })).body.code).toBe('IDEMPOTENCY_KEY_REUSED');
    const all = await Promise.all(
      Array.from({ length: 5 }, () =>
        schedule({ ...request, idempotency_key: 'race', post_at: later(60).toISOString() }),
      ),
    );
    expect(all.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409, 409]);
  });

  it.each([
    ['no key', { idempotency_key: null }, 'INVALID_REQUEST_BODY'],
    ['a time that is past', { post_at: '2026-01-01T00:00:00Z' }, 'INVALID_REQUEST_BODY'],
    ['a time that is more than 400 days ahead', { post_at: '2028-01-01T00:00:00Z' }, 'INVALID_REQUEST_BODY'],
    ['metadata that is kept for us', { metadata: { post_at: 'x' } }, 'INVALID_REQUEST_BODY'],
    ['terms of a debit', { kind: 'promo' }, 'INVALID_REQUEST_BODY'],
    ['a currency without wallets', { currency: 'EUR' }, 'UNSUPPORTED_CURRENCY'],
    ['an end before it is due', { entry_type: 'credit', expires_at: '2026-01-01T00:00:00Z' }, 'EXPIRY_IN_THE_PAST'],
    ['paid credit that ends', { entry_type: 'credit', kind: 'paid', expires_in_days: 9 }, 'PAID_CREDIT_CANNOT_EXPIRE'],
  ])('are refused with %s', async (_, more, code) => {
    const { schedule } = await newCustomer();
    const { status, body } = await schedule(more);
    expect([status, body.code]).toEqual([422, code]);
  });

  it('are 1000 at most of a customer', async () => {
    const { id, schedule } = await newCustomer();
    await schedule();
    const copies = `insert into scheduled_entry
      select (jsonb_populate_record(s, jsonb_build_object('scheduled_entry_id', 'sen_' || n, 'idempotency_key', 'n' || n, 'due_at', 'infinity'))).*
      from scheduled_entry s, generate_series(1, 998) n where s.customer_id = $1`;
    await app.database.pool.query(copies, [id]);
    expect((await schedule()).status).toBe(200);
    expect((await schedule()).body.code).toBe('CONFLICT');
    await app.database.pool.query('delete from scheduled_entry where customer_id = $1', [id]);
  });

  it('are shared by two workers, of whom each entry is posted by one', async () => {
    const { pool } = app.database;
    const { id, schedule } = await newCustomer();
    pass(60);
    await work();
    await schedule({ entry_type: 'credit', amount: 1 });
    await pool.query(COPIES, [id, 250]);
    pass(60);
    const done = await Promise.all([work(), work()]);
    expect(done.reduce((sum, one) => sum + one, 0)).toBe(250);
    const { rows } = await pool.query(
      "select balance, (select count(*)::int from scheduled_entry where customer_id = $1 and state = 'posted') as posted from wallet where customer_id = $1 and currency = 'USD'",
      [id],
    );
    expect(rows).toEqual([{ balance: 250, posted: 250 }]);
  });

  it('of a merchant wait for one page of another at most, however many that one has', async () => {
    const { pool } = app.database;
    const { id, schedule } = await newCustomer();
    await schedule({ entry_type: 'credit', amount: 1 });
    await pool.query(COPIES, [id, 250]);
    const [other = ''] = await makeCustomers(pool, ['other'], 'bus_other');
    await pool.query(
      `insert into scheduled_entry
       select (jsonb_populate_record(s, jsonb_build_object('merchant_id', 'bus_other', 'customer_id', $2::text))).*
       from scheduled_entry s where s.customer_id = $1 and s.scheduled_entry_id = $1 || '2'`,
      [id, other],
    );
    pass(60);
    const pages: string[] = [];
    const watched: typeof DUE_ENTRIES = {
      ...DUE_ENTRIES,
      settle: (tx, due, moment) => {
        pages.push(`${due.merchantId} ${due.keys.length}`);
        return DUE_ENTRIES.settle(tx, due, moment);
      },
    };
    expect(await work(watched)).toBe(251);
    expect(pages).toEqual(['bus_default 100', 'bus_other 1', 'bus_default 100', 'bus_default 50']);
  });

  it('that fail are put off, and keep no other waiting', async () => {
    const { pool } = app.database;
    const broken = await newCustomer(500);
    const sound = await newCustomer(500);
    const { scheduled_entry_id } = (await broken.schedule()).body;
    await sound.schedule();
    pass(60);
    await pool.query(
      `create or replace function fail_once() returns trigger language plpgsql as $$ begin
         if new.customer_id = '${broken.id}' then raise exception 'it is broken'; end if; return new; end $$`,
    );
    await changeTriggers(pool, 'create trigger fails before insert on entry for each row execute function fail_once()');
    await work();
    expect([await broken.balance(), await sound.balance()]).toEqual([500, 400]);
    expect(await broken.one(scheduled_entry_id)).toMatchObject({
      status: 'scheduled',
      tries: 0,
      next_attempt_at: later(600).toISOString(),
    });
    const overdue = await audit(autocommit(pool), { rule: null, now: later(4000) });
    expect(overdue.disagreements.map(({ rule }) => rule)).toContain('14b scheduled: none waits long after its time');
    await changeTriggers(pool, 'drop trigger fails on entry');
    await pool.query('drop function fail_once');
    pass(600);
    await work();
    expect(await broken.balance()).toBe(400);
  });

  it('lose their texts where a customer is anonymised with his texts, and are posted all the same', async () => {
    const { id, schedule, entries, one } = await newCustomer(500);
    const { scheduled_entry_id } = (await schedule({ reason: 'For Ada', metadata: { who: 'Ada' } })).body;
    expect((await app.call('POST', `/customers/${id}/anonymise`, { reasons: true })).status).toBeLessThan(300);
    expect(await one(scheduled_entry_id)).toMatchObject({ reason: null, metadata: null });
    pass(60);
    await work();
    expect((await entries())[0]).toMatchObject({ amount: 100, reason: null });
  });
});

describe('the audit', () => {
  it.each([
    ['an entry that nobody scheduled', "delete from scheduled_entry where state = 'posted' and customer_id = $1"],
    [
      'an entry that is not in the books',
      "update scheduled_entry set entry_seq = entry_seq + 1 where state = 'posted' and customer_id = $1",
    ],
    ['another amount', "update scheduled_entry set amount = amount + 1 where state = 'posted' and customer_id = $1"],
  ])('finds %s', async (_, sql) => {
    const { id, schedule } = await newCustomer(500);
    await schedule();
    pass(60);
    await work();
    const client = await app.database.pool.connect();
    await client.query('begin');
    await client.query(sql, [id]);
    const { disagreements } = await audit(new Tx(client));
    await client.query('rollback');
    client.release();
    expect(disagreements.map(({ rule }) => rule)).toEqual([
      '14a scheduled: what is posted has its entry, and the reverse',
    ]);
  });
});

it('posts paid credit of just the least days, since they count from when it was due', async () => {
  const { id: customerId } = await newCustomer();
  const settings = { ...SETTINGS, lotRule: { ...LOT_RULE, paidExpiryMinDays: 300 } };
  const terms = { kind: 'paid', name: null, priority: 50, end: { days: 300 } } as const;
  const asked = { ...posting({ customerId, amountMinor: 500, terms }), idempotencyKey: 'api:least-days' };
  const wanted = { posting: asked, postAt: later(60), onShortfall: 'skip', actor: 'key:x' } as const;
  await scheduleEntry(autocommit(app.database.pool), wanted, { ...settings, now });
  pass(3_600);
  const { signal } = new AbortController();
  const clock = { now: () => now };
  await settleAllDue({ pool: app.database.pool, settings, clock, onPosted: () => {}, signal, logger }, DUE_ENTRIES);
  const { rows } = await app.database.pool.query(
    'select state, skipped_for from scheduled_entry where customer_id = $1',
    [customerId],
  );
  expect(rows).toEqual([{ state: 'posted', skipped_for: null }]);
});
