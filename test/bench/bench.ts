import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { z } from 'zod';
import { audit } from '../../src/audit/checks.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { openWallets } from '../../src/ledger/open-wallets.ts';
import { createLogger, type Logger } from '../../src/telemetry/log.ts';
import { formatTable } from '../../src/views/table.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';
import { bytesPerClosedHold, HOLD_WORKLOADS } from './holds.ts';
import { drive, type LoadRequest } from './load.ts';
import { LOT_WORKLOADS } from './lots.ts';
import { SvixBench, svixTarget } from './svix.ts';

const HELP = `Usage: npm run bench [-- --rounds 5 --seconds 3 --only postings]

Measures postings (spread over many wallets, and on one), provider events until they are credited, and reads of
balances, each beside a plain baseline in the same run, and holds and lots beside plain debits of ours: rounds alternate between the two, and the median of their
ratios counts, since machines and moments differ. Postgres runs with fsync on. Ends with an audit of the books.

  --rounds N     pairs of measurements (5)
  --seconds S    seconds a measurement (3)
  --only TEXT    only workloads whose name contains TEXT

"told through Svix" runs where SVIX_SERVER_URL and SVIX_TOKEN name a Svix server that may call 127.0.0.1: 2,000 wallets changed
at once, until all are told of, beside raw posts of as many messages at the same concurrency.`;

const API_KEY = 'ck_test_benchmark_key_0123456789abcdef0123456789';
const WALLETS = 20_000;
const HEADERS = { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' };
const customer = (index: number) => `cus_bench${index}`;
const anyCustomer = () => customer(Math.floor(Math.random() * WALLETS));

interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

async function startServer(
  role: string,
  databaseUrl: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<Server> {
  const child = fork(join(import.meta.dirname, 'server.ts'), {
    env: { PATH: process.env.PATH, ROLE: role, DATABASE_URL: databaseUrl, API_KEY, ...environment },
  });
  const [message] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error(`the ${role} process ended`))),
  ]);
  return {
    url: z.object({ url: z.string() }).parse(message).url,
    stop: async () => {
      child.disconnect();
      await once(child, 'exit');
    },
  };
}

let keys = 0;

function postingRequest(customerId: string): LoadRequest {
  keys += 1;
  const body = JSON.stringify({
    amount: 1,
    currency: 'USD',
    entry_type: 'credit',
    reason: 'bench',
    idempotency_key: `bench-${process.pid}-${keys}`,
  });
  return { method: 'POST', path: `/customers/${customerId}/wallets/ledger-entries`, headers: HEADERS, body };
}

interface Workload {
  readonly name: string;
  readonly unit: string;
  measure(side: Side, servers: Record<Side, Server>, pool: Pool, seconds: number): Promise<number>;
}

function loadWorkload(name: string, concurrency: number, next: () => LoadRequest): Workload {
  return {
    name,
    unit: 'requests/s',
    measure: async (side, servers, _pool, seconds) =>
      (await drive(servers[side].url, concurrency, seconds, next)).requestsPerSecond,
  };
}

/** Events posted as fast as they are taken, and the clock stopped when the last of them is credited. */
const events = (callers: number): Workload => ({
  name: `events until credited, ${callers} callers`,
  unit: 'events/s',
  measure: async (side, servers, pool, seconds) => {
    const bodies = Array.from({ length: seconds * (side === 'ours' ? 1500 : 300) }, () =>
      stripePaymentSucceeded({ amount: 1, metadata: { wallet_customer_id: anyCustomer() } }),
    );
    const requests = bodies.map(
      (body): LoadRequest => ({ method: 'POST', path: '/webhooks/stripe', headers: { ...signStripe(body) }, body }),
    );
    const count = async () =>
      (await pool.query<{ count: number }>("select count(*) from entry where event_type = 'payment'")).rows[0]?.count ??
      0;
    const before = await count();
    const startedAt = performance.now();
    await drive(servers[side].url, callers, 120, () => requests.pop() ?? null);
    await eventually('every event to be credited', async () => (await count()) === before + bodies.length, 120_000);
    return bodies.length / ((performance.now() - startedAt) / 1000);
  },
});

const WORKLOADS: readonly Workload[] = [
  loadWorkload('postings spread over 20,000 wallets, 64 callers', 64, () => postingRequest(anyCustomer())),
  loadWorkload('postings spread over 20,000 wallets, 256 callers', 256, () => postingRequest(anyCustomer())),
  loadWorkload('postings on one wallet, 64 callers', 64, () => postingRequest(customer(0))),
  loadWorkload('postings on one wallet, 256 callers', 256, () => postingRequest(customer(0))),
  loadWorkload('postings, 1 caller', 1, () => postingRequest(anyCustomer())),
  loadWorkload('postings, 4 callers', 4, () => postingRequest(anyCustomer())),
  events(64),
  events(256),
  loadWorkload('reads of balances, 64 callers', 64, () => ({
    method: 'GET',
    path: `/customers/${anyCustomer()}/wallets`,
    headers: HEADERS,
  })),
];

async function fill(pool: Pool): Promise<void> {
  const customers = Array.from({ length: WALLETS }, (_, index) => customer(index));
  await pool.query(
    `insert into customer (merchant_id, customer_id, email, name, created_at) select 'bus_default', id, '', '', now() from unnest($1::text[]) as id`,
    [customers],
  );
  const wallets = customers.map((customerId) => ({ merchantId: 'bus_default', customerId }));
  await transaction(pool, (tx) => openWallets(tx, wallets, { currencies: new Set(['USD', 'INR']), now: new Date() }));
  // What merchants hear of new wallets is not what is measured.
  await pool.query('update wallet set announced_version = version');
  await pool.query('delete from unannounced_wallet');
  await pool.query('vacuum analyze');
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low = Number.NaN, high = low] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return (low + high) / 2;
}

type Side = 'ours' | 'baseline';

/** Measures both sides in turn, the other one first each time; a row of the table. */
async function inPairs(
  { name, unit }: Pick<Workload, 'name' | 'unit'>,
  rounds: number,
  measure: (side: Side) => Promise<number>,
): Promise<(string | number)[]> {
  const pairs: Record<Side, number>[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const order = round % 2 === 0 ? (['baseline', 'ours'] as const) : (['ours', 'baseline'] as const);
    const pair = { ours: 0, baseline: 0 };
    for (const side of order) pair[side] = await measure(side);
    pairs.push(pair);
    process.stderr.write(
      `${name}: round ${round + 1} of ${rounds}, ours ${Math.round(pair.ours)}, baseline ${Math.round(pair.baseline)}\n`,
    );
  }
  const ratios = pairs.map((pair) => pair.ours / pair.baseline);
  return [
    name,
    Math.round(median(pairs.map((pair) => pair.ours))),
    Math.round(median(pairs.map((pair) => pair.baseline))),
    unit,
    `${median(ratios).toFixed(2)}×`,
    `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`,
  ];
}

const SVIX_ROW = { name: 'told through Svix, 2,000 wallets changed at once', unit: 'messages/s' };

/** The row about a real Svix server, on a database and with a worker of its own; none, said loudly, where no server is named. */
async function throughSvix(only: string, rounds: number, url: string, logger: Logger): Promise<(string | number)[][]> {
  if (!SVIX_ROW.name.includes(only)) return [];
  const target = svixTarget(process.env);
  if (target === null) {
    console.error(`NOT MEASURED: ${SVIX_ROW.name}. Set SVIX_SERVER_URL and SVIX_TOKEN of a Svix server.`);
    return [];
  }
  const databaseUrl = await createDatabase(url, 'bench_svix');
  const bench = await SvixBench.start(databaseUrl, target, logger);
  const worker = await startServer('worker', databaseUrl, {
    SVIX_TOKEN: target.token,
    SVIX_SERVER_URL: target.serverUrl,
  });
  try {
    await bench.warmUp();
    return [await inPairs(SVIX_ROW, rounds, (side) => (side === 'ours' ? bench.announcer() : bench.raw()))];
  } finally {
    await worker.stop();
    await bench.close();
  }
}

async function createDatabase(url: string, name: string): Promise<string> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(`create database ${name}`);
  await client.end();
  const created = new URL(url);
  created.pathname = `/${name}`;
  return created.href;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean', short: 'h' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      only: { type: 'string', default: '' },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const rounds = z.coerce.number().int().min(1).parse(values.rounds);
  const seconds = z.coerce.number().int().min(1).parse(values.seconds);
  const folder = await mkdtemp(join(tmpdir(), 'chokin-bench-'));
  await chmod(folder, 0o755);
  const postgres = await startEmbeddedPostgres({
    dataDir: join(folder, 'postgres'),
    settings: ['max_wal_size=4GB', 'shared_buffers=512MB'],
  });
  const { databaseUrl } = postgres;
  const logger = createLogger('error', 'bench');
  const running: Server[] = [];
  try {
    await migrate(databaseUrl, logger);
    const start = async (role: string) => {
      const server = await startServer(role, databaseUrl);
      running.push(server);
      return server;
    };
    const servers = { ours: await start('web'), baseline: await start('baseline-web') };
    await start('worker');
    await start('baseline-worker');
    const pool = createPool({
      databaseUrl,
      applicationName: 'bench',
      maxConnections: 2,
      logger,
      statementTimeoutMs: 0,
    });
    await fill(pool);
    console.log(
      `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Postgres 18 with fsync on; ${rounds} rounds of ${seconds} s`,
    );
    const results: (string | number)[][] = [];
    for (const workload of WORKLOADS.filter(({ name }) => name.includes(values.only))) {
      const measure = (side: Side) => workload.measure(side, servers, pool, seconds);
      results.push(await inPairs(workload, rounds, measure));
    }
    for (const workload of [...HOLD_WORKLOADS, ...LOT_WORKLOADS].filter(({ name }) => name.includes(values.only))) {
      const place = { url: servers.ours.url, pool, seconds, headers: HEADERS, wallets: WALLETS, customer };
      results.push(await inPairs(workload, rounds, (side) => workload.measure(side, place)));
    }
    results.push(...(await throughSvix(values.only, rounds, databaseUrl, logger)));
    console.log(`\n${formatTable(['workload', 'ours', 'baseline', 'unit', 'ratio', 'range'], results)}`);
    // The baseline keeps no payments and announces nothing, so of the audit only the ledger's own checks apply.
    const { disagreements } = await audit(autocommit(pool));
    const ledger = disagreements.filter(({ rule }) => /^(?:[1-4]|8[a-d]|9[a-g]) /.test(rule));
    const bytes = await bytesPerClosedHold(pool);
    if (bytes !== null)
      console.log(`\nA closed hold takes ${bytes} bytes with its indexes; 450 is the most it should.`);
    console.log(ledger.length === 0 ? '\nThe books agree.' : `\nTHE BOOKS DISAGREE: ${JSON.stringify(ledger)}`);
    if (ledger.length > 0) process.exitCode = 1;
    await pool.end();
  } finally {
    for (const server of running) await server.stop();
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
