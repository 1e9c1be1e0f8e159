import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startWorker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { readingBy } from '../../src/db/readers.ts';
import { watchOperations } from '../../src/http/backlog-metrics.ts';
import { startTelemetry } from '../../src/runtime.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { startWeb } from '../../src/web.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT } from '../support/ledger.ts';
import { groupingsIn, readDashboard, readExpressions, selectorsIn, seriesIn } from '../support/ops-files.ts';
import { STRIPE_SECRET, signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

const logger = createLogger('silent', 'test');
const API_KEY = 'a-key-for-operations-of-more-than-32-characters';
const TOKEN = 'a-token-for-metrics';

/** The value of a series as /metrics prints it, `chokin_x{a="b"}`; undefined if it is not there. */
const figure = (text: string, series: string): number | undefined => {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
};

describe('the metrics of the whole service', { timeout: 60_000 }, () => {
  let database: TestDatabase;
  let endpoint: WebhookReceiver;
  let metrics = '';
  let customerId = '';
  const closing: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    endpoint = await WebhookReceiver.start();
    // As npm start does it: one registry, two processes in one, each as its own user of the database.
    const config = loadConfig({
      PORT: '0',
      API_KEY,
      STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
      ALLOW_PRIVATE_ENDPOINTS: 'true',
      WORKER_METRICS_PORT: '0',
      METRICS_TOKEN: TOKEN,
    });
    const shared = { config, logger, clock: systemClock, telemetry: await startTelemetry(config, logger) };
    const web = await startWeb({ ...shared, databaseUrl: database.webUrl, print: () => {} });
    const worker = await startWorker({ ...shared, databaseUrl: database.workerUrl });
    closing.push(
      () => web.close(),
      () => worker.close(),
    );
    const call = async (path: string, body: unknown, headers: Readonly<Record<string, string>> = {}) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const authorization = `Bearer ${API_KEY}`;
      const all = { authorization, 'content-type': 'application/json', ...headers };
      const response = await fetch(`${web.url}${path}`, { method: 'POST', body: text, headers: all });
      return JSON.parse(await response.text());
    };
    ({ customer_id: customerId } = await call('/customers', { email: 'ada@example.com', name: 'Ada' }));
    await call('/webhook-endpoints', { url: endpoint.url });
    const body = stripePaymentSucceeded({ amount: 700, metadata: { wallet_customer_id: customerId } });
    const nobody = stripePaymentSucceeded({ amount: 5, metadata: { wallet_customer_id: 'cus_nobody' } });
    for (const one of [body, body, nobody]) await call('/webhooks/stripe', one, { ...signStripe(one) });
    await call('/webhooks/stripe', body, { ...signStripe(body, 'whsec_of_somebody_else') });
    const path = `/customers/${customerId}/wallets/ledger-entries`;
    const debit = (amount: number) => ({ amount, currency: 'USD', entry_type: 'debit', idempotency_key: 'a' });
    await eventually('the credit to be announced', () =>
      endpoint.payloads.some((payload) => payload.type === 'wallet.balance.changed'),
    );
    await call(path, debit(50));
    await call(path, debit(50));
    await call(path, { ...debit(9_000), idempotency_key: 'b' });
    metrics = await eventually('everything to be counted', async () => {
      const headers = { authorization: `Bearer ${TOKEN}` };
      const text = await (await fetch(`${worker.metricsUrl}/metrics`, { headers })).text();
      const isDone = (figure(text, 'chokin_delivery_attempts_total{outcome="delivered"}') ?? 0) >= 3;
      const isTold = (figure(text, 'chokin_announcements_total{outcome="sent"}') ?? 0) > 0;
      return isDone && isTold && /chokin_provider_events_total\{.*state="parked"/.test(text) && text;
    });
  });
  afterAll(async () => {
    await Promise.all(closing.map((close) => close()));
    await endpoint.close();
    await database.drop();
  });

  it('have every series and label that the dashboard and the alert rules ask for', async () => {
    const series = seriesIn(metrics);
    const ofPrometheus = ['job', 'instance', 'le'];
    for (const expression of await readExpressions()) {
      const selectors = selectorsIn(expression);
      expect(selectors.length, expression).toBeGreaterThan(0);
      for (const { metric, labels } of selectors) {
        if (metric === 'up') continue;
        const known = series.get(metric) ?? expect.unreachable(`${metric} of ${expression}`);
        const wanted = [...labels, ...groupingsIn(expression)].filter((label) => !ofPrometheus.includes(label));
        expect([...known], `${metric} of ${expression}`).toEqual(expect.arrayContaining(wanted));
      }
    }
  });

  it('are all shown on the dashboard', async () => {
    const { panels } = await readDashboard();
    const shown = new Set(
      panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => selectorsIn(expr).map(({ metric }) => metric))),
    );
    const declared = [...metrics.matchAll(/^# TYPE (chokin_\S+) (\w+)$/gm)].map(([, name = '', kind]) =>
      kind === 'histogram' ? `${name}_count` : name,
    );
    const unseen = declared.filter((name) => !shown.has(name) && !shown.has(name.replace(/_count$/, '_bucket')));
    expect(unseen).toEqual([]);
  });

  it.each([
    ['chokin_provider_deliveries_total{provider="stripe",outcome="stored"}', 2],
    ['chokin_provider_deliveries_total{provider="stripe",outcome="duplicate"}', 1],
    ['chokin_provider_deliveries_total{provider="stripe",outcome="refused"}', 1],
    ['chokin_provider_deliveries_total{provider="adyen",outcome="refused"}', 0],
    ['chokin_provider_events_total{provider="stripe",state="applied",reason=""}', 1],
    ['chokin_provider_events_total{provider="stripe",state="parked",reason="unknown_customer"}', 1],
    ['chokin_event_failures_total{outcome="parked"}', 0],
    ['chokin_postings_total{origin="event",direction="credit",outcome="created",code=""}', 1],
    ['chokin_postings_total{origin="api",direction="debit",outcome="created",code=""}', 1],
    ['chokin_postings_total{origin="api",direction="debit",outcome="repeated",code=""}', 1],
    ['chokin_postings_total{origin="api",direction="debit",outcome="refused",code="INSUFFICIENT_WALLET_FUNDS"}', 1],
    ['chokin_lots_beyond_limit_total', 0],
    ['chokin_lane_wait_seconds_count{lane="ledger"}', 3],
    ['chokin_lane_commit_seconds_count{lane="ledger"}', 3],
    ['chokin_announcements_total{outcome="failed"}', 0],
    ['chokin_database_answers', 1],
    ['chokin_unready{reason="database_read_only"}', 0],
    ['chokin_pool_connections{state="waiting"}', 0],
    ['chokin_jobs_dead{queue="deliver-webhook"}', 0],
  ])('count %s', (series, value) => {
    expect(figure(metrics, series)).toBe(value);
  });

  it('count batches of deliveries and events, whose number depends on when each came', () => {
    for (const batcher of ['inbox', 'apply']) {
      expect(figure(metrics, `chokin_lane_commit_seconds_count{lane="${batcher}"}`)).toBeGreaterThan(0);
    }
    expect(figure(metrics, 'chokin_announcements_total{outcome="sent"}')).toBeGreaterThan(0);
  });

  it('name nobody, no amount and no payment', () => {
    const labels = [...metrics.matchAll(/(\w+)="([^"]*)"/g)];
    const names = new Set(labels.map(([, name]) => name));
    const ofNode = ['version', 'major', 'minor', 'patch', 'kind', 'type', 'space', 'quantile', 'le'];
    const ofOurs = ['route', 'method', 'status', 'lane', 'queue', 'provider', 'outcome', 'state', 'reason'];
    expect([...ofNode, ...ofOurs, 'origin', 'direction', 'code', 'fault', 'who', 'limit', 'what']).toEqual(
      expect.arrayContaining([...names]),
    );
    for (const word of [customerId, 'cus_', 'bus_', 'pi_', 'evt_', 'src_', 'ada@', API_KEY, STRIPE_SECRET, TOKEN]) {
      expect(metrics).not.toContain(word);
    }
  });
});

describe('a worker of its own', () => {
  it('serves metrics and health where WORKER_METRICS_PORT says, to whoever has the token, and no API', async () => {
    const database = await createTestDatabase();
    const config = loadConfig({ WORKER_METRICS_PORT: '0', METRICS_TOKEN: TOKEN });
    const options = { databaseUrl: database.url, logger, clock: systemClock };
    const worker = await startWorker({ config, ...options });
    const get = async (path: string, headers = {}) => fetch(`${worker.metricsUrl}${path}`, { headers });
    expect(worker.metricsUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const answers = await Promise.all(
      ['/metrics', '/healthz', '/readyz', '/customers', '/docs'].map((one) => get(one)),
    );
    expect(answers.map(({ status }) => status)).toEqual([401, 200, 200, 404, 404]);
    const text = await (await get('/metrics', { authorization: `Bearer ${TOKEN}` })).text();
    expect(figure(text, 'chokin_announcements_total{outcome="sent"}')).toBe(0);
    await worker.close();
    await expect(get('/healthz')).rejects.toThrow();
    const quiet = await startWorker({ config: loadConfig({}), ...options });
    expect(quiet.metricsUrl).toBeNull();
    await quiet.close();
    await database.drop();
  });
});

describe('what is stuck', () => {
  let database: TestDatabase;
  /** Of the web process' own user, who must be allowed to look. */
  let web: Pool;
  const poolOf = (databaseUrl: string) =>
    createPool({ databaseUrl, applicationName: 'test', maxConnections: 1, logger });
  beforeAll(async () => {
    database = await createTestDatabase();
    web = poolOf(database.webUrl);
    const { pool } = database;
    await pool.query("insert into merchant (merchant_id, name, mode) values ($1, 'Test', 'test')", [MERCHANT]);
  });
  afterAll(async () => {
    await web.end();
    await database.drop();
  });

  /** A registry of its own, since figures are read at most every 5 s. */
  async function read(pool = web): Promise<string> {
    const metrics = createMetrics();
    watchOperations(metrics, readingBy(pool));
    return metrics.registry.metrics();
  }
  const stuck = async (statement: string) => {
    await database.pool.query(statement);
    return read();
  };

  it('is nothing at first', async () => {
    const text = await read();
    for (const name of ['deliveries_pending', 'deliveries_failed', 'delivery_overdue_oldest_seconds']) {
      expect(figure(text, `chokin_${name}`), name).toBe(0);
    }
    for (const name of ['messages_unsent', 'message_unsent_oldest_seconds', 'events_parked', 'schedules_due']) {
      expect(figure(text, `chokin_${name}`), name).toBe(0);
    }
    expect(figure(text, 'chokin_jobs_due{queue="apply-provider-event"}')).toBe(0);
  });

  it('shows the events of jobs that hold many', async () => {
    const text = await stuck(
      `insert into pgboss.job (name, data, policy)
       values ('apply-provider-events', '{"events": [["m", "e1", 0, 1], ["m", "e2", 1, 1]]}', 'standard'),
         ('apply-provider-events', '{"events": [["m", "e3", 0, 1]]}', 'standard'), ('apply-provider-events', '{}', 'standard')`,
    );
    expect(figure(text, 'chokin_jobs_due{queue="apply-provider-events"}')).toBe(4);
  });

  it('shows in jobs that nobody takes up, or that were given up', async () => {
    const text = await stuck(
      `insert into pgboss.job (name, data, start_after, policy)
       select q.name, '{}', now() + q.delay, 'standard'
       from (values ('apply-provider-event', interval '0'), ('apply-provider-event', interval '1 hour'),
         ('deliver-webhook.dead', interval '0'), ('deliver-webhook.dead', interval '0')) as q (name, delay)`,
    );
    expect(figure(text, 'chokin_jobs_due{queue="apply-provider-event"}')).toBe(1);
    expect(figure(text, 'chokin_jobs_dead{queue="apply-provider-event"}')).toBe(0);
    expect(figure(text, 'chokin_jobs_dead{queue="deliver-webhook"}')).toBe(2);
  });

  it('shows in deliveries that are late or given up, and in messages that were not handed over', async () => {
    const text = await stuck(
      `with endpoint as (
         insert into webhook_endpoint (merchant_id, endpoint_id, url, secret, created_at, updated_at)
         values ('${MERCHANT}', 'ep_1', 'https://example.com', 's', now(), now()) returning endpoint_id),
       message as (
         insert into webhook_message (merchant_id, message_id, event_type, payload, created_at)
         select '${MERCHANT}', 'msg_' || n, 'wallet.created', '{}', now() from generate_series(1, 3) n returning message_id),
       unsent as (
         insert into unsent_message (merchant_id, message_id, event_type, payload, since)
         values ('${MERCHANT}', '${randomUUID()}', 'payment.reconciled', '{}', now() - interval '20 minutes'))
       insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
       select '${MERCHANT}', message_id, endpoint_id, case message_id when 'msg_1' then 'failed' else 'pending' end,
         case message_id when 'msg_1' then null when 'msg_2' then now() - interval '10 minutes' else now() + interval '1 hour' end
       from message, endpoint`,
    );
    expect(figure(text, 'chokin_deliveries_pending')).toBe(2);
    expect(figure(text, 'chokin_deliveries_failed')).toBe(1);
    expect(figure(text, 'chokin_delivery_overdue_oldest_seconds')).toBeCloseTo(600, -1);
    expect(figure(text, 'chokin_messages_unsent')).toBe(1);
    expect(figure(text, 'chokin_message_unsent_oldest_seconds')).toBeCloseTo(1200, -1);
  });

  it('shows in top-ups that are under way, charged and not credited, and in wallets that nobody has looked at', async () => {
    const text = await stuck(
      `with customer as (
         insert into customer (merchant_id, customer_id, email, name, created_at) values ('${MERCHANT}', 'cus_due', '', '', now())),
       wallet as (
         insert into wallet (merchant_id, customer_id, currency, created_at, updated_at)
         values ('${MERCHANT}', 'cus_due', 'USD', now(), now())),
       due as (
         insert into topup_due (merchant_id, customer_id, currency, since, retry_at)
         values ('${MERCHANT}', 'cus_due', 'USD', now(), now() - interval '7 minutes'))
       insert into topup (merchant_id, customer_id, currency, topup_id, origin, state, amount, source_id, payment_id, is_late, look_at, created_at)
       select '${MERCHANT}', 'cus_due', 'USD', 'top_' || lpad(n::text, 26, '0'), 'manual', state, 5, 'src_stripe', 'pi_' || n, false, now(),
         now() - n * interval '1 minute'
       from unnest(array['charged', 'charged', 'unknown', 'requested']) with ordinality t (state, n)`,
    );
    expect(figure(text, 'chokin_topups_in_flight{state="charged"}')).toBe(2);
    expect(figure(text, 'chokin_topups_in_flight{state="unknown"}')).toBe(1);
    expect(figure(text, 'chokin_topups_in_flight{state="processing"}')).toBe(0);
    expect(figure(text, 'chokin_topup_unconfirmed_oldest_seconds')).toBeCloseTo(120, -1);
    expect(figure(text, 'chokin_topup_unknown_oldest_seconds')).toBeCloseTo(180, -1);
    expect(figure(text, 'chokin_topup_late_seconds')).toBeCloseTo(420, -1);
    expect(figure(text, 'chokin_topup_rules_suspended')).toBe(0);
  });

  it('shows in what was scheduled and is late', async () => {
    const text = await stuck(
      `with customer as (
         insert into customer (merchant_id, customer_id, email, name, created_at) values ('${MERCHANT}', 'cus_late', '', '', now())),
       entries as (
         insert into scheduled_entry (merchant_id, customer_id, scheduled_entry_id, currency, amount, is_credit, post_at, on_shortfall,
           idempotency_key, fingerprint, actor, state, due_at, tries, created_at)
         select '${MERCHANT}', 'cus_late', 'sen_' || post, 'USD', 1, true, now() + post * interval '1 minute', 'skip', 'k' || post,
           sha256('x'), 'cli', 'scheduled', now() + due * interval '1 minute', 0, now()
         from (values (-10, -10), (0, 0), (10, 10), (-30, 50)) as s (post, due))
       insert into grant_schedule (merchant_id, customer_id, currency, schedule_id, incarnation, amount, every, anchor_at, time_zone,
         lot_priority, first_period, done, next_at, paused, actor, created_at, updated_at)
       select '${MERCHANT}', 'cus_late', 'USD', id, 1, 1, 'day', now() + due * interval '1 minute', 'UTC', 50, 0, 0,
         now() + next * interval '1 minute', false, 'cli', now(), now()
       from (values ('late', -20, -20), ('put-off', -40, 15), ('soon', 15, 15)) as s (id, due, next)`,
    );
    // An entry and a schedule that were put off are late all the same: they are tried again in a time to come.
    expect(figure(text, 'chokin_schedules_due')).toBe(5);
    expect(figure(text, 'chokin_schedule_due_oldest_seconds')).toBeCloseTo(2400, -1);
  });

  it('is not known without the database, and is shown as that', async () => {
    const pool = poolOf('postgres://nobody@127.0.0.1:1/none');
    const text = await read(pool);
    expect(text).toContain('chokin_events_parked Nan');
    expect(text).toContain('# TYPE chokin_jobs_dead gauge');
    expect(text).not.toContain('chokin_jobs_dead{');
    await pool.end();
  });
});
