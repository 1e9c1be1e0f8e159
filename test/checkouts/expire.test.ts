import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DUE_CHECKOUTS } from '../../src/checkouts/expire.ts';
import { systemClock } from '../../src/clock.ts';
import type { Pool } from '../../src/db/pool.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import type { Checkout } from '../../src/ledger/checkouts/checkout.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { settleAllDue } from '../../src/schedules/due.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { checkoutNow, openAt, opening } from '../support/checkouts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { dyingAfter } from '../support/dying-pool.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

let database: TestDatabase;
let customers = 0;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

const HOUR_MS = 3_600_000;

/** Checkouts whose end is over: one that holds a part of the wallet, and one that holds nothing. */
async function over(): Promise<readonly [Checkout, Checkout]> {
  customers += 1;
  const at = new Date(Date.now() - HOUR_MS);
  const [customerId = ''] = await makeCustomers(database.pool, [`leaves${customers}`]);
  const credit = posting({ customerId, amountMinor: 2000 });
  await transaction(database.pool, (tx) => postBatch(tx, [credit], { ...SETTINGS, now: at }));
  const nothing = { wallet: { use: 'none', most: null, requireFull: false } } as const;
  const holding = await openAt(database.pool, opening(customerId, 5000), at);
  return [holding, await openAt(database.pool, opening(customerId, 5000, nothing), at)];
}

const run = (pool: Pool) =>
  settleAllDue(
    {
      ...{ pool, settings: SETTINGS, clock: systemClock, onPosted: () => {} },
      ...{ signal: new AbortController().signal, logger: createLogger('silent', 'test') },
    },
    DUE_CHECKOUTS,
  );

async function standing({ customerId }: Checkout, checkouts: readonly Checkout[]) {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  const { balance, held } = wallets.find(({ currency }) => currency === 'USD') ?? {};
  const states = await Promise.all(checkouts.map(async (one) => (await checkoutNow(database.pool, one)).state));
  const { rows } = await database.pool.query<{ event_type: string }>(
    `select event_type from unsent_message where payload::jsonb -> 'data' ->> 'customer_id' = $1 and event_type like 'checkout.%'`,
    [customerId],
  );
  const { rowCount: due } = await database.pool.query('select from checkout_due where customer_id = $1', [customerId]);
  return { balance, held, states, said: rows.map((row) => row.event_type), due };
}

describe('the job that ends checkouts', () => {
  it('killed at any of its statements has ended each once, and told of it once, once another has gone on', async () => {
    for (let statements = 0, isDead = true; isDead; statements += 1) {
      const checkouts = await over();
      const victim = dyingAfter(database.pool, statements);
      await run(victim.pool).catch(() => {});
      isDead = victim.isDead();
      expect(statements).toBeLessThan(60);
      // What could not be settled by a dying process may have been put off, if it lived long enough to say so.
      await database.pool.query('update checkout_due set due_at = now()');
      await run(database.pool);
      await run(database.pool);
      expect(await standing(checkouts[0], checkouts), `killed at statement ${statements}`).toEqual({
        ...{ balance: 2000, held: 0, states: ['expired', 'expired'], due: 0 },
        said: ['checkout.expired', 'checkout.expired'],
      });
    }
  });

  it('and another beside it end each once', async () => {
    const all = [await over(), await over(), await over()];
    await Promise.all([run(database.pool), run(database.pool), run(database.pool)]);
    await run(database.pool);
    for (const checkouts of all) {
      expect(await standing(checkouts[0], checkouts)).toMatchObject({
        ...{ balance: 2000, held: 0, states: ['expired', 'expired'], said: ['checkout.expired', 'checkout.expired'] },
      });
    }
  });
});
