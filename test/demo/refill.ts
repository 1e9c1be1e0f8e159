import { strict as assert } from 'node:assert';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { Actor, allApplied, deliver, type Stage } from './stage.ts';

/** A wallet with a top-up rule: the merchant is asked to charge, once, and the payment's event fills it up. */
export async function playRefill(stage: Stage): Promise<void> {
  const { story, client } = stage;
  story.title('A wallet that fills itself up: asked for once, credited by the payment alone');
  story.header();
  const customer = await client.customers.create({ email: 'dora@example.com', name: 'Dora' });
  const dora = new Actor(stage, customer.customer_id);
  await dora.entry('credit', 2000, 'Welcome', `welcome_${dora.customerId}`);
  await dora.expect('merchant', 'gives Dora 20.00 USD', 2000);
  const { status } = await dora.ask('PUT', '/wallets/USD/top-up-rule', {
    ...{ enabled: true, threshold: 1500, mode: 'amount', amount: 2000, monthly_cap: 5000, payment: null },
    consent: { accepted_at: new Date().toISOString(), text_version: 'demo' },
  });
  assert.equal(status, 'active');
  await dora.expectNoChange('Dora', 'agrees: 20.00 when less than 15.00 is left, 50.00 a month', 2000);
  await dora.entry('debit', 600, 'API usage', 'dora-1');
  await dora.expect('merchant', 'debits 6.00', 1400);
  const { metadata, amount } = await dora.hears('topup.requested', 'Chokin', 'asks the merchant to charge 20.00', 1400);
  await dora.entry('debit', 100, 'API usage', 'dora-2');
  await dora.expect('merchant', 'debits 1.00 meanwhile: one request is under way, no other is made', 1300);
  const paid = stripePaymentSucceeded({
    ...{ paymentId: 'pi_refill', currency: 'usd', amount: Number(amount) },
    metadata: metadata as Record<string, string>,
  });
  for (const _ of [1, 2]) await deliver(stage, 'stripe', paid, signStripe(paid));
  await allApplied(stage);
  await dora.expect('Stripe', 'payment_intent.succeeded of that request, twice: 20.00', 3300);
  await dora.hears('topup.succeeded', '', '… and the request is settled', 3300);
  assert.equal(stage.endpoint.count('topup.requested'), 1, 'one request');
}
