import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';

let app: TestApp;
let path: string;

beforeAll(async () => {
  app = await startTestApp();
  const { body } = await app.call('POST', '/customers', { email: 'ada@example.com', name: 'Ada' });
  path = `/customers/${body.customer_id}/payment-metadata`;
});
afterAll(() => app.close());

describe('metadata for a payment', () => {
  it('is a token, which stands alone where a provider takes one text, and ends', async () => {
    const asked = { purpose: 'topup', currency: 'USD', amount: 5000, credit_amount: 10_000, expires_in_seconds: 60 };
    const { status, body } = await app.call('POST', path, asked);
    expect(status).toBe(200);
    expect(body).toEqual({
      metadata: { wallet_token: expect.stringMatching(/^wt_[0-9a-f]{32}$/) },
      one_text: body.metadata.wallet_token,
      expires_at: expect.any(String),
    });
    const { rows } = await app.database.pool.query("select encode(token_hash, 'escape') as hash from payment_token");
    expect(JSON.stringify(rows)).not.toContain(body.one_text.slice(3));
  });

  it('is another one each time', async () => {
    const asked = { currency: 'USD' };
    const [one, two] = [await app.call('POST', path, asked), await app.call('POST', path, asked)];
    expect(one.body.one_text).not.toBe(two.body.one_text);
  });

  it.each<[object, string]>([
    [{ currency: 'EUR' }, 'UNSUPPORTED_CURRENCY'],
    [{ currency: 'USD', credit_amount: 100 }, 'INVALID_REQUEST_BODY'],
    [{ currency: 'USD', amount: 100, credit_amount: 201 }, 'INVALID_REQUEST_BODY'],
    [{ currency: 'USD', bonus_amount: 10 }, 'INVALID_REQUEST_BODY'],
    [{ currency: 'USD', amount: 100, bonus_amount: 101 }, 'INVALID_REQUEST_BODY'],
    [{ currency: 'USD', amount: 100, bonus_amount: 10, credit_amount: 110 }, 'INVALID_REQUEST_BODY'],
    [{ currency: 'USD', bonus_expires_in_days: 10, purpose: 'order' }, 'INVALID_REQUEST_BODY'],
    [{ currency: 'USD', expires_in_days: 365 }, 'PAID_CREDIT_CANNOT_EXPIRE'],
    [{ currency: 'USD', amount: 100, credit_amount: 150, purpose: 'order' }, 'INVALID_REQUEST_BODY'],
    [{ currency: 'USD', purpose: 'none' }, 'INVALID_REQUEST_BODY'],
    [{ currency: 'USD', expires_in_seconds: 59 }, 'INVALID_REQUEST_BODY'],
    [{ currency: 'USD', expires_in_seconds: 2_592_001 }, 'INVALID_REQUEST_BODY'],
  ])('is refused for terms that no payment could keep: %j', async (asked, code) => {
    const { status, body } = await app.call('POST', path, asked);
    expect([status, body.code]).toEqual([422, code]);
  });

  it('is refused for a bonus that is too large by a message that says how large it may be', async () => {
    const { body } = await app.call('POST', path, { currency: 'USD', amount: 100, credit_amount: 201 });
    expect(body.message).toBe('credit_amount: wants no more than 2 times amount (MAX_BONUS_RATIO).');
  });

  it('is refused where the customer has as many unused tokens as may be, and the answer says what to do', async () => {
    const { body } = await app.call('POST', '/customers', { email: 'cy@example.com', name: 'Cy' });
    await app.database.pool.query(
      `insert into payment_token (merchant_id, token_hash, customer_id, purpose, currency, created_at, expires_at)
       select merchant_id, sha256((customer_id || n)::bytea), customer_id, 'topup', 'USD', now(), now() + interval '1 day'
       from customer, generate_series(1, 1000) n where customer_id = $1`,
      [body.customer_id],
    );
    const refused = await app.call('POST', `/customers/${body.customer_id}/payment-metadata`, { currency: 'USD' });
    expect([refused.status, refused.body.code]).toEqual([409, 'CONFLICT']);
    expect(refused.body.message).toMatch(/1000 tokens .*Revoke those .*expires_in_seconds/);
  });

  it('is revoked once and for all, and only by its own customer', async () => {
    const { body } = await app.call('POST', path, { currency: 'USD' });
    const bob = await app.call('POST', '/customers', { email: 'bob@example.com', name: 'Bob' });
    const elsewhere = `/customers/${bob.body.customer_id}/payment-metadata/${body.one_text}`;
    expect((await app.call('DELETE', elsewhere)).status).toBe(404);
    for (let time = 0; time < 2; time += 1) {
      expect((await app.call('DELETE', `${path}/${body.one_text}`)).status).toBe(204);
    }
    expect((await app.call('DELETE', `${path}/wt_nobody`)).status).toBe(404);
    expect((await app.call('POST', '/customers/cus_nobody/payment-metadata', { currency: 'USD' })).status).toBe(404);
  });
});
