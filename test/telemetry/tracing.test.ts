import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import { loadConfig } from '../../src/config/env.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import { Receiver } from '../../src/inbox/receive.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { createOutgoing } from '../../src/outgoing/index.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { UNOBSERVED } from '../../src/telemetry/observe.ts';
import { startTracing, type Tracing } from '../../src/telemetry/tracing.ts';
import { startTestWorker } from '../support/admin.ts';
import { API_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { ended, ROOT } from '../support/cli.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, testSource } from '../support/inbox.ts';
import { makeCustomers } from '../support/ledger.ts';
import { OtlpReceiver, type ReceivedSpan } from '../support/otlp-receiver.ts';
import { BOX } from '../support/secrets.ts';
import { STRIPE_SECRET, signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

const logger = createLogger('silent', 'test');
const THEIR_TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const THEIR_SPAN = '00f067aa0ba902b7';
const [SERVER, CLIENT, PRODUCER, CONSUMER] = [2, 3, 4, 5];

let collector: OtlpReceiver;

beforeAll(async () => {
  collector = await OtlpReceiver.start();
  // The SDK's own variable: spans are sent soon instead of every 5 s.
  process.env.OTEL_BSP_SCHEDULE_DELAY = '50';
});
afterAll(() => collector.close());

async function connect(endpoint = collector.url): Promise<Tracing> {
  const tracing = await startTracing(loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }), logger);
  return tracing ?? expect.unreachable('tracing is off');
}

/** The one span of this name, once it has come. */
function received(name: string, traceId?: string, attributes: Record<string, string> = {}): Promise<ReceivedSpan> {
  const wanted = Object.entries(attributes);
  return eventually(`a span "${name}"`, () =>
    collector.named(name, traceId).find((span) => wanted.every(([key, value]) => span.attributes[key] === value)),
  );
}

describe('web and worker', { timeout: 60_000 }, () => {
  let app: TestApp;
  let worker: Worker;
  let endpoint: WebhookReceiver;
  let customerId = '';

  beforeAll(async () => {
    const environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20hush,x-team=payments',
      OTEL_SERVICE_NAME: 'wallets',
    };
    app = await startTestApp({ environment });
    const sending = { STRIPE_WEBHOOK_SECRET: STRIPE_SECRET, ALLOW_PRIVATE_ENDPOINTS: 'true' };
    worker = await startTestWorker(app, { ...environment, ...sending });
    endpoint = await WebhookReceiver.start();
    customerId = await app.newCustomer();
    const types = ['wallet.balance.changed'];
    await app.call('POST', '/webhook-endpoints', { url: endpoint.url, event_types: types });
  });
  afterAll(async () => {
    await worker.close();
    await app.close();
    await endpoint.close();
  });

  const debit = (traceparent: string) =>
    app.call(
      'POST',
      `/customers/${customerId}/wallets/ledger-entries`,
      { amount: 1, currency: 'USD', entry_type: 'debit' },
      { traceparent },
    );

  it('follow a payment from its delivery to the merchant’s endpoint in one trace', async () => {
    const body = stripePaymentSucceeded({ amount: 987_654, metadata: { wallet_customer_id: customerId } });
    // A trace that a stranger names is not gone on with.
    const traceparent = `00-${THEIR_TRACE}-${THEIR_SPAN}-01`;
    expect(await app.call('POST', '/webhooks/stripe', body, { ...signStripe(body), traceparent })).toMatchObject({
      status: 200,
    });
    const delivered = await received('deliver webhook');
    const { traceId } = delivered;
    expect(traceId).not.toBe(THEIR_TRACE);
    const arrived = await received('receive delivery', traceId);
    const applied = await received('apply event', traceId);
    const announced = await received('announce wallet', traceId);

    const event = { 'chokin.provider': 'stripe', 'chokin.event.type': 'payment_intent.succeeded' };
    const eventId = applied.attributes['chokin.event.id'];
    expect(eventId).toMatch(/^evt_/);
    expect(arrived).toMatchObject({ service: 'wallets', kind: SERVER });
    expect(arrived.parentSpanId ?? '').toBe('');
    expect(arrived.attributes).toEqual({ ...event, 'chokin.event.id': eventId, 'chokin.outcome': 'stored' });
    expect(applied).toMatchObject({ kind: CONSUMER, parentSpanId: arrived.spanId });
    expect(applied.attributes).toMatchObject({ ...event, 'chokin.outcome': 'applied' });
    expect(announced).toMatchObject({ kind: PRODUCER, parentSpanId: applied.spanId });
    expect(announced.attributes).toMatchObject({ 'chokin.outcome': 'sent', 'chokin.entries': '1' });
    expect(delivered).toMatchObject({ kind: CLIENT, parentSpanId: announced.spanId });
    expect(delivered.attributes).toMatchObject({
      'chokin.event.type': 'wallet.balance.changed',
      'chokin.message.id': endpoint.payloads[0]?.id,
      'http.response.status_code': '204',
      'chokin.outcome': 'delivered',
    });
    for (const headers of collector.headers) {
      expect(headers).toMatchObject({ authorization: 'Bearer hush', 'x-team': 'payments' });
    }
  });

  it('go on with the trace of a request of the API, up to a failing endpoint', async () => {
    endpoint.answerWith({ status: 500 });
    expect(await debit(`00-${THEIR_TRACE}-${THEIR_SPAN}-01`)).toMatchObject({ status: 200 });
    const delivered = await received('deliver webhook', THEIR_TRACE);
    const posted = await received('post entry', THEIR_TRACE);
    const announced = await received('announce wallet', THEIR_TRACE);
    expect(posted).toMatchObject({ kind: SERVER, parentSpanId: THEIR_SPAN });
    expect(posted.attributes).toEqual({ 'chokin.direction': 'debit', 'chokin.outcome': 'created' });
    expect(announced.parentSpanId).toBe(posted.spanId);
    expect(delivered).toMatchObject({ parentSpanId: announced.spanId, status: { code: 2 } });
    expect(delivered.attributes).toMatchObject({ 'chokin.outcome': 'retried', 'http.response.status_code': '500' });
    const again = await received('deliver webhook', THEIR_TRACE, { 'chokin.attempt': '2' });
    expect(again.attributes).toMatchObject({ 'chokin.outcome': 'delivered' });
  });

  it('begin a trace where the caller names none that is valid, and none where the caller wants none', async () => {
    const posted = collector.named('post entry').length;
    const unwanted = 'ffffffffffffffffffffffffffffffff';
    await debit(`00-${unwanted}-${THEIR_SPAN}-00`);
    const invalid = [
      '',
      'nonsense',
      `00-${'0'.repeat(32)}-${THEIR_SPAN}-01`,
      `00-${THEIR_TRACE}-${'0'.repeat(16)}-01`,
      `00-${THEIR_TRACE.toUpperCase()}-${THEIR_SPAN}-01`,
      `00-${THEIR_TRACE}-${THEIR_SPAN}-01-more`,
    ];
    for (const traceparent of invalid) await debit(traceparent);
    await eventually('their spans', () => collector.named('post entry').length === posted + invalid.length);
    for (const { traceId, parentSpanId } of collector.named('post entry').slice(posted)) {
      expect([THEIR_TRACE, unwanted]).not.toContain(traceId);
      expect(parentSpanId ?? '').toBe('');
    }
  });

  it('say why a delivery or a posting was refused', async () => {
    const body = stripePaymentSucceeded({ amount: 1 });
    const forged = signStripe(body, 'whsec_of_somebody_else');
    expect(await app.call('POST', '/webhooks/stripe', body, { ...forged })).toMatchObject({ status: 401 });
    await app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, {
      amount: 90_000_000,
      currency: 'USD',
      entry_type: 'debit',
    });
    await received('receive delivery', undefined, { 'chokin.outcome': 'refused' });
    await received('post entry', undefined, { 'chokin.code': 'INSUFFICIENT_WALLET_FUNDS' });
  });

  it('tell no collector who it was, what it was about, or a secret', () => {
    const words = [
      STRIPE_SECRET,
      API_KEY,
      'hush',
      'whsec_',
      endpoint.url,
      customerId,
      'ada@example.com',
      'bus_default',
    ];
    for (const word of words) expect(collector.text).not.toContain(word);
    // Times are made of digits too.
    const attributes = JSON.stringify(collector.spans.map((span) => span.attributes));
    for (const amount of ['987654', '90000000']) expect(attributes).not.toContain(amount);
  });
});

describe('the parts', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
    await makeCustomers(database.pool, ['a', 'b']);
  });
  afterAll(() => database.drop());

  it('link the span of a batch with the trace of each of its events, and say when nothing came of it', async () => {
    const tracing = await connect();
    const inbox = await startInbox(database, { works: false, sharesJobs: false });
    const services = { ...inbox.services, observe: { ...UNOBSERVED, tracing } };
    const receiver = new Receiver(services);
    for (const customer of ['cus_a', 'cus_b']) {
      const body = stripePaymentSucceeded({ amount: 5, metadata: { wallet_customer_id: customer } });
      await receiver.receive(testSource('stripe'), { rawBody: Buffer.from(body), headers: { ...signStripe(body) } });
    }
    const jobs = await inbox.boss.fetch<{ eventId: string }>('apply-provider-event', {
      batchSize: 2,
      includeMetadata: true,
    });
    const claims = jobs.map(({ id, retryCount, retryLimit, data }) => ({ id, retryCount, retryLimit, ...data }));
    // First as a worker whose jobs were given to another meanwhile.
    const stale = claims.map((claim) => ({ ...claim, id: crypto.randomUUID() }));
    expect(await applyEvents(services, stale)).toMatchObject([{ status: 'failed' }, { status: 'failed' }]);
    expect(await applyEvents(services, claims)).toMatchObject([{ status: 'completed' }, { status: 'completed' }]);
    await tracing.close();
    await inbox.stop();

    const batch = await received('apply batch', undefined, { 'chokin.outcome': 'committed' });
    const undone = await received('apply batch', undefined, { 'chokin.outcome': 'undone' });
    expect(batch.attributes).toMatchObject({ 'messaging.batch.message_count': '2' });
    expect(undone).toMatchObject({ status: { code: 2 }, attributes: { 'error.type': 'ClaimLostError' } });
    expect(batch.links).toHaveLength(2);
    for (const { traceId, spanId } of batch.links) {
      expect(collector.named('receive delivery', traceId)).toMatchObject([{ spanId }]);
      const applied = await received('apply event', traceId, { 'chokin.outcome': 'applied' });
      expect(applied).toMatchObject({
        parentSpanId: spanId,
        links: [{ traceId: batch.traceId, spanId: batch.spanId }],
      });
    }
  });

  it('follow what is announced through Svix, also where it fails', async () => {
    const server = await SvixServer.start();
    const tracing = await connect();
    const inbox = await startInbox(database, { works: false, sharesJobs: false });
    const { pool, boss, clock } = inbox.services;
    const config = { SVIX_TOKEN: new Secret(SVIX_TOKEN), SVIX_SERVER_URL: server.url, ALLOW_PRIVATE_ENDPOINTS: false };
    const observe = { ...UNOBSERVED, tracing };
    const { publisher, close } = createOutgoing({ config, pool, boss, clock, logger, box: BOX, observe });
    const before = collector.spans.length;
    server.script('message.create', { status: 503 });
    await announce({ pool, publisher, logger, maxSeconds: 10, observe });
    await tracing.close();
    await close();
    await inbox.stop();
    await server.close();
    const fresh = collector.spans.slice(before);
    const sent = fresh.filter(({ name }) => name === 'send to Svix');
    const outcomes = sent.map((span) => span.attributes['chokin.outcome']);
    expect(new Set(outcomes)).toEqual(new Set(['sent', 'failed']));
    for (const span of sent) {
      const parent = fresh.find(({ spanId }) => spanId === span.parentSpanId);
      expect(parent).toMatchObject({ name: 'announce wallet', traceId: span.traceId });
    }
  });
});

describe('a collector', () => {
  it('is not looked for unless there is one, and then the SDK is not even loaded', async () => {
    const loaded = async (environment: Record<string, string>) => {
      const code = `
        import { createRequire } from 'node:module';
        import { loadConfig } from './src/config/env.ts';
        import { createLogger } from './src/telemetry/log.ts';
        import { startTracing } from './src/telemetry/tracing.ts';
        import './src/web.ts';
        import './jobs/worker.ts';
        const tracing = await startTracing(loadConfig(), createLogger('silent', 'test'));
        const { cache } = createRequire(import.meta.url);
        const loaded = Object.keys(cache).filter((name) => /@opentelemetry.(sdk|exporter|otlp)/.test(name)).length;
        console.log(JSON.stringify({ isOn: tracing.isOn, loaded: loaded > 0 }));
        process.exit();`;
      const env = { PATH: process.env.PATH, ...environment };
      const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: ROOT, env });
      const { out, err } = await ended(child);
      expect(err).toBe('');
      return JSON.parse(out);
    };
    expect(await loaded({ OTEL_SERVICE_NAME: 'chokin' })).toEqual({ isOn: false, loaded: false });
    const traces = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces` };
    expect(await loaded(traces)).toEqual({ isOn: true, loaded: true });
  });

  it('may have an address for traces of its own', async () => {
    const url = `${collector.url}/v1/traces`;
    const environment = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: url, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' };
    const tracing = await startTracing(loadConfig(environment), logger);
    tracing.start('alone').end({ 'chokin.outcome': 'sent' });
    await tracing.close();
    expect(collector.named('alone')).toMatchObject([{ service: 'chokin', attributes: { 'chokin.outcome': 'sent' } }]);
  });

  it('that is away or hangs harms nobody: it is mentioned in the log, and a stop waits 3 s at most', async () => {
    const lines: string[] = [];
    const toLines = createLogger('info', 'test', { write: (line) => void lines.push(line) });
    const away = await startTracing(loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' }), toLines);
    away.start('lost').end();
    const silent = await OtlpReceiver.start();
    silent.hangs = true;
    const app = await startTestApp({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: silent.url } });
    const path = `/customers/${await app.newCustomer()}/wallets/ledger-entries`;
    const entry = { amount: 5, currency: 'USD', entry_type: 'credit' };
    for (let index = 0; index < 20; index += 1) {
      expect(await app.call('POST', path, entry)).toMatchObject({ status: 200 });
    }
    await eventually('the collector to be asked', () => silent.requests > 0);
    const startedMs = performance.now();
    await Promise.all([app.close(), away.close()]);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    await eventually('a line in the log', () => lines.some((line) => line.includes('traces could not be sent')));
    expect(lines).toHaveLength(1);
    await silent.close();
  }, 60_000);
});
