import { hash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { dueErasures, eraseCustomer } from '../../src/customers/erase.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { autocommit, Tx, transaction } from '../../src/db/transaction.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { eraseTexts } from '../../src/ledger/erase-texts.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { goOnErasing } from '../../src/retention/anonymise.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, posting, SETTINGS } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { dodoPayment, dodoRefund, stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/**
 * Aim: of a person whose data were erased nothing is left that names them, and the books are whole: every balance, the chain of
 * hashes, what is still paid.
 * Method: a customer with everything that names a person, erased by the API; then every table is searched for it.
 */

const logger = createLogger('silent', 'test');
const PERSON = { name: 'Ada Countess', email: 'ada.countess@example.com', phone_number: '+44 20 7946 0123' };
/** Whatever says who it is. */
const TRACES = ['Countess', 'ada.countess', '7946 0123', 'cus_s_countess', 'plan of the countess'];

let app: TestApp;
let inbox: TestInbox;
let worker: Pool;

beforeAll(async () => {
  app = await startTestApp();
  inbox = await startInbox(app.database);
  worker = createPool({
    databaseUrl: app.database.workerUrl,
    applicationName: 'test-erase',
    maxConnections: 4,
    logger,
  });
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await inbox.stop();
  await worker.end();
  await app.close();
});

const sql = (text: string, values: readonly unknown[] = []) => app.database.pool.query(text, [...values]);
const pay = (customerId: string | null, paymentId: string, amount = 1000) =>
  stripePaymentSucceeded({
    ...{ paymentId, amount, currency: 'usd', customer: 'cus_s_countess', email: PERSON.email },
    metadata: customerId === null ? {} : { wallet_customer_id: customerId },
  });
const anonymise = (customerId: string, body?: object) => app.call('POST', `/customers/${customerId}/anonymise`, body);
const goOn = (days: number) =>
  goOnErasing({ pool: worker, logger, clock: { now: () => new Date(Date.now() + days * 86_400_000) } });

async function newPerson(): Promise<string> {
  const { body } = await app.call('POST', '/customers', { ...PERSON, metadata: { plan: 'plan of the countess' } });
  return body.customer_id;
}

/** The tables in which something of the person is found, whose rows are read as text. */
async function tracesLeft(): Promise<readonly string[]> {
  const { rows: tables } = await sql(
    "select tablename from pg_tables where schemaname = 'public' and tablename not in ('schema_migration')",
  );
  const found: string[] = [];
  for (const { tablename } of tables) {
    const body = tablename === 'provider_event' ? "|| encode(t.body, 'escape')" : '';
    const { rowCount } = await sql(`select from ${tablename} t where (t::text ${body}) like any ($1)`, [
      TRACES.map((trace) => `%${trace}%`),
    ]);
    if (rowCount !== 0) found.push(tablename);
  }
  return found;
}

describe('an erased customer', () => {
  it('leaves no trace of the person, and the books agree', async () => {
    const customerId = await newPerson();
    await inbox.play([pay(customerId, 'pi_ada'), stripeRefund({ paymentId: 'pi_ada', amount: 300, currency: 'usd' })]);
    const debit = {
      amount: 100,
      currency: 'USD',
      entry_type: 'debit',
      reason: 'Countess’ order',
      metadata: { who: 'Countess' },
    };
    const path = `/customers/${customerId}/wallets/ledger-entries`;
    expect((await app.call('POST', path, { ...debit, idempotency_key: 'one' })).status).toBe(200);
    await sql(
      `insert into webhook_message (merchant_id, message_id, event_type, payload, created_at, customer_id, currency, first_seq, last_seq)
       values ($1, 'whm_told', 'wallet.balance.changed', '{"reason": "Countess"}', now(), $2, 'USD', 1, 1)`,
      [MERCHANT, customerId],
    );
    expect(await tracesLeft()).toEqual(
      expect.arrayContaining(['customer', 'customer_link', 'entry', 'provider_event', 'webhook_message']),
    );
    const { status, body } = await anonymise(customerId, { reasons: true });
    expect(status).toBe(200);
    expect(body).toMatchObject({ customer_id: customerId, entries: 3, events: 2, messages: 1, kept: 0 });
    expect(body.finished_at).not.toBeNull();
    expect(await tracesLeft()).toEqual([]);
    expect((await app.call('GET', `/customers/${customerId}`)).body).toMatchObject({
      ...{ name: '', email: '', phone_number: null, metadata: {} },
    });
    expect((await app.call('GET', `/customers/${customerId}/links`)).body).toEqual({ items: [] });
    expect(await inbox.balance(customerId)).toBe(600);
    await expectBooksToAgree(app.database.pool);
    // What stands for the texts in the chain of hashes is shown for whoever has to prove what they were.
    const { items } = (await app.call('GET', path)).body;
    const debited = items.find((one: { idempotency_key: string }) => one.idempotency_key === 'one');
    const sha256 = (text: string) => hash('sha256', text, 'hex');
    expect((await app.call('GET', `${path}/${debited.entry_id}`)).body).toMatchObject({
      ...{ reason: null, metadata: null },
      erased: { reason_sha256: sha256(debit.reason), metadata_sha256: sha256(JSON.stringify(debit.metadata)) },
    });
    // The same request is still known by its key.
    expect((await app.call('POST', path, { ...debit, idempotency_key: 'one' })).status).toBe(409);
  });

  it('is erased once more without effect', async () => {
    const [{ customer_id: customerId }] = (await sql("select customer_id from payment where payment_id = 'pi_ada'"))
      .rows;
    const before = (await sql('select * from entry order by customer_id, currency, seq')).rows;
    const { body } = await anonymise(customerId);
    expect(body).toMatchObject({ entries: 3, events: 2, messages: 1, kept: 0 });
    expect((await sql('select * from entry order by customer_id, currency, seq')).rows).toEqual(before);
  });

  it('gets what is still paid, by name or by the provider’s customer, and no stranger is made', async () => {
    const customerId = await newPerson();
    await inbox.play([pay(customerId, 'pi_first')]);
    await sql("update customer_link set customer_id = $1 where provider_customer_id = 'cus_s_countess'", [customerId]);
    await anonymise(customerId);
    const customers = (await sql('select from customer')).rowCount;
    await inbox.play([pay(customerId, 'pi_named', 500), pay(null, 'pi_unnamed', 70)]);
    await inbox.play([stripeRefund({ paymentId: 'pi_first', amount: 200, currency: 'usd' })]);
    expect(await inbox.balance(customerId)).toBe(1370);
    expect((await sql('select from customer')).rowCount).toBe(customers);
    expect((await sql('select from customer_link where customer_id = $1', [customerId])).rowCount).toBe(0);
    // What has come since is erased when it is asked for again.
    const { body } = await anonymise(customerId);
    expect(body).toMatchObject({ events: 4, kept: 0 });
    expect(await tracesLeft()).toEqual([]);
  });

  it('keeps entries’ texts unless they are asked for', async () => {
    const customerId = await newPerson();
    const entry = { amount: 5, currency: 'USD', entry_type: 'credit', reason: 'A gift', metadata: { order: 7 } };
    await app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, entry);
    expect((await anonymise(customerId)).body).toMatchObject({ entries: 0 });
    const { rows } = await sql('select reason, metadata from entry where customer_id = $1', [customerId]);
    expect(rows).toEqual([{ reason: 'A gift', metadata: { order: 7 } }]);
  });

  it('of another merchant is not there', async () => {
    const customerId = await newPerson();
    const other = await app.newKey('bus_eraser', ['write']);
    const { status, body } = await app.call('POST', `/customers/${customerId}/anonymise`, {}, other);
    expect([status, body.code]).toEqual([404, 'CUSTOMER_NOT_FOUND']);
    expect((await app.call('GET', `/customers/${customerId}`)).body.name).toBe(PERSON.name);
  });
});

describe('an erasure that is asked for again', () => {
  it('while a piece is done begins again, and is not finished before what was asked for is erased', async () => {
    const customerId = await newPerson();
    const entry = { amount: 5, currency: 'USD', entry_type: 'credit', reason: 'Countess’ gift' };
    await app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, entry);
    const request = { merchantId: MERCHANT, customerId };
    const begun = (withTexts: boolean) =>
      transaction(app.database.pool, (tx) => eraseCustomer(tx, { ...request, withTexts }, new Date()));
    await begun(false);
    // The worker has read the request, and waits with what it did; meanwhile texts are to go as well.
    const holder = await app.database.pool.connect();
    try {
      await holder.query('begin');
      await holder.query(
        "select from customer_erasure where merchant_id = 'bus_default' and customer_id = $1 for update",
        [customerId],
      );
      const going = goOn(0);
      const waiting = () => waitingForLocks(app.database.pool, '%update customer_erasure%');
      await eventually('the worker to wait with its step', async () => (await waiting()) === 1);
      await eraseCustomer(new Tx(holder), { ...request, withTexts: true }, new Date());
      await holder.query('commit');
      expect(await going).toBe(0);
    } finally {
      holder.release();
    }
    const { rows } = await sql('select phase, place, finished_at from customer_erasure where customer_id = $1', [
      customerId,
    ]);
    expect(rows).toEqual([{ phase: 'entries', place: null, finished_at: null }]);
    expect(await goOn(0)).toBe(1);
    const texts = await sql('select reason from entry where customer_id = $1', [customerId]);
    expect(texts.rows).toEqual([{ reason: null }]);
  });

  it('within the same moment is another request', async () => {
    const request = { merchantId: MERCHANT, customerId: await newPerson(), withTexts: false };
    const now = new Date();
    const ask = () => transaction(app.database.pool, (tx) => eraseCustomer(tx, request, now));
    const [first, second] = [await ask(), await ask()];
    expect(second.requestedAt > first.requestedAt).toBe(true);
    expect(await goOn(0)).toBe(1);
  });
});

describe('an erased link', () => {
  const SOURCE = 'src_stripe';
  const link = (customerId: string, by: string) =>
    app.call('PUT', `/customers/${customerId}/links`, { source_id: SOURCE, provider_customer_id: by });
  const unlink = (customerId: string, by: string) =>
    app.call('DELETE', `/customers/${customerId}/links?source_id=${SOURCE}&provider_customer_id=${by}`);
  let number = 0;
  const paidBy = (by: string, names: string | null, at = 1_795_000_000) => {
    number += 1;
    const event: unknown = JSON.parse(
      stripePaymentSucceeded({
        ...{ paymentId: `pi_by${number}`, amount: 40, currency: 'usd', customer: by },
        metadata: names === null ? {} : { wallet_customer_id: names },
      }),
    );
    return JSON.stringify({ ...Object(event), created: at });
  };

  it('does not come back when the one that a person or a payment put in its place is removed', async () => {
    for (const [by, replace] of [
      ['cus_s_hand', async (other: string) => (await link(other, 'cus_s_hand')).status],
      ['cus_s_paid', async (other: string) => inbox.play([paidBy('cus_s_paid', other, 1_795_000_100)])],
    ] as const) {
      const [person, other] = [await newPerson(), await newPerson()];
      await inbox.play([paidBy(by, person)]);
      await anonymise(person);
      await replace(other);
      expect((await unlink(other, by)).status).toBe(204);
      await inbox.play([paidBy(by, null)]);
      expect([by, await inbox.balance(person)]).toEqual([by, 40]);
    }
  });

  it('stays when somebody removes a link that is not there', async () => {
    const [person, other] = [await newPerson(), await newPerson()];
    await inbox.play([paidBy('cus_s_kept', person)]);
    await anonymise(person);
    expect((await unlink(other, 'cus_s_kept')).status).toBe(404);
    await inbox.play([paidBy('cus_s_kept', null)]);
    expect(await inbox.balance(person)).toBe(80);
  });

  it('is not moved by a payment that is older than the one that named its customer', async () => {
    const [person, other] = [await newPerson(), await newPerson()];
    await inbox.play([paidBy('cus_s_newer', person, 1_795_000_200)]);
    await anonymise(person);
    await inbox.play([paidBy('cus_s_newer', other, 1_795_000_100)]);
    await inbox.play([paidBy('cus_s_newer', null)]);
    expect([await inbox.balance(person), await inbox.balance(other)]).toEqual([80, 40]);
  });
});

describe('what is open', () => {
  it('stays whole while it is in dispute or waits for a person, and goes by itself afterwards', async () => {
    const customerId = await newPerson();
    const dispute = { paymentId: 'pi_dispute', disputeId: 'du_open', amount: 1000, currency: 'usd' };
    await inbox.play([pay(customerId, 'pi_dispute'), stripeDispute({ ...dispute, status: 'needs_response' })]);
    const { body } = await anonymise(customerId);
    expect(body).toMatchObject({ events: 0, kept: 2, finished_at: null });
    expect(await goOn(2)).toBe(0);
    await inbox.play([stripeDispute({ ...dispute, type: 'closed', status: 'won' })]);
    expect(await goOn(0)).toBe(0);
    expect(await goOn(4)).toBe(1);
    const { rows } = await sql(
      "select distinct length(body) as length from provider_event where payment_id = 'pi_dispute'",
    );
    expect(rows).toEqual([{ length: 0 }]);
    await expectBooksToAgree(app.database.pool);
  });
});

describe('an entry', () => {
  it('can only lose its texts, and only once their hashes are written down', async () => {
    const customerId = await newPerson();
    const now = new Date();
    const one = posting({ customerId, amountMinor: 9, reason: 'a reason', metadata: { a: 1 } });
    await transaction(app.database.pool, (tx) => postBatch(tx, [one], { ...SETTINGS, now }));
    const refused = { code: '23001' };
    const where = `where customer_id = '${customerId}'`;
    await expect(sql(`update entry set reason = null ${where}`)).rejects.toMatchObject(refused);
    await anonymise(customerId, { reasons: true });
    for (const change of ["reason = 'again'", 'amount = 10', 'reason = reason', 'hash = null'])
      await expect(sql(`update entry set ${change} ${where}`)).rejects.toMatchObject(refused);
    await expect(sql(`delete from erasure ${where}`)).rejects.toMatchObject(refused);
    await expectBooksToAgree(app.database.pool);
  });

  it('cannot be changed by web or worker, but by the function that keeps the hashes', async () => {
    for (const pool of [worker, inbox.services.pool])
      await expect(pool.query('update entry set reason = null')).rejects.toMatchObject({ code: '42501' });
  });
});

describe('a hold', () => {
  it('loses its texts with those of entries, open or closed, and keeps its amounts', async () => {
    const customerId = await newPerson();
    const wallets = `/customers/${customerId}/wallets`;
    await app.call('POST', `${wallets}/ledger-entries`, { amount: 900, currency: 'USD', entry_type: 'credit' });
    const texts = { currency: 'USD', reason: 'for Ada', metadata: { name: 'Ada' } };
    const place = (key: string) =>
      app.call('POST', `${wallets}/holds`, { amount: 100, idempotency_key: key, ...texts });
    const ids = [(await place('a')).body.hold_id, (await place('b')).body.hold_id, (await place('c')).body.hold_id];
    await app.call('POST', `${wallets}/holds/${ids[0]}/capture`, { amount: 40 });
    await app.call('POST', `${wallets}/holds/${ids[1]}/release`, { reason: 'Ada left' });
    expect((await anonymise(customerId)).status).toBe(200);
    const shown = async () => {
      const { body } = await app.call('GET', `${wallets}/holds`);
      return body.items.map((hold: Record<string, unknown>) => [
        ...[hold.status, hold.captured, hold.released, hold.remaining],
        ...[hold.reason, hold.release_reason, hold.metadata],
      ]);
    };
    expect((await shown())[1]).toEqual(['released', 0, 100, 0, 'for Ada', 'Ada left', { name: 'Ada' }]);
    expect((await anonymise(customerId, { reasons: true })).body.finished_at).not.toBeNull();
    expect(await shown()).toEqual([
      ['open', 0, 0, 100, null, null, null],
      ['released', 0, 100, 0, null, null, null],
      ['captured', 40, 60, 0, null, null, null],
    ]);
    const { rows } = await sql(`select 1 from entry where customer_id = '${customerId}' and reason is not null`);
    expect(rows).toEqual([]);
    await expectBooksToAgree(app.database.pool);
  });

  it('loses them first, so that a capture meanwhile writes them into no entry', async () => {
    const customerId = await newPerson();
    const wallets = `/customers/${customerId}/wallets`;
    await app.call('POST', `${wallets}/ledger-entries`, { amount: 900, currency: 'USD', entry_type: 'credit' });
    const hold = { amount: 100, currency: 'USD', idempotency_key: 'a', reason: 'for Ada' };
    const { body } = await app.call('POST', `${wallets}/holds`, hold);
    const { place } = await eraseTexts(autocommit(app.database.pool), { merchantId: MERCHANT, customerId }, null);
    const captured = await app.call('POST', `${wallets}/holds/${body.hold_id}/capture`, { amount: 40 });
    expect([place, captured.body.entry.reason]).toEqual([{ currency: '', lotNo: 0 }, null]);
  });
});

describe('a lot', () => {
  it('loses its name and the reasons of its changes with the texts of entries, and keeps its amounts', async () => {
    const customerId = await newPerson();
    const wallets = `/customers/${customerId}/wallets`;
    const lot = { amount: 100, currency: 'USD', entry_type: 'credit', kind: 'promo', name: "Ada's" };
    await app.call('POST', `${wallets}/ledger-entries`, lot);
    await app.call('POST', `${wallets}/ledger-entries`, lot);
    const ids = ['1', '2'].map((number) => `lot_${customerId}_USD_${number}`);
    await app.call('PATCH', `${wallets}/lots/${ids[0]}`, { priority: 1, reason: 'Ada asked' });
    await app.call('POST', `${wallets}/lots/${ids[1]}/void`, { reason: 'Ada left', idempotency_key: 'v' });
    const shown = async () =>
      Promise.all(
        ids.map(async (id) => {
          const { body } = await app.call('GET', `${wallets}/lots/${id}`);
          return [body.status, body.amount, body.name, body.changes.map((one: { reason: unknown }) => one.reason)];
        }),
      );
    expect(await shown()).toEqual([
      ['open', 100, "Ada's", ['Ada asked']],
      ['voided', 100, "Ada's", []],
    ]);
    expect((await anonymise(customerId, { reasons: true })).body.finished_at).not.toBeNull();
    expect(await shown()).toEqual([
      ['open', 100, null, [null]],
      ['voided', 100, null, []],
    ]);
    await expectBooksToAgree(app.database.pool);
  });
});

describe('an event of an erased customer', () => {
  it('that told of the invoice before its payment came loses its body too', async () => {
    const customerId = await newPerson();
    const subscription_details = { subscription: 'sub_1', metadata: { wallet_customer_id: customerId } };
    const invoice = {
      ...{ id: 'evt_invoice_first', object: 'event', type: 'invoice.paid', created: 1_795_000_000, livemode: false },
      data: {
        object: {
          ...{ id: 'in_1first', object: 'invoice', customer: 'cus_s_countess', customer_email: PERSON.email },
          parent: { type: 'subscription_details', subscription_details },
        },
      },
    };
    const { data, ...paid } = JSON.parse(pay(null, 'pi_invoiced'));
    const object = { ...data.object, payment_details: { order_reference: 'in_1first' } };
    await inbox.play([JSON.stringify(invoice), JSON.stringify({ ...paid, data: { object } })]);
    expect((await anonymise(customerId)).body).toMatchObject({ kept: 0 });
    const { rows } = await sql(
      "select body_removed_at is not null as removed from provider_event where payment_id in ('in_1first', 'pi_invoiced')",
    );
    expect(rows).toEqual([{ removed: true }, { removed: true }]);
  });

  it('that told no amount and was dismissed is still resolved with what was done', async () => {
    const customerId = await newPerson();
    const one = { paymentId: 'pay_erased', currency: 'USD' };
    await inbox.play(
      [
        dodoPayment({ ...one, amount: 6000, metadata: { wallet_customer_id: customerId } }),
        dodoRefund({ ...one, refundId: 're_erased', amount: null, isPartial: true }),
      ],
      testSource('dodo'),
    );
    const { rows } = await sql(
      "select event_id from provider_event where payment_id = 'pay_erased' and state = 'parked'",
    );
    const eventId = rows[0]?.event_id;
    expect((await app.call('POST', `/events/${eventId}/dismiss`, {})).status).toBe(200);
    expect((await anonymise(customerId)).status).toBe(200);
    const { rows: kept } = await sql('select facts from provider_event where event_id = $1', [eventId]);
    expect(kept[0]?.facts).toMatchObject({ facts: [{ kind: 'refund', refundId: 're_erased' }] });
    expect((await app.call('POST', `/events/${eventId}/resolve`, { amount: 500, note: 'by hand' })).status).toBe(200);
    const { rows: handled } = await sql('select amount::int from handled_movement where event_id = $1', [eventId]);
    expect(handled).toEqual([{ amount: 500 }]);
  });

  it('of which an earlier release kept nothing is resolved by what was written down when it was dismissed', async () => {
    const customerId = await newPerson();
    const body = stripeRefund({ paymentId: 'pi_kept', amount: 100, currency: 'eur' });
    await inbox.play([pay(customerId, 'pi_kept'), body]);
    const { rows } = await sql("select event_id from provider_event where payment_id = 'pi_kept' and state = 'parked'");
    const eventId = rows[0]?.event_id;
    expect((await app.call('POST', `/events/${eventId}/dismiss`, {})).status).toBe(200);
    expect((await anonymise(customerId)).status).toBe(200);
    const nothing = JSON.stringify({ facts: [], naming: null, ties: [], accounts: [] });
    await sql('update provider_event set facts = $1 where event_id = $2', [nothing, eventId]);
    const before = await sql('select fact, payment_id from handled_movement where event_id = $1', [eventId]);
    expect((await app.call('POST', `/events/${eventId}/resolve`, { amount: 70, note: 'by hand' })).status).toBe(200);
    const { rows: handled } = await sql(
      'select fact, payment_id, amount::int, note from handled_movement where event_id = $1',
      [eventId],
    );
    expect(handled).toEqual([{ ...before.rows[0], amount: 70, note: 'by hand' }]);
  });

  it('that could not be read is not resolved any more: nothing would be tied to its payment', async () => {
    const customerId = await newPerson();
    const body = stripeRefund({ paymentId: 'pi_unread', amount: 1, currency: 'usd' }).replace(
      '"amount":1',
      '"amount":"1"',
    );
    await inbox.play([pay(customerId, 'pi_unread'), body]);
    const { rows } = await sql(
      "select event_id from provider_event where payment_id = 'pi_unread' and state = 'parked'",
    );
    const eventId = rows[0]?.event_id;
    expect((await app.call('POST', `/events/${eventId}/dismiss`, { note: 'unreadable' })).status).toBe(200);
    expect((await anonymise(customerId)).status).toBe(200);
    const { status, body: refused } = await app.call('POST', `/events/${eventId}/resolve`, { amount: 1, note: 'x' });
    expect([status, refused.code]).toEqual([409, 'EVENT_BODY_REMOVED']);
    expect(refused.message).toContain('nobody knows which payment');
  });

  it('that was dismissed cannot be replayed any more', async () => {
    const customerId = await newPerson();
    await inbox.play([pay(customerId, 'pi_eur'), stripeRefund({ paymentId: 'pi_eur', amount: 1, currency: 'eur' })]);
    const { rows } = await sql("select event_id from provider_event where payment_id = 'pi_eur' and state = 'parked'");
    const eventId = rows[0]?.event_id;
    expect((await app.call('POST', `/events/${eventId}/dismiss`, { amount: 0 })).status).toBe(200);
    expect((await anonymise(customerId)).body).toMatchObject({ events: 2, kept: 0 });
    const replay = replayEvent(worker, inbox.boss, { merchantId: MERCHANT, eventId, customerId: null, reopens: true });
    await expect(replay).rejects.toMatchObject({ refusal: { code: 'EVENT_BODY_REMOVED' } });
  });
});

it('an erasure that cannot go on is put off for an hour, and no other waits for it', async () => {
  const [first, second] = [await newPerson(), await newPerson()];
  for (const person of [first, second]) await anonymise(person);
  await sql(
    "update customer_erasure set finished_at = null, phase = 'messages', not_before = now() - case customer_id when $1 then interval '2 hours' else interval '1 hour' end where customer_id = any ($2)",
    [first, [first, second]],
  );
  await sql(`
    create function refuse_end() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
    create trigger refuse_end before update on customer_erasure for each row
    when (new.customer_id = '${first}' and new.finished_at is not null) execute function refuse_end()`);
  await expect(goOn(0)).rejects.toThrow('refused');
  const left = async () =>
    (
      await sql('select customer_id from customer_erasure where finished_at is null and customer_id = any ($1)', [
        [first, second],
      ])
    ).rows;
  expect(await left()).toEqual([{ customer_id: first }]);
  await sql('drop trigger refuse_end on customer_erasure; drop function refuse_end');
  expect(await goOn(0)).toBe(0);
  expect(await goOn(1)).toBe(1);
  expect(await left()).toEqual([]);
});

it('an erasure that cannot even be put off is not said to be', async () => {
  const person = await newPerson();
  await anonymise(person);
  await sql("update customer_erasure set finished_at = null, phase = 'messages' where customer_id = $1", [person]);
  await sql(`
    create function refuse_all() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
    create trigger refuse_all before update on customer_erasure for each row
    when (new.customer_id = '${person}') execute function refuse_all()`);
  const warn = vi.spyOn(logger, 'warn');
  await expect(goOn(0)).rejects.toThrow('refused');
  const told = warn.mock.calls.map(([, message]) => message);
  warn.mockRestore();
  expect(told).toEqual(['an erasure could not go on', 'an erasure could not be put off']);
  await sql('drop trigger refuse_all on customer_erasure; drop function refuse_all');
  expect(await goOn(0)).toBe(1);
});

it('erasures of one merchant, however many are due, leave room in a run for those of others', async () => {
  await sql(
    "insert into merchant (merchant_id, name, mode) values ('bus_calm', 'Calm', 'test') on conflict do nothing",
  );
  for (const merchantId of ['bus_default', 'bus_calm'])
    await sql(
      `with made as (
         insert into customer (merchant_id, customer_id, email, name, created_at)
         select $1::text, 'cus_due_' || n, '', '', now() from generate_series(1, case $1 when 'bus_calm' then 1 else 5 end) n
         returning merchant_id, customer_id)
       insert into customer_erasure (merchant_id, customer_id, requested_at, with_texts, phase, not_before)
       select merchant_id, customer_id, now(), false, 'messages',
         date_trunc('milliseconds', now()) - case $1 when 'bus_calm' then interval '1 hour' else interval '2 hours' end from made`,
      [merchantId],
    );
  const due = await dueErasures(autocommit(app.database.pool), new Date(), 2);
  expect(due.map(({ merchantId }) => merchantId)).toEqual(['bus_default', 'bus_calm']);
  for (const table of ['customer_erasure', 'customer'])
    await sql(`delete from ${table} where customer_id like 'cus_due_%'`);
});
