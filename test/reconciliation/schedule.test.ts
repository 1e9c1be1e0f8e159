import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { workReconcilePayments } from '../../jobs/reconcile-payments.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { createBoss } from '../../src/db/boss.ts';
import type { Source } from '../../src/merchants/source.ts';
import { SourceDirectory } from '../../src/merchants/sources.ts';
import type { ProviderApi } from '../../src/providers/shared/api.ts';
import { startScheduledRuns, workOnRuns } from '../../src/reconciliation/schedule.ts';
import type { ReconcileServices } from '../../src/reconciliation/services.ts';
import { startRun } from '../../src/reconciliation/start.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { testSource } from '../support/inbox.ts';
import { BOX } from '../support/secrets.ts';
import { eventually } from '../support/wait.ts';

/** Aims at what the runs of one source or merchant do to those of others. */

const logger = createLogger('silent', 'test');
const apiKey = new Secret('sk_test_schedule');
const busy = Array.from({ length: 5 }, (_, index) =>
  testSource('stripe', { merchantId: 'mer_busy', sourceId: `src_busy_${index}`, apiKey }),
);
const other = testSource('stripe', { merchantId: 'mer_other', sourceId: 'src_other', apiKey });
const signal = new AbortController().signal;

let database: TestDatabase;
let services: ReconcileServices;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.pool.query(
    "insert into merchant (merchant_id, name, mode) values ('mer_busy', 'Busy', 'test'), ('mer_other', 'Other', 'test')",
  );
  const config = loadConfig({});
  const all: readonly Source[] = [...busy, other];
  const sources: SourceDirectory = Object.assign(Object.create(new SourceDirectory(config, BOX)), {
    find: async (_: unknown, merchantId: string, sourceId: string) =>
      all.find((one) => one.merchantId === merchantId && one.sourceId === sourceId) ?? null,
    withApi: async () => all,
  });
  const boss = createBoss({
    databaseUrl: database.url,
    applicationName: 'test',
    maxConnections: 1,
    works: false,
    logger,
  });
  const connect = () => apiThat(async () => {});
  services = { pool: database.pool, boss, clock: systemClock, logger, sources, connect, onPosted: () => {} };
});
afterEach(async () => {
  await database.pool.query('delete from reconciliation');
  await database.pool.query('delete from reconciliation_source');
});
afterAll(() => database.drop());

const held = Object.assign(new pg.DatabaseError('not free', 0, 'error'), { code: '55P03' });

/** An account in which nothing was paid, where each list waits. */
function apiThat(waits: () => Promise<void>): ProviderApi {
  return {
    kinds: ['payment'],
    list: async () => {
      await waits();
      return { listed: [], next: null };
    },
    retrieve: async () => null,
  };
}

const start = ({ merchantId, sourceId }: Source) =>
  startRun(services, {
    ...{ merchantId, sourceId, requestedBy: 'api', isDryRun: false },
    ...{ since: new Date(Date.now() - 7_200_000), until: new Date(Date.now() - 600_000) },
  });

async function states(): Promise<Readonly<Record<string, string>>> {
  const { rows } = await database.pool.query<{ id: string; state: string }>(
    'select source_id as id, state from reconciliation order by 1',
  );
  return Object.fromEntries(rows.map(({ id, state }) => [id, state]));
}

it('a merchant whose provider does not answer keeps no other merchant’s run waiting, however many of his came before', async () => {
  for (const source of [...busy, other]) await start(source);
  const answers = Promise.withResolvers<void>();
  let [asked, most] = [0, 0];
  const connect = (source: Source) =>
    apiThat(async () => {
      if (source.merchantId !== 'mer_busy') return;
      asked += 1;
      most = Math.max(most, asked);
      await answers.promise;
      asked -= 1;
    });
  const working = workOnRuns({ ...services, connect }, signal);
  await eventually('the other’s to be finished', async () => (await states()).src_other === 'finished', 60_000);
  // Whose place is free then goes to the one who has work left.
  await eventually('all four places to be taken', async () => most === 4, 60_000);
  answers.resolve();
  expect(await working).toEqual({ waiting: 0, failed: 0 });
  expect(new Set(Object.values(await states()))).toEqual(new Set(['finished']));
}, 120_000);

it('a run that cannot go on keeps no other from it, and is counted', async () => {
  for (const source of [...busy, other]) await start(source);
  const connect = (source: Source) => {
    if (source.sourceId === 'src_busy_0') throw held;
    return apiThat(async () => {});
  };
  expect(await workOnRuns({ ...services, connect }, signal)).toEqual({ waiting: 0, failed: 1 });
  const { src_busy_0: first, ...others } = await states();
  expect(first).toBe('running');
  expect(new Set(Object.values(others))).toEqual(new Set(['finished']));
});

async function haveAllBeenKnown(): Promise<void> {
  await database.pool.query(
    `insert into reconciliation_source (merchant_id, source_id, known_since)
     select * from unnest($1::text[], $2::text[], array_fill(now() - interval '1 day', array[6]))`,
    [[...busy, other].map((one) => one.merchantId), [...busy, other].map((one) => one.sourceId)],
  );
}

it('a source for which no run can be begun keeps no other from its own, nor what is under way', async () => {
  await haveAllBeenKnown();
  const connect = (source: Source) => {
    if (source.sourceId === 'src_busy_0') throw new Error('of this source alone');
    return apiThat(async () => {});
  };
  expect(await startScheduledRuns({ ...services, connect }, 24)).toBe(5);
  expect(await workOnRuns({ ...services, connect }, signal)).toEqual({ waiting: 0, failed: 0 });
  expect(await states()).toEqual(
    Object.fromEntries([...busy.slice(1), other].map(({ sourceId }) => [sourceId, 'finished'])),
  );
});

it('whatever becomes of the runs, the job of the schedule begins each once', async () => {
  await haveAllBeenKnown();
  const handlers: ((jobs: readonly object[]) => Promise<void>)[] = [];
  const sent: unknown[] = [];
  const boss: typeof services.boss = Object.assign(Object.create(services.boss), {
    work: async (_: string, __: object, handler: (jobs: readonly object[]) => Promise<void>) => handlers.push(handler),
    send: async (_: string, data: object, options: { startAfter?: number } = {}) =>
      sent.push({ ...data, startAfter: options.startAfter ?? 0 }),
  });
  let isBroken = false;
  const connect = (source: Source) => {
    if (isBroken && source.sourceId === 'src_busy_0') throw held;
    return apiThat(async () => {});
  };
  await workReconcilePayments(boss, { ...services, connect, lookbackHours: 24, signal });
  const work = (data: object) => Promise.all(handlers.map((handler) => handler([{ data, signal }])));
  await work({ isScheduled: true });
  expect(sent.splice(0)).toEqual([{ startAfter: 0 }]);
  expect(new Set(Object.values(await states()))).toEqual(new Set(['running']));
  isBroken = true;
  await work({});
  expect(sent.splice(0)).toEqual([{ startAfter: 60 }]);
  isBroken = false;
  await work({});
  expect(sent).toEqual([]);
  expect(Object.values(await states())).toEqual(Array.from({ length: 6 }, () => 'finished'));
});
