import { z } from 'zod';
import { anything, isPlainText } from './fields.ts';
import { parseJson } from './json.ts';
import type { ProviderName } from './names.ts';

/*
 * The account at the provider to which an event belongs, if the signed body names it.
 *
 * | provider     | field                                                                  |
 * |--------------|------------------------------------------------------------------------|
 * | razorpay     | `account_id`                                                           |
 * | dodo         | `business_id`                                                          |
 * | lemonsqueezy | `data.attributes.store_id`                                             |
 * | polar        | `data.organization_id`, or that of `data.product` or `data.customer`   |
 * | adyen        | `merchantAccountCode` of every item, which its HMAC covers             |
 * | stripe       | `account` or `context`: of Connect alone, where it is somebody else's  |
 *
 * Stripe's own account is asked for by its API. PayPal's is its webhook id, which is the secret of its source. Paddle and
 * Cashfree do not name theirs.
 */

/** Where an event names an account that nobody told us of, the first one that does tells which is the source's. */
export const LEARNT_FROM_EVENTS: ReadonlySet<ProviderName> = new Set([
  'razorpay',
  'dodo',
  'lemonsqueezy',
  'polar',
  'adyen',
]);

const name = z.union([z.string().min(1).max(200).refine(isPlainText), z.int()]).transform(String);

/** Nobody's account: what is told of an account that cannot be read is not taken for the source's own. */
const UNREADABLE = '?';
const nameIfAny = anything.transform((value) => {
  if (value === undefined || value === null) return [];
  const read = name.safeParse(value);
  return [read.success ? read.data : UNREADABLE];
});
const ofOrganization = z.object({ organization_id: name }).transform((one) => [one.organization_id]);

const ACCOUNTS: Partial<Record<ProviderName, z.ZodType<readonly string[]>>> = {
  razorpay: z.object({ account_id: name }).transform((body) => [body.account_id]),
  dodo: z.object({ business_id: name }).transform((body) => [body.business_id]),
  lemonsqueezy: z
    .object({ data: z.object({ attributes: z.object({ store_id: name }) }) })
    .transform((body) => [body.data.attributes.store_id]),
  polar: z
    .object({
      data: z.union([
        ofOrganization,
        z.object({ product: ofOrganization }).transform((data) => data.product),
        z.object({ customer: ofOrganization }).transform((data) => data.customer),
      ]),
    })
    .transform((body) => body.data),
  adyen: z
    .object({
      notificationItems: z.array(z.object({ NotificationRequestItem: z.object({ merchantAccountCode: name }) })),
    })
    .transform((body) => body.notificationItems.map((item) => item.NotificationRequestItem.merchantAccountCode)),
  stripe: z
    .object({ account: nameIfAny, context: nameIfAny })
    .transform(({ account, context }) => [...account, ...context]),
};

/**
 * The accounts at the provider that a verified body names, each once, as texts of at most 200 characters; none where the
 * provider or this event names none.
 */
export function accountsOf(provider: ProviderName, rawBody: Buffer): readonly string[] {
  const schema = ACCOUNTS[provider];
  if (schema === undefined) return [];
  const parsed = parseJson(rawBody);
  const accounts = schema.safeParse(parsed.ok ? parsed.value : null);
  return accounts.success ? [...new Set(accounts.data)] : [];
}
