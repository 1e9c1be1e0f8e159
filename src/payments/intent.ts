import { isMinorAmount } from '../money.ts';
import type { WalletMetadata } from './fact.ts';
import type { PaymentIntent, Purpose } from './payment.ts';

const PURPOSES: readonly Purpose[] = ['topup', 'order', 'none'];

/** What a source makes of its payments' metadata. */
export interface IntentRules {
  readonly defaultPurpose: Purpose;
  readonly metadata: 'all' | 'customer';
}

/**
 * Reads what the merchant asked for in the payment's metadata: `wallet_purpose` (topup, order or none; else the source's
 * default) and `wallet_credit_amount` (minor units of the payment's currency that a top-up grants, for bonus packs).
 * @returns the intent, or a text that says which value is not usable
 */
export function readIntent(metadata: WalletMetadata, rules: IntentRules): PaymentIntent | string {
  const { wallet_purpose: purposeText, wallet_credit_amount: creditText } = metadata;
  if (rules.metadata === 'customer' && (purposeText ?? creditText) !== undefined) {
    return 'its source obeys wallet_customer_id alone, not wallet_purpose or wallet_credit_amount';
  }
  const purpose = purposeText === undefined ? rules.defaultPurpose : PURPOSES.find((known) => known === purposeText);
  if (purpose === undefined) return 'wallet_purpose wants topup, order or none';
  if (creditText === undefined) return { purpose, creditAmount: null };
  const creditAmount = /^\d{1,16}$/.test(creditText) ? Number(creditText) : Number.NaN;
  if (!isMinorAmount(creditAmount) || creditAmount === 0)
    return 'wallet_credit_amount wants a positive whole number of minor units';
  return { purpose, creditAmount };
}
