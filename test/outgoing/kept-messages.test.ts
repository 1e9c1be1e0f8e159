import { afterAll, beforeAll, expect, test } from 'vitest';
import { autocommit, type Queryable } from '../../src/db/transaction.ts';
import { fillRanges } from '../../src/outgoing/embedded/kept-messages.ts';
import { knownMessagesIn } from '../../src/outgoing/recovery/known-messages.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';

/** What the release before stored, as a recovery finds it. */

let database: TestDatabase;
const since = new Date(Date.now() - 3_600_000);

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  // As that release wrote them: no entries are noted.
  await database.pool.query(
    `insert into webhook_message (merchant_id, message_id, event_type, payload, created_at)
     select $1, 'msg_' || n, 'wallet.balance.changed', jsonb_build_object('data', jsonb_build_object(
       'customer_id', 'cus_old', 'currency', 'USD', 'previous_version', n - 1, 'version', n)), now()
     from generate_series(1, 5) n`,
    [MERCHANT],
  );
});
afterAll(() => database.drop());

test('messages of the release before are found by an index that holds nothing else, however many there are', async () => {
  const plans: string[] = [];
  const explaining: Queryable = {
    ...autocommit(database.pool),
    queryArrays: async (statement, values) => {
      const explained = await database.pool.query(`explain ${String(statement)}`, [...values]);
      plans.push(JSON.stringify(explained.rows));
      return autocommit(database.pool).queryArrays(statement, values);
    },
  };
  expect(await fillRanges(explaining, MERCHANT, { since, limit: 2 })).toBe(2);
  expect(plans[0]).toContain('webhook_message_unnoted');
  expect(await fillRanges(autocommit(database.pool), MERCHANT, { since, limit: 10 })).toBe(3);
  expect(await fillRanges(autocommit(database.pool), MERCHANT, { since, limit: 10 })).toBe(0);
  const wallet = { merchantId: MERCHANT, customerId: 'cus_old', currency: 'USD' };
  expect(await knownMessagesIn('webhook_message', autocommit(database.pool))(wallet, 1, 3)).toEqual([
    { messageId: 'msg_2', firstSeq: 2, lastSeq: 2 },
    { messageId: 'msg_3', firstSeq: 3, lastSeq: 3 },
  ]);
});
