import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { SenderWatch } from '../../src/outgoing/sender-status.ts';
import { SvixAccount } from '../../src/outgoing/svix/account.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';
import { svixIdentityOf } from '../support/svix-announcer.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';
import { eventually } from '../support/wait.ts';

let database: TestDatabase;
let svix: SvixServer;
const lines: {
  readonly level: number;
  readonly msg: string;
  readonly problem?: string;
  readonly endpoints?: number;
}[] = [];
const logger = createLogger('warn', 'test', { write: (line: string) => void lines.push(JSON.parse(line)) });

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
});
afterAll(() => database.drop());
beforeEach(async () => {
  svix = await SvixServer.start();
  lines.length = 0;
  await database.pool.query('delete from webhook_endpoint');
  await database.pool.query('delete from svix_endpoint');
});
afterEach(() => svix.close());

function watch({ token = SVIX_TOKEN, serverUrl = svix.url, timeoutMs = 2_000 } = {}): SenderWatch {
  const options = { token: new Secret(token), serverUrl, clock: systemClock, identityOf: svixIdentityOf, timeoutMs };
  return new SenderWatch({ pool: database.pool, logger, account: new SvixAccount(options) });
}

async function addEndpoint(endpointId: string, movedAt: string | null = null): Promise<void> {
  await database.pool.query(
    `insert into webhook_endpoint (merchant_id, endpoint_id, url, secret, created_at, updated_at, moved_at)
     values ($1, $2, 'https://merchant.example', 'whsec_AAAA', $4, $4, $3)`,
    [MERCHANT, endpointId, movedAt, '2025-12-01T00:00:00Z'],
  );
}

describe('the check of Svix at the start', () => {
  it('finds a server that is set up well, and leaves nothing behind', async () => {
    const status = { sender: 'svix', state: 'ok', problem: null, endpointsElsewhere: 0 };
    expect(await watch().check()).toEqual(status);
    expect(svix.applications.size).toBe(0);
    expect(lines).toEqual([]);
  });

  it('names a wrong token as the cause, and does not show it', async () => {
    const status = await watch({ token: 'wrong.eu' }).check();
    expect(status).toMatchObject({ state: 'failed', problem: expect.stringContaining('refuses the token (401)') });
    expect(lines).toMatchObject([{ level: 50, problem: expect.stringContaining('SVIX_TOKEN') }]);
    expect(JSON.stringify(lines)).not.toContain('wrong.eu');
  });

  it('names an address where nothing listens as the cause', async () => {
    const serverUrl = svix.url;
    await svix.close();
    const { problem } = await watch({ serverUrl }).check();
    expect(problem).toContain('could not be reached');
    expect(problem).toContain('SVIX_SERVER_URL');
    expect(problem).not.toContain('127.0.0.1');
  });

  it.each([
    ['a page instead of JSON', { status: 200, body: '<html>' }, 'not JSON'],
    ['404', { status: 404, body: '{}' }, 'answers 404'],
    ['an error', { status: 500 }, 'answered 500'],
    ['silence', { connection: 'hang' }, 'did not answer in time'],
    ['a refusal', { status: 422, body: '{"detail":[]}' }, 'refuses what Chokin sends'],
    ['too many calls', { status: 429 }, 'limits the rate'],
  ] as const)('copes with a server that answers with %s', async (_, answer, text) => {
    svix.script('application.create', answer);
    expect(await watch({ timeoutMs: 300 }).check()).toMatchObject({
      state: 'failed',
      problem: expect.stringContaining(text),
    });
  });

  it('finds a server that drops the event types of endpoints, and says how old it may be', async () => {
    const now = new Date().toISOString();
    const forgetful = { id: 'ep_1', url: 'https://example.com/', description: '', metadata: {}, createdAt: now };
    svix.script('endpoint.get', { status: 200, body: JSON.stringify({ ...forgetful, updatedAt: now }) });
    const { problem } = await watch().check();
    expect(problem).toContain('1.100.0');
    expect(svix.applications.size).toBe(0);
  });

  it('is well again once the cause is mended, and says so once', async () => {
    const one = watch();
    svix.script('application.create', { status: 503 }, { status: 503 });
    await one.check();
    await one.check();
    expect(lines).toHaveLength(1);
    expect(await one.check()).toMatchObject({ state: 'ok', problem: null });
  });
});

it('a check under way holds up no stop', async () => {
  svix.script('application.create', { connection: 'hang' });
  const one = watch({ timeoutMs: 30_000 });
  one.start();
  await eventually('Svix to be asked', () => svix.calls('application.create').length === 1);
  const started = performance.now();
  await one.close();
  expect(performance.now() - started).toBeLessThan(5_000);
});

describe('endpoints on the other side', () => {
  it('are told of loudly where Svix delivers and the embedded sender has them', async () => {
    await addEndpoint('ep_one');
    await addEndpoint('ep_two', '2026-01-01T00:00:00Z');
    const one = watch();
    expect(await one.check()).toMatchObject({ state: 'ok', endpointsElsewhere: 1 });
    const asked = svix.requests.length;
    await one.check();
    // Svix was found well before; only the count is made again.
    expect(svix.requests).toHaveLength(asked);
    expect(lines).toMatchObject([{ level: 50, endpoints: 1, msg: expect.stringContaining('move --to svix') }]);
  });

  it('are told of loudly where the embedded sender delivers and Svix has them', async () => {
    await addEndpoint('ep_one');
    await database.pool.query(
      "insert into svix_endpoint (merchant_id, endpoint_id, disabled) values ($1, 'ep_2', false)",
      [MERCHANT],
    );
    const embedded = new SenderWatch({ pool: database.pool, logger, account: null });
    expect(await embedded.check()).toEqual({ sender: 'embedded', state: 'ok', problem: null, endpointsElsewhere: 1 });
    expect(lines).toMatchObject([{ level: 50, endpoints: 1, msg: expect.stringContaining('move --to embedded') }]);
  });
});

describe('/readyz', () => {
  it('says what is wrong with Svix, and is ready all the same', async () => {
    const app = await startTestApp({ environment: { SVIX_TOKEN: 'wrong.eu', SVIX_SERVER_URL: `${svix.url}/api/v1/` } });
    try {
      const seen = await eventually('the check to end', async () => {
        const { status, body } = await app.call('GET', '/readyz', undefined, { authorization: '' });
        return body.details.outgoing_webhooks.state === 'checking' ? null : { status, ...body };
      });
      expect(seen).toMatchObject({
        status: 'ok',
        details: {
          outgoing_webhooks: {
            sender: 'svix',
            state: 'failed',
            problem: expect.stringContaining('refuses the token'),
            endpoints_elsewhere: 0,
          },
        },
      });
    } finally {
      await app.close();
    }
  });
});
