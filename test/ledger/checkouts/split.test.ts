import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type SplitTerms, splitPurchase } from '../../../src/ledger/checkouts/split.ts';
import { MAX_AMOUNT_MINOR } from '../../../src/money.ts';

/** With Stripe's minimum in US cents, unless a test says otherwise. */
const split = (total: number, available: number, rest: Partial<SplitTerms> = {}) =>
  splitPurchase({ total, available, most: null, gatewayMinimum: 50, allowCreditPurchase: false, ...rest });

const parts = (walletPart: number, paymentPart: number, adjusted = 'none', creditBought = 0) =>
  ({ walletPart, paymentPart, creditBought, adjusted }) as const;

describe('splitting a purchase', () => {
  it('example 2: takes less out of the wallet, so that the provider charges its minimum', () => {
    expect(split(5000, 4970)).toEqual(parts(4950, 50, 'wallet_reduced'));
  });

  it('example 4: refuses what no provider would charge, unless credit may be bought with it', () => {
    expect(split(40, 10)).toBeNull();
    expect(split(40, 10, { allowCreditPurchase: true })).toEqual(parts(10, 30, 'credit_bought', 20));
  });

  it('example 5: leaves the provider its minimum of a small purchase, and all of it where the wallet is empty', () => {
    expect(split(60, 30)).toEqual(parts(10, 50, 'wallet_reduced'));
    expect(split(60, 0)).toEqual(parts(0, 60));
  });

  it.each<[string, ReturnType<typeof split>, ReturnType<typeof parts>]>([
    ['takes what there is', split(5000, 2000), parts(2000, 3000)],
    ['takes no more than it may', split(5000, 2000, { most: 700 }), parts(700, 4300)],
    ['takes nothing where it may take nothing', split(5000, 2000, { most: 0 }), parts(0, 5000)],
    ['asks no provider for nothing', split(1500, 2000), parts(1500, 0)],
    ['pays a purchase below the minimum by the wallet alone', split(40, 40), parts(40, 0)],
    ['charges exactly the minimum', split(100, 50), parts(50, 50)],
    ['charges all of a purchase of the minimum', split(50, 49), parts(0, 50, 'wallet_reduced')],
    ['knows of no minimum', split(40, 39, { gatewayMinimum: 0 }), parts(39, 1)],
    ['takes less before it sells', split(60, 30, { allowCreditPurchase: true }), parts(10, 50, 'wallet_reduced')],
    ['counts to the end', split(MAX_AMOUNT_MINOR, MAX_AMOUNT_MINOR), parts(MAX_AMOUNT_MINOR, 0)],
  ])('%s', (_, found, wanted) => {
    expect(found).toEqual(wanted);
  });

  it.each([{ total: 0 }, { total: 1.5 }, { available: -1 }, { most: -1 }, { gatewayMinimum: Number.NaN }])(
    'refuses %o',
    (wrong) => {
      expect(() => split(100, 10, wrong)).toThrow('Invariant');
    },
  );

  it('never loses a cent, takes no more than there is, and charges nothing or the minimum at least', () => {
    const small = fc.integer({ min: 0, max: 200 });
    const amount = fc.oneof(small, fc.integer({ min: 0, max: MAX_AMOUNT_MINOR }));
    const terms: fc.Arbitrary<SplitTerms> = fc.record({
      total: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: MAX_AMOUNT_MINOR })),
      available: amount,
      most: fc.option(amount),
      gatewayMinimum: small,
      allowCreditPurchase: fc.boolean(),
    });
    fc.assert(
      fc.property(terms, (asked) => {
        const { total, available, most, gatewayMinimum: least, allowCreditPurchase } = asked;
        const wanted = Math.min(total, available, most ?? total);
        const found = splitPurchase(asked);
        if (found === null) {
          expect(allowCreditPurchase).toBe(false);
          // The wallet cannot pay all of it, and the whole of it is less than a provider charges.
          expect(wanted < total && total < least).toBe(true);
          return;
        }
        const { walletPart, paymentPart, creditBought, adjusted } = found;
        expect(walletPart + paymentPart).toBe(total);
        expect(walletPart).toBeGreaterThanOrEqual(0);
        expect(walletPart).toBeLessThanOrEqual(wanted);
        const charged = paymentPart + creditBought;
        expect(charged === 0 || charged >= least).toBe(true);
        // What is sold or left in the wallet is no more than the minimum wants.
        if (creditBought > 0) expect([charged, walletPart]).toEqual([least, wanted]);
        if (walletPart < wanted) expect([charged, creditBought]).toEqual([least, 0]);
        const reason = creditBought > 0 ? 'credit_bought' : walletPart < wanted ? 'wallet_reduced' : 'none';
        expect(adjusted).toBe(reason);
      }),
    );
  });
});
