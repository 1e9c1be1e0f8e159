import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { bearer, type Operator, operatorOf, startSecondWeb } from '../support/admin.ts';
import { type Answer, API_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/wait.ts';

let app: TestApp;
let operator: Operator;
let merchantId: string;
let passedMs = 0;
const logged: string[] = [];

beforeAll(async () => {
  const clock = { now: () => new Date(systemClock.now().getTime() + passedMs) };
  app = await startTestApp({ clock, logger: createLogger('info', 'test', { write: (line) => logged.push(line) }) });
  operator = operatorOf(app);
  merchantId = await operator.newMerchant();
});
afterAll(() => app.close());

const keysPath = (of = merchantId) => `/admin/merchants/${of}/api-keys`;
const inSeconds = (seconds: number) => new Date(systemClock.now().getTime() + passedMs + seconds * 1000).toISOString();
const asks = async (key: string) => (await app.call('GET', '/customers', undefined, bearer(key))).status;
const newCustomer = (key: string) => app.call('POST', '/customers', { email: 'a@b.co', name: 'A' }, bearer(key));
const listed = async (keyId: string): Promise<Answer['body']> =>
  (await operator.call('GET', keysPath())).body.items.find((one: { key_id: string }) => one.key_id === keyId);

describe('a key', () => {
  it('is shown once, and afterwards by its hint', async () => {
    const made = await operator.newKey(merchantId, { name: 'Back end', scopes: ['read', 'write'] });
    const { key, ...record } = made;
    expect(key).toMatch(/^ck_test_[0-9A-Za-z]{49}$/);
    expect(record).toEqual({
      key_id: expect.stringMatching(/^key_/),
      merchant_id: merchantId,
      name: 'Back end',
      scopes: ['read', 'write'],
      hint: `…${key.slice(-4)}`,
      is_default: false,
      created_at: expect.any(String),
      expires_at: null,
      last_used_at: null,
      revoked_at: null,
    });
    const answer = await operator.call('GET', keysPath());
    expect(answer.body.items).toEqual([record]);
    expect(JSON.stringify(answer.body)).not.toContain(key);
    const { rows } = await app.database.pool.query('select * from api_key');
    expect(JSON.stringify(rows)).not.toContain(key);
  });

  it('of a live merchant says so', async () => {
    const live = await operator.newMerchant({ mode: 'live' });
    expect((await operator.newKey(live)).key).toMatch(/^ck_live_/);
  });

  it('opens its own merchant alone', async () => {
    const other = await operator.newMerchant();
    const [mine, theirs] = [await operator.newKey(merchantId), await operator.newKey(other)];
    const { body: customer } = await newCustomer(mine.key);
    const path = `/customers/${customer.customer_id}`;
    expect((await app.call('GET', path, undefined, bearer(mine.key))).body.business_id).toBe(merchantId);
    expect((await app.call('GET', path, undefined, bearer(theirs.key))).status).toBe(404);
  });

  it('may do what its scopes say', async () => {
    const { key: reader } = await operator.newKey(merchantId, { scopes: ['read'] });
    const { key: writer } = await operator.newKey(merchantId, { scopes: ['write'] });
    expect([await asks(reader), (await newCustomer(reader)).status]).toEqual([200, 403]);
    expect([await asks(writer), (await newCustomer(writer)).status]).toEqual([403, 200]);
  });

  it('ends when it was said to, also one that a process has just seen live', async () => {
    const { key, key_id: keyId } = await operator.newKey(merchantId, { expires_at: inSeconds(3600) });
    expect(await asks(key)).toBe(200);
    passedMs += 3601_000;
    expect(await asks(key)).toBe(401);
    expect(await listed(keyId)).toMatchObject({ revoked_at: null, expires_at: expect.any(String) });
  });

  it('tells when it was used', async () => {
    const { key, key_id: keyId } = await operator.newKey(merchantId);
    expect((await listed(keyId)).last_used_at).toBeNull();
    await asks(key);
    const used = await eventually('the use of the key', async () => (await listed(keyId)).last_used_at);
    expect(Math.abs(Date.parse(used) - Date.parse(inSeconds(0)))).toBeLessThan(60_000);
  });

  it.each([
    [{}, 'name: wants text'],
    [{ name: 'A', scopes: [] }, 'scopes: wants read, write or both'],
    [{ name: 'A', scopes: ['admin'] }, 'scopes[0]: wants read or write'],
    [{ name: 'A', scopes: ['read', 'read'] }, 'scopes: wants each scope once'],
    [{ name: 'A', scopes: ['read'], expires_at: 'soon' }, 'expires_at: wants a time such as'],
    [{ name: 'A', scopes: ['read'], expires_at: '2020-01-01T00:00:00Z' }, 'expires_at: wants a time to come'],
  ])('is not made of %j', async (body, message) => {
    const before = (await operator.call('GET', keysPath())).body;
    const answer = await operator.call('POST', keysPath(), body);
    expect(answer).toMatchObject({ status: 422, body: { code: 'INVALID_REQUEST_BODY' } });
    expect(answer.body.message).toContain(message);
    expect((await operator.call('GET', keysPath())).body).toEqual(before);
  });

  it('is one of fifty at most, those that ended not counted', async () => {
    const crowded = await operator.newMerchant();
    const first = await operator.newKey(crowded);
    for (let n = 1; n < 50; n += 1) await operator.newKey(crowded);
    const answer = await operator.call('POST', keysPath(crowded), { name: 'One more', scopes: ['read'] });
    expect(answer).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    await operator.call('DELETE', `${keysPath(crowded)}/${first.key_id}`);
    await operator.newKey(crowded);
  });
});

describe('a key that is rotated', () => {
  it('goes on beside the new one until its grace ends', async () => {
    const old = await operator.newKey(merchantId, { name: 'Shop', scopes: ['read'] });
    const path = `${keysPath()}/${old.key_id}/rotate`;
    const { status, body: made } = await operator.call('POST', path, { grace_seconds: 3600 });
    expect(status).toBe(200);
    expect(made).toMatchObject({ name: 'Shop', scopes: ['read'], expires_at: null, revoked_at: null });
    expect(made.key_id).not.toBe(old.key_id);
    expect([await asks(old.key), await asks(made.key)]).toEqual([200, 200]);
    expect((await newCustomer(made.key)).status).toBe(403);
    passedMs += 3599_000;
    expect([await asks(old.key), await asks(made.key)]).toEqual([200, 200]);
    passedMs += 3_000;
    expect([await asks(old.key), await asks(made.key)]).toEqual([401, 200]);
    const again = await operator.call('POST', path);
    expect(again).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
  });

  it('ends after a day unless told otherwise, at once if told so, and never later than it would have', async () => {
    const rotated = async (body: object, keyBody: object = {}) => {
      const old = await operator.newKey(merchantId, keyBody);
      await operator.call('POST', `${keysPath()}/${old.key_id}/rotate`, body);
      return {
        old,
        endsInSeconds: (Date.parse((await listed(old.key_id)).expires_at) - Date.parse(inSeconds(0))) / 1000,
      };
    };
    expect(Math.abs((await rotated({})).endsInSeconds - 86_400)).toBeLessThan(60);
    const ended = await rotated({ grace_seconds: 0 });
    expect(await asks(ended.old.key)).toBe(401);
    const soon = await rotated({ grace_seconds: 86_400 }, { expires_at: inSeconds(600) });
    expect(soon.endsInSeconds).toBeLessThanOrEqual(600);
  });

  it.each([-1, 1.5, 2_592_001, '60'])('wants no grace of %j seconds', async (seconds) => {
    const { key_id: keyId } = await operator.newKey(merchantId);
    const answer = await operator.call('POST', `${keysPath()}/${keyId}/rotate`, { grace_seconds: seconds });
    expect(answer).toMatchObject({ status: 422, body: { code: 'INVALID_REQUEST_BODY' } });
    expect((await listed(keyId)).expires_at).toBeNull();
  });
});

describe('a key that is revoked', () => {
  it('is refused at once where it was not in use, and where it was, within ten seconds', async () => {
    const { key, key_id: keyId } = await operator.newKey(merchantId);
    const suspended = await operator.newMerchant();
    const { key: keyOfSuspended } = await operator.newKey(suspended);
    expect([await asks(key), await asks(keyOfSuspended)]).toEqual([200, 200]);
    const { status, body: revoked } = await operator.call('DELETE', `${keysPath()}/${keyId}`);
    expect(status).toBe(200);
    expect(revoked).toMatchObject({ key_id: keyId, revoked_at: expect.any(String) });
    expect(revoked).not.toHaveProperty('key');
    const { body: again } = await operator.call('DELETE', `${keysPath()}/${keyId}`);
    expect(again.revoked_at).toBe(revoked.revoked_at);
    await operator.call('POST', `/admin/merchants/${suspended}/suspend`);

    const web = await startSecondWeb(app);
    try {
      expect((await fetch(`${web.url}/customers`, { headers: bearer(key) })).status).toBe(401);
      expect((await fetch(`${web.url}/customers`, { headers: bearer(keyOfSuspended) })).status).toBe(403);
    } finally {
      await web.close();
    }
    await eventually('the keys to be forgotten', async () => {
      const answers = [await asks(key), await asks(keyOfSuspended)];
      return answers[0] === 401 && answers[1] === 403;
    });
    expect(await operator.call('POST', `${keysPath()}/${keyId}/rotate`)).toMatchObject({ status: 409 });
  });

  it('is not found under another merchant', async () => {
    const other = await operator.newMerchant();
    const { key, key_id: keyId } = await operator.newKey(merchantId);
    expect((await operator.call('DELETE', `${keysPath(other)}/${keyId}`)).status).toBe(404);
    expect((await operator.call('POST', `${keysPath(other)}/${keyId}/rotate`)).status).toBe(404);
    expect((await operator.call('DELETE', `${keysPath()}/key_none`)).status).toBe(404);
    expect(await asks(key)).toBe(200);
  });

  it('is never the key of the environment, which is accepted beside the others', async () => {
    const further = await operator.newKey('bus_default');
    expect([await asks(further.key), await asks(API_KEY)]).toEqual([200, 200]);
    const { body } = await operator.call('GET', keysPath('bus_default'));
    expect(body.items).toMatchObject([
      { key_id: further.key_id, is_default: false },
      { name: 'API_KEY', is_default: true, hint: `…${API_KEY.slice(-4)}` },
    ]);
    await operator.call('DELETE', `${keysPath('bus_default')}/${further.key_id}`);
    expect(await asks(API_KEY)).toBe(200);
  });
});

it('what the operator does is logged by the id of the key', async () => {
  const { key, key_id: keyId } = await operator.newKey(merchantId, { scopes: ['read'] });
  const { body: made } = await operator.call('POST', `${keysPath()}/${keyId}/rotate`, { grace_seconds: 60 });
  await operator.call('DELETE', `${keysPath()}/${made.key_id}`);
  const told = logged.map((line) => JSON.parse(line)).filter((line) => [keyId, made.key_id].includes(line.keyId));
  expect(told).toMatchObject([
    { who: 'admin', merchantId, keyId, scopes: ['read'], msg: 'an API key was created' },
    { who: 'admin', merchantId, oldKeyId: keyId, graceSeconds: 60, msg: 'an API key was rotated' },
    { who: 'admin', merchantId, keyId: made.key_id, msg: 'an API key was revoked' },
  ]);
  for (const secret of [key, made.key]) expect(logged.join()).not.toContain(secret);
});
