import { z } from 'zod';
import type { WalletMetadata } from '../../payments/fact.ts';
import { INVALID_METADATA } from './event-reading.ts';
import { anything, isPlainText } from './fields.ts';

const PREFIX = 'wallet_';
/** Stripe and Dodo allow 50 pairs of 500 characters under names of 40; Razorpay fewer. */
const MAX_KEYS = 50;
const MAX_NAME_LENGTH = 40;
const MAX_VALUE_LENGTH = 500;

/**
 * The merchant's `wallet_…` values as text; other keys are not read. Without metadata providers send null or an empty array
 * (Razorpay). A value that cannot be read as text parks the event: without `wallet_customer_id` it would be a guess whose money
 * it is.
 */
export const walletMetadata = anything.transform((value, context): WalletMetadata => {
  if (value === null || value === undefined || Array.isArray(value)) return {};
  if (typeof value !== 'object') {
    context.addIssue({ code: 'custom', message: 'wants an object' });
    return z.NEVER;
  }
  const refuse = (path: string[], message: string) =>
    context.addIssue({ code: 'custom', path, message, params: INVALID_METADATA });
  const pairs = Object.entries(value).filter(([name, item]) => name.startsWith(PREFIX) && item !== null);
  if (pairs.length > MAX_KEYS) refuse([], `has more than ${MAX_KEYS} wallet_ values`);
  return Object.fromEntries(
    pairs.slice(0, MAX_KEYS).map(([name, item]) => {
      if (!/^\w+$/.test(name) || name.length > MAX_NAME_LENGTH) refuse([], 'has a wallet_ name that is not usable');
      else if (isReadable(item)) return [name, String(item)];
      else refuse([name], `wants text of at most ${MAX_VALUE_LENGTH} characters`);
      // The value is not turned into text: an object may have a `toString` of its own, which throws.
      return [name, ''];
    }),
  );
});

/** Whether a value is what the merchant wrote: a whole number past 2^53 was rounded when the JSON was parsed. */
function isReadable(item: unknown): boolean {
  if (typeof item === 'number') return !Number.isInteger(item) || Number.isSafeInteger(item);
  return (
    typeof item === 'boolean' || (typeof item === 'string' && item.length <= MAX_VALUE_LENGTH && isPlainText(item))
  );
}
