import { expect, it } from 'vitest';
import { firstDifference } from '../../src/audit/row-differences.ts';
import { record } from '../../src/payments/record.ts';
import { disputeFact, newPayment, paymentFact } from '../support/payments.ts';

it('a row without the amount of a claim that was won, as releases before left it, is no difference; one with another amount is', () => {
  const won = disputeFact({ disputeId: 'd', state: 'won', role: 'informs', amountMinor: 3000 });
  const facts = [paymentFact(), won];
  const stored = (amountMinor: number | null) =>
    [paymentFact(), { ...won, amountMinor }].reduce((life, fact) => record(life, fact, null), newPayment());
  expect(firstDifference(stored(null), facts)).toBeNull();
  expect(firstDifference(stored(3000), facts)).toBeNull();
  expect(firstDifference(stored(2000), facts)).toBe('its dispute d is won 2000 USD, and its events say won 3000 USD');
});
