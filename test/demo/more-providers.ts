import {
  lemonSqueezyOrder,
  lemonSqueezyOrderRefund,
  paddleAdjustment,
  paddleTransaction,
  polarOrderPaid,
  polarRefund,
  signLemonSqueezy,
  signPaddle,
  signPolar,
} from '../support/signing-more.ts';
import {
  ADYEN_HEADERS,
  adyenDelivery,
  cashfreePayment,
  cashfreeRefund,
  paypalCapture,
  paypalDispute,
  signCashfree,
  signPaypal,
} from '../support/signing-paypal-adyen-cashfree.ts';
import { Actor, allApplied, deliver, type Stage } from './stage.ts';

/** Another customer pays through the six providers that the story has not met yet. */
export async function playMoreProviders(stage: Stage): Promise<void> {
  const { story, client } = stage;
  story.title('Six more providers: other signatures, other units, other words for the same facts');
  story.header();
  const customer = await client.customers.create({ email: 'grace@example.com', name: 'Grace Hopper' });
  const grace = new Actor(stage, customer.customer_id);
  await grace.expect('merchant', 'creates Grace, whose wallets are empty', 0, 'USD', 'wallet.created');
  await playPaddle(stage, grace);
  await playPolar(stage, grace);
  await playLemonSqueezy(stage, grace);
  await playPaypal(stage, grace);
  await playAdyen(stage, grace);
  await playCashfree(stage, grace);
}

async function playPaddle(stage: Stage, grace: Actor): Promise<void> {
  const send = (body: string) => deliver(stage, 'paddle', body, signPaddle(body));
  const customData = { wallet_customer_id: grace.customerId };
  await send(paddleTransaction({ paymentId: 'txn_topup', amount: '4000', currency: 'USD', customData }));
  await grace.expect('Paddle', 'transaction.completed: a top-up of 40.00 USD', 4000);
  const refund = {
    paymentId: 'txn_topup',
    adjustmentId: 'adj_part',
    action: 'refund',
    amount: '1000',
    currency: 'USD',
  };
  await send(paddleAdjustment({ ...refund, type: 'created', status: 'pending_approval' }));
  await allApplied(stage);
  await grace.expectNoChange('Paddle', 'adjustment.created: a refund of 10.00 that Paddle has to approve', 4000);
  await send(paddleAdjustment({ ...refund, type: 'updated', status: 'approved' }));
  await grace.expect('Paddle', 'adjustment.updated: it is approved', 3000);
}

async function playPolar(stage: Stage, grace: Actor): Promise<void> {
  const send = (body: string) => deliver(stage, 'polar', body, signPolar(body));
  const metadata = { wallet_customer_id: grace.customerId };
  await send(polarOrderPaid({ paymentId: 'order_1', amount: 2380, tax: 380, currency: 'usd', metadata }));
  await allApplied(stage);
  await grace.expectNoChange('Polar', 'order.paid: an order of 23.80 USD, 3.80 of it tax, paid by card', 3000);
  await send(polarRefund({ paymentId: 'order_1', refundId: 'refund_1', amount: 2000, tax: 380, currency: 'usd' }));
  await grace.expect('Polar', 'refund.created: 20.00 and 3.80 of tax into the wallet', 5380);
}

async function playLemonSqueezy(stage: Stage, grace: Actor): Promise<void> {
  const send = (body: string) => deliver(stage, 'lemonsqueezy', body, signLemonSqueezy(body));
  const customData = { wallet_customer_id: grace.customerId };
  const order = { resourceId: '412', amount: 2500, currency: 'USD', customData, testMode: true };
  await send(lemonSqueezyOrder(order));
  await grace.expect('Lemon Squeezy', 'order_created: a top-up of 25.00 USD', 7880);
  await send(lemonSqueezyOrderRefund({ ...order, refundedAmount: 500 }));
  await grace.expect('Lemon Squeezy', 'order_refunded: 5.00 so far', 7380);
  await send(lemonSqueezyOrderRefund({ ...order, refundedAmount: 1200 }));
  await grace.expect('Lemon Squeezy', 'order_refunded: 12.00 so far, and so 7.00 more', 6680);
}

async function playPaypal(stage: Stage, grace: Actor): Promise<void> {
  const send = (body: string) => deliver(stage, 'paypal', body, signPaypal(body));
  await send(paypalCapture({ paymentId: 'CAPTURE1', value: '50.00', currency: 'USD', customId: grace.customerId }));
  await grace.expect('PayPal', 'PAYMENT.CAPTURE.COMPLETED: a top-up of 50.00 USD', 11_680);
  const dispute = { paymentIds: ['CAPTURE1'], disputeId: 'PP-D-1' };
  await send(paypalDispute({ ...dispute, type: 'CREATED' }));
  await allApplied(stage);
  await grace.expectNoChange('PayPal', 'CUSTOMER.DISPUTE.CREATED: over all of it, not decided yet', 11_680);
  await send(paypalDispute({ ...dispute, type: 'RESOLVED', outcome: 'RESOLVED_BUYER_FAVOUR' }));
  await grace.expect('PayPal', 'CUSTOMER.DISPUTE.RESOLVED: lost, so the 50.00 are taken back', 6680);
}

async function playAdyen(stage: Stage, grace: Actor): Promise<void> {
  const send = (body: string) => deliver(stage, 'adyen', body, ADYEN_HEADERS);
  const payment = (pspReference: string, value: number) => {
    const merchantReference = `wallet_customer_id=${grace.customerId}&order=${pspReference}`;
    return { eventCode: 'AUTHORISATION', pspReference, merchantReference, value, currency: 'USD' };
  };
  const batch = adyenDelivery([payment('PSP1', 1200), payment('PSP2', 800)]);
  await send(batch);
  await grace.expect('Adyen', 'AUTHORISATION twice in one delivery: 12.00 and 8.00 USD', 8680);
  await send(batch);
  await allApplied(stage);
  await grace.expectNoChange('Adyen', 'delivers both again', 8680);
  const refund = { ...payment('PSP3', 800), eventCode: 'REFUND', originalReference: 'PSP2' };
  await send(adyenDelivery([refund]));
  await grace.expect('Adyen', 'REFUND: of the 8.00', 7880);
}

async function playCashfree(stage: Stage, grace: Actor): Promise<void> {
  const send = (body: string) => deliver(stage, 'cashfree', body, signCashfree(body));
  const tags = { wallet_customer_id: grace.customerId };
  await send(cashfreePayment({ paymentId: '9001', amount: 1700.1, currency: 'INR', tags }));
  await grace.expect('Cashfree', 'PAYMENT_SUCCESS_WEBHOOK: a top-up of 1700.10 INR', 170_010, 'INR');
  await send(cashfreeRefund({ paymentId: '9001', refundId: '9002', amount: 200.1, status: 'SUCCESS' }));
  await grace.expect('Cashfree', 'REFUND_STATUS_WEBHOOK: 200.10 of the 1700.10 INR', 150_000, 'INR');
}
