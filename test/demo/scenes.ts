import { strict as assert } from 'node:assert';
import DodoPayments from 'dodopayments';
import {
  dodoPayment,
  dodoRefund,
  razorpayPayment,
  signDodo,
  signRazorpay,
  signStripe,
  stripeDispute,
  stripePaymentSucceeded,
  stripeRefund,
} from '../support/signing.ts';
import { playCheckout } from './checkout.ts';
import { playMoreProviders } from './more-providers.ts';
import { playRefill } from './refill.ts';
import { Actor, allApplied, deliver, openEndpoint, post, type Stage, setAside } from './stage.ts';

/** The story; each scene throws if a balance or a webhook is not what it must be. */
export async function playStory(stage: Stage): Promise<void> {
  const { story, client, endpoint } = stage;
  await openEndpoint(stage);
  story.title('A customer and her wallets');
  story.header();
  const customer = await client.customers.create({ email: 'ada@example.com', name: 'Ada Lovelace' });
  const ada = new Actor(stage, customer.customer_id);
  await ada.expect(
    'merchant',
    'creates Ada through the Dodo SDK; her USD wallet comes with her',
    0,
    'USD',
    'wallet.created',
  );
  await ada.expect('', '… and her INR wallet', 0, 'INR', 'wallet.created');
  await ada.entry('credit', 500, 'Welcome', `welcome_${ada.customerId}`);
  await ada.expect('merchant', 'gives a welcome credit of 5.00 USD', 500);
  await playPurchases(stage, ada);
  await playUsage(stage, ada);
  await playRefunds(stage, ada);
  await playReservation(stage);
  await playPromotion(stage);
  await playCheckout(stage);
  await playRefill(stage);
  await playForgery(stage, ada);
  await playMoreProviders(stage);
  assert.equal(endpoint.count('wallet.balance.low'), 1, 'one low-balance alert');
}

async function playPurchases(stage: Stage, ada: Actor): Promise<void> {
  stage.story.title('Purchases: one credit each, however often the provider tells');
  stage.story.header();
  const metadata = { wallet_customer_id: ada.customerId };
  const topUp = stripePaymentSucceeded({ paymentId: 'pi_topup', amount: 2000, currency: 'usd', metadata });
  await deliver(stage, 'stripe', topUp, signStripe(topUp));
  await ada.expect('Stripe', 'payment_intent.succeeded: a top-up of 20.00 USD', 2500);
  await deliver(stage, 'stripe', topUp, signStripe(topUp));
  for (const type of ['charge.succeeded', 'checkout.session.completed']) {
    const sibling = stripeSibling(type);
    await deliver(stage, 'stripe', sibling, signStripe(sibling));
  }
  const renamed = stripePaymentSucceeded({ paymentId: 'pi_topup', amount: 2000, currency: 'usd', metadata });
  await deliver(stage, 'stripe', renamed, signStripe(renamed));
  await allApplied(stage);
  await ada.expectNoChange('Stripe', 'the same again, its siblings, and the same under another event id', 2500);
  const rupees = razorpayPayment({ paymentId: 'pay_inr', amount: 150_000, currency: 'INR', notes: metadata });
  await deliver(stage, 'razorpay', rupees, signRazorpay(rupees));
  await ada.expect('Razorpay', 'payment.captured: a top-up of 1500.00 INR', 150_000, 'INR');
}

async function playUsage(stage: Stage, ada: Actor): Promise<void> {
  const { story, client } = stage;
  story.title('Usage: debits until the balance is low, and not one beyond it');
  story.header();
  for (const [index, left] of [2000, 1500, 1000].entries()) {
    await ada.entry('debit', 500, 'API usage', `usage-${index}`);
    await ada.expect('merchant', `debits 5.00 USD for usage (${index + 1})`, left);
  }
  await ada.entry('debit', 250, 'API usage', 'usage-3');
  await ada.expect('merchant', 'debits 2.50 USD: below the threshold of 10.00', 750, 'USD', 'wallet.balance.low');
  const refused: unknown = await ada.entry('debit', 10_000, 'API usage', 'usage-4').catch((error: unknown) => error);
  assert(
    refused instanceof DodoPayments.APIError &&
      refused.status === 400 &&
      refused.message.includes('Insufficient balance'),
  );
  await ada.expectNoChange('merchant', 'debits 100.00 USD: 400 INSUFFICIENT_WALLET_FUNDS', 750);
  const repeated: unknown = await ada.entry('debit', 250, 'API usage', 'usage-3').catch((error: unknown) => error);
  assert(repeated instanceof DodoPayments.APIError && repeated.status === 409);
  await ada.expectNoChange('merchant', 'repeats the debit of 2.50 under its key: 409, already done', 750);
  const total = await client.customers.wallets.list(ada.customerId);
  assert.equal(total.total_balance_usd, 750 + 1785, 'both wallets in dollars');
}

async function playRefunds(stage: Stage, ada: Actor): Promise<void> {
  stage.story.title('Refunds: of an order into the wallet, of a top-up out of it, in any order');
  stage.story.header();
  const order = dodoPayment({
    paymentId: 'pay_order',
    amount: 1800,
    currency: 'USD',
    metadata: { wallet_customer_id: ada.customerId },
  });
  await deliver(stage, 'dodo', order, signDodo(order));
  await allApplied(stage);
  await ada.expectNoChange('Dodo', 'payment.succeeded: an order of 18.00 USD, paid by card', 750);
  const refund = dodoRefund({
    paymentId: 'pay_order',
    refundId: 'ref_order',
    amount: 1800,
    currency: 'USD',
    isPartial: false,
  });
  await deliver(stage, 'dodo', refund, signDodo(refund));
  await ada.expect('Dodo', 'refund.succeeded: 18.00 USD into the wallet instead of cash', 2550);
  const partial = stripeRefund({ paymentId: 'pi_topup', refundId: 're_part', amount: 500, currency: 'usd' });
  await deliver(stage, 'stripe', partial, signStripe(partial));
  await ada.expect('Stripe', 'refund.created: 5.00 of the 20.00 USD top-up', 2050);
  const rest = stripeRefund({ paymentId: 'pi_topup', refundId: 're_rest', amount: 1500, currency: 'usd' });
  await deliver(stage, 'stripe', rest, signStripe(rest));
  await ada.expect('Stripe', 'refund.created: the other 15.00', 550);
  const late = stripePaymentSucceeded({
    paymentId: 'pi_topup',
    amount: 2000,
    currency: 'usd',
    metadata: { wallet_customer_id: ada.customerId },
  });
  await deliver(stage, 'stripe', late, signStripe(late));
  await allApplied(stage);
  await ada.expectNoChange('Stripe', 'redelivers the payment after its refunds', 550);
}

async function playReservation(stage: Stage): Promise<void> {
  const { story, client } = stage;
  story.title('Work whose price is known afterwards: an estimate is set aside, and what it was is taken');
  story.header();
  const customer = await client.customers.create({ email: 'bob@example.com', name: 'Bob' });
  const bob = new Actor(stage, customer.customer_id);
  await bob.entry('credit', 2000, 'Welcome', `welcome_${bob.customerId}`);
  await bob.expect('merchant', 'gives Bob 20.00 USD', 2000);
  const holdId = await bob.hold(500, 'job-1');
  assert.deepEqual(await bob.setAside(), { held: 500, available: 1500 });
  await bob.expectNoChange('merchant', 'sets 5.00 aside for a job: 15.00 are available', 2000);
  const refused: unknown = await bob.entry('debit', 1501, 'API usage', 'other').catch((error: unknown) => error);
  assert(refused instanceof DodoPayments.APIError && refused.status === 400);
  await bob.expectNoChange('merchant', 'debits 15.01 meanwhile: 400 INSUFFICIENT_WALLET_FUNDS', 2000);
  await bob.capture(holdId, 120);
  await bob.expect('merchant', 'the job came to 1.20: captures that, 3.80 are free again', 1880);
  assert.deepEqual(await bob.setAside(), { held: 0, available: 1880 });

  const metadata = { wallet_customer_id: bob.customerId };
  const topUp = stripePaymentSucceeded({ paymentId: 'pi_disputed', amount: 1000, currency: 'usd', metadata });
  await deliver(stage, 'stripe', topUp, signStripe(topUp));
  await bob.expect('Stripe', 'payment_intent.succeeded: a top-up of 10.00 USD', 2880);
  const dispute = { paymentId: 'pi_disputed', disputeId: 'du_1', amount: 1000, currency: 'usd' };
  const opened = stripeDispute({ ...dispute, type: 'created', status: 'needs_response' });
  await deliver(stage, 'stripe', opened, signStripe(opened));
  await bob.expect('Stripe', 'charge.dispute.created: its 10.00 are set aside', 2880, 'USD', 'wallet.hold.placed');
  assert.deepEqual(await bob.setAside(), { held: 1000, available: 1880 });
  const lost = stripeDispute({ ...dispute, type: 'closed', status: 'lost' });
  await deliver(stage, 'stripe', lost, signStripe(lost));
  await bob.expect('Stripe', 'charge.dispute.closed: lost, and taken', 1880);
}

/** Long enough for what comes before the end, on a busy machine. */
const PROMOTION_MS = 5_000;

async function playPromotion(stage: Stage): Promise<void> {
  const { story, client } = stage;
  story.title('A promotion that ends: spent before what was paid for, and gone when it says');
  story.header();
  const customer = await client.customers.create({ email: 'cleo@example.com', name: 'Cleo' });
  const cleo = new Actor(stage, customer.customer_id);
  await cleo.entry('credit', 2000, 'Paid by bank transfer', `paid_${cleo.customerId}`);
  await cleo.expect('merchant', 'gives Cleo the 20.00 USD that she paid for', 2000);
  const key = `spring_${cleo.customerId}`;
  const end = await cleo.promotion(500, { name: 'Spring', lifeMs: PROMOTION_MS, key });
  await cleo.expect('merchant', `gives 5.00 more that end in ${PROMOTION_MS / 1000} seconds`, 2500);
  await cleo.entry('debit', 300, 'API usage', 'promoted');
  await cleo.expect('merchant', 'debits 3.00, which are taken out of the promotion', 2200);
  assert.deepEqual(await cleo.lots(), { base: 2000, in_lots: 200 });
  await cleo.expectNoChange('merchant', 'looks: 20.00 without an end, 2.00 with one', 2200);
  await untilAfter(end);
  const late: unknown = await cleo.entry('debit', 2001, 'API usage', 'late').catch((error: unknown) => error);
  assert(late instanceof DodoPayments.APIError && late.status === 400);
  await cleo.expect('time', 'the other 2.00 are gone, and were not spent late', 2000, 'USD', 'wallet.credit.expired');
  await cleo.expectNoChange('merchant', 'debits 20.01: 400 INSUFFICIENT_WALLET_FUNDS', 2000);
}

async function untilAfter(end: Date): Promise<void> {
  const left = end.getTime() - Date.now();
  if (left >= 0) await new Promise((resolve) => setTimeout(resolve, left + 1));
}

async function playForgery(stage: Stage, ada: Actor): Promise<void> {
  stage.story.title('A forgery, and a payer who asks for more');
  stage.story.header();
  const forged = stripePaymentSucceeded({
    paymentId: 'pi_forged',
    amount: 99_900,
    metadata: { wallet_customer_id: ada.customerId },
  });
  const response = await post(stage, 'stripe', forged, signStripe(forged, 'whsec_of_somebody_else'));
  assert.equal(response.status, 401);
  await ada.expectNoChange('a stranger', 'sends a payment of 999.00 USD with a forged signature: 401', 550);
  const notes = { wallet_customer_id: ada.customerId, wallet_credit_amount: String(Number.MAX_SAFE_INTEGER) };
  const greedy = razorpayPayment({ paymentId: 'pay_greedy', amount: 100, currency: 'INR', notes });
  await deliver(stage, 'razorpay', greedy, signRazorpay(greedy));
  await setAside(stage, 'invalid_metadata', 'A payer wrote his own credit.');
  await ada.expectNoChange('a payer', 'pays 1.00 INR, his notes ask for 90 trillion: parked', 150_000, 'INR');
}

function stripeSibling(type: string): string {
  return JSON.stringify({
    id: `evt_${type.replaceAll('.', '_')}`,
    object: 'event',
    type,
    livemode: false,
    created: 1_760_000_000,
    data: { object: { id: 'sibling', object: 'event', payment_intent: 'pi_topup', payment_status: 'paid' } },
  });
}
