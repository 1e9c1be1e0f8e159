import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { workApplyProviderEvent } from '../../jobs/apply-provider-event.ts';
import { workApplyProviderEvents } from '../../jobs/apply-provider-events.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { createPool } from '../../src/db/pool.ts';
import type { Queryable } from '../../src/db/transaction.ts';
import type { Source } from '../../src/merchants/source.ts';
import { SourceDirectory } from '../../src/merchants/sources.ts';
import { PROVIDER_APIS } from '../../src/providers/apis.ts';
import { type ListedKind, type ProviderApi, ProviderApiError } from '../../src/providers/shared/api.ts';
import { type Progress, reconcile } from '../../src/reconciliation/reconcile.ts';
import type { Run } from '../../src/reconciliation/run.ts';
import type { ReconcileServices } from '../../src/reconciliation/services.ts';
import { latestUntil, startRun } from '../../src/reconciliation/start.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { API_FAULTS, type ApiFault, failing, QUOTED } from '../support/api-faults.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { FaultyApi } from '../support/faulty-api.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';
import { LOST_WEBHOOKS, type LostWebhook } from '../support/lost-webhook.ts';
import { BOX } from '../support/secrets.ts';

/**
 * F23: the API that reconciliation reads is silent, never ends an answer, breaks off, answers with noise, with pages of
 * proxies, with an error inside a 200, with a redirect, or asks us to wait. Each ends in bounded time and with bounded
 * memory, is named in words that quote nothing, and sends the key nowhere; the next try or the next run heals what the
 * lost webhook told, once.
 */
type Provider = keyof typeof LOST_WEBHOOKS;
const PROVIDERS: readonly Provider[] = ['stripe', 'dodo', 'razorpay', 'paddle', 'polar', 'lemonsqueezy'];

const MARGIN_MS = 20_000;
/** The most that is read of an answer, and what the sockets may hold besides. */
const MOST_BYTES = 48 * 1024 * 1024;

vi.setConfig({ maxConcurrency: 8 });

interface World {
  readonly source: Source;
  readonly customerId: string;
  readonly api: FaultyApi;
  readonly loss: LostWebhook;
  readonly timeoutMs: number | undefined;
}

let database: TestDatabase;
let inbox: TestInbox;
let services: ReconcileServices;
const worlds = new Map<string, World>();
const ways: FaultyApi[] = [];
const stranger = createServer((_request, response) => response.end('{}'));
let callsElsewhere = 0;
let elsewhere = '';

/** Sources of the test, whose APIs are wherever it says. */
class TestSources extends SourceDirectory {
  override async find(_db: Queryable, _merchantId: string, sourceId: string): Promise<Source | null> {
    return worlds.get(sourceId)?.source ?? null;
  }
}

beforeAll(async () => {
  stranger.on('connection', () => {
    callsElsewhere += 1;
  });
  stranger.listen(0, '127.0.0.1');
  await once(stranger, 'listening');
  const address = stranger.address();
  if (address === null || typeof address !== 'object') throw new Error('the stranger has no port');
  elsewhere = `http://127.0.0.1:${address.port}/`;
  database = await createTestDatabase();
  const sources = new TestSources(loadConfig({}), BOX);
  inbox = await startInbox(database, { works: false });
  const { boss } = inbox.services;
  await workApplyProviderEvents(boss, { ...inbox.services, sources });
  await workApplyProviderEvent(boss, { ...inbox.services, sources });
  const logger = createLogger('silent', 'test');
  // A hundred runs at once, each of which waits for a connection no longer than anything else does.
  const { workerUrl: databaseUrl } = database;
  const pool = createPool({ databaseUrl, applicationName: 'test-reconciliation', maxConnections: 30, logger });
  services = { pool, boss, clock: systemClock, logger, sources, connect: connectSource, onPosted: () => {} };
}, 60_000);

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await services.pool.end();
  await inbox.stop();
  for (const way of ways) await way.close();
  for (const { loss } of worlds.values()) await loss.close();
  await new Promise((resolve) => stranger.close(resolve));
  await database.drop();
});

function connectSource(source: Source): ProviderApi {
  const world = worlds.get(source.sourceId);
  if (world === undefined) throw new Error(`there is no ${source.sourceId}`);
  return connectTo(world.api, source, world.timeoutMs);
}

function connectTo({ url: baseUrl }: FaultyApi, { provider, apiKey, mode }: Source, timeoutMs?: number): ProviderApi {
  const connect = PROVIDER_APIS[provider];
  if (connect === undefined || apiKey === null) throw new Error(`${provider} cannot be asked`);
  return connect({ apiKey, mode, baseUrl, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
}

/** A source of its own for each experiment, with a customer, an API behind a faulty way, and a lost webhook. */
async function newWorld(provider: Provider, name: string | number, timeoutMs?: number): Promise<World> {
  const [customerId = ''] = await makeCustomers(database.pool, [`${provider}_${name}`]);
  const loss = await LOST_WEBHOOKS[provider].serve(customerId, new Date(Date.now() - 3_600_000));
  const sourceId = `src_${provider}_${name}`;
  const source = testSource(provider, { sourceId, apiKey: new Secret(LOST_WEBHOOKS[provider].apiKey) });
  // Before each run Stripe is asked whose account the key opens, which restricted keys may not ask: see test/merchants/api-account.
  const api = await FaultyApi.start(loss.url, '/v1/account');
  const world = { source, customerId, loss, api, timeoutMs };
  worlds.set(sourceId, world);
  ways.push(world.api);
  if (loss.earlier !== null) await inbox.deliver(loss.earlier, source);
  return world;
}

interface Comparison {
  readonly run: Run;
  /** Why it waited, and why it stopped. */
  readonly told: readonly string[];
  /** In seconds. */
  readonly waited: readonly number[];
}

/** One go at comparing, which takes up the run that is under way. */
async function compareOnce({ source: { merchantId, sourceId } }: World): Promise<Comparison> {
  const now = new Date();
  const window = { since: new Date(now.getTime() - 7_200_000), until: latestUntil(now) };
  const request = { merchantId, sourceId, ...window, requestedBy: 'api', isDryRun: false } as const;
  const { signal } = new AbortController();
  const waits: NonNullable<Progress['waiting']>[] = [];
  const onProgress = ({ waiting }: Progress) => void (waiting === null || waits.push(waiting));
  const run = await reconcile(services, await startRun(services, request), { signal, onProgress });
  const told = [...waits.map(({ reason }) => reason), ...(run.problem === null ? [] : [run.problem])];
  return { run, told, waited: waits.map(({ seconds }) => seconds) };
}

async function expectHealed({ customerId, loss }: World, run: Run): Promise<void> {
  expect(run).toMatchObject({ state: 'finished', problem: null, outcomes: { missing: 0, differing: 0, unknown: 0 } });
  expect(await inbox.balance(customerId)).toBe(loss.owedMinor);
}

const KINDS: readonly ListedKind[] = ['payment', 'refund', 'dispute'];
const IDS: Readonly<Record<Provider, readonly string[]>> = {
  stripe: ['pay_1', 'pay_1', 'pay_1'],
  dodo: ['pay_1', 'pay_1', 'pay_1'],
  razorpay: ['pay_1', 'pay_1', 'pay_1'],
  paddle: ['txn_1', 'adj_1', 'adj_1'],
  polar: ['5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000009', '5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000009'],
  lemonsqueezy: ['order_1', 'order_1'],
};

/** Every question of the client fails as it should, and is asked once. */
async function askOnce(provider: Provider, { source, loss }: World, fault: ApiFault): Promise<void> {
  const way = await FaultyApi.start(loss.url);
  ways.push(way);
  const api = connectTo(way, source, fault.timeoutMs);
  const window = { since: new Date(0), until: new Date() };
  const questions = [
    // Stripe is asked for the names of payments before them, and a key may lack the right to those.
    () => api.list('payment', window, provider === 'stripe' ? 'pi_0' : null),
    ...IDS[provider].map((id, index) => () => api.retrieve(KINDS[index] ?? 'payment', id)),
  ];
  way.script(...questions.map(() => fault.does(elsewhere)));
  const startedAt = performance.now();
  const errors = await Promise.all(questions.map((ask) => ask().catch((reason: unknown) => reason)));
  expect(performance.now() - startedAt).toBeLessThan((fault.timeoutMs ?? 0) + MARGIN_MS);
  const { kind, retryAfterSeconds = null } = fault;
  for (const error of errors) {
    expect(error).toBeInstanceOf(ProviderApiError);
    expect(error).toMatchObject({ kind, retryAfterSeconds, message: messageOf(provider, fault) });
    expect(error).not.toHaveProperty('cause');
    const { stack = '' } = error instanceof Error ? error : {};
    for (const secret of [QUOTED, '<html', LOST_WEBHOOKS[provider].apiKey]) expect(stack).not.toContain(secret);
  }
  const asked = way.askedAtMs.length;
  // Where time is short, a question may be given up before it is asked.
  if (fault.timeoutMs === undefined) expect(asked).toBe(questions.length);
  else expect(asked).toBeLessThanOrEqual(questions.length);
}

function messageOf(provider: Provider, { says }: ApiFault): RegExp {
  return new RegExp(says.source.replace('^', `^${provider} `));
}

/** The first request of a comparison goes wrong, and, where that takes no time, the one that follows the next. */
async function heal(provider: Provider, world: World, fault: ApiFault): Promise<void> {
  const takesTime = fault.isLarge || fault.timeoutMs !== undefined || fault.retryAfterSeconds !== undefined;
  const times = takesTime ? 1 : 2;
  // Stripe's payments are a page of events, one of PaymentIntents, and one of events again. A key may lack the right to events.
  const well = provider === 'stripe' ? [null, null, null] : [null];
  const before = provider === 'stripe' && fault.kind === 'unauthorized' ? [null] : [];
  world.api.script(...before, fault.does(elsewhere), ...(times === 1 ? [] : [...well, fault.does(elsewhere)]));
  const told: string[] = [];
  const waited: number[] = [];
  let last: Run;
  do {
    const go = await compareOnce(world);
    told.push(...go.told);
    waited.push(...go.waited);
    last = go.run;
    // What a person may have to mend ends the run; a later one begins anew.
    expect(last.state).not.toBe('running');
  } while (last.state === 'failed');
  expect(world.api.due).toBe(0);
  const isWaitedFor = fault.kind === 'unavailable' || fault.kind === 'rate_limited';
  const seconds = fault.retryAfterSeconds ?? 1;
  if (fault.timeoutMs === undefined) {
    expect(told).toHaveLength(times);
    expect(waited).toEqual(isWaitedFor ? Array.from({ length: times }, () => seconds) : []);
  } else expect(waited.length).toBeGreaterThanOrEqual(times);
  for (const reason of told) expect(reason).toMatch(messageOf(provider, fault));
  const [first = 0, second = 0] = world.api.askedAtMs;
  if (isWaitedFor && fault.timeoutMs === undefined) expect(second - first).toBeGreaterThan(seconds * 990);
  expect(world.api.endlessBytes).toBeLessThan(MOST_BYTES);
  await expectHealed(world, last);
}

/** The webhooks come after all, and credit nothing more. */
async function expectNothingMore(all: readonly World[]): Promise<void> {
  await Promise.all(all.map(({ source, loss }) => inbox.deliver(loss.lost, source)));
  await inbox.settled();
  for (const { customerId, loss } of all) expect(await inbox.balance(customerId)).toBe(loss.owedMinor);
}

it.concurrent.for(PROVIDERS)('%s, however it fails', { timeout: 90_000 }, async (provider) => {
  const experiments = await Promise.all(
    API_FAULTS.map(async (fault, index) => ({ fault, world: await newWorld(provider, index, fault.timeoutMs) })),
  );
  await inbox.settled();
  const failures: string[] = [];
  const experiment = async ({ fault, world }: (typeof experiments)[number]) => {
    try {
      if (!fault.isLarge) await askOnce(provider, world, fault);
      await heal(provider, world, fault);
    } catch (error) {
      failures.push(`${fault.name}: ${error}`);
    }
  };
  await Promise.all(experiments.filter(({ fault }) => !fault.isLarge).map(experiment));
  // These answers keep the process busy; other tests at the same time would take that for a slow provider.
  await Promise.all(experiments.filter(({ fault }) => fault.isLarge).map(experiment));
  expect(failures).toEqual([]);
  await expectNothingMore(experiments.map(({ world }) => world));
  expect(callsElsewhere).toBe(0);
});

const OUTAGE = 'is noted where it outlasts a run’s patience, and the run goes on when it is taken up again';

it.concurrent(`an outage ${OUTAGE}`, { timeout: 90_000 }, async () => {
  const all = await Promise.all(PROVIDERS.map((provider) => newWorld(provider, 'outage')));
  await inbox.settled();
  await Promise.all(
    all.map(async (world) => {
      const problem = `${world.source.provider} answers 503`;
      const tries = Array.from({ length: 10 }, () => failing(503, { 'retry-after': '0' }));
      world.api.script(...tries);
      const { run, told } = await compareOnce(world);
      expect(run).toMatchObject({ state: 'running', problem });
      expect(told).toEqual(tries.map(() => problem));
      const again = await compareOnce(world);
      expect(again.run.runId).toBe(run.runId);
      await expectHealed(world, again.run);
      const { run: last } = await compareOnce(world);
      expect(last).toMatchObject({ state: 'finished', outcomes: { healed: 0, missing: 0, differing: 0, unknown: 0 } });
    }),
  );
  await expectNothingMore(all);
});
