import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import {
  isSimulatedPaymentId,
  newSimulatedPaymentId,
  newSimulatedRefundId,
  SIMULATED_PROVIDERS,
  type SimulatedMoney,
  simulatedDisputeId,
  simulatedEvent,
} from '../../src/providers/shared/simulated-event.ts';
import { DODO_SECRET, RAZORPAY_SECRET, STRIPE_SECRET } from '../support/signing.ts';

const NOW = new Date('2026-11-28T12:00:00Z');
const SECRETS = { stripe: STRIPE_SECRET, dodo: DODO_SECRET, razorpay: RAZORPAY_SECRET };

describe.each(SIMULATED_PROVIDERS)('a simulated event of %s', (provider) => {
  const { verify, deliveryKey, interpret } = PROVIDERS[provider];
  const paymentId = newSimulatedPaymentId(provider);
  const money = { paymentId, amountMinor: 1250, currency: 'USD', customerId: 'cus_ada' };
  const [refundId, disputeId] = [newSimulatedRefundId(), simulatedDisputeId(paymentId)];
  const make = (what: SimulatedMoney) => simulatedEvent(provider, what, SECRETS[provider], NOW);
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
    ['a refund', { kind: 'refund', ...money, refundId }, { kind: 'refund', state: 'succeeded', refundId }],
    [
      'an open dispute',
      { kind: 'dispute', ...money, disputeId, state: 'open' },
      { kind: 'dispute', state: 'open', disputeId },
    ],
    ['a lost dispute', { kind: 'dispute', ...money, disputeId, state: 'lost' }, { kind: 'dispute', state: 'lost' }],
    ['a won dispute', { kind: 'dispute', ...money, disputeId, state: 'won' }, { kind: 'dispute', state: 'won' }],
  ])('verifies as its own and is read as %s', (_, what, fact) => {
    const { type, delivery } = make(what);
    expect(verify(delivery, [SECRETS[provider]], NOW)).toMatchObject({ ok: true });
    expect(verify(delivery, ['another-secret'], NOW)).toMatchObject({ ok: false });
    expect(interpret(delivery.rawBody)).toMatchObject({
      kind: 'facts',
      eventType: type,
      facts: [{ ...common, ...fact }],
    });
  });

  it('is another delivery each time, and never one of live mode', () => {
    const refunds = [newSimulatedRefundId(), newSimulatedRefundId()].map((id) =>
      make({ kind: 'refund', ...money, refundId: id }),
    );
    const keys = refunds.map(({ delivery }) => deliveryKey(delivery));
    expect(new Set(keys).size).toBe(2);
    for (const { delivery } of refunds) expect(interpret(delivery.rawBody)).not.toMatchObject({ livemode: true });
  });

  it('has a payment that is known again as simulated', () => {
    expect(isSimulatedPaymentId(paymentId)).toBe(true);
    for (const real of ['pi_3PqRsLkdIwHu7ix01gdX8aVt', 'pay_abc', `x${paymentId}`, `${paymentId}\n`, 'pi_simulated']) {
      expect(isSimulatedPaymentId(real)).toBe(false);
    }
  });
});
