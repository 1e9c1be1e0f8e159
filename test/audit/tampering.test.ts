import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Disagreement } from '../../src/audit/check.ts';
import { audit } from '../../src/audit/checks.ts';
import { autocommit, Tx, transaction } from '../../src/db/transaction.ts';
import { invariant } from '../../src/errors.ts';
import { resolveEvent } from '../../src/inbox/dismiss.ts';
import { entryId } from '../../src/ledger/entry.ts';
import { checkLowBalances } from '../../src/ledger/low-balance/scan.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { expectSameOfNewRows } from '../support/audit.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { makeCustomers, posting, RULE, SETTINGS } from '../support/ledger.ts';
import { stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { adyenDelivery, paypalCapture, paypalDispute } from '../support/signing-paypal-adyen-cashfree.ts';
import { WITHOUT_GUARDS } from '../support/tampering.ts';

/**
 * Aim: whoever changes the database behind the program's back, as its worker's user or as its owner, is named by the audit.
 * Method: one payment as it really comes in, beside books that agree; then each edit, undone afterwards.
 */

let database: TestDatabase;
let inbox: TestInbox;

/** A payment that is parked, credited by hand, and resolved by that entry. */
async function handleByHand(): Promise<void> {
  const metadata = { wallet_customer_id: 'cus_mel', wallet_credit_amount: 'much' };
  await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_hand', amount: 700, currency: 'usd', metadata })]);
  const { rows } = await database.pool.query("select event_id from provider_event where payment_id = 'pi_hand'");
  const credit = posting({ customerId: 'cus_mel', amountMinor: 700, isCredit: true, reason: 'by hand' });
  const [result] = await transaction(database.pool, (tx) => postBatch(tx, [credit], { ...SETTINGS, now: new Date() }));
  invariant(result?.kind === 'created', 'the credit by hand was refused');
  const services = { ...inbox.services, pool: database.pool };
  const handling = { merchantId: 'bus_default', eventId: rows[0].event_id, note: null, amountMinor: null };
  await resolveEvent(services, { ...handling, entryId: entryId(result.entry) });
}

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['ada', 'mallory', 'eve', 'mel']);
  const [stripe, adyen, paypal] = [testSource('stripe'), testSource('adyen'), testSource('paypal')];
  inbox = await startInbox(database, { sources: [stripe, adyen, paypal] });
  const pay = (paymentId: string, customerId: string) =>
    stripePaymentSucceeded({
      paymentId,
      amount: 1000,
      currency: 'usd',
      customer: `cus_s_${customerId}`,
      metadata: { wallet_customer_id: customerId },
    });
  await inbox.play([pay('pi_ada', 'cus_ada'), pay('pi_eve', 'cus_eve')]);
  const ofMel = { paymentId: 'pi_mel', currency: 'usd' };
  await inbox.play([
    pay('pi_mel', 'cus_mel'),
    stripeRefund({ ...ofMel, refundId: 're_mel', amount: 300 }),
    stripeDispute({ ...ofMel, disputeId: 'du_mel', amount: 200, status: 'needs_response' }),
  ]);
  const authorised = {
    eventCode: 'AUTHORISATION',
    pspReference: 'PSPMEL',
    merchantReference: 'cus_mel',
    value: 900,
    currency: 'USD',
  };
  const captured = { ...authorised, eventCode: 'CAPTURE', originalReference: 'PSPMEL', value: 400 };
  // The second delivery tells of another payment before this one's.
  await inbox.play(
    [
      adyenDelivery([authorised]),
      adyenDelivery([
        { ...authorised, pspReference: 'PSPOTHER' },
        { ...captured, pspReference: 'CAPMEL' },
      ]),
    ],
    adyen,
  );
  // The dispute is noted with the first of its payments.
  const sold = (paymentId: string) => paypalCapture({ paymentId, value: '5.00', currency: 'USD', customId: 'cus_mel' });
  await inbox.play(
    [sold('CAP1'), sold('CAP2'), paypalDispute({ type: 'CREATED', paymentIds: ['CAP1', 'CAP2'], disputeId: 'PP-1' })],
    paypal,
  );
  await handleByHand();
  const usage = posting({
    customerId: 'cus_ada',
    amountMinor: 100,
    isCredit: false,
    reason: 'usage',
    metadata: { calls: 3 },
  });
  await transaction(database.pool, (tx) => postBatch(tx, [usage], { ...SETTINGS, now: new Date() }));
  await checkLowBalances({
    pool: database.pool,
    settings: SETTINGS,
    clock: { now: () => new Date() },
    onPosted: () => {},
    logger: createLogger('silent', 'test'),
  });
});

afterAll(async () => {
  await inbox.stop();
  await database.drop();
});

/** The rules that are named after a statement; the triggers stand in the way of nobody who owns them. */
async function rulesAfter(statement: string): Promise<string[]> {
  const disagreements = await disagreementsAfter(statement);
  return [...new Set(disagreements.map(({ rule }) => rule.split(':')[0] ?? ''))];
}

async function disagreementsAfter(statement: string): Promise<readonly Disagreement[]> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query(WITHOUT_GUARDS);
    await client.query(statement);
    await expectSameOfNewRows(new Tx(client));
    return (await audit(new Tx(client), { rule: RULE })).disagreements;
  } finally {
    await client.query('rollback');
    client.release();
  }
}

describe('the audit', () => {
  it('finds nothing in books that nobody touched', async () => {
    expect((await audit(autocommit(database.pool), { rule: RULE })).disagreements).toEqual([]);
  });

  it.each([
    ['the event of a payment deleted', "delete from provider_event where payment_id = 'pi_ada'", '5c settled again'],
    [
      'the event of a payment set back',
      "update provider_event set state = 'ignored' where payment_id = 'pi_ada'",
      '5c settled again',
    ],
    [
      'what a payment grants',
      "update payment set credit_amount = 5000000 where payment_id = 'pi_ada'",
      '5c settled again',
    ],
    ['what was paid', "update payment set amount_paid = 1 where payment_id = 'pi_ada'", '5c settled again'],
    [
      'what a payment grants, posted as if its events had said so',
      `update payment set credit_amount = 5000000, posted_credit = 5000000 where payment_id = 'pi_eve'`,
      '5c settled again',
    ],
    [
      'what was paid, where the credit is said to be the same',
      "update payment set amount_paid = 7, credit_amount = 1000 where payment_id = 'pi_ada'",
      '5c settled again',
    ],
    [
      'the body of an event',
      "update provider_event set body = decode(replace(encode(body, 'hex'), '31303030', '39303030'), 'hex') where payment_id = 'pi_ada'",
      '5c settled again',
    ],
    [
      'an event left pending',
      "update provider_event set state = 'pending', settled_at = null, received_at = now() - interval '2 days' where payment_id = 'pi_ada'",
      '5c settled again',
    ],
    [
      'an event that waits for ever',
      "update provider_event set state = 'waiting', waiting_since = now() - interval '2 days' where payment_id = 'pi_ada'",
      '5c settled again',
    ],
    [
      'a link that leads to nobody it was made for',
      "update customer_link set customer_id = 'cus_mallory' where customer_id = 'cus_ada'",
      '5c settled again',
    ],
    [
      'a link that leads to another who paid there',
      "update customer_link set customer_id = 'cus_eve' where customer_id = 'cus_ada'",
      '5c settled again',
    ],
    [
      'a link that leads to somebody who was made just then',
      `with made as (insert into customer (merchant_id, customer_id, email, name, created_at) values ('bus_default', 'cus_new', '', '', now()) returning customer_id)
       update customer_link l set customer_id = m.customer_id from made m where l.merchant_id = 'bus_default' and l.customer_id = 'cus_ada'`,
      '5c settled again',
    ],
    [
      'a link out of nowhere',
      "insert into customer_link values ('bus_default', 'src_stripe', 'cus_s_new', 'cus_mallory')",
      '5c settled again',
    ],
    [
      'a payment given to another',
      "update payment set customer_id = 'cus_mallory' where payment_id = 'pi_ada'",
      '5 once',
    ],
    ['an event that was dealt with by hand', "delete from provider_event where payment_id = 'pi_hand'", '5d by hand'],
    [
      'one that was dealt with by hand, as if nobody had',
      "update provider_event set state = 'ignored' where payment_id = 'pi_hand'",
      '5d by hand',
    ],
    [
      'the entry by which something was done by hand',
      "update handled_movement set entry_id = 'ent_cus_mel_USD_999' where payment_id = 'pi_hand'",
      '5d by hand',
    ],
    ['what was done by hand', "update handled_movement set amount = 600 where payment_id = 'pi_hand'", '5d by hand'],
    ['a payment deleted', "delete from payment where payment_id = 'pi_ada'", '5 once'],
    [
      'alerts switched off',
      "update wallet set alerts_armed = false, low_threshold = 0 where customer_id = 'cus_eve' and currency = 'USD'",
      '7c told in time',
    ],
    [
      'alerts switched off, the threshold left',
      "update wallet set alerts_armed = false where customer_id = 'cus_eve' and currency = 'USD'",
      '7c told in time',
    ],
    [
      'the newest entry deleted, and its wallet set back',
      `with gone as (
         delete from entry where merchant_id = 'bus_default' and customer_id = 'cus_ada' and seq = 2 returning before_balance, seq)
       update wallet w set balance = g.before_balance, version = g.seq - 1, announced_version = least(announced_version, g.seq - 1)
       from gone g where w.merchant_id = 'bus_default' and w.customer_id = 'cus_ada' and w.currency = 'USD'`,
      '3 chain',
    ],
    [
      'the guard of history emptied',
      'create or replace function refuse_change() returns trigger language plpgsql as $$ begin return null; end $$',
      '6b guards',
    ],
  ])('names %s', async (_, statement, rule) => {
    expect(await rulesAfter(statement)).toContain(rule);
  });

  // None of these changes what is due now: only what the events tell shows them.
  it.each([
    [
      'the amount of a capture, as if its events had said so',
      `update payment_movement set amount = 700, told = jsonb_set(told, '{0,amountMinor}', '700') where movement_id = 'CAPMEL'`,
      'its capture CAPMEL is succeeded 700',
    ],
    [
      'a capture deleted, and the payment as if it had been told in one piece',
      "delete from payment_movement where payment_id = 'PSPMEL'",
      'its authorisation PSPMEL is nothing',
    ],
    [
      'a capture that nobody told of',
      `insert into payment_movement (merchant_id, source_id, payment_id, kind, movement_id, state, amount, currency, told, created_at, updated_at)
       select merchant_id, source_id, payment_id, kind, 'CAPNEW', 'failed', amount, currency, told, created_at, updated_at from payment_movement where movement_id = 'CAPMEL'`,
      'its capture CAPNEW is failed 400',
    ],
    [
      'the amount of an open dispute, as if its events had said so',
      `update payment_part set amount = 9, told = jsonb_set(told, '{0,amountMinor}', '9') where part_id = 'du_mel'`,
      'its dispute du_mel may take something else than the 200 to be held',
    ],
    ['an open dispute deleted', "delete from payment_part where part_id = 'du_mel'", 'its dispute du_mel is nothing'],
    [
      'a refund that nobody told of',
      `insert into payment_part (merchant_id, source_id, payment_id, kind, part_id, ordinal, state, amount, currency, role, told, created_at, updated_at)
       select merchant_id, source_id, payment_id, kind, 're_new', 9, 'pending', amount, currency, role,
         jsonb_set(told, '{0,state}', '"pending"'), created_at, updated_at from payment_part where part_id = 're_mel'`,
      'its refund re_new is pending 300',
    ],
    [
      'what was paid of captures',
      `update payment set amount_paid = 500 where payment_id = 'PSPMEL'`,
      'it comes to a credit of',
    ],
  ])('says what the events of a payment tell instead of %s', async (_, statement, detail) => {
    const disagreements = await disagreementsAfter(statement);
    expect(disagreements.map((one) => one.detail)).toContainEqual(expect.stringContaining(detail));
  });

  it('names what counts as told though no message was made of it, where an endpoint wanted one', async () => {
    const endpoint = `insert into webhook_endpoint (merchant_id, endpoint_id, url, secret, created_at, updated_at)
      values ('bus_default', 'ep_1', 'https://example.com', 'x', now() - interval '1 hour', now() - interval '1 hour');`;
    const told =
      'update wallet set announced_version = version, announced_alert_seq = alert_seq; delete from unannounced_wallet;';
    expect(await rulesAfter(`${endpoint} ${told}`)).toContain('7c told in time');
    // Who wanted nothing has missed nothing.
    expect(await rulesAfter(told)).toEqual([]);
  });
});
