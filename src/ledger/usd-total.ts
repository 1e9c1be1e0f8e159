import { convertMinor, decimals, type Rate } from '../money.ts';
import type { Wallet } from './entry.ts';

export interface UsdTotal {
  /** US cents. */
  readonly totalMinor: number;
  /** Currencies without a rate, left out of the total. */
  readonly unconverted: readonly string[];
}

const ONE: Rate = { numerator: 1n, denominator: 1n };

/**
 * What the wallets are worth in US cents. A rate is dollars for one unit of the currency as people write it, so the
 * number of its decimals counts too. Everything is added up exactly and rounded once, half to even.
 */
export function usdTotal(
  wallets: readonly Pick<Wallet, 'currency' | 'balance'>[],
  rates: ReadonlyMap<string, Rate>,
): UsdTotal {
  let sum: Rate = { numerator: 0n, denominator: 1n };
  const unconverted: string[] = [];
  for (const { currency, balance } of wallets) {
    const rate = currency === 'USD' ? ONE : rates.get(currency);
    if (rate === undefined) {
      unconverted.push(currency);
      continue;
    }
    const cents = BigInt(balance) * rate.numerator * 10n ** BigInt(decimals('USD'));
    const denominator = rate.denominator * 10n ** BigInt(decimals(currency));
    sum = {
      numerator: sum.numerator * denominator + cents * sum.denominator,
      denominator: sum.denominator * denominator,
    };
  }
  return { totalMinor: Number(convertMinor(1, sum)), unconverted };
}
