import { z } from 'zod';
import { walletMetadata } from './metadata.ts';
import { INVALID_METADATA } from './outcome.ts';

/** A customer's id as Chokin makes them. */
const CUSTOMER_ID = /^cus_[0-9a-z]+$/;
const HAS_PAIRS = /(^|&)wallet_\w*=/;

/**
 * The `wallet_…` values out of the one text that PayPal (`custom_id`) and Adyen (`merchantReference`) let a merchant put
 * on a payment. The text is either a customer's id alone, `cus_01h2…`, or pairs as in the query of an address,
 * `wallet_customer_id=cus_01h2…&wallet_purpose=order&order=77`. Any other text, such as an order's number, says nothing
 * to Chokin.
 */
export const walletText = z.preprocess((value, context) => {
  if (value === null || value === undefined) return {};
  if (typeof value !== 'string') {
    context.addIssue({ code: 'custom', message: 'wants a text' });
    return {};
  }
  if (CUSTOMER_ID.test(value)) return { wallet_customer_id: value };
  if (!HAS_PAIRS.test(value)) return {};
  const pairs = [...new URLSearchParams(value)].filter(([name]) => name.startsWith('wallet_'));
  if (new Set(pairs.map(([name]) => name)).size < pairs.length) {
    context.addIssue({ code: 'custom', message: 'names a wallet_ value twice', params: INVALID_METADATA });
  }
  return Object.fromEntries(pairs);
}, walletMetadata);
