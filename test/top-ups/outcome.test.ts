import { describe, expect, it } from 'vitest';
import { MOST_DECLINES } from '../../src/top-ups/declines.ts';
import { afterStep } from '../../src/top-ups/outcome.ts';
import { NEW_STATE, type TopUpRule } from '../../src/top-ups/rule.ts';
import type { TopUp } from '../../src/top-ups/tables.ts';
import { MERCHANT } from '../support/ledger.ts';

/** What a decline makes of an attempt and its rule. */

const NOW = new Date('2026-03-10T12:00:00Z');
const KEY = { merchantId: MERCHANT, customerId: 'cus_a', currency: 'USD' };
const RULE: TopUpRule = {
  ...{ ...KEY, ...NEW_STATE, enabled: true, threshold: 1000, mode: 'amount', amount: 2000, target: null },
  ...{ maxCharge: 2000, monthlyCap: 100_000, maxPerDay: 3, minIntervalSeconds: 600, timeZone: 'UTC' },
  ...{ payment: { sourceId: 'src_stripe', providerCustomerId: 'cus_s', paymentMethodId: null } },
  ...{ consent: { acceptedAt: NOW, textVersion: '1' }, createdAt: NOW, updatedAt: NOW, endedAt: null },
};

function topUp(changes: Partial<TopUp> = {}): TopUp {
  return {
    ...{ ...KEY, topUpId: 'top_1', origin: 'threshold', state: 'charging', amount: 2000, sourceId: 'src_stripe' },
    ...{ session: null, paymentId: null, seriesId: null, reason: null, declineCode: null, method: 'print' },
    ...{ request: null, requestHash: null, cap: 100_000, monthSince: NOW, isLate: false, idempotencyKey: null },
    ...{ askedAt: NOW, leasedUntil: null, lookAt: NOW, createdAt: NOW, settledAt: null },
    ...changes,
  };
}

const declined = (declines: number, changes: Partial<TopUp> = {}) =>
  afterStep({
    ...{ topUp: topUp(changes), rule: RULE, declines, now: NOW },
    step: { state: 'declined', reason: 'declined', declineCode: 'insufficient_funds' },
  });

describe('a soft decline', () => {
  it('suspends with the tenth of a payment method, and not before', () => {
    expect(declined(MOST_DECLINES - 2).rule).toMatchObject({ suspendedReason: null, failuresInARow: 1 });
    expect(declined(MOST_DECLINES - 1).rule).toMatchObject({ suspendedReason: 'too_many_declines', retryAt: null });
  });

  it.each([
    ['the first try of a period', 'grant_USD_monthly_1_0', true],
    ['the second', 'grant_USD_monthly_1_0#2', true],
    ['the third, after which none is made', 'grant_USD_monthly_1_0#3', false],
    ['a low balance', null, true],
  ])('of %s says when the next try is', (_, idempotencyKey, isFollowed) => {
    const [failed] = declined(0, {
      idempotencyKey,
      origin: idempotencyKey === null ? 'threshold' : 'schedule',
    }).notices;
    const nextAttemptAt = isFollowed ? new Date('2026-03-10T13:00:00Z') : null;
    expect(failed).toMatchObject({ kind: 'failed', isHard: false, nextAttemptAt });
  });
});
