import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { autocommit } from '../../src/db/transaction.ts';
import { describePayment, paymentShape } from '../../src/views/payment.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { paddleAdjustment, paddleTransaction } from '../support/signing-more.ts';
import { type AdyenItem, adyenDelivery, signAdyen } from '../support/signing-paypal-adyen-cashfree.ts';

/* Accounts that capture by hand, from the delivery to the wallet and to what is shown of the payment. */

let database: TestDatabase;
let inbox: TestInbox;
const manual = testSource('adyen', { capture: 'manual' });
const automatic = testSource('adyen', { sourceId: 'src_automatic' });
const paddle = testSource('paddle');

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [manual, automatic, paddle] });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

let made = 0;

/** A payment of ten dollars that was authorised, and how to tell more of it. */
async function authorise(source = manual) {
  made += 1;
  const [customerId = ''] = await makeCustomers(database.pool, [`captured${made}`]);
  const paymentId = `AUTH${made}`;
  // Each source has an account of its own.
  const tell = (item: AdyenItem) => {
    const body = adyenDelivery([{ merchantReference: customerId, currency: 'USD', ...item }]);
    return inbox.play([signAdyen(JSON.parse(body.replaceAll('ChokinECOM', source.sourceId)))], source);
  };
  await tell({ eventCode: 'AUTHORISATION', pspReference: paymentId, value: 1000 });
  const later = (eventCode: string, reference: string, more: Partial<AdyenItem> = {}) =>
    tell({ eventCode, pspReference: `${reference}${made}`, originalReference: paymentId, ...more });
  const shown = async () => {
    const [payment] = await describePayment(autocommit(database.pool), MERCHANT, paymentId);
    expect(paymentShape.safeParse(payment).error).toBeUndefined();
    return payment;
  };
  return { later, shown, balance: () => inbox.balance(customerId), id: (reference: string) => `${reference}${made}` };
}

describe('the log', () => {
  it('advises the setting for captures by hand, once for each source, where authorisations count as the money', async () => {
    const advice = vi.spyOn(inbox.services.logger, 'warn');
    const ofAutomatic = () => advice.mock.calls.filter(([facts]) => JSON.stringify(facts).includes('src_automatic'));
    const authorised = [await authorise(automatic), await authorise(automatic), await authorise(manual)];
    expect(ofAutomatic()).toEqual([]);
    for (const { later } of authorised) await later('CAPTURE', 'advised', { value: 300 });
    await vi.waitFor(() => expect(ofAutomatic()).toHaveLength(1));
    expect(advice.mock.calls.at(-1)?.[1]).toContain('set capture of the source to manual');
    expect(advice.mock.calls).toHaveLength(1);
    advice.mockRestore();
  });
});

describe('where the account captures by hand', () => {
  it('an authorisation credits nothing, and each capture what it captured', async () => {
    const { later, shown, balance, id } = await authorise();
    expect([await balance(), (await shown())?.status, (await shown())?.captures]).toEqual([0, 'pending', []]);
    await later('CAPTURE', 'one', { value: 300 });
    expect(await balance()).toBe(300);
    await later('CAPTURE', 'two', { value: 300 });
    await later('CAPTURE', 'two', { value: 300 });
    expect([await balance(), (await shown())?.amount_paid]).toEqual([600, 600]);
    await later('CAPTURE_FAILED', 'two', { value: 300 });
    expect(await balance()).toBe(300);
    expect((await shown())?.captures).toEqual([
      { capture_id: id('one'), status: 'succeeded', amount: 300, currency: 'USD' },
      { capture_id: id('two'), status: 'failed', amount: 300, currency: 'USD' },
    ]);
  });

  it.each(['CANCELLATION', 'EXPIRE', 'TECHNICAL_CANCEL'])(
    'a %s before any capture leaves nothing',
    async (eventCode) => {
      const { later, shown, balance } = await authorise();
      await later(eventCode, 'end', { value: 1000 });
      expect([await balance(), (await shown())?.status]).toEqual([0, 'failed']);
    },
  );

  it('an end after a capture changes nothing, nor does a request that was refused', async () => {
    const { later, shown, balance } = await authorise();
    await later('CAPTURE', 'refused', { value: 1000, success: 'false' });
    expect([await balance(), (await shown())?.captures]).toEqual([0, []]);
    await later('CAPTURE', 'one', { value: 400 });
    await later('CANCELLATION', 'end', { value: 600 });
    expect([await balance(), (await shown())?.status, (await shown())?.amount_paid]).toEqual([400, 'succeeded', 400]);
  });
});

it('a capture that is told under automatic shows that the account captures by hand: from then on captures count', async () => {
  const { later, shown, balance } = await authorise(automatic);
  expect(await balance()).toBe(1000);
  await later('CAPTURE', 'one', { value: 300 });
  await later('CAPTURE', 'two', { value: 300 });
  expect([await balance(), (await shown())?.amount_paid, (await shown())?.captures.length]).toEqual([600, 600, 2]);
});

it('money of a chargeback that came back is shown as a reinstatement', async () => {
  const [customerId = ''] = await makeCustomers(database.pool, ['reinstated']);
  const paymentId = 'txn_reinstated';
  const paid = { paymentId, amount: '1000', currency: 'USD', customData: { wallet_customer_id: customerId } };
  const adjusted = (adjustmentId: string, action: string) =>
    paddleAdjustment({ paymentId, adjustmentId, action, amount: '400', currency: 'USD' });
  await inbox.play(
    [paddleTransaction(paid), adjusted('adj_taken', 'chargeback'), adjusted('adj_back', 'chargeback_reverse')],
    paddle,
  );
  expect(await inbox.balance(customerId)).toBe(1000);
  const [payment] = await describePayment(autocommit(database.pool), MERCHANT, paymentId);
  expect(payment?.reinstatements).toEqual([
    { reinstatement_id: 'adj_back', status: 'succeeded', amount: 400, currency: 'USD' },
  ]);
  expect(paymentShape.safeParse(payment).error).toBeUndefined();
});
