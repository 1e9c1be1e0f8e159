import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, startTestApp, type TestApp } from '../support/app.ts';
import { StripeCharging } from '../support/stripe-charging.ts';
import { movedBy } from '../support/tampering.ts';

const KEY = 'sk_test_ChokinCharges';
let stripe: StripeCharging;
let app: TestApp;

beforeAll(async () => {
  stripe = new StripeCharging(KEY);
  const keys = { STRIPE_API_KEY: KEY, STRIPE_CHARGING_KEY: KEY, DODO_CHARGING_KEY: 'dodo.charges' };
  const environment = { ...keys, STRIPE_API_URL: await stripe.start() };
  app = await startTestApp({ environment });
});
afterAll(async () => {
  await app.close();
  await stripe.stop();
});

const wallet = (customerId: string, currency = 'USD') => `/customers/${customerId}/wallets/${currency}`;
const RULE = {
  ...{ enabled: true, threshold: 1000, mode: 'amount', amount: 2000, monthly_cap: 20_000, payment: null },
  consent: { accepted_at: '2026-01-31T12:00:00Z', text_version: '1' },
};
const SESSION = {
  ...{ source_id: 'src_stripe', description: 'Credit for the shop' },
  ...{ success_url: 'https://shop.example/done?s={CHECKOUT_SESSION_ID}', cancel_url: 'https://shop.example/cart' },
};
let keys = 0;
const newKey = (): string => {
  keys += 1;
  return `k${keys}`;
};
const topUp = (customerId: string, body: object): Promise<Answer> =>
  app.call('POST', `${wallet(customerId)}/top-ups`, { amount: 2000, idempotency_key: newKey(), ...body });

describe('a schedule that charges', () => {
  const start = async (rule: object | null = {}) => {
    const customerId = await app.newCustomer();
    const one = `${wallet(customerId)}/grant-schedules/refill`;
    if (rule !== null) await app.call('PUT', `${wallet(customerId)}/top-up-rule`, { ...RULE, ...rule });
    const put = (more: object = {}) => app.call('PUT', one, { amount: 2000, every: 'month', charge: true, ...more });
    return { customerId, one, put };
  };
  const tomorrow = () => new Date(Date.now() + 86_400_000).toISOString();

  it('is made, shown alone and in the list with its last refill, changed and ended', async () => {
    const { customerId, one, put } = await start();
    const made = await put({ anchor_at: tomorrow() });
    expect(made).toMatchObject({
      status: 200,
      body: { charge: true, last_refill: null, name: null, status: 'active' },
    });
    expect((await app.call('GET', one)).body).toEqual(made.body);
    const due = `anchor_at = ${movedBy('anchor_at', '-2 days')}, done = 1, refill_period = 0, refill_amount = 1500, refill_state = 'tried'`;
    await app.database.pool.query(`update grant_schedule set ${due} where customer_id = $1`, [customerId]);
    await app.database.pool.query(
      `insert into topup (merchant_id, customer_id, currency, topup_id, origin, state, amount, cap, month_since, is_late, idempotency_key, look_at, created_at)
       values ('bus_default', $1, 'USD', 'top_' || repeat('0', 26), 'schedule', 'requested', 1500, 20000, now(), false, 'grant_USD_refill_1_0', now() + interval '1 day', now())`,
      [customerId],
    );
    const refill = {
      ...{ period: 0, amount: 1500, status: 'tried', due_at: expect.any(String) },
      topup: { origin: 'schedule', status: 'requested', amount: 1500 },
    };
    expect((await app.call('GET', one)).body.last_refill).toMatchObject(refill);
    const { items } = (await app.call('GET', `${wallet(customerId)}/grant-schedules`)).body;
    expect(items).toMatchObject([{ last_refill: refill }]);
    expect((await put({ amount: 700 })).body).toMatchObject({ amount: 700, last_refill: refill });
    expect((await app.call('DELETE', one)).body).toMatchObject({
      ...{ status: 'ended', last_refill: { status: 'done', topup: { status: 'requested' } } },
    });
  });

  it.each([
    ['no rule', null, {}, 'charge: wants an enabled top-up rule'],
    ['a rule that is not enabled', { enabled: false }, {}, 'charge: wants an enabled top-up rule'],
    ['a name', {}, { name: 'Monthly' }, 'name: is for credit that is given'],
    ['a priority', {}, { priority: 10 }, 'priority: is for credit that is given'],
    ['an end of what is paid', {}, { expires_in_days: 31 }, 'expires_in_days: is for credit that is given'],
  ])('is refused with %s: 422', async (_, rule, more, message) => {
    const { one, put } = await start(rule);
    const { status, body } = await put(more);
    expect([status, body.code]).toEqual([422, 'INVALID_REQUEST_BODY']);
    expect(body.message).toContain(message);
    expect((await app.call('GET', one)).status).toBe(404);
  });

  it('is refused beyond the cap of the rule: 400 MONTHLY_CAP_REACHED', async () => {
    const { put } = await start({ monthly_cap: 2500 });
    expect(await put({ amount: 2501, anchor_at: tomorrow() })).toMatchObject({
      ...{ status: 400, body: { code: 'MONTHLY_CAP_REACHED', monthly_cap: 2500, used: 0, required: 2501 } },
    });
    expect((await put({ amount: 2500 })).status).toBe(200);
  });

  it('is refused where its source may not charge any more', async () => {
    const payment = { source_id: 'src_stripe', provider_customer_id: 'cus_x' };
    const { customerId, put } = await start({ payment });
    await app.database.pool.query("update topup_rule set source_id = 'src_gone' where customer_id = $1", [customerId]);
    expect(await put()).toMatchObject({ status: 422, body: { code: 'CHARGING_NOT_CONFIGURED' } });
  });
});

describe('a top-up rule', () => {
  it('is set with what it leaves out, shown, changed, and gone once it is deleted', async () => {
    const customerId = await app.newCustomer();
    const path = `${wallet(customerId)}/top-up-rule`;
    expect((await app.call('GET', path)).body.code).toBe('TOP_UP_RULE_NOT_FOUND');
    const made = await app.call('PUT', path, RULE);
    expect(made).toMatchObject({
      status: 200,
      body: {
        ...{ enabled: true, threshold: 1000, amount: 2000, target: null, max_charge: 2000, max_per_day: 3 },
        ...{ min_interval_seconds: 600, time_zone: 'UTC', status: 'active', suspension: null, spent_this_month: 0 },
        ...{ in_flight: null, failures_in_a_row: 0 },
      },
    });
    expect((await app.call('GET', path)).body).toEqual({ ...made.body, next_attempt_at: expect.any(String) });
    const changed = await app.call('PUT', path, { ...RULE, max_charge: 6000, time_zone: 'Europe/Berlin' });
    expect(changed.body).toMatchObject({ max_charge: 6000, time_zone: 'Europe/Berlin' });
    expect((await app.call('DELETE', path)).status).toBe(204);
    expect((await app.call('GET', path)).body.code).toBe('TOP_UP_RULE_NOT_FOUND');
    expect((await app.call('DELETE', path)).body.code).toBe('TOP_UP_RULE_NOT_FOUND');
    expect((await app.call('POST', `${path}/resume`, { reason: 'why' })).body.code).toBe('TOP_UP_RULE_NOT_FOUND');
  });

  it.each([
    ['example 18: monthly_cap', { monthly_cap: 1999 }],
    ['example 18: consent', { consent: null }],
    ['max_charge', { max_charge: 1999 }],
    ['target', { target: 3000 }],
    ['target', { mode: 'target', amount: undefined, target: 1000 }],
    ['time_zone', { time_zone: 'Nowhere/Town' }],
    ['max_per_day', { max_per_day: 11 }],
    ['min_interval_seconds', { min_interval_seconds: 59 }],
    ['threshold', { threshold: -1 }],
  ])('%s: is refused as %j', async (name, change) => {
    const answer = await app.call('PUT', `${wallet(await app.newCustomer())}/top-up-rule`, { ...RULE, ...change });
    expect(answer.status).toBe(422);
    expect(answer.body.message).toContain(name.replace('example 18: ', ''));
  });

  it('charges at no source without a charge key, and at Dodo by a subscription that is named', async () => {
    const path = `${wallet(await app.newCustomer())}/top-up-rule`;
    const by = (source_id: string, more: object = {}) =>
      app.call('PUT', path, { ...RULE, payment: { source_id, provider_customer_id: 'cus_s', ...more } });
    expect((await by('src_razorpay')).body.code).toBe('CHARGING_NOT_CONFIGURED');
    for (const more of [{}, { payment_method_id: 'pm_1' }]) {
      const { status, body } = await by('src_dodo', more);
      expect(status).toBe(422);
      expect(body.message).toMatch(/^payment\.payment_method_id: wants the id of an on-demand subscription/);
    }
    expect((await by('src_dodo', { payment_method_id: 'sub_1' })).status).toBe(200);
    expect((await by('src_none')).body.code).toBe('CHARGING_NOT_CONFIGURED');
    expect((await by('src_stripe')).status).toBe(200);
  });
});

describe('the routes of top-ups', () => {
  it('want the scope, and show and change nothing of another merchant', async () => {
    const customerId = await app.newCustomer();
    const path = wallet(customerId);
    expect((await app.call('PUT', `${path}/top-up-rule`, RULE)).status).toBe(200);
    const { topup_id } = (await topUp(customerId, {})).body;
    const calls: readonly (readonly [string, string, object?])[] = [
      ['GET', `${path}/top-up-rule`],
      ['GET', `${path}/top-ups`],
      ['PUT', `${path}/top-up-rule`, RULE],
      ['POST', `${path}/top-up-rule/resume`, { reason: 'why' }],
      ['POST', `${path}/top-ups`, { amount: 1, idempotency_key: newKey() }],
      ['POST', `${path}/top-ups`, { amount: 1, idempotency_key: newKey(), session: SESSION }],
      ['POST', `${path}/top-ups/${topup_id}/fail`, {}],
      ['DELETE', `${path}/top-up-rule`],
    ];
    const other = await app.newKey('mer_elsewhere', ['read', 'write']);
    const reader = await app.newKey('bus_default', ['read']);
    for (const [method, at, body] of calls) {
      const theirs = await app.call(method, at, body, other);
      expect([404, 422], `${method} ${at}`).toContain(theirs.status);
      const asReader = await app.call(method, at, body, reader);
      expect(asReader.status, `${method} ${at}`).toBe(method === 'GET' ? 200 : 403);
    }
    const { items } = (await app.call('GET', `${path}/top-ups`)).body;
    expect(items).toMatchObject([{ topup_id, status: 'requested', origin: 'manual' }]);
    expect(stripe.sessions).toHaveLength(0);
  });

  it('list the newest first, by page and by status', async () => {
    const customerId = await app.newCustomer();
    const ids: string[] = [];
    for (let index = 0; index < 5; index += 1)
      ids.unshift((await topUp(customerId, { amount: index + 1 })).body.topup_id);
    const failed = ids[2] ?? '';
    const path = `${wallet(customerId)}/top-ups`;
    expect((await app.call('POST', `${path}/${failed}/fail`, { decline_code: 'no' })).body).toMatchObject({
      ...{ status: 'declined', reason: 'declined', decline_code: 'no' },
    });
    expect((await app.call('POST', `${path}/${failed}/fail`, {})).body.code).toBe('TOP_UP_NOT_OPEN');
    const listed = async (query: string): Promise<readonly string[]> =>
      (await app.call('GET', `${path}${query}`)).body.items.map((one: { topup_id: string }) => one.topup_id);
    expect(await listed('')).toEqual(ids);
    expect(await listed('?page_size=2&page_number=1')).toEqual(ids.slice(2, 4));
    expect(await listed('?status=declined')).toEqual([failed]);
    expect(await listed('?status=requested&page_size=10')).toEqual(ids.filter((id) => id !== failed));
    expect(await listed('?status=succeeded')).toEqual([]);
    expect((await app.call('GET', `${path}?status=lost`)).status).toBe(400);
    expect((await app.call('GET', `${wallet('cus_none')}/top-ups`)).body.code).toBe('CUSTOMER_NOT_FOUND');
    // Of another wallet of the same customer.
    const inRupees = `${wallet(customerId, 'INR')}/top-ups`;
    expect((await app.call('GET', inRupees)).body.items).toEqual([]);
    expect((await app.call('POST', `${inRupees}/${ids[0]}/fail`, {})).body.code).toBe('TOP_UP_NOT_FOUND');
  });

  it('begin one top-up under one key, in the body or the header', async () => {
    const customerId = await app.newCustomer();
    const path = `${wallet(customerId)}/top-ups`;
    const key = newKey();
    const first = await topUp(customerId, { idempotency_key: key });
    expect(first.body.payment.metadata).toEqual({
      ...{ wallet_customer_id: customerId, wallet_purpose: 'topup', wallet_topup_id: first.body.topup_id },
    });
    expect(first.body.payment.url).toBeUndefined();
    const again = await app.call('POST', path, { amount: 2000 }, { ...bearer(), 'idempotency-key': key });
    expect(again).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_KEY_EXISTS', topup: first.body } });
    expect((await topUp(customerId, { idempotency_key: key, amount: 2001 })).body.code).toBe('IDEMPOTENCY_KEY_REUSED');
    const withSession = await topUp(customerId, { idempotency_key: key, session: SESSION });
    expect(withSession.body.code).toBe('IDEMPOTENCY_KEY_REUSED');
    expect((await app.call('POST', path, { amount: 2000 })).status).toBe(422);
    expect((await topUp('cus_none', {})).body.code).toBe('CUSTOMER_NOT_FOUND');
    expect(
      (await app.call('POST', `${wallet(customerId, 'EUR')}/top-ups`, { amount: 1, idempotency_key: key })).body.code,
    ).toBe('UNSUPPORTED_CURRENCY');
  });
});

const bearer = () => ({ authorization: `Bearer ${app.key}` });

describe('a session of a top-up', () => {
  const page = () => {
    const session = stripe.sessions.at(-1);
    if (session === undefined) throw new Error('there is no page');
    return session;
  };

  it('is a page for the whole amount, which names the top-up and keeps no other from being begun', async () => {
    const customerId = await app.newCustomer();
    const key = newKey();
    const begun = await topUp(customerId, { idempotency_key: key, session: SESSION, expires_in_seconds: 1860 });
    expect(begun).toMatchObject({ status: 200, body: { status: 'requested', payment: { url: page().url } } });
    expect(page()).toMatchObject({
      ...{ amount: 2000, currency: 'usd', name: SESSION.description, successUrl: SESSION.success_url },
      metadata: begun.body.payment.metadata,
    });
    expect(page().expiresAt - Date.now() / 1000).toBeGreaterThan(1800);
    const again = await topUp(customerId, { idempotency_key: key, session: SESSION, expires_in_seconds: 1860 });
    expect(again).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_KEY_EXISTS', topup: begun.body } });
    const other = await topUp(customerId, { idempotency_key: key, session: SESSION });
    expect(other.body.code).toBe('IDEMPOTENCY_KEY_REUSED');
    expect((await topUp(customerId, { session: SESSION })).status).toBe(200);
  });

  it.each(['lost', 'limited'] as const)(
    'whose answer is %s is asked for again by the same request, as the same page',
    async (play) => {
      const customerId = await app.newCustomer();
      const body = { idempotency_key: newKey(), session: SESSION };
      const pages = stripe.sessions.length;
      stripe.plays.push(play);
      const failed = await topUp(customerId, body);
      expect(failed).toMatchObject({ status: 503, body: { code: 'PROVIDER_UNAVAILABLE' } });
      const again = await topUp(customerId, body);
      expect(again).toMatchObject({ status: 200, body: { payment: { url: page().url } } });
      expect(stripe.sessions).toHaveLength(pages + 1);
      expect(stripe.keys.slice(-2)).toEqual([again.body.topup_id, again.body.topup_id]);
      expect((await topUp(customerId, body)).status).toBe(409);
      expect((await app.call('GET', `${wallet(customerId)}/top-ups`)).body.items).toHaveLength(1);
    },
  );

  it('that the provider refuses ends the top-up, and is refused', async () => {
    const customerId = await app.newCustomer();
    const answer = await topUp(customerId, { amount: 49, session: SESSION });
    expect(answer).toMatchObject({ status: 422, body: { message: expect.stringContaining('amount') } });
    const { items } = (await app.call('GET', `${wallet(customerId)}/top-ups`)).body;
    expect(items).toMatchObject([{ status: 'failed', reason: 'provider_refused', source_id: 'src_stripe' }]);
  });

  it.each([
    [{ session: { ...SESSION, source_id: 'src_dodo' } }, 'CHARGING_NOT_CONFIGURED'],
    [{ session: { ...SESSION, success_url: 'javascript:alert(1)' } }, 'INVALID_REQUEST_BODY'],
    [{ session: SESSION, expires_in_seconds: 1859 }, 'INVALID_REQUEST_BODY'],
    [{ session: SESSION, expires_in_seconds: 86_341 }, 'INVALID_REQUEST_BODY'],
    [{ expires_in_seconds: 3600 }, 'INVALID_REQUEST_BODY'],
  ])('%j is refused, and nothing is begun', async (body, code) => {
    const customerId = await app.newCustomer();
    expect(await topUp(customerId, body)).toMatchObject({ status: 422, body: { code } });
    expect((await app.call('GET', `${wallet(customerId)}/top-ups`)).body.items).toEqual([]);
  });

  it('is of nobody else while its page is made twice at once', async () => {
    const customerId = await app.newCustomer();
    const body = { idempotency_key: newKey(), session: SESSION };
    const pages = stripe.sessions.length;
    const answers = await Promise.all(Array.from({ length: 6 }, () => topUp(customerId, body)));
    for (const { status } of answers) expect([200, 409, 503]).toContain(status);
    expect(stripe.sessions).toHaveLength(pages + 1);
    expect((await app.call('GET', `${wallet(customerId)}/top-ups`)).body.items).toHaveLength(1);
  });
});
