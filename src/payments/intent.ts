import { isMinorAmount } from '../money.ts';
import type { PaymentFact, WalletMetadata } from './fact.ts';
import type { Payment, PaymentIntent } from './payment.ts';
import { PURPOSES, type SourceRules } from './purpose.ts';

const OBEYS_CUSTOMER_ALONE =
  'its source obeys wallet_customer_id alone, since a payer may have written wallet_purpose, amounts or days; if ' +
  'only your server can, set metadata of the source to all and replay; else decide by hand what was paid for, and dismiss it';

/** The settings of a source for its payments' metadata. */
export type IntentRules = Pick<SourceRules, 'defaultPurpose' | 'metadata'>;

/**
 * What a payment that succeeded is for. The first news of its success decides, by the rules of that time: a repeat or a
 * replay under other rules does not change it and is not parked for its metadata.
 * @returns the intent, or a text that says which value is not usable
 */
export function intentOf(payment: Payment, fact: PaymentFact, rules: IntentRules): PaymentIntent | string {
  const { purpose, creditAmount } = payment;
  return purpose === null ? readIntent(fact.metadata, rules) : { purpose, creditAmount };
}

/** Credit ends after so many days at most, as by the API. */
const MOST_DAYS = 3660;

/**
 * Reads what the merchant asked for in the payment's metadata: `wallet_purpose` (topup, order or none; else the source's
 * default), `wallet_credit_amount` (minor units of the payment's currency that a top-up grants in all, for bonus packs) or
 * `wallet_bonus_amount` (on top of what was paid), and when the bonus and what was paid end.
 * @returns the intent, or a text that says which value is not usable
 */
export function readIntent(metadata: WalletMetadata, rules: IntentRules): PaymentIntent | string {
  const { wallet_purpose: purposeText } = metadata;
  if (rules.metadata === 'customer' && ['wallet_purpose', ...AMOUNTS, ...DAYS].some((name) => name in metadata)) {
    return OBEYS_CUSTOMER_ALONE;
  }
  const purpose = purposeText === undefined ? rules.defaultPurpose : PURPOSES.find((known) => known === purposeText);
  if (purpose === undefined) return 'wallet_purpose wants topup, order or none';
  const numbers = { ...readNumbers(metadata, AMOUNTS), ...readNumbers(metadata, DAYS) };
  for (const name of AMOUNTS) {
    const amount = numbers[name] ?? 1;
    if (!isMinorAmount(amount) || amount === 0) return `${name} wants a positive whole number of minor units`;
  }
  for (const name of DAYS) {
    const days = numbers[name] ?? 1;
    if (!(days >= 1 && days <= MOST_DAYS)) return `${name} wants a whole number of days from 1 to ${MOST_DAYS}`;
  }
  const creditAmount = numbers.wallet_credit_amount ?? null;
  const bonusAmount = numbers.wallet_bonus_amount ?? null;
  if (creditAmount !== null && bonusAmount !== null)
    return 'wallet_credit_amount, which holds the bonus, or wallet_bonus_amount is wanted, not both';
  const terms = {
    bonusAmount,
    bonusDays: numbers.wallet_bonus_expires_in_days ?? null,
    paidDays: numbers.wallet_expires_in_days ?? null,
  };
  // What says nothing of them leaves them out.
  return Object.values(terms).every((one) => one === null)
    ? { purpose, creditAmount }
    : { purpose, creditAmount, ...terms };
}

const AMOUNTS = ['wallet_credit_amount', 'wallet_bonus_amount'] as const;
const DAYS = ['wallet_bonus_expires_in_days', 'wallet_expires_in_days'] as const;

/** The numbers that metadata says under these names; NaN for what is none. */
function readNumbers(metadata: WalletMetadata, names: readonly string[]): Readonly<Record<string, number>> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const text = metadata[name];
      return text === undefined ? [] : [[name, /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN]];
    }),
  );
}

/** Why what was paid cannot end after the days that are asked for; null if it can, or is not to. */
export function endProblem({ purpose, paidDays = null }: PaymentIntent, minDays: number | null): string | null {
  if (purpose !== 'topup' || paidDays === null || (minDays !== null && paidDays >= minDays)) return null;
  return minDays === null
    ? 'wallet_expires_in_days: what was paid does not expire, unless PAID_EXPIRY_MIN_DAYS is set'
    : `wallet_expires_in_days: what was paid expires after ${minDays} days or later (PAID_EXPIRY_MIN_DAYS)`;
}
