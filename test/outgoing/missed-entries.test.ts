import { afterAll, beforeAll, expect, test } from 'vitest';
import { autocommit } from '../../src/db/transaction.ts';
import { MAX_PART_BYTES } from '../../src/outgoing/parts.ts';
import { type MissedPage, missedPage } from '../../src/outgoing/recovery/missed-entries.ts';
import type { ClaimedRecovery } from '../../src/outgoing/recovery/store.ts';
import { makeBulkyWallets } from '../support/bulky-wallets.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT } from '../support/ledger.ts';

/** What a recovery makes from the ledger: how much of it at a time, and that nothing is left out where it is cut. */

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const HOUR_MS = 3_600_000;
const since = new Date(Date.now() - HOUR_MS);
const recovery: ClaimedRecovery = {
  merchantId: MERCHANT,
  recoveryId: 'rcv_test',
  endpointId: 'ep_test',
  since,
  until: new Date(Date.now() + HOUR_MS),
  state: 'running',
  reason: null,
  resent: 0,
  rebuilt: 0,
  createdAt: since,
  finishedAt: null,
  phase: 'missing',
  place: null,
};

test('bulky entries are made into messages a megabyte or two at a time, each of them once', async () => {
  const customers = await makeBulkyWallets(database.pool, 'bulky', 3, 40);
  await database.pool.query('update wallet set announced_version = version');
  const pages: MissedPage[] = [];
  let place: string | null = null;
  do {
    const page: MissedPage = await missedPage(autocommit(database.pool), { ...recovery, place }, async () => []);
    pages.push(page);
    place = page.place;
  } while (place !== null);
  for (const { made } of pages) {
    const bytes = made.reduce((sum, { payload }) => sum + Buffer.byteLength(payload), 0);
    expect(bytes).toBeLessThanOrEqual(2 * MAX_PART_BYTES);
  }
  const made = pages.flatMap((page) => page.made);
  for (const customerId of customers) {
    const ranges = made.flatMap(({ range }) => (range?.customerId === customerId ? [range] : []));
    const seqs = ranges.flatMap(({ firstSeq, lastSeq }) =>
      Array.from({ length: lastSeq - firstSeq + 1 }, (_, index) => firstSeq + index),
    );
    expect(seqs).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
  }
});
