import { isMinorAmount } from '../money.ts';
import type { PaymentFact, WalletMetadata } from './fact.ts';
import type { Payment, PaymentIntent } from './payment.ts';
import { PURPOSES, type SourceRules } from './purpose.ts';

const OBEYS_CUSTOMER_ALONE =
  'its source obeys wallet_customer_id alone, since a payer may have written wallet_purpose or wallet_credit_amount; if ' +
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

/**
 * Reads what the merchant asked for in the payment's metadata: `wallet_purpose` (topup, order or none; else the source's
 * default) and `wallet_credit_amount` (minor units of the payment's currency that a top-up grants, for bonus packs).
 * @returns the intent, or a text that says which value is not usable
 */
export function readIntent(metadata: WalletMetadata, rules: IntentRules): PaymentIntent | string {
  const { wallet_purpose: purposeText, wallet_credit_amount: creditText } = metadata;
  if (rules.metadata === 'customer' && (purposeText ?? creditText) !== undefined) {
    return OBEYS_CUSTOMER_ALONE;
  }
  const purpose = purposeText === undefined ? rules.defaultPurpose : PURPOSES.find((known) => known === purposeText);
  if (purpose === undefined) return 'wallet_purpose wants topup, order or none';
  if (creditText === undefined) return { purpose, creditAmount: null };
  const creditAmount = /^\d{1,16}$/.test(creditText) ? Number(creditText) : Number.NaN;
  if (!isMinorAmount(creditAmount) || creditAmount === 0)
    return 'wallet_credit_amount wants a positive whole number of minor units';
  return { purpose, creditAmount };
}
