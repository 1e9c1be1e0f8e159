import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import type { TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, posting, SETTINGS } from '../support/ledger.ts';
import { createDatabaseOfReleaseBefore } from '../support/release-before.ts';
import { paddleAdjustment, paddleTransaction } from '../support/signing-more.ts';

/**
 * Chargebacks of Paddle that the release before stored under one id that it made up, in a database of that release which
 * was brought to this one: what is told again moves nothing, and what is new counts once.
 */

const source = testSource('paddle', { metadata: 'all' });
const CUSTOMER = 'cus_ann';

let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createDatabaseOfReleaseBefore();
  await migrate(database.ownerUrl, createLogger('silent', 'test'));
  inbox = await startInbox(database, { sources: [source] });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

/** Told under its own event each time. */
let events = 0;
function chargeback(paymentId: string, adjustmentId: string, occurredAt: string): string {
  events += 1;
  const body = paddleAdjustment({ paymentId, adjustmentId, action: 'chargeback', amount: '2000', currency: 'USD' });
  return JSON.stringify({ ...JSON.parse(body), event_id: `evt_${paymentId}_${events}`, occurred_at: occurredAt });
}

/** A payment of 10000 with a chargeback of 2000, as the release before wrote them; with the bodies it applied, or without. */
async function stored(paymentId: string, bodies: readonly string[]): Promise<void> {
  const { pool } = database;
  await pool.query(
    `insert into payment (merchant_id, source_id, payment_id, provider, state, purpose, customer_id, currency, amount_paid, refunds,
       posted_credit, postings, created_at, updated_at)
     values ($1, 'src_paddle', $2, 'paddle', 'succeeded', 'topup', $3, 'USD', 10000, 'auto', 10000, 1, '2026-11-01', '2026-11-20')`,
    [MERCHANT, paymentId, CUSTOMER],
  );
  await pool.query(
    `insert into payment_part (merchant_id, source_id, payment_id, kind, part_id, ordinal, state, amount, currency, posted_take, postings,
       created_at, updated_at)
     values ($1, 'src_paddle', $2, 'dispute', 'chargeback', 0, 'lost', 2000, 'USD', 2000, 1, '2026-11-10', '2026-11-20')`,
    [MERCHANT, paymentId],
  );
  for (const [index, body] of bodies.entries()) {
    await pool.query(
      `insert into provider_event (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, payment_id, received_at,
         settled_at)
       values ($1, $2, 'src_paddle', 'paddle', $1, 'old', $3, 'applied', $4, '2026-11-10', '2026-11-10')`,
      [`evt_old_${paymentId}_${index}`, MERCHANT, Buffer.from(body), paymentId],
    );
  }
  const key = (rest: string) => `src_paddle:${rest}`;
  const paid = {
    customerId: CUSTOMER,
    amountMinor: 10_000,
    eventType: 'payment',
    referenceObjectId: paymentId,
  } as const;
  const taken = { customerId: CUSTOMER, amountMinor: 2000, eventType: 'dispute', isCredit: false } as const;
  await transaction(pool, (tx) =>
    postBatch(
      tx,
      [
        posting({ ...paid, idempotencyKey: key(`payment_${paymentId}`) }),
        posting({ ...taken, idempotencyKey: key(`dispute_${paymentId}_chargeback`) }),
      ],
      { ...SETTINGS, now: new Date() },
    ),
  );
}

it.each([
  ['whose events are stored', true],
  ['whose events are stored no more', false],
])('a chargeback %s is known again, and another one counts', async (_, isKept) => {
  const paymentId = isKept ? 'txn_kept' : 'txn_lost';
  const before = (await inbox.balance(CUSTOMER)) ?? 0;
  const told = [
    paddleTransaction({ paymentId, amount: '10000', currency: 'USD' }),
    chargeback(paymentId, 'adj_1', '2026-11-10T00:00:00Z'),
  ];
  await stored(paymentId, isKept ? told : []);
  const left = async () => ((await inbox.balance(CUSTOMER)) ?? 0) - before;
  expect(await left()).toBe(8000);
  await inbox.play([chargeback(paymentId, 'adj_1', '2026-11-10T00:00:00Z')], source);
  expect(await left()).toBe(8000);
  await inbox.play([chargeback(paymentId, 'adj_2', '2026-11-25T00:00:00Z')], source);
  expect(await left()).toBe(6000);
});
