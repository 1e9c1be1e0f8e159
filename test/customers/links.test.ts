import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { givesWay, LINK_CAUSES, saveLinks } from '../../src/customers/links.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { listEvents } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT } from '../support/ledger.ts';
import { dodoPayment, stripePaymentSucceeded } from '../support/signing.ts';

/** Whose an unnamed payment is, and who may have said so. */

let app: TestApp;
let inbox: TestInbox;
const stripe = testSource('stripe');
const orders = testSource('stripe', { sourceId: 'src_orders', defaultPurpose: 'order' });
const dodo = testSource('dodo');

beforeAll(async () => {
  app = await startTestApp();
  inbox = await startInbox(app.database, { sources: [stripe, orders, dodo] });
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

let number = 0;
interface Paid {
  readonly by: string;
  readonly amount: number;
  readonly names?: string | undefined;
  readonly at?: number | undefined;
  readonly currency?: string | undefined;
}
const stripeBody = ({ by, amount, names, at = 1_795_000_000, currency = 'usd' }: Paid) => {
  number += 1;
  const event: unknown = JSON.parse(
    stripePaymentSucceeded({
      paymentId: `pi_link${number}`,
      amount,
      currency,
      customer: by,
      metadata: names === undefined ? {} : { wallet_customer_id: names },
    }),
  );
  return JSON.stringify({ ...Object(event), created: at });
};
const pay = (...paid: readonly Paid[]) => inbox.play(paid.map(stripeBody));
const links = async (customerId: string) => (await app.call('GET', `/customers/${customerId}/links`)).body.items;
const linkOf = async (providerCustomerId: string) => {
  const { rows } = await app.database.pool.query(
    'select customer_id, cause, payment_id from customer_link where provider_customer_id = $1',
    [providerCustomerId],
  );
  return rows[0];
};
const events = (state: 'parked' | 'pending') =>
  listEvents(autocommit(app.database.pool), MERCHANT, { state, pageSize: 100, pageNumber: 0 });

describe('a link', () => {
  it('of a customer made by a payment is moved by the payment that names somebody; what was paid stays', async () => {
    const ada = await app.newCustomer();
    await pay({ by: 'cus_a', amount: 300 });
    const { customer_id: shadow, cause, payment_id: first } = await linkOf('cus_a');
    expect([cause, first]).toEqual(['created', `pi_link${number}`]);
    await pay({ by: 'cus_a', amount: 1000, names: ada }, { by: 'cus_a', amount: 2000 });
    expect(await inbox.balance(ada)).toBe(3000);
    expect(await inbox.balance(shadow)).toBe(300);
    expect(await links(ada)).toMatchObject([
      { source_id: 'src_stripe', provider_customer_id: 'cus_a', cause: 'payment', payment_id: `pi_link${number - 1}` },
    ]);
    expect(await links(shadow)).toEqual([]);
  });

  it('is the same after one batch of events as after several', async () => {
    const ada = await app.newCustomer();
    const batch = [
      { by: 'cus_batch', amount: 300 },
      { by: 'cus_batch', amount: 1000, names: ada },
    ];
    await Promise.all([...batch, { by: 'cus_batch', amount: 20 }].map((one) => inbox.deliver(stripeBody(one))));
    await inbox.settled();
    await pay({ by: 'cus_batch', amount: 2000 });
    expect((await linkOf('cus_batch')).customer_id).toBe(ada);
    expect(await inbox.balance(ada)).toBeGreaterThanOrEqual(3000);
  });

  it('is of the newest payment that names somebody, by the time of the provider', async () => {
    const [old, young] = [await app.newCustomer(), await app.newCustomer()];
    await pay({ by: 'cus_late', amount: 10, names: young, at: 1_795_000_100 });
    await pay({ by: 'cus_late', amount: 20, names: old, at: 1_795_000_000 });
    await pay({ by: 'cus_late', amount: 40 });
    expect([await inbox.balance(old), await inbox.balance(young)]).toEqual([20, 50]);
  });

  it('is kept at its newest by payments that name the same customer', async () => {
    const [one, other] = [await app.newCustomer(), await app.newCustomer()];
    await pay({ by: 'cus_again', amount: 1, names: one, at: 1_795_000_000 });
    await pay({ by: 'cus_again', amount: 1, names: one, at: 1_795_000_200 });
    await pay({ by: 'cus_again', amount: 1, names: other, at: 1_795_000_100 });
    expect((await linkOf('cus_again')).customer_id).toBe(one);
  });

  it('is written again by a newer payment that names the same customer, and not by one of the same second', async () => {
    const lin = await app.newCustomer();
    const at = 1_795_000_500;
    await pay({ by: 'cus_same', amount: 100, names: lin, at }, { by: 'cus_same', amount: 100, names: lin, at });
    const first = `pi_link${number - 1}`;
    expect(await linkOf('cus_same')).toMatchObject({ customer_id: lin, payment_id: first });
    await pay({ by: 'cus_same', amount: 100, names: lin, at });
    expect(await linkOf('cus_same')).toMatchObject({ customer_id: lin, payment_id: first });
    await pay({ by: 'cus_same', amount: 100, names: lin, at: at + 1 });
    expect(await linkOf('cus_same')).toMatchObject({ customer_id: lin, payment_id: `pi_link${number}` });
    expect(await inbox.balance(lin)).toBe(400);
  });

  it('is not learnt from what a payer could have written', async () => {
    const [mallory, victim] = [await app.newCustomer(), { id: 'cus_victim', email: 'victim@example.com' }];
    const bodies = [
      dodoPayment({ paymentId: 'pay_m', amount: 1, customer: victim, metadata: { wallet_customer_id: mallory } }),
      dodoPayment({ paymentId: 'pay_v', amount: 50_000, customer: victim, metadata: {} }),
    ];
    await inbox.play(bodies, dodo);
    expect(await inbox.balance(mallory)).toBe(1);
    const { customer_id: shadow, cause } = await linkOf('cus_victim');
    expect([await inbox.balance(shadow), cause]).toEqual([50_000, 'created']);
  });

  it('is not made by an event that is parked, nor is a customer', async () => {
    const ada = await app.newCustomer();
    const count = async () => (await app.database.pool.query('select count(*) from customer')).rows;
    const before = await count();
    await pay({ by: 'cus_parked1', amount: 10, currency: 'xyz' }, { by: 'cus_parked2', amount: 10, names: 'cus_typo' });
    await pay({ by: 'cus_parked3', amount: 10, names: ada, currency: 'gbp' });
    for (const one of ['cus_parked1', 'cus_parked2', 'cus_parked3']) expect(await linkOf(one)).toBeUndefined();
    expect(await count()).toEqual(before);
  });

  it('is one of many, which are listed in pages', async () => {
    const ada = await app.newCustomer();
    const key = { merchantId: MERCHANT, sourceId: 'src_stripe' };
    const made = Array.from({ length: 105 }, (_, index) => ({
      ...{ customerId: ada, paymentId: null, namedAt: null, createdAt: new Date(0) },
      providerCustomerId: `cus_page${String(index).padStart(3, '0')}`,
      cause: 'operator' as const,
    }));
    await saveLinks(autocommit(app.database.pool), key, made);
    const page = async (query: string) => {
      const { status, body } = await app.call('GET', `/customers/${ada}/links${query}`);
      const ids = body.items?.map((one: { provider_customer_id: string }) => one.provider_customer_id);
      return [status, ids?.length, ids?.[0], ids?.at(-1)];
    };
    expect(await page('')).toEqual([200, 10, 'cus_page000', 'cus_page009']);
    expect(await page('?page_size=100')).toEqual([200, 100, 'cus_page000', 'cus_page099']);
    expect(await page('?page_size=100&page_number=1')).toEqual([200, 5, 'cus_page100', 'cus_page104']);
    expect(await page('?page_size=100&page_number=2')).toEqual([200, 0, undefined, undefined]);
    expect((await page('?page_size=101'))[0]).toBe(400);
  });

  it('whose place in the list is gone is refused as a cursor, instead of ending the list', async () => {
    const [ada, other] = [await app.newCustomer(), await app.newCustomer()];
    const put = (customerId: string, one: string) =>
      app.call('PUT', `/customers/${customerId}/links`, { source_id: 'src_stripe', provider_customer_id: one });
    for (const one of ['cus_c1', 'cus_c2', 'cus_c3']) await put(ada, one);
    const page = (after: string) => app.call('GET', `/customers/${ada}/links?page_size=1${after}`);
    const next = async (after = '') => `&cursor=${(await page(after)).body.next_cursor}`;
    const afterFirst = await next();
    const afterLast = await next(await next(afterFirst));
    expect(await page(afterLast)).toMatchObject({ status: 200, body: { items: [] } });
    const refused = { status: 400, body: { code: 'INVALID_QUERY_PARAMS', message: expect.stringContaining('cursor') } };
    // Another customer's now: where it stands in that one's list says nothing of this one.
    await put(other, 'cus_c1');
    expect(await page(afterFirst)).toMatchObject(refused);
    await app.call('DELETE', `/customers/${ada}/links?source_id=src_stripe&provider_customer_id=cus_c3`);
    expect(await page(afterLast)).toMatchObject(refused);
  });

  it('is made by an order too, though it posts nothing yet', async () => {
    const ada = await app.newCustomer();
    await inbox.play([stripeBody({ by: 'cus_order', amount: 10, names: ada })], orders);
    expect(await links(ada)).toMatchObject([{ source_id: 'src_orders', cause: 'payment' }]);
  });

  it('of an earlier release stays, and is moved by a payment that names somebody', async () => {
    const [old, ada] = [await app.newCustomer(), await app.newCustomer()];
    await app.database.pool.query(
      "insert into customer_link (merchant_id, source_id, provider_customer_id, customer_id) values ($1, 'src_stripe', 'cus_before', $2)",
      [MERCHANT, old],
    );
    await pay({ by: 'cus_before', amount: 10 });
    expect(await links(old)).toMatchObject([{ cause: 'before', payment_id: null }]);
    await pay({ by: 'cus_before', amount: 20, names: ada }, { by: 'cus_before', amount: 40 });
    expect([await inbox.balance(old), await inbox.balance(ada)]).toEqual([10, 60]);
  });
});

it('a link that somebody wrote meanwhile is moved by the same rules as one that was read before', async () => {
  const db = autocommit(app.database.pool);
  const [old, young] = [await app.newCustomer(), await app.newCustomer()];
  const key = { merchantId: MERCHANT, sourceId: 'src_stripe' };
  const times = [null, new Date(1000), new Date(2000)];
  const all = LINK_CAUSES.flatMap((cause) => times.map((namedAt) => ({ cause, namedAt })));
  const pairs = all.flatMap((first) => all.map((second) => ({ first, second })));
  const made = (customerId: string, of: 'first' | 'second') =>
    pairs.map((pair, index) => {
      const providerCustomerId = `cus_pair${index}`;
      return { ...pair[of], providerCustomerId, customerId, paymentId: null, createdAt: new Date() };
    });
  await saveLinks(db, key, made(old, 'first'));
  await saveLinks(db, key, made(young, 'second'));
  const { rows } = await app.database.pool.query(
    "select provider_customer_id from customer_link where customer_id = $1 and provider_customer_id like 'cus_pair%'",
    [young],
  );
  const moved = new Set(rows.map((row: { provider_customer_id: string }) => row.provider_customer_id));
  for (const [index, { first, second }] of pairs.entries())
    expect([first, second, moved.has(`cus_pair${index}`)]).toEqual([first, second, givesWay(first, second)]);
  // No event made them, which the audit would name.
  await app.database.pool.query("delete from customer_link where provider_customer_id like 'cus_pair%'");
});

describe('a replay', () => {
  const parkedBy = async (by: string) => {
    await pay({ by, amount: 1000, names: 'cus_typo' });
    const [event] = (await events('parked')).filter(({ paymentId }) => paymentId === `pi_link${number}`);
    return event?.eventId ?? '';
  };

  it('credits that one payment, and teaches nothing', async () => {
    const [right, wrong] = [await app.newCustomer(), await app.newCustomer()];
    const eventId = await parkedBy('cus_replay1');
    await replayEvent(app.database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: wrong });
    await inbox.settled();
    expect([await inbox.balance(wrong), await links(wrong)]).toEqual([1000, []]);
    await pay({ by: 'cus_replay1', amount: 1000, names: right }, { by: 'cus_replay1', amount: 1000 });
    expect(await inbox.balance(right)).toBe(2000);
  });

  it('teaches where it was asked to', async () => {
    const ada = await app.newCustomer();
    const eventId = await parkedBy('cus_replay2');
    const refused = await app.call('POST', `/events/${eventId}/replay`, { link: true });
    expect(refused).toMatchObject({
      status: 422,
      body: { message: expect.stringContaining('link: wants customer_id') },
    });
    expect((await app.call('POST', `/events/${eventId}/replay`, { customer_id: ada, link: true })).status).toBe(200);
    await inbox.settled();
    expect(await links(ada)).toMatchObject([{ cause: 'replay', payment_id: `pi_link${number}` }]);
    await pay({ by: 'cus_replay2', amount: 50 });
    expect(await inbox.balance(ada)).toBe(1050);
  });

  it('brings back a link that was erased, though it says the same', async () => {
    const eve = await app.newCustomer();
    const replay = async () => {
      const eventId = await parkedBy('cus_replay3');
      expect((await app.call('POST', `/events/${eventId}/replay`, { customer_id: eve, link: true })).status).toBe(200);
      await inbox.settled();
    };
    await replay();
    const own = 'where merchant_id = $1 and customer_id = $2';
    await app.database.pool.query(
      `insert into erased_link (merchant_id, source_id, provider_customer_hash, customer_id, cause, named_at, created_at)
       select merchant_id, source_id, sha256(convert_to(merchant_id, 'UTF8') || '\\x00'::bytea || convert_to(provider_customer_id, 'UTF8')),
         customer_id, cause, named_at, created_at from customer_link ${own}`,
      [MERCHANT, eve],
    );
    await app.database.pool.query(`delete from customer_link ${own}`, [MERCHANT, eve]);
    expect(await links(eve)).toEqual([]);
    await replay();
    expect(await links(eve)).toMatchObject([{ cause: 'replay', payment_id: `pi_link${number}` }]);
  });
});

describe('/customers/:id/links', () => {
  const named = (providerCustomerId: string) => ({ source_id: 'src_stripe', provider_customer_id: providerCustomerId });

  it('sets a link, which no payment moves, and removes it', async () => {
    const [ada, bob] = [await app.newCustomer(), await app.newCustomer()];
    await pay({ by: 'cus_hand', amount: 10, names: bob });
    const set = await app.call('PUT', `/customers/${ada}/links`, named('cus_hand'));
    expect(set).toMatchObject({ status: 200, body: { ...named('cus_hand'), cause: 'operator', payment_id: null } });
    await pay({ by: 'cus_hand', amount: 20, names: bob }, { by: 'cus_hand', amount: 40 });
    expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([40, 30]);
    expect(await links(bob)).toEqual([]);

    const query = new URLSearchParams(named('cus_hand')).toString();
    expect((await app.call('DELETE', `/customers/${bob}/links?${query}`)).status).toBe(404);
    expect((await app.call('DELETE', `/customers/${ada}/links?${query}`)).status).toBe(204);
    expect((await app.call('DELETE', `/customers/${ada}/links?${query}`)).status).toBe(404);
    expect(await links(ada)).toEqual([]);
  });

  it('wants a customer and a source that are there', async () => {
    const ada = await app.newCustomer();
    expect((await app.call('GET', '/customers/cus_nobody/links')).body.code).toBe('CUSTOMER_NOT_FOUND');
    expect((await app.call('PUT', '/customers/cus_nobody/links', named('cus_x'))).body.code).toBe('CUSTOMER_NOT_FOUND');
    const elsewhere = { source_id: 'src_none', provider_customer_id: 'cus_x' };
    expect((await app.call('PUT', `/customers/${ada}/links`, elsewhere)).body.code).toBe('NOT_FOUND');
  });
});
