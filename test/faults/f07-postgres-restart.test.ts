import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { freePort, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createPool } from '../../src/db/pool.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { startProcess } from '../support/process.ts';
import { STRIPE_SECRET, signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

const KEY = 'ck_test_postgres_restart_0123456789abcdef';

it('Postgres crashes under web and worker: 503 meanwhile, and afterwards every payment is credited once, unattended', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-crash-'));
  await chmod(folder, 0o755);
  const cluster = { dataDir: join(folder, 'cluster'), port: await freePort() };
  let postgres = await startEmbeddedPostgres(cluster);
  const logger = createLogger('silent', 'test');
  await migrate(postgres.databaseUrl, logger);
  const environment = {
    DATABASE_URL: postgres.databaseUrl,
    PORT: '0',
    API_KEY: KEY,
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
    LOG_LEVEL: 'info',
  };
  const web = startProcess('src/web.ts', environment);
  const worker = startProcess('jobs/worker.ts', environment);
  await Promise.all([web.printed('Listening'), worker.printed('the worker is ready')]);
  const base = /Listening (http:\/\/\S+)/.exec(web.output())?.[1] ?? '';
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
  const created = await fetch(`${base}/customers`, { method: 'POST', headers, body: '{"email":"a@b.co","name":"A"}' });
  const { customer_id: customerId } = (await created.json()) as { customer_id: string };

  // A provider that delivers every payment again until it is answered 2xx, as providers do.
  const bodies = Array.from({ length: 60 }, () =>
    stripePaymentSucceeded({ amount: 10, metadata: { wallet_customer_id: customerId } }),
  );
  const refusals: number[] = [];
  const deliver = (body: string) =>
    eventually(
      'the delivery to be taken',
      async () => {
        const response = await fetch(`${base}/webhooks/stripe`, {
          method: 'POST',
          body,
          headers: { ...signStripe(body) },
        });
        if (!response.ok) refusals.push(response.status);
        return response.ok;
      },
      30_000,
    );
  await Promise.all(bodies.slice(0, 20).map(deliver));
  await postgres.stop('immediate');
  const during = Promise.all(bodies.slice(20, 40).map(deliver));
  await eventually('deliveries to be turned away', () => refusals.length >= 20);
  expect(new Set(refusals)).toEqual(new Set([503]));
  postgres = await startEmbeddedPostgres(cluster);
  await during;
  await Promise.all(bodies.map(deliver));

  const pool = createPool({ databaseUrl: postgres.databaseUrl, applicationName: 'test', maxConnections: 2, logger });
  await eventually(
    'every payment to be credited',
    async () => {
      const { rows } = await pool.query<{ balance: number }>(
        "select balance from wallet where customer_id = $1 and currency = 'USD'",
        [customerId],
      );
      return rows[0]?.balance === 600;
    },
    30_000,
  );
  await expectBooksToAgree(pool);
  await pool.end();
  expect(await Promise.all([web.end('SIGTERM'), worker.end('SIGTERM')])).toEqual([0, 0]);
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
}, 120_000);
