import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Answer, startTestApp, type TestApp } from '../support/app.ts';
import { Victim } from '../support/victim.ts';

/**
 * F46: one merchant sends thousands of entries at once, again and again, while another debits a wallet. What waits is shared by
 * merchant: the other's debits all succeed, and whoever floods is told to slow down and is served for the rest.
 */
const FLOODS = 8;
const ENTRIES = 1_000;
const CREDIT = 100_000;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ environment: { RATE_LIMIT_PER_MINUTE: '0' } });
});
afterAll(() => app.close());

it('no debit of a merchant fails while another floods the service with batches', async () => {
  const honest = await app.newCustomer();
  const path = `/customers/${honest}/wallets/ledger-entries`;
  const entry = { currency: 'USD', amount: 1 };
  await app.call('POST', path, { ...entry, amount: CREDIT, entry_type: 'credit', idempotency_key: 'start' });
  const mallory = await app.newKey('mer_mallory', ['read', 'write']);
  const person = { email: 'm@example.com', name: 'Mallory' };
  const { customer_id } = (await app.call('POST', '/customers', person, mallory)).body;

  const debits: Answer[] = [];
  const victim = new Victim(async () => {
    const debit = { ...entry, entry_type: 'debit', idempotency_key: `debit/${debits.length}` };
    const answer = await app.call('POST', path, debit);
    expect(answer).toMatchObject({ status: 200, body: { balance: CREDIT - debits.length - 1 } });
    debits.push(answer);
  });
  await victim.alone(50);

  const entries = Array.from({ length: ENTRIES }, () => ({ ...entry, customer_id, entry_type: 'credit' }));
  const floods = Array.from({ length: FLOODS }, (_, flood) => {
    const keyed = entries.map((one, place) => ({ ...one, idempotency_key: `${flood}/${place}` }));
    return app.call('POST', '/ledger-entries/batch', { entries: keyed }, mallory);
  });
  const flooded = Promise.all(floods);
  await victim.during(flooded);
  victim.report('F46');
  const outcomes = new Set<string>();
  for (const { status, headers, body } of await flooded) {
    if (status === 200) for (const item of body.items) outcomes.add(item.code ?? item.status);
    else {
      expect([status, headers.get('retry-after')]).toEqual([429, '1']);
      outcomes.add(body.code);
    }
  }
  expect(['created', 'TOO_MANY_REQUESTS']).toEqual(expect.arrayContaining([...outcomes]));
  const metrics = String((await app.call('GET', '/metrics')).body);
  const isLimited = /chokin_limited_total\{who="merchant",limit="waiting"\} [1-9]/.test(metrics);
  expect(isLimited).toBe(outcomes.has('TOO_MANY_REQUESTS'));
  expect(metrics).not.toMatch(/fault="server"/);
});
