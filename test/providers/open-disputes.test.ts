import { describe, expect, it } from 'vitest';
import { record } from '../../src/payments/record.ts';
import { openRound } from '../../src/payments/report.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import { newPayment } from '../support/payments.ts';
import { providerFixture, within } from '../support/provider-fixtures.ts';
import { interpret } from './reading.ts';

/** How much of its payment an open dispute puts at risk, by each provider that tells of disputes. */

function atRisk(provider: ProviderName, body: object): string {
  const interpretation = interpret(provider, body);
  if (interpretation.kind !== 'facts') return interpretation.kind;
  const [fact] = interpretation.facts.filter(({ kind }) => kind === 'dispute');
  if (fact === undefined) return 'nothing';
  const { paymentId } = fact;
  const [part] = record(newPayment({ paymentId }), fact, null).parts;
  const round = openRound(part?.reports ?? []);
  return round === false ? 'nothing' : `${round.amountMinor ?? 'all'}`;
}

describe('a dispute that is open', () => {
  it.each<[ProviderName, string, string]>([
    ['stripe', 'charge.dispute.created', '5000'],
    ['dodo', 'dispute.opened', '4720'],
    ['dodo', 'dispute.challenged', '4720'],
    ['razorpay', 'payment.dispute.created', '50000'],
    ['adyen', 'NOTIFICATION_OF_CHARGEBACK', '5000'],
    ['adyen', 'REQUEST_FOR_INFORMATION', 'ignored'],
    ['cashfree', 'DISPUTE_CREATED', '17010'],
    ['cashfree', 'DISPUTE_UPDATED.pre-arbitration', '17010'],
    ['cashfree', 'DISPUTE_CREATED.retrieval', 'ignored'],
    ['paypal', 'CUSTOMER.DISPUTE.CREATED', 'nothing'],
    // PayPal may decide for less than is claimed, so what is claimed is not read.
    ['paypal', 'CUSTOMER.DISPUTE.UPDATED', 'all'],
    ['paddle', 'adjustment.created.chargeback-warning', 'nothing'],
  ])('at %s, as %s tells it, may take %s', (provider, name, amount) => {
    expect(atRisk(provider, providerFixture(provider, name))).toBe(amount);
  });

  it.each([
    ['dodo', 'dispute.opened', ['data'], { dispute_stage: 'pre_dispute' }],
    ['razorpay', 'payment.dispute.created', ['payload', 'dispute', 'entity'], { phase: 'retrieval' }],
    ['cashfree', 'DISPUTE_CREATED', ['data', 'dispute'], { dispute_type: 'DISPUTE' }],
  ] as const)('takes nothing yet while it only asks: %s', (provider, name, path, values) => {
    const body = providerFixture(provider, name);
    Object.assign(within(body, ...path), values);
    expect(atRisk(provider, body)).toBe('nothing');
  });

  it('at Adyen takes no more by a later round than its CHARGEBACK said, whatever fees that names', () => {
    const second = providerFixture('adyen', 'SECOND_CHARGEBACK');
    const item = within(second, 'notificationItems', '0', 'NotificationRequestItem');
    item.amount = { value: 5500, currency: 'EUR' };
    const facts = [providerFixture('adyen', 'CHARGEBACK'), second].flatMap((body) => {
      const interpretation = interpret('adyen', body);
      return interpretation.kind === 'facts' ? interpretation.facts : [];
    });
    const life = facts.reduce(
      (payment, fact) => record(payment, fact, null),
      newPayment({ paymentId: facts[0]?.paymentId ?? '' }),
    );
    expect(life.parts.map(({ state, amountMinor }) => [state, amountMinor])).toEqual([['lost', 5000]]);
  });

  it('takes nothing by a warning of Polar, and its amount with tax once money is claimed', () => {
    const dispute = (status: string) => ({
      ...{ type: 'dispute.listed', timestamp: '2026-03-01T12:00:00Z' },
      data: { id: 'dp', order_id: 'or', amount: 1000, tax_amount: 190, currency: 'usd', status },
    });
    expect([atRisk('polar', dispute('early_warning')), atRisk('polar', dispute('needs_response'))]).toEqual([
      'nothing',
      '1190',
    ]);
  });
});
