import { z } from 'zod';
import { TOKEN_PREFIX } from '../../payments/token.ts';
import { INVALID_METADATA } from './event-reading.ts';
import { walletMetadata } from './metadata.ts';

/** The form of Chokin's customer ids. */
const CUSTOMER_ID = /^cus_[0-9a-z]+$/;
/** And of its checkouts' and top-ups'. */
const CHECKOUT_ID = /^chk_[0-9a-z]{26}$/;
const TOP_UP_ID = /^top_[0-9a-z]{26}$/;
const HAS_PAIRS = /(^|&)wallet_\w*=/;

/**
 * The `wallet_…` values in the one text that a merchant can put on a payment at PayPal (`custom_id`) and Adyen
 * (`merchantReference`). The text is only a token, `wt_…`, or only the id of a customer, `cus_01h2…`, a checkout, `chk_01h2…`, or a
 * top-up, `top_01h2…`, or pairs as in the query of a URL, `wallet_customer_id=cus_01h2…&wallet_purpose=order&order=77`. Any other text, such as an order's number, is ignored.
 */
export const walletText = z.preprocess((value, context) => {
  if (value === null || value === undefined) return {};
  if (typeof value !== 'string') {
    context.addIssue({ code: 'custom', message: 'wants a text' });
    return {};
  }
  if (value.startsWith(TOKEN_PREFIX)) return { wallet_token: value };
  if (CUSTOMER_ID.test(value)) return { wallet_customer_id: value };
  if (CHECKOUT_ID.test(value)) return { wallet_checkout_id: value };
  if (TOP_UP_ID.test(value)) return { wallet_topup_id: value };
  if (!HAS_PAIRS.test(value)) return {};
  const pairs = [...new URLSearchParams(value)].filter(([name]) => name.startsWith('wallet_'));
  if (new Set(pairs.map(([name]) => name)).size < pairs.length) {
    context.addIssue({ code: 'custom', message: 'names a wallet_ value twice', params: INVALID_METADATA });
  }
  return Object.fromEntries(pairs);
}, walletMetadata);
