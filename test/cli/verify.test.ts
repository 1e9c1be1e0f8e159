import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import type { Entry } from '../../src/ledger/entry.ts';
import { type HashedEntry, nextHash, startOfChain } from '../../src/ledger/hash-chain.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

let cli: TestCli;
let entries: readonly Entry[];

beforeAll(async () => {
  cli = await startTestCli();
  await makeCustomers(cli.database.pool, ['a', 'b']);
  const postings = [
    posting({ amountMinor: 5000, reason: 'Welcome' }),
    posting({ amountMinor: 100, isCredit: false, reason: 'usage' }),
    posting({ amountMinor: 200, isCredit: false }),
  ];
  const results = await transaction(cli.database.pool, (tx) =>
    postBatch(tx, postings, { ...SETTINGS, now: new Date() }),
  );
  entries = results.flatMap((result) => (result.kind === 'created' ? [result.entry] : []));
});

afterAll(() => cli.close());

const verify = (head: string | null | undefined) => cli.chokin(['verify', 'cus_a', 'USD', '--head', head ?? '']);
const resultOf = async (head: string | null | undefined) =>
  JSON.parse((await cli.chokin(['verify', 'cus_a', 'USD', '--head', head ?? '', '--json'])).out);

describe('npx chokin verify', () => {
  it('finds the entry that a head was told of, the newest or an older one', async () => {
    expect(await resultOf(entries[2]?.hash)).toEqual({
      proven: true,
      head_of_entry: 3,
      changed_entry: null,
      entries: 3,
      anchors: 0,
    });
    const older = await verify(entries[0]?.hash?.toUpperCase());
    expect(older).toMatchObject({ code: 0, out: expect.stringMatching(/of entry 1\b/) });
  });

  it('exits with 1 for a head of no entry, and refuses what is no head', async () => {
    expect(await verify('0'.repeat(64))).toMatchObject({ code: 1, out: expect.stringMatching(/NO[\s\S]*of no entry/) });
    expect(await verify('abc')).toEqual(failure(/--head: wants the 64 hexadecimal digits/, 2));
  });

  it('notices an entry that was changed, and a history that was rewritten with every hash', async () => {
    const kept = entries[2]?.hash;
    const owner = cli.database.pool;
    const asOwner = async (statement: string, values: readonly unknown[] = []) => {
      const client = await owner.connect();
      await client.query("set session_replication_role = 'replica'");
      await client.query(statement, [...values]);
      client.release(true);
    };
    await asOwner("update entry set reason = 'gift' where customer_id = 'cus_a' and seq = 2");
    expect(await resultOf(kept)).toMatchObject({ proven: false, changed_entry: 2 });
    // Everything is computed anew, as whoever owns the database can: nothing disagrees, but for what the merchant kept.
    let previous = startOfChain({
      merchantId: 'bus_default',
      customerId: 'cus_a',
      currency: 'USD',
      version: 0,
      balance: 0,
    });
    for (const entry of entries) {
      const rewritten: HashedEntry = entry.seq === 2 ? { ...entry, reason: 'gift' } : entry;
      previous = nextHash(previous, rewritten);
      await asOwner("update entry set hash = decode($2, 'hex') where customer_id = 'cus_a' and seq = $1", [
        entry.seq,
        previous,
      ]);
    }
    expect(await resultOf(previous)).toMatchObject({ proven: true, head_of_entry: 3 });
    expect(await resultOf(kept)).toMatchObject({ proven: false, head_of_entry: null, changed_entry: null });
  });
});
