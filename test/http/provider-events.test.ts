import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { signDodo, signStripe, stripePaymentSucceeded } from '../support/signing.ts';

/** The receiver's answers and the routes over what it stored. What the worker makes of an event is tested elsewhere. */

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const send = (path: string, body: string, headers: Record<string, string>) =>
  app.call('POST', path, body, { authorization: '', ...headers });
const stored = async () => (await app.call('GET', '/events')).body.items;

describe('POST /webhooks/:provider', () => {
  it('stores an event once, and says so every time', async () => {
    const body = stripePaymentSucceeded({ eventId: 'evt_1', paymentId: 'pi_1', amount: 700 });
    for (let time = 1; time <= 3; time += 1) {
      const answer = await send('/webhooks/stripe', body, signStripe(body));
      expect(answer).toMatchObject({ status: 200, body: { received: true } });
    }
    expect(await stored()).toMatchObject([
      {
        provider: 'stripe',
        source_id: 'src_stripe',
        type: 'payment_intent.succeeded',
        status: 'pending',
        reason: null,
      },
    ]);
  });

  it('takes the same source by its id', async () => {
    const body = stripePaymentSucceeded({ eventId: 'evt_2' });
    expect((await send('/webhooks/stripe/src_stripe', body, signStripe(body))).status).toBe(200);
    expect(await stored()).toHaveLength(2);
  });

  it('takes and sets aside what it does not act on', async () => {
    const body = JSON.stringify({
      business_id: 'bus_x',
      type: 'license_key.created',
      timestamp: '2026-01-01T00:00:00Z',
      data: {},
    });
    expect((await send('/webhooks/dodo', body, signDodo(body))).status).toBe(200);
    expect((await app.call('GET', '/events?status=ignored')).body.items).toMatchObject([
      { type: 'license_key.created' },
    ]);
  });

  const body = stripePaymentSucceeded({ eventId: 'evt_forged' });
  it.each<[string, string, string, Record<string, string>, number, string]>([
    ['no signature', '/webhooks/stripe', body, {}, 401, 'INVALID_SIGNATURE'],
    ['a wrong signature', '/webhooks/stripe', body, signStripe(body, 'whsec_another_secret'), 401, 'INVALID_SIGNATURE'],
    ['a changed body', '/webhooks/stripe', `${body} `, signStripe(body), 401, 'INVALID_SIGNATURE'],
    [
      'an old signature',
      '/webhooks/stripe',
      body,
      signStripe(body, undefined, 1_700_000_000),
      401,
      'INVALID_SIGNATURE',
    ],
    ['an empty body', '/webhooks/stripe', '', {}, 401, 'INVALID_SIGNATURE'],
    ['another provider', '/webhooks/paypal', body, signStripe(body), 404, 'NOT_FOUND'],
    ['another source', '/webhooks/stripe/src_other', body, signStripe(body), 404, 'NOT_FOUND'],
    ['the source of another provider', '/webhooks/stripe/src_dodo', body, signStripe(body), 404, 'NOT_FOUND'],
    [
      'a compressed body',
      '/webhooks/stripe',
      body,
      { ...signStripe(body), 'content-encoding': 'gzip' },
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    ['more than a megabyte', '/webhooks/stripe', 'x'.repeat(1_100_000), signStripe('x'), 413, 'BODY_TOO_LARGE'],
  ])('%s is refused and not stored', async (_, path, sent, headers, status, code) => {
    const before = await stored();
    const answer = await send(path, sent, headers);
    expect(answer).toMatchObject({ status, body: { code } });
    expect(Object.keys(answer.body)).toEqual(['code', 'message']);
    expect(await stored()).toEqual(before);
  });

  it('reads raw bytes whatever the content type says', async () => {
    const odd = stripePaymentSucceeded({ eventId: 'evt_odd' });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', '']) {
      const answer = await send('/webhooks/stripe', odd, { ...signStripe(odd), 'content-type': type });
      expect(answer.status).toBe(200);
    }
  });
});

describe('events', () => {
  it('that are parked are listed with advice, and replayed for a customer', async () => {
    const body = stripePaymentSucceeded({ eventId: 'evt_parked', paymentId: 'pi_parked' });
    await send('/webhooks/stripe', body, signStripe(body));
    const { rows } = await app.database.pool.query(
      "update provider_event set state = 'parked', reason = 'no_customer' where delivery_key = 'evt_parked' returning event_id",
    );
    const id = rows[0].event_id;
    const { body: parked } = await app.call('GET', '/events?status=parked');
    expect(parked.items).toMatchObject([
      { event_id: id, reason: 'no_customer', advice: expect.stringContaining('replay') },
    ]);
    expect((await app.call('GET', `/events/${id}`)).body).toEqual(parked.items[0]);

    const replay = (sent?: unknown) => app.call('POST', `/events/${id}/replay`, sent);
    expect(await replay({ customer_id: 'cus_nobody' })).toMatchObject({
      status: 404,
      body: { code: 'CUSTOMER_NOT_FOUND' },
    });
    expect(await replay({ colour: 1 })).toMatchObject({ status: 422 });
    const customerId = await app.newCustomer();
    expect(await replay({ customer_id: customerId })).toMatchObject({
      status: 200,
      body: { status: 'pending', reason: null, replays: 1, assigned_customer_id: customerId },
    });
    const again = await replay();
    expect(again).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    expect(again.headers.get('x-should-retry')).toBe('false');
    expect((await app.call('GET', '/events?status=parked')).body.items).toEqual([]);
  });

  it('that were handled by hand are dismissed, and can be opened again', async () => {
    const body = stripePaymentSucceeded({ eventId: 'evt_by_hand', paymentId: 'pi_by_hand' });
    await send('/webhooks/stripe', body, signStripe(body));
    const park = async () => {
      const { rows } = await app.database.pool.query(
        "update provider_event set state = 'parked', reason = 'no_customer', detail = 'why' where delivery_key = 'evt_by_hand' returning event_id",
      );
      return rows[0].event_id;
    };
    const events = async (status: string) => (await app.call('GET', `/events?status=${status}`)).body.items;
    const id = await park();
    const dismiss = (sent?: unknown) => app.call('POST', `/events/${id}/dismiss`, sent);
    expect(await dismiss({ note: 'n'.repeat(501) })).toMatchObject({ status: 422 });
    const { status, body: dismissed } = await dismiss({ note: 'credited by hand' });
    expect(status).toBe(200);
    expect(dismissed).toMatchObject({ status: 'dismissed', reason: null, detail: 'no_customer: credited by hand' });
    expect(dismissed.settled_at).not.toBeNull();
    expect(await events('parked')).toEqual([]);
    expect(await events('dismissed')).toEqual([dismissed]);
    const again = await dismiss();
    expect(again).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    expect(again.headers.get('x-should-retry')).toBe('false');
    const replay = (sent?: unknown) => app.call('POST', `/events/${id}/replay`, sent);
    expect(await replay()).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    expect(await replay({ reopen: true })).toMatchObject({
      status: 200,
      body: { status: 'pending', detail: null },
    });
    expect(await dismiss()).toMatchObject({ status: 409 });
    await park();
    expect((await dismiss()).body).toMatchObject({ status: 'dismissed', detail: 'no_customer: why' });
    expect(await app.call('POST', '/events/evt_none/dismiss')).toMatchObject({ status: 404 });
  });

  it('are resolved with the amount or the entry that did it, which their payment then shows', async () => {
    const body = stripePaymentSucceeded({ eventId: 'evt_resolved', paymentId: 'pi_resolved', amount: 700 });
    await send('/webhooks/stripe', body, signStripe(body));
    const { rows } = await app.database.pool.query(
      "update provider_event set state = 'parked', reason = 'no_customer' where delivery_key = 'evt_resolved' returning event_id",
    );
    const resolve = (sent: unknown) => app.call('POST', `/events/${rows[0].event_id}/resolve`, sent);
    const note = 'credited by hand';
    for (const sent of [{ note }, { note, amount: 1, entry_id: 'ent_a' }, { note, amount: -1 }, { amount: 700 }]) {
      expect(await resolve(sent)).toMatchObject({ status: 422 });
    }
    expect(await resolve({ note, entry_id: 'ent_cus_x_USD_1' })).toMatchObject({ status: 422 });
    expect(await resolve({ note, amount: 700 })).toMatchObject({ status: 200, body: { status: 'dismissed' } });
    expect(await resolve({ note: 'and nothing more', amount: 700 })).toMatchObject({
      status: 200,
      body: { detail: 'no_customer: credited by hand; and nothing more' },
    });
  });

  it('come in pages, newest first', async () => {
    const all = await stored();
    const page = async (query: string) => (await app.call('GET', `/events?${query}`)).body.items;
    expect(await page('page_size=2&page_number=1')).toEqual(all.slice(2, 4));
    const times = all.map((event: { received_at: string }) => event.received_at);
    expect(times).toEqual([...times].sort().reverse());
  });
});
