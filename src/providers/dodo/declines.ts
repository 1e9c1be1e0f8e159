import type { PaymentFact } from '../../payments/fact.ts';

/*
 * Why a payment at Dodo failed, in the words of top-ups. Which codes are hard is Dodo's own list (docs.dodopayments.com, transaction failures).
 * Of those that it calls soft since a customer could mend them, a few ask for somebody who is there, and nobody is: an authentication and a
 * mandate. Unknown codes are soft.
 */

const HARD: ReadonlySet<string> = new Set([
  ...['CARD_DECLINED', 'DO_NOT_HONOR', 'EXPIRED_CARD', 'FRAUDULENT', 'INVALID_ACCOUNT', 'LOST_CARD', 'PICKUP_CARD'],
  ...['PAYMENT_METHOD_PROVIDER_DECLINED', 'PAYMENT_METHOD_UNSUPPORTED', 'PROVIDER_UNSUPPORTED', 'STOLEN_CARD'],
  ...['REVOCATION_OF_AUTHORIZATION', 'TRANSACTION_NOT_ALLOWED', 'TRANSACTION_NOT_APPROVED'],
]);

const WANTS_CUSTOMER: ReadonlyMap<string, string> = new Map([
  ['AUTHENTICATION_FAILURE', 'authentication_required'],
  ['AUTHENTICATION_REQUIRED', 'authentication_required'],
  ['AUTHENTICATION_TIMEOUT', 'authentication_required'],
  ['MANDATE_INVALID', 'mandate_missing'],
  ['MANDATE_REQUIRED', 'mandate_missing'],
  ['MANDATE_REQUIRED_SYSTEM', 'mandate_missing'],
]);

/** @param errorCode that of the payment; null where Dodo gives none */
export function declineOf(
  status: string | null | undefined,
  errorCode: string | null | undefined,
): NonNullable<PaymentFact['decline']> {
  if (status === 'requires_customer_action') return { code: 'authentication_required', isHard: true };
  const code = errorCode ?? '';
  const wanted = WANTS_CUSTOMER.get(code);
  if (wanted !== undefined) return { code: wanted, isHard: true };
  if (!/^[A-Z0-9_]{1,100}$/.test(code))
    return { code: status === 'cancelled' ? 'cancelled' : 'declined', isHard: false };
  return { code: code.toLowerCase(), isHard: HARD.has(code) };
}
