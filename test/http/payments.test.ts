import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startInbox, type TestInbox } from '../support/inbox.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { signStripe, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';

let app: TestApp;
let inbox: TestInbox;

beforeAll(async () => {
  app = await startTestApp();
  inbox = await startInbox(app.database);
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

it('GET /payments/:id tells the life of a payment, from webhook to wallet', async () => {
  const customerId = await app.newCustomer();
  const metadata = { wallet_customer_id: customerId };
  const events = [
    stripePaymentSucceeded({ paymentId: 'pi_life', amount: 5000, currency: 'usd', metadata }),
    stripeRefund({ paymentId: 'pi_life', refundId: 're_1', amount: 2000, currency: 'usd', status: 'succeeded' }),
  ];
  for (const body of events) {
    expect((await app.call('POST', '/webhooks/stripe', body, signStripe(body))).status).toBe(200);
    await inbox.settled();
  }
  const { status, body } = await app.call('GET', '/payments/pi_life');
  expect(status).toBe(200);
  expect(body.items).toMatchObject([
    {
      payment_id: 'pi_life',
      source_id: 'src_stripe',
      business_id: 'bus_default',
      status: 'succeeded',
      purpose: 'topup',
      customer_id: customerId,
      currency: 'USD',
      amount_paid: 5000,
      credit_amount: null,
      credited: 5000,
      refunds: [{ refund_id: 're_1', status: 'succeeded', amount: 2000, currency: 'USD', credited: 0, taken: 2000 }],
      disputes: [],
      entries: [
        { event_type: 'payment', amount: 5000, after_balance: 5000, idempotency_key: null },
        { event_type: 'payment_reversal', amount: 2000, after_balance: 3000, is_credit: false },
      ],
    },
  ]);
  expect((await app.call('GET', `/customers/${customerId}/wallets/USD`)).body.balance).toBe(3000);
  const { body: applied } = await app.call('GET', '/events?status=applied');
  expect(applied.items).toMatchObject([
    { payment_id: 'pi_life', type: 'refund.created', effect: 'debited' },
    { payment_id: 'pi_life', type: 'payment_intent.succeeded', effect: 'credited' },
  ]);
});

it('shows the newest 500 of the events that anybody may sign of one payment, in their order', async () => {
  await app.database.pool.query(
    `insert into provider_event (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, payment_id, received_at,
       settled_at)
     select 'evt_many_' || n, 'bus_default', 'src_stripe', 'stripe', 'many_' || n, 'charge.updated', '{}', 'ignored', 'pi_life',
       now() + n * interval '1 second', now()
     from generate_series(1, 600) n`,
  );
  const { events } = (await app.call('GET', '/payments/pi_life')).body.items[0];
  const ids = events.map(({ event_id }: { event_id: string }) => event_id);
  expect(ids).toEqual(Array.from({ length: 500 }, (_, n) => `evt_many_${101 + n}`));
});

it('a key that a caller chose is never taken for the key of a payment', async () => {
  const customerId = await app.newCustomer();
  const path = `/customers/${customerId}/wallets/ledger-entries`;
  const entry = { amount: 1, currency: 'USD', entry_type: 'credit' };
  await app.call('POST', path, { ...entry, idempotency_key: 'src_stripe:payment:pi_squat' });
  const body = stripePaymentSucceeded({
    paymentId: 'pi_squat',
    amount: 700,
    currency: 'usd',
    metadata: { wallet_customer_id: customerId },
  });
  await app.call('POST', '/webhooks/stripe', body, signStripe(body));
  await inbox.settled();
  expect((await app.call('GET', `/customers/${customerId}/wallets/USD`)).body.balance).toBe(701);
});
