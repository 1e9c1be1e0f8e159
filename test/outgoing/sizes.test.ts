import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { readClaimedEntries } from '../../src/ledger/claimed.ts';
import { claimDue } from '../../src/ledger/outbox.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { claimParts } from '../../src/outgoing/claim.ts';
import { buildMessages } from '../../src/outgoing/messages.ts';
import type { OutgoingMessage } from '../../src/outgoing/outgoing.ts';
import { MAX_LOADED_BYTES, MAX_PART_BYTES } from '../../src/outgoing/parts.ts';
import type { Publisher } from '../../src/outgoing/publisher.ts';
import { leaveMessages, sendUnsent } from '../../src/outgoing/unsent.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { makeBulkyWallets } from '../support/bulky-wallets.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { sentArray } from '../support/sent-array.ts';
import { eventually } from '../support/wait.ts';

/** Aims at the bounds in bytes: what is read at once, and that what is told in parts is told as if it were not. */

const logger = createLogger('silent', 'test');
let database: TestDatabase;
let sent: OutgoingMessage[];

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(async () => {
  sent = [];
  await database.pool.query('delete from unannounced_wallet');
});

function publisherThat(overrides: Partial<Publisher> = {}): Publisher {
  return {
    concurrency: 500,
    pausedForSeconds: () => 0,
    send: async (messages) => {
      sent.push(...messages);
      return { kind: 'sent' };
    },
    record: async () => {},
    ...overrides,
  };
}

const run = (publisher: Publisher) => announce({ pool: database.pool, publisher, logger, maxSeconds: 60 });
const sizeOf = (messages: readonly OutgoingMessage[]) =>
  messages.reduce((sum, { payload }) => sum + Buffer.byteLength(payload), 0);
/** As if the other wallets had been told of. */
const dollars = async () => {
  await database.pool.query("update wallet set announced_version = version where currency <> 'USD'");
  await database.pool.query("delete from unannounced_wallet where currency <> 'USD'");
};

describe('news that is larger than the memory', () => {
  test('is read wallet by wallet as what was read is told, and all of it is told', async () => {
    const customers = await makeBulkyWallets(database.pool, 'many', 30, 20);
    await dollars();
    const held: { readonly bytes: number; readonly letGo: () => void }[] = [];
    let most = 0;
    const publisher = publisherThat({
      send: (messages) => {
        sent.push(...messages);
        const { promise, resolve } = Promise.withResolvers<void>();
        held.push({ bytes: sizeOf(messages), letGo: resolve });
        most = Math.max(
          most,
          held.reduce((sum, { bytes }) => sum + bytes, 0),
        );
        return promise.then(() => ({ kind: 'sent' }));
      },
    });
    const running = run(publisher);
    // Of thirty wallets whose news takes 45 MB, as many are read as fit; then one more for each that is told.
    await eventually('as many wallets to be read as fit', () => held.length >= MAX_LOADED_BYTES / MAX_PART_BYTES);
    let isOver = false;
    running.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      held.shift()?.letGo();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await running).toMatchObject({ failed: 0, unfinished: false });
    expect(most).toBeGreaterThan(MAX_LOADED_BYTES / 2);
    expect(most).toBeLessThanOrEqual(MAX_LOADED_BYTES);
    for (const customerId of customers) {
      const told = sent
        .map(({ payload }) => JSON.parse(payload).data)
        .filter((data) => data.customer_id === customerId);
      const seqs = told.flatMap((data) => (data.entries ?? []).map((one: { seq: number }) => one.seq));
      expect(seqs).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    }
    await expectBooksToAgree(database.pool);
  });

  test('that the release before had fixed as one claim is told in parts, under the ids and with the bytes it had', async () => {
    const [customerId = ''] = await makeCustomers(database.pool, ['fixed']);
    // The last entry's message would have room for the one that comes behind the claim.
    const sizes = [40_000, 0, 200, 9_000, 18_000];
    const postings = Array.from({ length: 100 }, (_, index) =>
      posting({ customerId, amountMinor: 10, metadata: textOf(sizes[index % sizes.length] ?? 0) }),
    );
    await transaction(database.pool, (tx) => postBatch(tx, postings, { ...SETTINGS, now: new Date() }));
    await dollars();
    const [fixed] = await claimDue(database.pool, { limit: 1, leaseSeconds: 0 });
    if (fixed === undefined) throw new Error('nothing was claimed');
    expect(fixed).toMatchObject({ fromVersion: -1, toVersion: 100 });
    const entries = await readClaimedEntries(autocommit(database.pool), [fixed], { maxMetadataBytes: 1e9 });
    const whole = buildMessages({ ...fixed, entries, alerts: [] });
    expect(sizeOf(whole)).toBeGreaterThan(MAX_PART_BYTES);
    // Newer entries wait behind the claim, and every part is told twice: the process dies before the first can be marked.
    await transaction(database.pool, (tx) =>
      postBatch(tx, [posting({ customerId, amountMinor: 1 })], { ...SETTINGS, now: new Date() }),
    );
    for (let parts = 0; ; parts += 1) {
      if ((await left(customerId)) === 0) break;
      expect(parts).toBeLessThan(10);
      await run(publisherThat({ record: () => Promise.reject(new Error('the process dies here')) }));
      await database.pool.query('update unannounced_wallet set retry_at = null, attempts = 0');
      const stop = new AbortController();
      const once = publisherThat({ concurrency: 1, record: async () => stop.abort() });
      await announce({ pool: database.pool, publisher: once, logger, maxSeconds: 60, signal: stop.signal });
    }
    const distinct = [...new Map(sent.map((message) => [message.messageId, message])).values()];
    expect(distinct.slice(0, whole.length)).toEqual(whole);
    expect(JSON.parse(distinct[whole.length]?.payload ?? '').data).toMatchObject({
      version: 101,
      previous_version: 100,
    });
    expect(distinct).toHaveLength(whole.length + 1);
    expect(sent).toEqual(sent.map(({ messageId }) => distinct.find((one) => one.messageId === messageId)));
    await expectBooksToAgree(database.pool);
  });

  test('is measured as text, not as Postgres stores it', async () => {
    await makeBulkyWallets(database.pool, 'packed', 1, 20);
    await dollars();
    const stored = await database.pool.query<{ bytes: number }>(
      'select max(pg_column_size(metadata))::int8 as bytes from entry',
    );
    expect(stored.rows[0]?.bytes).toBeLessThan(10_000);
    const [part] = await claimParts(database.pool, 1);
    expect(part).toMatchObject({ isLast: false, toVersion: 13, claim: { toVersion: 20 } });
    expect(part?.bytes).toBeGreaterThan(13 * 75_000);
  });
});

test('of a large claim is measured by several statements, since one would take too long and be cancelled', async () => {
  await makeCustomers(
    database.pool,
    Array.from({ length: 60 }, (_, index) => `sized${index}`),
  );
  const statements = vi.spyOn(pg.Client.prototype, 'query');
  const parts = await claimParts(database.pool, 500);
  const ofClaims = z.object({
    text: z.string().includes('octet_length(e.reason)'),
    values: z.tuple([z.string(), z.instanceof(Buffer)]).rest(z.unknown()),
  });
  const sized = statements.mock.calls.flatMap(([statement]) => {
    const { success, data } = ofClaims.safeParse(statement);
    return success ? [sentArray(data.values[1]).length] : [];
  });
  statements.mockRestore();
  expect(parts.length).toBeGreaterThanOrEqual(60);
  expect(sized.reduce((sum, one) => sum + one, 0)).toBe(parts.length);
  expect(Math.max(...sized)).toBeLessThanOrEqual(50);
});

test('metadata that no message can hold is not even read, and its entry is told without it', async () => {
  const [customerId = ''] = await makeCustomers(database.pool, ['huge']);
  const huge = [300_000, 20_000_000, 100].map((bytes) =>
    posting({ customerId, amountMinor: 10, metadata: textOf(bytes) }),
  );
  await transaction(database.pool, (tx) => postBatch(tx, huge, { ...SETTINGS, now: new Date() }));
  await dollars();
  const [part] = await claimParts(database.pool, 1);
  expect(part?.bytes).toBeLessThan(10_000);
  await database.pool.query('update unannounced_wallet set claimed_until = null');
  expect(await run(publisherThat())).toMatchObject({ wallets: 1, failed: 0 });
  const [told] = sent.slice(1).map(({ payload }) => JSON.parse(payload).data);
  expect(told.entries).toMatchObject([
    { seq: 1, metadata: null, metadata_omitted: true },
    { seq: 2, metadata: null, metadata_omitted: true },
    { seq: 3, metadata: textOf(100) },
  ]);
});

test('messages that belong to no wallet are claimed a megabyte at a time, and one that is larger alone', async () => {
  const payloads = [2_000_000, 400_000, 400_000, 400_000].map((bytes) => 'x'.repeat(bytes));
  const messages = payloads.map((payload, index) => {
    return { merchantId: MERCHANT, messageId: `whm_${index}`, eventType: 'payment.reconciled', payload };
  });
  await makeCustomers(database.pool, []);
  await transaction(database.pool, (tx) => leaveMessages(tx, messages, new Date('2026-02-01T00:00:00Z')));
  for (const [count, unfinished] of [
    [1, true],
    [2, true],
    [1, false],
  ] as const) {
    expect(await sendUnsent(database.pool, publisherThat(), logger)).toMatchObject({ messages: count, unfinished });
  }
  expect(sent.map(({ messageId }) => messageId)).toEqual(['whm_0', 'whm_1', 'whm_2', 'whm_3']);
});

const textOf = (bytes: number) => ({ note: 'x'.repeat(bytes) });

async function left(customerId: string): Promise<number> {
  const { rowCount } = await database.pool.query('select 1 from unannounced_wallet where customer_id = $1', [
    customerId,
  ]);
  return rowCount ?? 0;
}
