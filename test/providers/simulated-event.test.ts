import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import {
  isSimulatedPaymentId,
  newSimulatedPaymentId,
  newSimulatedRefundId,
  SIMULATED_PROVIDERS,
  simulatedDisputeId,
  simulatedEvent,
} from '../../src/providers/shared/simulated-event.ts';
import type { SimulatedMoney } from '../../src/providers/shared/simulated-money.ts';
import { DODO_SECRET, RAZORPAY_SECRET, STRIPE_SECRET } from '../support/signing.ts';
import { LEMONSQUEEZY_SECRET, PADDLE_SECRET, POLAR_SECRET } from '../support/signing-more.ts';
import { ADYEN_HMAC_KEY, CASHFREE_SECRET } from '../support/signing-paypal-adyen-cashfree.ts';

const NOW = new Date('2026-11-28T12:00:00Z');
const SECRETS = {
  ...{
    stripe: STRIPE_SECRET,
    dodo: DODO_SECRET,
    razorpay: RAZORPAY_SECRET,
    paddle: PADDLE_SECRET,
    polar: POLAR_SECRET,
  },
  ...{ lemonsqueezy: LEMONSQUEEZY_SECRET, adyen: ADYEN_HMAC_KEY, cashfree: CASHFREE_SECRET },
};
/** Who settles what is disputed by refunds, and tells of those alone. */
const WITHOUT_DISPUTES: ReadonlySet<string> = new Set(['polar', 'lemonsqueezy']);

describe.each(SIMULATED_PROVIDERS)('a simulated event of %s', (provider) => {
  const { verify, deliveryKey, interpret } = PROVIDERS[provider];
  const paymentId = newSimulatedPaymentId(provider);
  const money = { paymentId, amountMinor: 1250, currency: 'USD', customerId: 'cus_ada' };
  const [refundId, disputeId] = [newSimulatedRefundId(), simulatedDisputeId(paymentId)];
  const refund = { kind: 'refund', ...money, refundId, paidMinor: 5000, refundedMinor: 1250 } as const;
  const make = (what: SimulatedMoney) => {
    const made = simulatedEvent(provider, what, { secret: SECRETS[provider], now: NOW });
    if (made === null) throw new Error('there is no such event');
    return made;
  };
  const common = { paymentId, amountMinor: 1250, currency: 'USD' };

  it.each<[string, SimulatedMoney, object]>([
    [
      'a top-up',
      { kind: 'payment', ...money, purpose: null },
      { kind: 'payment', state: 'succeeded', metadata: { wallet_customer_id: 'cus_ada' } },
    ],
    [
      'an order',
      { kind: 'payment', ...money, purpose: 'order' },
      { kind: 'payment', metadata: { wallet_customer_id: 'cus_ada', wallet_purpose: 'order' } },
    ],
    ['a refund', refund, { kind: 'refund', state: 'succeeded' }],
    ['an open dispute', { kind: 'dispute', ...money, disputeId, state: 'open' }, { kind: 'dispute', state: 'open' }],
    ['a lost dispute', { kind: 'dispute', ...money, disputeId, state: 'lost' }, { kind: 'dispute', state: 'lost' }],
    ['a won dispute', { kind: 'dispute', ...money, disputeId, state: 'won' }, { kind: 'dispute', state: 'won' }],
  ])('verifies as its own and is read as %s', (_, what, fact) => {
    if (what.kind === 'dispute' && WITHOUT_DISPUTES.has(provider)) {
      expect(simulatedEvent(provider, what, { secret: SECRETS[provider], now: NOW })).toBeNull();
      return;
    }
    const { type, delivery } = make(what);
    expect(verify(delivery, [SECRETS[provider]], NOW)).toMatchObject({ ok: true });
    expect(verify(delivery, ['another-secret'], NOW)).toMatchObject({ ok: false });
    const reading = interpret(delivery.rawBody);
    expect(reading).toMatchObject({ kind: 'facts', eventType: type });
    // Paddle gives money back by a movement of its own.
    const isReversal = provider === 'paddle' && what.kind === 'dispute' && what.state === 'won';
    const wanted = isReversal ? { kind: 'movement', movement: 'reinstatement', state: 'succeeded' } : fact;
    if (reading.kind === 'facts') expect(reading.facts.at(-1)).toMatchObject({ ...common, ...wanted });
  });

  it('is another delivery each time, and never one of live mode', () => {
    const refunds = [refundId, newSimulatedRefundId()].map((id) =>
      make({ ...refund, refundId: id, refundedMinor: id === refundId ? 1250 : 2500 }),
    );
    const keys = refunds.map(({ delivery }) => deliveryKey(delivery));
    expect(new Set(keys).size).toBe(2);
    for (const { delivery } of refunds) expect(interpret(delivery.rawBody)).not.toMatchObject({ livemode: true });
  });

  it('has a payment that is known again as simulated', () => {
    expect(isSimulatedPaymentId(paymentId)).toBe(true);
    for (const real of [
      'pi_3PqRsLkdIwHu7ix01gdX8aVt',
      'pay_abc',
      `x${paymentId}`,
      `${paymentId}\n`,
      'pi_simulated',
      'order_412',
    ]) {
      expect(isSimulatedPaymentId(real)).toBe(false);
    }
  });
});
