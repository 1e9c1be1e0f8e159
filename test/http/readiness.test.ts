import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startWorker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { type Config, loadConfig } from '../../src/config/env.ts';
import { noteWriteKept, noteWriteRefused, refusesWrites } from '../../src/db/pool-health.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb, type Web } from '../../src/web.ts';
import { API_KEY } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startProcess } from '../support/process.ts';
import { type ProxiedStatement, StatementProxy } from '../support/statement-proxy.ts';
import { eventually } from '../support/wait.ts';

/** Whether a process says truly that it could post now, and who can mend it if not. */

const key = () => randomBytes(32).toString('base64');
const KEY = key();
const configOf = (environment: Record<string, string> = {}): Config =>
  loadConfig({ PORT: '0', API_KEY, ENCRYPTION_KEY: KEY, ...environment });

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

interface Started {
  readonly environment?: Record<string, string>;
  readonly aheadMs?: number;
}

function options({ environment, aheadMs = 0 }: Started) {
  const lines: string[] = [];
  const logger = createLogger('warn', 'test', { write: (line) => lines.push(line) });
  const clock = { now: () => new Date(systemClock.now().getTime() + aheadMs) };
  return { config: configOf(environment), logger, clock, lines };
}

async function start(started: Started = {}): Promise<Web & { readonly lines: readonly string[] }> {
  const { lines, ...shared } = options(started);
  const web = await startWeb({ ...shared, databaseUrl: database.webUrl, print: () => {}, checkResponses: true });
  onTestFinished(() => web.close());
  return { ...web, lines };
}

async function ready(
  url: string,
): Promise<{ readonly status: number; readonly message: string; readonly details: unknown }> {
  const response = await fetch(`${url}/readyz`);
  const body = (await response.json()) as { message?: string; details?: unknown };
  return { status: response.status, message: body.message ?? '', details: body.details };
}

/** Waits until the process says it: it asks the database once a second. */
const saying = (url: string, words: string) =>
  eventually(`"${words}" at /readyz`, async () => {
    const { status, message } = await ready(url);
    return (words === '' ? status === 200 : status === 503 && message.includes(words)) && message;
  });

describe('the schema', () => {
  const NEWEST = 'select name from schema_migration order by id desc limit 1';
  const forget = async () => {
    const { rows } = await database.pool.query<{ name: string; run_on: Date }>(
      `delete from schema_migration where name = (${NEWEST}) returning name, run_on`,
    );
    const [row] = rows;
    const restore = () =>
      database.pool.query('insert into schema_migration (name, run_on) values ($1, $2)', [row?.name, row?.run_on]);
    return { name: row?.name ?? '', restore };
  };

  it('older than the release: web and worker refuse to start, and say what to run; a process that runs is not ready', async () => {
    const web = await start();
    await saying(web.url, '');
    const { name, restore } = await forget();
    onTestFinished(async () => void (await restore()));
    const wanted = new RegExp(`lacks migrations of this release \\(${name}\\): run npm run migrate`);
    await expect(start()).rejects.toThrow(wanted);
    const { lines: _, ...shared } = options({});
    await expect(startWorker({ ...shared, databaseUrl: database.workerUrl })).rejects.toThrow(wanted);
    expect(await saying(web.url, 'npm run migrate')).toMatch(wanted);
  });

  it('that could not be looked at in time is looked at all the same, before anything is served', async () => {
    const { restore } = await forget();
    onTestFinished(async () => void (await restore()));
    const proxy = await StatementProxy.start(database.webUrl);
    onTestFinished(() => proxy.close());
    // It answers once the process has given it up and goes on to something else.
    const goesOn = Promise.withResolvers<void>();
    const isAsked = ({ sql }: ProxiedStatement) => sql.includes('may_read_migrations');
    const held = proxy.arm(1, { when: 'before', connection: 'kept', meanwhile: () => goesOn.promise }, isAsked);
    proxy.inject((statement) => {
      if (held.hit !== null && !isAsked(statement)) goesOn.resolve();
      return null;
    });
    const { lines: _, ...shared } = options({});
    const starting = startWeb({ ...shared, databaseUrl: proxy.url, print: () => {} });
    await expect(starting.then((web) => web.close())).rejects.toThrow('lacks migrations of this release');
  });

  it('newer than the release: the process runs, and says so', async () => {
    await database.pool.query("insert into schema_migration (name, run_on) values ('9999_next', now())");
    onTestFinished(
      async () => void (await database.pool.query("delete from schema_migration where name = '9999_next'")),
    );
    const web = await start();
    expect(web.lines.filter((line) => line.includes('9999_next'))).toHaveLength(1);
    expect(await ready(web.url)).toMatchObject({
      status: 200,
      details: { database: { newer_migrations: ['9999_next'] } },
    });
  });

  it('that the user may not look at: no start', async () => {
    await database.pool.query('revoke select on schema_migration from chokin_web');
    onTestFinished(async () => void (await database.pool.query('grant select on schema_migration to chokin_web')));
    await expect(start()).rejects.toThrow(/may not read it: run npm run migrate/);
  });
});

describe('the encryption key', () => {
  it('that opens none of the stored secrets: no start, and what to do; with both keys it starts', async () => {
    const web = await start({ environment: { ADMIN_KEY: 'an-admin-key-for-readiness-0123456789' } });
    const call = (path: string, body: object) =>
      fetch(`${web.url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect((await call('/webhook-endpoints', { url: 'https://example.com/hook' })).status).toBe(200);
    const other = key();
    await expect(start({ environment: { ENCRYPTION_KEY: other } })).rejects.toThrow(
      /ENCRYPTION_KEY lacks the key [0-9a-f]{8}, with which stored secrets are encrypted\. Add it/,
    );
    await expect(start({ environment: { ENCRYPTION_KEY: '' } })).rejects.toThrow('ENCRYPTION_KEY lacks the key');
    await saying((await start({ environment: { ENCRYPTION_KEY: `${other},${KEY}` } })).url, '');
  });
});

it("the clock's difference to the database's is told", async () => {
  const web = await start({ aheadMs: 90_000 });
  const { status, details } = await ready(web.url);
  expect(status).toBe(200);
  const { clock_ahead_ms: ahead } = (details as { database: { clock_ahead_ms: number } }).database;
  expect(Math.abs(ahead - 90_000)).toBeLessThan(5_000);
  const metrics = await (await fetch(`${web.url}/metrics`)).text();
  expect(Number(/^chokin_clock_ahead_seconds (\S+)$/m.exec(metrics)?.[1])).toBeCloseTo(90, -1);
});

it('a write that was refused counts until one is kept', () => {
  const { pool } = database;
  expect(refusesWrites(pool)).toBe(false);
  noteWriteRefused(pool);
  expect(refusesWrites(pool)).toBe(true);
  noteWriteKept(pool);
  expect(refusesWrites(pool)).toBe(false);
});

describe('a process that is asked to stop', () => {
  const environment = () => ({
    DATABASE_URL: database.url,
    PORT: '0',
    API_KEY,
    ENCRYPTION_KEY: KEY,
    DRAIN_SECONDS: '4',
  });
  async function startDraining() {
    const web = startProcess('src/web.ts', environment());
    onTestFinished(() => void web.child.kill('SIGKILL'));
    await web.printed('Listening');
    const [, url = ''] = /Listening (\S+)/.exec(web.output()) ?? [];
    return { web, url };
  }

  it('by SIGTERM is not ready first and still serves, each connection once more, and then ends', async () => {
    const { web, url } = await startDraining();
    const exit = web.end('SIGTERM');
    await saying(url, 'about to stop');
    const served = await fetch(`${url}/customers`, { headers: { authorization: `Bearer ${API_KEY}` } });
    expect([served.status, served.headers.get('connection')]).toEqual([200, 'close']);
    expect(await exit).toBe(0);
  });

  it('by Ctrl-C ends without waiting', async () => {
    const { web, url } = await startDraining();
    const exit = web.end('SIGINT');
    await web.printed('"drainSeconds":0');
    await expect(ready(url)).rejects.toThrow('fetch failed');
    expect(await exit).toBe(0);
  });
});
