import { hash } from 'node:crypto';
import { NO_PAYMENT_METHOD } from '../charging/charger.ts';

/**
 * What a declined charge means for the next one. A hard decline will not go away by trying again, so nothing is tried before the
 * payment method changes; after any other the customer's bank may well say yes in some hours.
 */
const HARD_DECLINES: ReadonlySet<string> = new Set([
  'authentication_required',
  'expired_card',
  'lost_card',
  'stolen_card',
  'pickup_card',
  'fraudulent',
  'revocation_of_authorization',
  NO_PAYMENT_METHOD,
  'mandate_missing',
]);

export function isHardDecline(declineCode: string | null): boolean {
  return declineCode !== null && HARD_DECLINES.has(declineCode);
}

/** Further tries after a decline that was not hard; the third decline in a row suspends. */
const BACK_OFF_HOURS = [1, 6] as const;

const HOUR = 60 * 60 * 1000;

/** When the next try may be made after so many declines in a row; null if the rule is to be suspended. */
export function afterDeclines(inARow: number, now: Date): Date | null {
  const hours = BACK_OFF_HOURS[inARow - 1];
  return hours === undefined ? null : new Date(now.getTime() + hours * HOUR);
}

/** After an attempt that failed without being declined, such as one that nobody acted on. */
export function afterFailure(now: Date): Date {
  return new Date(now.getTime() + BACK_OFF_HOURS[0] * HOUR);
}

/** So many declines of one payment method within so many days, over all rules: card networks fine who tries more often. */
export const MOST_DECLINES = 10;
export const DECLINES_WITHIN_DAYS = 30;

/** How a payment method is known again: by its card if it is one, so that the same card attached anew is the same method. */
export function methodHash({ id, fingerprint }: { readonly id: string; readonly fingerprint: string | null }): string {
  return hash('sha256', fingerprint === null ? `method ${id}` : `card ${fingerprint}`);
}
