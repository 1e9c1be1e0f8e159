import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startWorker } from '../../jobs/worker.ts';
import { loadConfig } from '../../src/config/env.ts';
import { DatabaseClock } from '../../src/db/database-clock.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { API_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

const DATABASE_MS = Date.parse('2026-03-01T12:00:00Z');

/** A clock of a process that is five minutes ahead, and how long that runs. */
function clockOfTest() {
  const at = { ownMs: DATABASE_MS + 300_000, runningMs: 1_000 };
  const clock = new DatabaseClock({ now: () => new Date(at.ownMs) }, () => at.runningMs);
  const pass = (ms: number) => {
    at.ownMs += ms;
    at.runningMs += ms;
  };
  return { at, clock, pass, shown: () => clock.now().getTime() - DATABASE_MS };
}

describe("the database's clock", () => {
  it("is the process's own until it was read, and then what was read and the time that ran since", () => {
    const { clock, pass, shown } = clockOfTest();
    expect(shown()).toBe(300_000);
    clock.note({ askedAtMs: 900, answeredAtMs: 1_000, databaseMs: DATABASE_MS });
    // Half of the way there and back.
    expect(shown()).toBe(50);
    pass(10_000);
    expect(shown()).toBe(10_050);
  });

  it('is not moved by an answer that was slow, and only as far as one that was quick asks for', () => {
    const { clock, shown } = clockOfTest();
    clock.note({ askedAtMs: 996, answeredAtMs: 1_000, databaseMs: DATABASE_MS });
    clock.note({ askedAtMs: 0, answeredAtMs: 1_000, databaseMs: DATABASE_MS - 900 });
    expect(shown()).toBe(2);
    clock.note({ askedAtMs: 996, answeredAtMs: 1_000, databaseMs: DATABASE_MS - 8 });
    expect(shown()).toBe(-4);
  });

  it('follows a database that is another one, or whose clock was set', () => {
    const { clock, shown } = clockOfTest();
    clock.note({ askedAtMs: 1_000, answeredAtMs: 1_000, databaseMs: DATABASE_MS });
    clock.note({ askedAtMs: 1_000, answeredAtMs: 1_000, databaseMs: DATABASE_MS - 3_600_000 });
    expect(shown()).toBe(-3_600_000);
  });

  it('wants to be read at first, after a minute, and when the machine has slept', () => {
    const { at, clock, pass } = clockOfTest();
    const read = () =>
      clock.note({ askedAtMs: at.runningMs, answeredAtMs: at.runningMs, databaseMs: at.ownMs - 300_000 });
    expect(clock.wantsReading).toBe(true);
    read();
    expect(clock.wantsReading).toBe(false);
    pass(59_999);
    expect(clock.wantsReading).toBe(false);
    pass(1);
    expect(clock.wantsReading).toBe(true);
    read();
    // No time runs while a machine sleeps.
    at.ownMs += 3_600_000;
    expect(clock.wantsReading).toBe(true);
    read();
    expect(clock.wantsReading).toBe(false);
  });
});

const AHEAD_MS = 600_000;
const wrong = (aheadMs: number) => new DatabaseClock({ now: () => new Date(Date.now() + aheadMs) });
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();
const environment = { ALLOW_PRIVATE_ENDPOINTS: 'true', WALLET_CURRENCIES: 'USD' };

/** All that is asked of the web processes is asked of one that is ten minutes ahead and of one that is as much behind. */
describe('processes whose clocks are wrong', () => {
  let ahead: TestApp;
  let behind: TestApp;
  beforeAll(async () => {
    ahead = await startTestApp({ environment, clock: wrong(AHEAD_MS) });
    behind = await startTestApp({ environment, clock: wrong(-AHEAD_MS), database: ahead.database });
  });
  afterAll(async () => {
    await ahead.database.pool.end();
    for (const app of [behind, ahead]) await app.close().catch(() => {});
  });
  const both = () => [ahead, behind];

  it('are ready, and say by how much they are wrong', async () => {
    for (const [app, aheadMs] of [
      [ahead, AHEAD_MS],
      [behind, -AHEAD_MS],
    ] as const) {
      const { status, body } = await app.call('GET', '/readyz');
      expect(status).toBe(200);
      expect(Math.abs(body.details.database.clock_ahead_ms - aheadMs)).toBeLessThan(5_000);
    }
  });

  it('take what a provider signs now, and refuse what it signed six minutes ago', async () => {
    for (const app of both()) {
      const deliver = async (agoSeconds: number) => {
        const body = stripePaymentSucceeded();
        const headers = signStripe(body, undefined, Math.floor(Date.now() / 1000) - agoSeconds);
        return (await app.call('POST', '/webhooks/stripe', body, { ...headers })).status;
      };
      expect([await deliver(0), await deliver(360), await deliver(-360)]).toEqual([200, 401, 401]);
    }
  });

  it('let a key in until it ends, and not longer', async () => {
    const keys = [await ahead.newKey('bus_default', ['read']), await ahead.newKey('bus_default', ['read'])];
    const { rows } = await ahead.database.pool.query<{ key_id: string }>(
      "update api_key set expires_at = now() + interval '2 minutes' where name <> '' returning key_id",
    );
    expect(rows.length).toBeGreaterThan(1);
    const [lasting = expect.unreachable(), ended = expect.unreachable()] = keys;
    for (const app of both()) expect((await app.call('GET', '/customers', undefined, lasting)).status).toBe(200);
    await ahead.database.pool.query("update api_key set expires_at = now() - interval '2 minutes'");
    for (const app of both()) expect((await app.call('GET', '/customers', undefined, ended)).status).toBe(401);
    await ahead.database.pool.query('update api_key set expires_at = null');
  });

  it('write one time into one wallet, and capture a hold that the other placed for a minute', async () => {
    const id = await behind.newCustomer();
    const wallets = `/customers/${id}/wallets`;
    const entry = { amount: 100, currency: 'USD', entry_type: 'credit' };
    for (const app of both()) expect((await app.call('POST', `${wallets}/ledger-entries`, entry)).status).toBe(200);
    const { body } = await ahead.call('GET', `${wallets}/ledger-entries`);
    for (const { created_at } of body.items) expect(Math.abs(Date.parse(created_at) - Date.now())).toBeLessThan(10_000);
    const hold = { amount: 50, currency: 'USD', idempotency_key: 'job', expires_in_seconds: 60 };
    const placed = await behind.call('POST', `${wallets}/holds`, hold);
    const captured = await ahead.call('POST', `${wallets}/holds/${placed.body.hold_id}/capture`, { amount: 50 });
    expect(captured).toMatchObject({ status: 200, body: { wallet: { balance: 150 } } });
  });

  it('end no hold and post no entry before its time, and sign what merchants accept', async () => {
    const receiver = await WebhookReceiver.start();
    onTestFinished(() => receiver.close());
    const endpoint = (await behind.call('POST', '/webhook-endpoints', { url: receiver.url })).body;
    const { secret } = (await behind.call('GET', `/webhook-endpoints/${endpoint.endpoint_id}/secret`)).body;
    const id = await behind.newCustomer();
    const wallets = `/customers/${id}/wallets`;
    const entry = { amount: 100, currency: 'USD', entry_type: 'credit' };
    await behind.call('POST', `${wallets}/ledger-entries`, entry);
    const hold = { amount: 50, currency: 'USD', idempotency_key: 'job', expires_in_seconds: 120 };
    const { hold_id } = (await behind.call('POST', `${wallets}/holds`, hold)).body;
    const later = { ...entry, idempotency_key: 'later', post_at: inSeconds(120) };
    expect((await behind.call('POST', `${wallets}/scheduled-entries`, later)).status).toBe(200);

    const logger = createLogger('silent', 'test');
    const config = loadConfig({ API_KEY, ENCRYPTION_KEY, ...environment });
    const databaseUrl = ahead.database.workerUrl;
    const worker = await startWorker({ config, databaseUrl, logger, clock: wrong(AHEAD_MS) });
    onTestFinished(() => worker.close());
    await eventually('what is due to be settled', async () => {
      const { rows } = await ahead.database.pool.query(
        `select distinct name from pgboss.job where state = 'completed' and name in ('settle-due-wallets', 'post-scheduled')`,
      );
      return rows.length === 2;
    });
    const delivered = await eventually('a webhook', () => receiver.received.find(({ body }) => body.includes(id)));
    receiver.verify(delivered, secret);
    expect((await behind.call('GET', `${wallets}/holds/${hold_id}`)).body.status).toBe('open');
    expect((await ahead.call('GET', `${wallets}/USD`)).body).toMatchObject({ balance: 100, held: 50 });
  });
});
