import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Answer, startTestApp, type TestApp } from '../support/app.ts';
import { Victim } from '../support/victim.ts';

/**
 * F46: one merchant sends thousands of entries at once, again and again, while another debits a wallet: in batches, one by one to a
 * single wallet, and under a single key. What waits is shared by merchant: the other's debits all succeed, and whoever floods is
 * told to slow down and is served for the rest.
 */
const FLOODS = 8;
const ENTRIES = 1_000;
const CALLERS = 500;
const CREDIT = 100_000;
const ONE = { currency: 'USD', amount: 1 };

let app: TestApp;
let mallory: { authorization: string };
let malloryId: string;
let malloryPath: string;
let victim: Victim;

beforeAll(async () => {
  app = await startTestApp({ environment: { RATE_LIMIT_PER_MINUTE: '0' } });
  mallory = await app.newKey('mer_mallory', ['read', 'write']);
});
afterAll(() => app.close());

beforeEach(async () => {
  const honest = await app.newCustomer();
  const path = `/customers/${honest}/wallets/ledger-entries`;
  await app.call('POST', path, { ...ONE, amount: CREDIT, entry_type: 'credit', idempotency_key: 'start' });
  const person = { email: 'm@example.com', name: 'Mallory' };
  malloryId = (await app.call('POST', '/customers', person, mallory)).body.customer_id;
  malloryPath = `/customers/${malloryId}/wallets/ledger-entries`;
  let debits = 0;
  victim = new Victim(async () => {
    const debit = { ...ONE, entry_type: 'debit', idempotency_key: `debit/${debits}` };
    debits += 1;
    expect(await app.call('POST', path, debit)).toMatchObject({ status: 200, body: { balance: CREDIT - debits } });
  });
  await victim.alone(50);
});

async function expectNoFailureOfOurs(isSlowedDown: boolean): Promise<void> {
  const metrics = String((await app.call('GET', '/metrics')).body);
  if (isSlowedDown) expect(metrics).toMatch(/chokin_limited_total\{who="merchant",limit="waiting"\} [1-9]/);
  expect(metrics).not.toMatch(/fault="server"/);
}

const balanceOfMallory = async () =>
  (await app.call('GET', `/customers/${malloryId}/wallets/USD`, undefined, mallory)).body.balance;

it('no debit of a merchant fails while another floods the service with batches', async () => {
  const entries = Array.from({ length: ENTRIES }, () => ({ ...ONE, customer_id: malloryId, entry_type: 'credit' }));
  const floods = Array.from({ length: FLOODS }, (_, flood) => {
    const keyed = entries.map((one, place) => ({ ...one, idempotency_key: `${flood}/${place}` }));
    return app.call('POST', '/ledger-entries/batch', { entries: keyed }, mallory);
  });
  const flooded = Promise.all(floods);
  await victim.during(flooded);
  victim.report('F46, batches');
  const outcomes = new Set<string>();
  for (const { status, headers, body } of await flooded) {
    if (status === 200) for (const item of body.items) outcomes.add(item.code ?? item.status);
    else {
      expect([status, headers.get('retry-after')]).toEqual([429, '1']);
      outcomes.add(body.code);
    }
  }
  expect(['created', 'TOO_MANY_REQUESTS']).toEqual(expect.arrayContaining([...outcomes]));
  await expectNoFailureOfOurs(outcomes.has('TOO_MANY_REQUESTS'));
});

it('nor while another’s five hundred callers credit one wallet, each under a key as long as keys may be', async () => {
  const callers = Array.from({ length: CALLERS }, async (_, caller) => {
    const answers: Answer[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const idempotency_key = `${caller}/${turn}/`.padEnd(255, 'k');
      answers.push(await app.call('POST', malloryPath, { ...ONE, entry_type: 'credit', idempotency_key }, mallory));
    }
    return answers;
  });
  const flooded = Promise.all(callers);
  await victim.during(flooded);
  victim.report('F46, one wallet');
  const byStatus = Map.groupBy((await flooded).flat(), ({ status }) => status);
  expect([200, 429]).toEqual(expect.arrayContaining([...byStatus.keys()]));
  expect(await balanceOfMallory()).toBe(byStatus.get(200)?.length);
  await expectNoFailureOfOurs(byStatus.has(429));
});

it('nor while another’s five hundred callers use one key, of which one writes', async () => {
  const entry = { ...ONE, entry_type: 'credit', idempotency_key: 'the one' };
  const callers = Array.from({ length: CALLERS }, async () => {
    const answers: Answer[] = [];
    for (let turn = 0; turn < 4; turn += 1) answers.push(await app.call('POST', malloryPath, entry, mallory));
    return answers;
  });
  const flooded = Promise.all(callers);
  await victim.during(flooded);
  victim.report('F46, one key');
  const counts = Map.groupBy((await flooded).flat(), ({ status, body }) => body.code ?? String(status));
  expect(counts.get('200')).toHaveLength(1);
  expect(['200', 'IDEMPOTENCY_KEY_EXISTS', 'TOO_MANY_REQUESTS']).toEqual(expect.arrayContaining([...counts.keys()]));
  expect(await balanceOfMallory()).toBe(1);
  await expectNoFailureOfOurs(counts.has('TOO_MANY_REQUESTS'));
});
