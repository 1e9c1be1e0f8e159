import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startWorker } from '../../jobs/worker.ts';
import { audit } from '../../src/audit/checks.ts';
import { systemClock } from '../../src/clock.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { loadConfig } from '../../src/config/env.ts';
import { startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { retain } from '../../src/retention/retain.ts';
import { retentionRule } from '../../src/retention/rule.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { formatTable } from '../../src/views/table.ts';
import { startWeb } from '../../src/web.ts';
import { STRIPE_SECRET, signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

const HELP = `Usage: npm run bench:size [-- --payments 2000]

Measures what a payment takes in the database: top-ups by Stripe, each with its event, one event that is ignored, and a
webhook that is delivered. Then everything is made old and forgotten, and measured again. Ends with an audit.`;

const API_KEY = 'ck_test_growth_key_0123456789abcdef0123456789abcd';
/** What grows with payments; the rest is small, or empties itself. */
const TABLES = [
  ...['entry', 'wallet', 'customer', 'customer_link', 'payment', 'payment_part', 'provider_event'],
  ...['webhook_message', 'webhook_delivery', 'webhook_attempt', 'wallet_alert'],
];
const PAYMENTS_OF_A_CUSTOMER = 10;

interface Size {
  readonly table: string;
  readonly heap: number;
  readonly indexes: number;
  readonly total: number;
}

async function measure(pool: Pool): Promise<readonly Size[]> {
  for (const table of TABLES) await pool.query(`vacuum (full, analyze) ${table}`);
  const { rows } = await pool.query<Size>(
    `select t as table, pg_table_size(t::regclass)::float8 as heap, pg_indexes_size(t::regclass)::float8 as indexes,
       pg_total_relation_size(t::regclass)::float8 as total from unnest($1::text[]) t`,
    [TABLES],
  );
  return rows;
}

async function main(payments: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-growth-'));
  await chmod(folder, 0o755);
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'cluster'), settings: ['fsync=off'] });
  const receiver = createServer((request, response) => request.resume().on('end', () => response.end('ok')));
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const address = receiver.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const logger = createLogger('warn', 'growth');
  const { databaseUrl } = postgres;
  await migrate(databaseUrl, logger);
  const pool = createPool({ databaseUrl, applicationName: 'growth', maxConnections: 4, logger });
  const config = loadConfig({
    ...{ PORT: '0', API_KEY, STRIPE_WEBHOOK_SECRET: STRIPE_SECRET, ALLOW_PRIVATE_ENDPOINTS: 'true' },
    RATE_LIMIT_PER_MINUTE: '0',
  });
  const shared = { config, databaseUrl, logger, clock: systemClock };
  const web = await startWeb({ ...shared, print: () => {} });
  const worker = await startWorker(shared);
  try {
    const post = async (path: string, body: string, headers: Readonly<Record<string, string>>) => {
      const all = { 'content-type': 'application/json', authorization: `Bearer ${API_KEY}`, ...headers };
      const answer = await fetch(`${web.url}${path}`, { method: 'POST', body, headers: all });
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return answer.text();
    };
    await post('/webhook-endpoints', JSON.stringify({ url: `http://127.0.0.1:${port}/` }), {});
    const before = await measure(pool);
    const customers = await Promise.all(
      Array.from({ length: Math.ceil(payments / PAYMENTS_OF_A_CUSTOMER) }, async (_, n) => {
        const person = { email: `somebody${n}@example.com`, name: `Some Body ${n}` };
        return String(JSON.parse(await post('/customers', JSON.stringify(person), {})).customer_id);
      }),
    );
    for (let first = 0; first < payments; first += 50) {
      const bodies = Array.from({ length: Math.min(50, payments - first) }, (_, n) => {
        const customer = (first + n) % customers.length;
        const paid = stripePaymentSucceeded({
          ...{
            amount: 2000,
            currency: 'usd',
            customer: `cus_growth${customer}`,
            email: `somebody${customer}@example.com`,
          },
          metadata: { wallet_customer_id: customers[customer] ?? '' },
        });
        const noise = JSON.stringify({
          ...JSON.parse(paid),
          id: `evt_noise${first + n}`,
          type: 'payment_intent.created',
        });
        return [paid, noise];
      }).flat();
      await Promise.all(bodies.map((body) => post('/webhooks/stripe', body, { ...signStripe(body) })));
    }
    await eventually(
      'everything to be applied and told',
      async () => {
        const { rows } = await pool.query<{ left: number }>(
          `select (select count(*) from provider_event where state = 'pending') + (select count(*) from unannounced_wallet)
             + (select count(*) from webhook_delivery where state = 'pending') as left`,
        );
        return rows[0]?.left === 0;
      },
      600_000,
    );
    const grown = await measure(pool);
    await makeOld(pool);
    const services = { pool, clock: systemClock, logger, rule: retentionRule(config) };
    const startedAt = performance.now();
    for (let isDone = false; !isDone; )
      isDone = (await retain(services, { merchantId: null, isDryRun: false })).every((one) => one.isDone);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    const kept = await measure(pool);
    const { disagreements } = await audit(autocommit(pool));
    console.log(report({ payments, before, grown, kept }));
    console.log(`All of it was forgotten in ${seconds} s.`);
    console.log(`Disagreements of the audit: ${disagreements.length}`);
  } finally {
    await worker.close();
    await web.close();
    await pool.end();
    receiver.closeAllConnections();
    receiver.close();
    await postgres.stop('immediate');
    await rm(folder, { recursive: true, force: true });
  }
}

async function makeOld(pool: Pool): Promise<void> {
  const old = "- interval '400 days'";
  await pool.query(`update provider_event set settled_at = settled_at ${old}, received_at = received_at ${old}`);
  await pool.query(`update webhook_message set created_at = created_at ${old}`);
}

interface Measured {
  readonly payments: number;
  readonly before: readonly Size[];
  readonly grown: readonly Size[];
  readonly kept: readonly Size[];
}

function report({ payments, before, grown, kept }: Measured): string {
  const each = (sizes: readonly Size[], table: string, of: 'heap' | 'indexes' | 'total') => {
    const sizeIn = (all: readonly Size[]) => all.find((one) => one.table === table)?.[of] ?? 0;
    return Math.round((sizeIn(sizes) - sizeIn(before)) / payments);
  };
  const rows = TABLES.map((table) => [
    table,
    each(grown, table, 'heap'),
    each(grown, table, 'indexes'),
    each(grown, table, 'total'),
    each(kept, table, 'total'),
  ]);
  const sum = (sizes: readonly Size[]) => TABLES.reduce((all, table) => all + each(sizes, table, 'total'), 0);
  return formatTable(
    ['bytes a payment', 'rows', 'indexes', 'together', 'once old'],
    [...rows, ['all', '', '', sum(grown), sum(kept)]],
  );
}

const { values } = parseArgs({ options: { payments: { type: 'string' }, help: { type: 'boolean' } } });
if (values.help) console.log(HELP);
else await main(Number(values.payments ?? 2000));
process.exit();
