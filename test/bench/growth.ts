import { runAudit } from '../../src/audit/run.ts';
import { systemClock } from '../../src/clock.ts';
import { migrate } from '../../src/commands/migrate.ts';
import type { Pool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import { checkLowBalances } from '../../src/ledger/low-balance/scan.ts';
import { claimOutbox } from '../../src/ledger/outbox.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { type CpuSeconds, microsecondsEach } from './cpu.ts';
import { customer, debit, forgetNews, get, SETTINGS } from './fill.ts';
import { fillEntries, fillWallets } from './large.ts';
import { drive, type LoadRequest } from './load.ts';
import { type Style, tableIn } from './report.ts';
import type { Rig, Server } from './rig.ts';
import { brief, median } from './row.ts';

/** Whether what things cost stays the same while the tables grow, and what several web processes do together. */

const WALLETS = 1_000;
const SIZES = [10_000, 100_000, 1_000_000, 10_000_000];
const CALLERS = 64;
/** A merchant's lists take turns. */
const LIST_CALLERS = 4;
const CLAIMED = 250;
/** Of the first size; a value that is further away is marked. */
const TOLERANCE = 0.2;

const anybody = () => customer(Math.floor(Math.random() * WALLETS));
const posting = () => debit(anybody());
const balance = () => get(`/customers/${anybody()}/wallets`);
const history = () => get(`/customers/${anybody()}/wallets/ledger-entries?currency=USD&page_size=10`);

/** What is measured at each size. A rate is better larger, a time is better smaller. */
const MEASURES = [
  'debits/s',
  'µs of web and Postgres a debit',
  'reads/s',
  'µs a read',
  'pages/s',
  'µs a page',
  'claim of 250, ms',
  'scan, ms',
] as const;
type Measures = Record<(typeof MEASURES)[number], number>;

export interface GrowthOptions {
  readonly rig: Rig;
  readonly largest: number;
  readonly rounds: number;
  readonly seconds: number;
}

interface Load {
  readonly rig: Rig;
  readonly urls: readonly string[];
  readonly seconds: number;
  readonly callers?: number;
}

/** Requests a second, and the time that each took of the web process and its backends. */
async function load({ rig, urls, seconds, callers = CALLERS }: Load, next: () => LoadRequest) {
  const from = await rig.cpu.read();
  const results = await Promise.all(urls.map((url) => drive(url, Math.ceil(callers / urls.length), seconds, next)));
  const to = await rig.cpu.read();
  const requests = results.reduce((sum, one) => sum + one.requests, 0);
  const cpu: CpuSeconds = microsecondsEach(from, to, requests);
  const rate = results.reduce((sum, one) => sum + one.requestsPerSecond, 0);
  return { rate, microseconds: cpu.web + cpu['Postgres for web'] };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

const ROLLED_BACK = Symbol('rolled back');

/** A claim of wallets with news, which is taken back. */
async function claim(pool: Pool): Promise<number> {
  await forgetNews(pool);
  await pool.query(
    `insert into unannounced_wallet (merchant_id, customer_id, currency, since)
     select merchant_id, customer_id, currency, now() from wallet limit $1`,
    [CLAIMED],
  );
  const time = await timed(() =>
    transaction(pool, async (tx) => {
      await claimOutbox(tx, { limit: CLAIMED, leaseSeconds: 60 });
      throw ROLLED_BACK;
    }).catch((error: unknown) => {
      if (error !== ROLLED_BACK) throw error;
    }),
  );
  await forgetNews(pool);
  return time;
}

async function measureOnce({ rig, seconds }: GrowthOptions, web: Server, pool: Pool): Promise<Measures> {
  const one = { rig, urls: [web.url], seconds };
  const debits = await load(one, posting);
  await forgetNews(pool);
  const reads = await load(one, balance);
  const pages = await load({ ...one, callers: LIST_CALLERS }, history);
  const logger = createLogger('silent', 'bench');
  const scanned = { pool, settings: SETTINGS, clock: systemClock, onPosted: () => {}, logger };
  return {
    ...{ 'debits/s': debits.rate, 'µs of web and Postgres a debit': debits.microseconds },
    ...{
      'reads/s': reads.rate,
      'µs a read': reads.microseconds,
      'pages/s': pages.rate,
      'µs a page': pages.microseconds,
    },
    'claim of 250, ms': await claim(pool),
    'scan, ms': await timed(() => checkLowBalances(scanned)),
  };
}

/** The tables of one run: a row a size, and a row a number of web processes. */
export async function growth(options: GrowthOptions): Promise<(style: Style) => string> {
  const { rig, largest, rounds } = options;
  const sizes: Size[] = [];
  let databaseUrl = '';
  for (const entries of SIZES.filter((size) => size <= largest)) {
    databaseUrl = await emptyWallets(rig, `bench_growth_${entries}`);
    const web = await rig.server('web', databaseUrl);
    const pool = rig.pool(databaseUrl);
    const seconds =
      (await timed(() => fillEntries(pool, { each: entries / WALLETS, stepMs: 1, folder: rig.folder }))) / 1000;
    process.stderr.write(`${entries.toLocaleString('en')} entries, filled in ${Math.round(seconds)} s\n`);
    await measureOnce({ ...options, seconds: 1 }, web, pool);
    const all: Measures[] = [];
    for (let round = 0; round < rounds; round += 1) all.push(await measureOnce(options, web, pool));
    const { rows } = await pool.query<{ bytes: number }>(
      "select pg_total_relation_size('entry') / count(*) as bytes from entry",
    );
    const audits = await auditTwice(rig, pool);
    process.stderr.write(
      `${entries.toLocaleString('en')} entries: audited in ${brief(audits.wholeSeconds)} s, then by marks in ${brief(audits.markedSeconds)} s\n`,
    );
    await forgetNews(pool);
    sizes.push({ entries, bytes: rows[0]?.bytes ?? 0, measures: medians(all), ...audits });
  }
  const several = await severalWebs(options, databaseUrl);
  await forgetNews(rig.pool(databaseUrl));
  return (style) => [sizeTable(style, sizes), severalTable(style, several)].join('\n\n');
}

/** A database for one size: what a measurement writes is dated today, and what is filled in is a year old, as most of a ledger is. */
function emptyWallets(rig: Rig, name: string): Promise<string> {
  return rig.database(name, async (url) => {
    await migrate(url, rig.logger);
    await rig.server('web', url);
    const pool = rig.pool(url);
    await pool.query(
      `insert into customer (merchant_id, customer_id, email, name, created_at)
       select 'bus_default', 'cus_bench' || n, '', '', now() from generate_series(0, $1::bigint - 1) n`,
      [WALLETS],
    );
    await fillWallets(pool, { from: 0, to: WALLETS, balance: 0 });
  });
}

interface Audits {
  readonly wholeSeconds: number;
  readonly markedSeconds: number;
}

/** All of the books, as every week, and at once again, as in a night in which nothing was written. */
async function auditTwice(rig: Rig, pool: Pool): Promise<Audits> {
  await forgetNews(pool);
  const once = async (isFull: boolean) => {
    const ms = await timed(async () => {
      const { disagreements } = await runAudit({ rule: null, pool, clock: systemClock, logger: rig.logger, isFull });
      if (disagreements.length > 0)
        throw new Error(`the books disagree: ${JSON.stringify(disagreements).slice(0, 3_000)}`);
    });
    return ms / 1000;
  };
  return { wholeSeconds: await once(true), markedSeconds: await once(false) };
}

function medians(all: readonly Measures[]): Measures {
  const values = MEASURES.map((name) => [name, median(all.map((one) => one[name]))]);
  return Object.fromEntries(values);
}

interface Size extends Audits {
  readonly entries: number;
  readonly bytes: number;
  readonly measures: Measures;
}

async function severalWebs({ rig, rounds, seconds }: GrowthOptions, databaseUrl: string) {
  const webs = [await rig.server('web', databaseUrl)];
  for (const place of ['2', '3', '4']) webs.push(await rig.server('web', databaseUrl, { PLACE: place }));
  const rates = new Map<number, { rate: number; microseconds: number }[]>([1, 2, 4].map((count) => [count, []]));
  await load({ rig, urls: webs.map(({ url }) => url), seconds: 1 }, posting);
  for (let round = 0; round < rounds; round += 1) {
    for (const [count, found] of rates) {
      const urls = webs.slice(0, count).map(({ url }) => url);
      found.push(await load({ rig, urls, seconds }, posting));
    }
  }
  return [...rates].map(([count, found]) => ({
    count,
    rate: median(found.map(({ rate }) => rate)),
    microseconds: median(found.map(({ microseconds }) => microseconds)),
  }));
}

function sizeTable(style: Style, sizes: readonly Size[]): string {
  const first = sizes[0]?.measures;
  const cell = (name: keyof Measures, value: number) => {
    const ratio = value / (first?.[name] ?? Number.NaN);
    const isFlat = Math.abs(ratio - 1) <= TOLERANCE;
    return `${brief(value)} (${ratio.toFixed(2)}×${isFlat ? '' : ' !'})`;
  };
  const rows = sizes.map(({ entries, bytes, measures, wholeSeconds, markedSeconds }) => [
    ...[entries.toLocaleString('en'), String(bytes)],
    ...MEASURES.map((name) => cell(name, measures[name])),
    ...[brief(wholeSeconds), brief(markedSeconds)],
  ]);
  return tableIn(style, ['entries', 'bytes an entry', ...MEASURES, 'audit of all, s', 'audit of what is new, s'], rows);
}

function severalTable(style: Style, several: Awaited<ReturnType<typeof severalWebs>>): string {
  const rows = several.map(({ count, rate, microseconds }) => [String(count), brief(rate), brief(microseconds)]);
  return tableIn(style, ['web processes', 'debits/s', 'µs of web and Postgres a debit'], rows);
}
