import { invariant } from '../../errors.ts';
import { isMinorAmount } from '../../money.ts';

/** What a purchase is split by. All amounts are minor units of one currency. */
export interface SplitTerms {
  readonly total: number;
  /** What may be taken out of the wallet now. */
  readonly available: number;
  /** Take no more than this out of it; null: as much as there is. */
  readonly most: number | null;
  /** What the provider charges at least; 0: nobody knows. */
  readonly gatewayMinimum: number;
  /** Sell credit with the purchase where else too little would be charged. */
  readonly allowCreditPurchase: boolean;
}

export const ADJUSTMENTS = ['none', 'wallet_reduced', 'credit_bought'] as const;

/** Who pays what of a purchase. */
export interface Split {
  readonly walletPart: number;
  readonly paymentPart: number;
  /** What is charged beyond the payment's part, and credited. */
  readonly creditBought: number;
  /** What was done so that the provider's minimum is reached. */
  readonly adjusted: (typeof ADJUSTMENTS)[number];
}

/**
 * Splits a purchase between wallet and provider. What the provider has to charge is nothing or its minimum at least: else the wallet pays
 * less, and where that does not help either, credit is bought with it if that is allowed.
 * @returns null where a provider would have to charge less than it does
 * @throws {InvariantError} for an amount that is no whole number of minor units, or a total of nothing
 */
export function splitPurchase({
  total,
  available,
  most,
  gatewayMinimum,
  allowCreditPurchase,
}: SplitTerms): Split | null {
  invariant(isMinorAmount(total) && total > 0, `a purchase of ${total}`);
  for (const amount of [available, most ?? 0, gatewayMinimum]) {
    invariant(isMinorAmount(amount) && amount >= 0, `a split by ${amount}`);
  }
  const walletPart = Math.min(available, most ?? total, total);
  const paymentPart = total - walletPart;
  if (paymentPart === 0 || paymentPart >= gatewayMinimum) {
    return { walletPart, paymentPart, creditBought: 0, adjusted: 'none' };
  }
  if (total >= gatewayMinimum) {
    const reduced = total - gatewayMinimum;
    return { walletPart: reduced, paymentPart: gatewayMinimum, creditBought: 0, adjusted: 'wallet_reduced' };
  }
  if (!allowCreditPurchase) return null;
  return { walletPart, paymentPart, creditBought: gatewayMinimum - paymentPart, adjusted: 'credit_bought' };
}
