import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/env.ts';
import { SecretBox } from '../../src/crypto/secret-box.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { listEvents } from '../../src/inbox/events.ts';
import { SourceDirectory } from '../../src/merchants/sources.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import { secretOf } from '../support/admin.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { dodoPayment, razorpayPayment, stripePaymentSucceeded } from '../support/signing.ts';
import { lemonSqueezyOrder, paddleTransaction, polarOrderPaid } from '../support/signing-more.ts';
import { adyenDelivery, cashfreePayment, paypalCapture } from '../support/signing-paypal-adyen-cashfree.ts';

/*
 * A payer writes what he likes into the metadata of his own payment, in the browser or in the address of a checkout. It
 * must not become money. Sources are those that an environment with nothing but their secrets makes.
 */

type Metadata = Readonly<Record<string, string>>;

/** Adyen and PayPal carry one text. */
const asText = (metadata: Metadata) => new URLSearchParams(metadata).toString();
const signedAdyen = (pspReference: string, merchantReference: string) =>
  adyenDelivery([{ eventCode: 'AUTHORISATION', pspReference, merchantReference, value: 100, currency: 'USD' }]);

let made = 0;
/** Lemon Squeezy's and Cashfree's ids are numbers; a number will do for all. */
const newPaymentId = () => {
  made += 1;
  return String(70_000 + made);
};

/** A payment of one unit of a currency with two decimals, in which the payer put `metadata`. */
const PAID_100 = {
  dodo: (paymentId: string, metadata: Metadata) => dodoPayment({ paymentId, amount: 100, currency: 'USD', metadata }),
  razorpay: (paymentId: string, notes: Metadata) => razorpayPayment({ paymentId, amount: 100, currency: 'INR', notes }),
  paddle: (paymentId: string, customData: Metadata) =>
    paddleTransaction({ paymentId, amount: '100', currency: 'USD', customData }),
  polar: (paymentId: string, metadata: Metadata) =>
    polarOrderPaid({ paymentId, amount: 100, tax: 0, currency: 'usd', metadata }),
  lemonsqueezy: (resourceId: string, customData: Metadata) =>
    lemonSqueezyOrder({ resourceId, amount: 100, currency: 'USD', customData, testMode: true }),
  paypal: (paymentId: string, metadata: Metadata) =>
    paypalCapture({ paymentId, value: '1.00', currency: 'USD', customId: asText(metadata) }),
  adyen: (paymentId: string, metadata: Metadata) => signedAdyen(paymentId, asText(metadata)),
  cashfree: (paymentId: string, tags: Metadata) => cashfreePayment({ paymentId, amount: 1, currency: 'INR', tags }),
} satisfies Readonly<Record<Exclude<ProviderName, 'stripe'>, (paymentId: string, metadata: Metadata) => string>>;

const PAYER_WRITES = ['dodo', 'razorpay', 'paddle', 'polar', 'lemonsqueezy', 'paypal', 'adyen', 'cashfree'] as const;

let database: TestDatabase;
let inbox: TestInbox;
/** The sources of two environments: one tops wallets up, the other sells orders. */
let topUps: SourceDirectory;
let orders: SourceDirectory;

beforeAll(async () => {
  database = await createTestDatabase(30);
  await makeCustomers(database.pool, []);
  const names = [...PAYER_WRITES, 'stripe'] as const;
  const secrets = Object.fromEntries(names.map((name) => [`${name.toUpperCase()}_WEBHOOK_SECRET`, secretOf(name)]));
  const purposes = Object.fromEntries(names.map((name) => [`${name.toUpperCase()}_DEFAULT_PURPOSE`, 'order']));
  topUps = new SourceDirectory(loadConfig(secrets), new SecretBox([]));
  orders = new SourceDirectory(loadConfig({ ...secrets, ...purposes }), new SecretBox([]));
  const ofOrders = orders.configured(MERCHANT).map((one) => ({ ...one, sourceId: `${one.sourceId}_orders` }));
  inbox = await startInbox(database, { sources: [...topUps.configured(MERCHANT), ...ofOrders] });
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

async function newCustomer(): Promise<string> {
  const [id = ''] = await makeCustomers(database.pool, [`payer${newPaymentId()}`]);
  return id;
}

async function parkedReasons(paymentId: string) {
  const query = { state: 'parked', pageSize: 100, pageNumber: 0 } as const;
  const events = await listEvents(autocommit(database.pool), MERCHANT, query);
  return events.filter((event) => event.paymentId === paymentId).map((event) => event.reason);
}

/** Both wallets of a customer; a payment is in one of their currencies. */
async function held(customerId: string): Promise<number> {
  return ((await inbox.balance(customerId, 'USD')) ?? 0) + ((await inbox.balance(customerId, 'INR')) ?? 0);
}

function sourceOf(provider: ProviderName, sells: 'topups' | 'orders') {
  const source = (sells === 'orders' ? orders : topUps).byProvider(provider);
  if (source === null) throw new Error(`no source of ${provider}`);
  return sells === 'orders' ? { ...source, sourceId: `${source.sourceId}_orders` } : source;
}

describe.each(PAYER_WRITES)('a payer at %s', (provider) => {
  const pay = async (metadata: Metadata, sells: 'topups' | 'orders' = 'topups') => {
    const paymentId = newPaymentId();
    // The two environments stand for two accounts, whose events name one: what was learnt of the other is forgotten.
    await database.pool.query('delete from source_account');
    await inbox.play([PAID_100[provider](paymentId, metadata)], sourceOf(provider, sells));
    // Lemon Squeezy's orders are known as `order_<number>`.
    return provider === 'lemonsqueezy' ? `order_${paymentId}` : paymentId;
  };

  it('is credited what he paid; a payment that asks for another amount is parked', async () => {
    const customerId = await newCustomer();
    const asked = await pay({ wallet_customer_id: customerId, wallet_credit_amount: '9007199254740991' });
    expect(await parkedReasons(asked)).toEqual(['invalid_metadata']);
    expect(await held(customerId)).toBe(0);
    const plain = await pay({ wallet_customer_id: customerId });
    expect(await parkedReasons(plain)).toEqual([]);
    expect(await held(customerId)).toBe(100);
  });

  it('does not say what his payment is for', async () => {
    const customerId = await newCustomer();
    const goods = await pay({ wallet_customer_id: customerId, wallet_purpose: 'topup' }, 'orders');
    const topUp = await pay({ wallet_customer_id: customerId, wallet_purpose: 'order' });
    expect([...(await parkedReasons(goods)), ...(await parkedReasons(topUp))]).toEqual(
      Array(2).fill('invalid_metadata'),
    );
    expect(await held(customerId)).toBe(0);
  });
});

describe('a server at Stripe, where payers cannot write metadata', () => {
  it('says what is credited, and what a payment is for', async () => {
    const customerId = await newCustomer();
    const of = (metadata: Metadata) =>
      stripePaymentSucceeded({
        amount: 100,
        currency: 'usd',
        metadata: { wallet_customer_id: customerId, ...metadata },
      });
    const asked = [of({ wallet_credit_amount: '120' }), of({ wallet_purpose: 'order' })];
    await inbox.play(asked, sourceOf('stripe', 'topups'));
    await inbox.play([of({ wallet_purpose: 'topup' })], sourceOf('stripe', 'orders'));
    expect(await held(customerId)).toBe(220);
  });
});
