import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { autocommit } from '../../src/db/transaction.ts';
import { listEvents } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { applyDueOnce, startInbox, type TestInbox, testSource, testSources } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { razorpayPayment, razorpayRefund } from '../support/signing.ts';

/*
 * A source of the environment that was never told which metadata to obey: before the upgrade it obeyed all, after it
 * `customer`. Events are applied by hand, by a worker of the release before or of this one.
 */

const before = testSource('razorpay', { metadata: 'all' });
const after = testSource('razorpay');

let database: TestDatabase;
let inbox: TestInbox;
let customerId: string;
let rule: 'before' | 'after';
let tests = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [after], works: false });
});

beforeEach(async () => {
  tests += 1;
  rule = 'before';
  [customerId = ''] = await makeCustomers(database.pool, [`upgrade${tests}`]);
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

/** Applies all that is queued. */
async function work(): Promise<void> {
  const services = { ...inbox.services, sources: testSources([rule === 'before' ? before : after]) };
  while ((await applyDueOnce(services, 20)).length > 0);
}

async function tell(...bodies: readonly string[]): Promise<void> {
  for (const body of bodies) {
    await inbox.deliver(body, after);
    await work();
  }
}

const balance = () => inbox.balance(customerId, 'INR');

async function parked(paymentId: string) {
  const query = { state: 'parked', pageSize: 100, pageNumber: 0 } as const;
  const events = await listEvents(autocommit(database.pool), MERCHANT, query);
  return events.filter((event) => event.paymentId === paymentId);
}

async function replay(paymentId: string, assigned: string | null = null): Promise<void> {
  const [event] = await parked(paymentId);
  const eventId = event?.eventId ?? '';
  await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: assigned });
  await work();
}

/** Report at another second, since Razorpay's repeats are known by their body here. */
let second = 1_760_000_000;
function paid(paymentId: string, notes: Record<string, string>, type: 'captured' | 'failed' = 'captured'): string {
  second += 1;
  const named = { wallet_customer_id: customerId, ...notes };
  return razorpayPayment({ type, paymentId, amount: 50_000, notes: named, createdSeconds: second });
}

describe('a payment whose success was recorded before the upgrade', () => {
  it('keeps its bonus: a repeat changes nothing, a refund takes back in proportion', async () => {
    const bonus = { wallet_credit_amount: '60000' };
    await tell(paid('pay_bonus', bonus));
    expect(await balance()).toBe(60_000);
    rule = 'after';
    await tell(paid('pay_bonus', bonus));
    expect(await balance()).toBe(60_000);
    expect(await parked('pay_bonus')).toEqual([]);
    await tell(razorpayRefund({ paymentId: 'pay_bonus', refundId: 'rfnd_b', amount: 25_000 }));
    expect(await balance()).toBe(30_000);
  });

  it('stays an order, whose refund is credited', async () => {
    await tell(paid('pay_order', { wallet_purpose: 'order' }));
    rule = 'after';
    await tell(razorpayRefund({ paymentId: 'pay_order', refundId: 'rfnd_o', amount: 20_000 }));
    expect(await balance()).toBe(20_000);
  });

  it('is decided anew when it is replayed, if it was parked and so taught nothing', async () => {
    await tell(paid('pay_nobody', { wallet_customer_id: 'cus_nobody', wallet_credit_amount: '70000' }));
    expect((await parked('pay_nobody')).map((event) => event.reason)).toEqual(['unknown_customer']);
    rule = 'after';
    await replay('pay_nobody', customerId);
    expect((await parked('pay_nobody')).map((event) => event.reason)).toEqual(['invalid_metadata']);
    rule = 'before';
    await replay('pay_nobody', customerId);
    expect(await parked('pay_nobody')).toEqual([]);
    expect(await balance()).toBe(70_000);
  });
});

describe('a payment under way at the upgrade', () => {
  it('is parked if it asks for more than a payer may; its refund moves nothing; a replay obeys a source told to', async () => {
    const order = { wallet_purpose: 'order' };
    await tell(paid('pay_under_way', order, 'failed'));
    rule = 'after';
    await tell(
      paid('pay_under_way', order),
      razorpayRefund({ paymentId: 'pay_under_way', refundId: 'rfnd_w', amount: 20_000 }),
    );
    const [event, ...others] = await parked('pay_under_way');
    expect(others).toEqual([]);
    expect(event).toMatchObject({ reason: 'invalid_metadata', detail: expect.stringContaining('a payer may have') });
    expect(await balance()).toBe(0);
    rule = 'before';
    await replay('pay_under_way');
    expect(await balance()).toBe(20_000);
  });
});
