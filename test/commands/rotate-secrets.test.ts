import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operatorOf, startSecondWeb } from '../support/admin.ts';
import { API_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { startProcess } from '../support/process.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';

const OLD = randomBytes(32).toString('base64');
const NEW = randomBytes(32).toString('base64');
const SECRET = 'whsec_a-secret-of-a-source-in-the-database';

/** As it was stored before there was a key. */
const PLAIN = 'whsec_cGxhaW4gdGV4dCBvZiBvbGQ=';

let first: TestApp;
let endpointSecret: string;
let address: string;

beforeAll(async () => {
  first = await startTestApp({ environment: { ENCRYPTION_KEY: OLD } });
  const source = { webhook_secret: SECRET, api_key: 'sk_test_something' };
  address = (await operatorOf(first).newSource('bus_default', 'stripe', source)).webhook_path;
  const endpoint = await first.call('POST', '/webhook-endpoints', { url: 'http://127.0.0.1:9/hook' });
  // Rotated once, so that an old secret is stored too; and one as it was stored before there was a key.
  await first.call('POST', `/webhook-endpoints/${endpoint.body.id}/secret/rotate`);
  endpointSecret = (await first.call('GET', `/webhook-endpoints/${endpoint.body.id}/secret`)).body.secret;
  await first.call('POST', '/webhook-endpoints', { url: 'http://127.0.0.1:9/plain' });
  await first.database.pool.query(`update webhook_endpoint set secret = '${PLAIN}' where url like '%plain'`);
});

afterAll(() => first.close());

/** What the database holds of secrets. */
async function stored(): Promise<string[]> {
  const { rows } = await first.database.pool.query<{ text: string }>(
    'select sealed as text from source_secret union all select secret from webhook_endpoint union all select old_secret from webhook_endpoint where old_secret is not null',
  );
  return rows.map((row) => row.text).sort();
}

async function endpointSecrets(url: string): Promise<string[]> {
  const get = async (path: string) => {
    const response = await fetch(url + path, { headers: { authorization: `Bearer ${API_KEY}` } });
    return response.json() as Promise<{ items: { id: string }[]; secret: string }>;
  };
  const { items } = await get('/webhook-endpoints');
  return Promise.all(items.map(async ({ id }) => (await get(`/webhook-endpoints/${id}/secret`)).secret));
}

async function rotate(keys: string): Promise<{ code: number | NodeJS.Signals; output: string }> {
  const command = startProcess('src/commands/rotate-secrets.ts', {
    DATABASE_URL: first.database.ownerUrl,
    ENCRYPTION_KEY: keys,
  });
  return { code: await command.exited, output: command.output() };
}

describe('npm run rotate-secrets', () => {
  it('encrypts everything with the newest key, so that the old one can go', async () => {
    const before = await stored();
    expect(await rotate(`${NEW},${OLD}`)).toEqual({
      code: 0,
      output:
        'source secrets: 2 encrypted anew, 0 already were, 0 unreadable\nendpoint secrets: 3 encrypted anew, 0 already were, 0 unreadable\n',
    });
    const after = await stored();
    expect(after.every((text) => text.startsWith('v1.'))).toBe(true);
    expect(after.filter((text) => before.includes(text))).toEqual([]);
    const again = await rotate(NEW);
    expect(again).toMatchObject({ code: 0, output: expect.stringContaining('0 encrypted anew, 3 already were') });
    expect(await stored()).toEqual(after);

    // A process that knows the new key alone.
    const second = await startSecondWeb(first, { ENCRYPTION_KEY: NEW });
    try {
      const body = stripePaymentSucceeded({ paymentId: 'pi_after', amount: 100 });
      const delivered = await fetch(second.url + address, { method: 'POST', body, headers: signStripe(body, SECRET) });
      expect(delivered.status).toBe(200);
      expect((await endpointSecrets(second.url)).sort()).toEqual([endpointSecret, PLAIN].sort());
    } finally {
      await second.close();
    }
  }, 60_000);

  it('says which it cannot read, leaves them as they are, and fails', async () => {
    const before = await stored();
    const result = await rotate(OLD);
    expect(result.code).toBe(1);
    expect(result.output).toMatch(/source src_\w+, secret sec_\w+: ENCRYPTION_KEY lacks the key [0-9a-f]{8}/);
    expect(await stored()).toEqual(before);
    expect(result.output).not.toContain(SECRET);
  }, 30_000);

  it('says what to set without a key', async () => {
    const result = await rotate('');
    expect(result).toMatchObject({ code: 1, output: expect.stringContaining('openssl rand -base64 32') });
  }, 30_000);
});
