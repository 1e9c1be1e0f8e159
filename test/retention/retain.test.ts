import { hash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { systemClock } from '../../src/clock.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { enqueue } from '../../src/inbox/enqueue.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { retain } from '../../src/retention/retain.ts';
import type { RetentionRule } from '../../src/retention/rule.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { adyenDelivery } from '../support/signing-paypal-adyen-cashfree.ts';

/**
 * Aim: what is old is forgotten, and everything goes on as if it were there: audit, late refunds, repeats, replays.
 * Method: events as they really come in, made old in the database; then runs as the worker's user.
 */

const RULE: RetentionRule = { eventBodies: 90, ignoredEvents: 14, messages: 30, history: 365 };
const logger = createLogger('silent', 'test');
const [stripe, adyen] = [testSource('stripe'), testSource('adyen')];

let database: TestDatabase;
let inbox: TestInbox;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['ada', 'bob', 'dan', 'ian', 'old']);
  inbox = await startInbox(database, { sources: [stripe, adyen] });
  pool = createPool({ databaseUrl: database.workerUrl, applicationName: 'test-retain', maxConnections: 4, logger });
});
afterAll(async () => {
  await inbox.stop();
  await pool.end();
  await database.drop();
});

const pay = (paymentId: string, name: string, amount = 1000) =>
  stripePaymentSucceeded({
    paymentId,
    amount,
    currency: 'usd',
    customer: `cus_s_${name}`,
    metadata: { wallet_customer_id: `cus_${name}` },
  });
const refund = (paymentId: string, refundId: string, amount: number) =>
  stripeRefund({ paymentId, refundId, amount, currency: 'usd' });
const run = (isDryRun = false, rule = RULE) =>
  retain({ pool, clock: systemClock, logger, rule }, { merchantId: MERCHANT, isDryRun });
const countOf = async (what: string, isDryRun = false) => (await run(isDryRun)).find((one) => one.what === what)?.count;

/** Makes every event of these payments as old as that, which settled just now. */
async function age(days: number, ...paymentIds: readonly string[]): Promise<void> {
  await database.pool.query(
    `update provider_event set settled_at = (settled_at at time zone 'UTC' - $1 * interval '1 day') at time zone 'UTC', received_at = (received_at at time zone 'UTC' - $1 * interval '1 day') at time zone 'UTC'
     where payment_id = any ($2)`,
    [days, paymentIds],
  );
}

interface EventRow {
  readonly event_id: string;
  readonly state: string;
  readonly body: Buffer;
  readonly body_hash: Buffer | null;
  readonly facts: object | null;
}

async function eventsOf(paymentId: string): Promise<readonly EventRow[]> {
  const { rows } = await database.pool.query<EventRow>(
    'select event_id, state, body, body_hash, facts from provider_event where payment_id = $1 order by received_at',
    [paymentId],
  );
  return rows;
}
const lengthsOf = async (paymentId: string) => (await eventsOf(paymentId)).map(({ body }) => body.length);

describe('the body of an applied event', () => {
  it('goes when it is old: its hash stays, and what it told without the names of who paid', async () => {
    const body = pay('pi_old', 'ada');
    await inbox.play([body]);
    await age(91, 'pi_old');
    expect(await countOf('event_bodies', true)).toBe(1);
    expect(await lengthsOf('pi_old')).toEqual([Buffer.byteLength(body)]);
    expect(await countOf('event_bodies')).toBe(1);
    const [event] = await eventsOf('pi_old');
    expect(event).toMatchObject({ state: 'applied', body: Buffer.from('') });
    expect(event?.body_hash?.toString('hex')).toBe(hash('sha256', body, 'hex'));
    const facts = JSON.stringify(event?.facts);
    expect(facts).toContain('cus_s_ada');
    expect(event?.facts).toMatchObject({ facts: [{ kind: 'payment', customer: { email: null, name: null } }] });
    expect(await countOf('event_bodies')).toBe(0);
    expect((await audit(autocommit(database.pool))).judgedByFacts).toBe(1);
    await expectBooksToAgree(database.pool);
  });

  it('stays while it is younger', async () => {
    await inbox.play([pay('pi_young', 'ada')]);
    await age(89, 'pi_young');
    expect(await countOf('event_bodies')).toBe(0);
  });

  it('stays while its payment has an open dispute, a pending refund or an event that waits for a person', async () => {
    const [open, parked] = ['pi_disputed', 'pi_parked'];
    await inbox.play([
      pay(open, 'dan'),
      stripeDispute({ paymentId: open, disputeId: 'du_1', amount: 200, currency: 'usd', status: 'needs_response' }),
      pay(parked, 'dan'),
      stripeRefund({ paymentId: parked, refundId: 're_eur', amount: 100, currency: 'eur' }),
    ]);
    await age(200, open, parked);
    const [result] = await run();
    expect(result).toMatchObject({ what: 'event_bodies', count: 0, kept: 3 });
    expect(await inbox.states()).toMatchObject({ parked: 1 });
    await inbox.play([
      stripeDispute({
        ...{ type: 'closed', paymentId: open, disputeId: 'du_1', amount: 200, currency: 'usd', status: 'won' },
      }),
    ]);
    await age(0, open);
    expect(await countOf('event_bodies')).toBe(2);
    await expectBooksToAgree(database.pool);
  });

  it('stays if it tells of another payment that is disputed', async () => {
    const authorised = {
      eventCode: 'AUTHORISATION',
      merchantReference: 'cus_dan',
      value: 900,
      currency: 'USD',
    };
    const both = adyenDelivery([
      { ...authorised, pspReference: 'PSPA' },
      { ...authorised, pspReference: 'PSPB' },
    ]);
    const dispute = { ...authorised, eventCode: 'CHARGEBACK', pspReference: 'PSPD', originalReference: 'PSPB' };
    await inbox.play([both], adyen);
    const [noted = ''] = (
      await database.pool.query("select payment_id from provider_event where source_id = 'src_adyen'")
    ).rows.map(({ payment_id }) => payment_id);
    const other = noted === 'PSPA' ? 'PSPB' : 'PSPA';
    await inbox.play([adyenDelivery([{ ...dispute, originalReference: other }])], adyen);
    await database.pool.query("update payment_part set state = 'open' where payment_id = $1", [other]);
    await age(100, noted);
    expect(await countOf('event_bodies')).toBe(0);
    await database.pool.query("update payment_part set state = 'lost' where payment_id = $1", [other]);
    expect(await countOf('event_bodies')).toBe(1);
    await expectBooksToAgree(database.pool);
  });

  it('stays if nothing can be read of it', async () => {
    await inbox.play([pay('pi_unread', 'ada')]);
    await database.pool.query("update provider_event set body = '{}' where payment_id = 'pi_unread'");
    await age(100, 'pi_unread');
    expect(await countOf('event_bodies')).toBe(0);
    await database.pool.query('update provider_event set body = $1 where payment_id = $2', [
      Buffer.from(pay('pi_unread', 'ada')),
      'pi_unread',
    ]);
    expect(await countOf('event_bodies')).toBe(1);
  });
});

describe('once the body is gone', () => {
  it('a delivery told again is a duplicate, and a later refund counts', async () => {
    const body = pay('pi_again', 'bob');
    await inbox.play([body]);
    await age(100, 'pi_again');
    await run();
    expect(await inbox.deliver(body)).toEqual({ kind: 'duplicate' });
    await inbox.play([refund('pi_again', 're_again', 400)]);
    expect(await inbox.balance('cus_bob')).toBe(600);
    await age(100, 'pi_again');
    expect(await countOf('event_bodies')).toBe(1);
    await expectBooksToAgree(database.pool);
  });

  it('the event cannot be replayed, and says so', async () => {
    const [event] = await eventsOf('pi_again');
    const replay = replayEvent(pool, inbox.boss, {
      merchantId: MERCHANT,
      eventId: event?.event_id ?? '',
      customerId: null,
    });
    await expect(replay).rejects.toMatchObject({ refusal: { code: 'EVENT_BODY_REMOVED' } });
  });

  it('an event that is to be read again is read from what is kept', async () => {
    const [event] = await eventsOf('pi_again');
    await database.pool.query("update provider_event set state = 'pending' where payment_id = 'pi_again'");
    const rows = await eventsOf('pi_again');
    await transaction(pool, (tx) =>
      enqueue(inbox.boss, tx, { events: rows.map((row) => ({ merchantId: MERCHANT, eventId: row.event_id })) }),
    );
    await inbox.settled();
    expect((await eventsOf('pi_again')).map(({ state }) => state)).toEqual(['applied', 'applied']);
    expect(event?.body.length).toBe(0);
    expect(await inbox.balance('cus_bob')).toBe(600);
    await expectBooksToAgree(database.pool);
  });

  it('what is kept may lose who paid, and nothing else of it may be changed by web or worker', async () => {
    await inbox.play([pay('pi_fixed', 'dan')]);
    await age(100, 'pi_fixed');
    await run();
    const [event] = await eventsOf('pi_fixed');
    const kept = JSON.stringify(event?.facts);
    expect(kept).toContain('"id":"cus_s_dan"');
    const write = async (facts: string) => {
      const values = [MERCHANT, [event?.event_id], [event?.body_hash], [facts]];
      const { rows } = await pool.query('select take_bodies_away($1, $2, $3, $4) as taken', values);
      return rows[0].taken;
    };
    const nothing = { facts: [], naming: null, ties: [], accounts: [] };
    for (const other of [kept.replace('1000', '7'), kept.replace('cus_s_dan', 'cus_s_ada'), JSON.stringify(nothing)]) {
      expect(other).not.toBe(kept);
      expect(await write(other)).toBe(0);
    }
    expect((await eventsOf('pi_fixed'))[0]?.facts).toEqual(event?.facts);
    const nameless = kept.replace('"cus_s_dan"', 'null');
    expect([await write(kept), await write(nameless), await write(kept)]).toEqual([1, 1, 0]);
    expect((await eventsOf('pi_fixed'))[0]?.facts).toEqual(JSON.parse(nameless));
    await expectBooksToAgree(database.pool);
  });

  it('what is kept is still held against the books', async () => {
    const off = async (sql: string) => {
      await database.pool.query(sql);
      const { disagreements } = await audit(autocommit(database.pool));
      return disagreements.map(({ rule, subject }) => [rule.split(' ')[0], subject]);
    };
    const subject = `${MERCHANT}/src_stripe/pi_again`;
    expect(
      await off("update payment set amount_paid = 7, credit_amount = 1000 where payment_id = 'pi_again'"),
    ).toContainEqual(['5c', subject]);
    expect(
      await off("update payment set amount_paid = 1000, credit_amount = null where payment_id = 'pi_again'"),
    ).toEqual([]);
    expect(
      await off(
        `update provider_event set facts = replace(facts::text, '1000', '9000')::jsonb where payment_id = 'pi_again'`,
      ),
    ).toContainEqual(['5c', subject]);
    expect(
      await off(
        `update provider_event set facts = replace(facts::text, '9000', '1000')::jsonb where payment_id = 'pi_again'`,
      ),
    ).toEqual([]);
  });
});
