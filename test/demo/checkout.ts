import { strict as assert } from 'node:assert';
import DodoPayments from 'dodopayments';
import { signStripe, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { Actor, allApplied, deliver, type Stage } from './stage.ts';

/** A purchase that wallet and card share: the wallet's part is set aside, taken with the payment, and returned in proportion. */
export async function playCheckout(stage: Stage): Promise<void> {
  const { story, client } = stage;
  story.title('A purchase paid half by wallet and half by card, and what a refund returns to each');
  story.header();
  const customer = await client.customers.create({ email: 'eve@example.com', name: 'Eve' });
  const eve = new Actor(stage, customer.customer_id);
  await eve.entry('credit', 7000, 'Welcome', `welcome_${eve.customerId}`);
  await eve.expect('merchant', 'gives Eve 70.00 USD', 7000);
  const terms = { total: 10_000, currency: 'USD', wallet: { max: 5000 }, idempotency_key: 'eve-1' };
  const checkout = await eve.ask('POST', '/checkouts', terms);
  assert.deepEqual([checkout.status, checkout.wallet_part, checkout.payment_part], ['open', 5000, 5000]);
  assert.deepEqual(await eve.setAside(), { held: 5000, available: 2000 });
  await eve.expectNoChange('Eve', 'buys for 100.00: 50.00 of her wallet are set aside', 7000);
  const refused: unknown = await eve.entry('debit', 2001, 'API usage', 'eve-2').catch((error: unknown) => error);
  assert(refused instanceof DodoPayments.APIError && refused.status === 400);
  await eve.expectNoChange('merchant', 'debits 20.01 meanwhile: 400 INSUFFICIENT_WALLET_FUNDS', 7000);

  const metadata = { wallet_customer_id: eve.customerId, wallet_checkout_id: String(checkout.checkout_id) };
  const payment = { paymentId: 'pi_checkout', amount: 5000, currency: 'usd' };
  const paid = stripePaymentSucceeded({ ...payment, metadata });
  for (const _ of [1, 2]) await deliver(stage, 'stripe', paid, signStripe(paid));
  await allApplied(stage);
  await eve.expect('Stripe', 'payment_intent.succeeded of the other 50.00, twice', 2000);
  await eve.hears('checkout.completed', '', '… and the purchase is complete', 2000);
  const part = stripeRefund({ ...payment, refundId: 're_checkout_1', amount: 2000 });
  await deliver(stage, 'stripe', part, signStripe(part));
  await eve.expect('Stripe', 'refund.created: 20.00 to her card, as much to her wallet', 4000);
  await eve.hears('checkout.refunded', '', '… which the merchant hears of', 4000);
  const rest = stripeRefund({ ...payment, refundId: 're_checkout_2', amount: 3000 });
  await deliver(stage, 'stripe', rest, signStripe(rest));
  await eve.expect('Stripe', 'refund.created: the other 30.00, and 30.00 to her wallet', 7000);
}
