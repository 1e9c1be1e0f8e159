import { afterAll, beforeAll, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { ApplyTrace } from '../../src/inbox/apply-trace.ts';
import type { EventWork } from '../../src/inbox/event-work.ts';
import { type EventKey, type LockedEvent, lockEvents } from '../../src/inbox/events.ts';
import type { SpanOptions, Tracing } from '../../src/telemetry/tracing.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { makeCustomers } from '../support/ledger.ts';
import { stripePaymentSucceeded } from '../support/signing.ts';

/** The spans of a batch of events, written down as they begin and end. */

let database: TestDatabase;
let inbox: TestInbox;
let events: readonly LockedEvent[];
const stripe = testSource('stripe');

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [stripe], works: false });
  const ids: EventKey[] = [];
  for (const paymentId of ['pi_one', 'pi_two']) {
    const receipt = await inbox.deliver(stripePaymentSucceeded({ paymentId, customer: null, metadata: {} }), stripe);
    if (receipt.kind === 'stored') ids.push({ merchantId: stripe.merchantId, eventId: receipt.eventId });
  }
  events = await transaction(database.pool, (tx) => lockEvents(tx, ids));
});
afterAll(async () => {
  await inbox.stop();
  await database.drop();
});

function fakeTracing(): { readonly tracing: Tracing; readonly said: unknown[] } {
  const said: unknown[] = [];
  const start = (name: string, options?: SpanOptions) => {
    said.push(['begins', name, options?.links ?? []]);
    const end = (attributes: object = {}, error?: unknown) => void said.push(['ends', name, attributes, error ?? null]);
    return { traceParent: `of ${name}`, note: () => {}, end };
  };
  return { tracing: { isOn: true, start, close: async () => {} }, said };
}

it('a transaction that runs again goes on with the spans of its first run, and each ends with what became of it', () => {
  const { tracing, said } = fakeTracing();
  const trace = new ApplyTrace(tracing, 'apply-provider-events');
  trace.begin(events);
  trace.begin(events);
  const begun = ['begins', 'apply event', ['of apply batch']];
  expect(said).toEqual([['begins', 'apply batch', []], begun, begun]);
  expect(trace.traceParent(events[0]?.eventId ?? '')).toBe('of apply event');
  expect(trace.traceParent('evt_unknown')).toBeNull();
  const works = events.map(
    (event, index): EventWork => ({
      event,
      source: stripe,
      facts: [],
      naming: null,
      ties: [],
      payer: null,
      accounts: [],
      paymentId: null,
      unread: [],
      traceParent: null,
      verdict:
        index === 0
          ? { state: 'applied', reason: null, detail: null, effect: 'recorded' }
          : { state: 'parked', reason: 'no_customer', detail: null, effect: null },
    }),
  );
  trace.applied(works);
  expect(said.slice(3)).toEqual([
    ['ends', 'apply event', { 'chokin.outcome': 'applied' }, null],
    ['ends', 'apply event', { 'chokin.outcome': 'parked', 'chokin.reason': 'no_customer' }, null],
    ['ends', 'apply batch', { 'chokin.outcome': 'committed' }, null],
  ]);
});

it('what was undone ends with the error', () => {
  const { tracing, said } = fakeTracing();
  const trace = new ApplyTrace(tracing, 'apply-provider-events');
  trace.begin(events.slice(0, 1));
  const error = new Error('rolled back');
  trace.failed(error);
  expect(said).toEqual([
    ['begins', 'apply event', []],
    ['ends', 'apply event', { 'chokin.outcome': 'undone' }, error],
  ]);
});

it('names the queue from which the events come', () => {
  const queues = new Set<unknown>();
  const start: Tracing['start'] = (_name, options) => {
    queues.add(options?.attributes?.['messaging.destination.name']);
    return { traceParent: null, note: () => {}, end: () => {} };
  };
  new ApplyTrace({ isOn: true, start, close: async () => {} }, 'apply-provider-events').begin(events);
  expect([...queues]).toEqual(['apply-provider-events']);
});
