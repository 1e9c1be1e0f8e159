import type { IncomingHttpHeaders } from 'node:http';
import { PROVIDER_NAMES } from '../../providers/shared/names.ts';
import { isDodoSdk } from '../../views/dodo-sdk.ts';
import type { PublicRefusal } from '../../views/refusals.ts';
import { turnAway } from './turn-away.ts';

/**
 * The routes of Dodo Payments that are not served here, as its official SDK 2.52.0 calls them; `{}` stands for an id. A Dodo
 * client that calls one of them is told that it is not served here, instead of a plain 404. A test compares the list with the SDK.
 */
export const DODO_ONLY: readonly string[] = [
  'GET POST /addons',
  'GET PATCH /addons/{}',
  'PUT /addons/{}/images',
  'GET /balances/ledger',
  'GET POST /blocklist/customers',
  'GET DELETE /blocklist/customers/{}',
  'POST /blocklist/customers/{}/notes',
  'PATCH /blocklist/customers/{}/notes/{}',
  'GET POST /brands',
  'GET PATCH /brands/{}',
  'POST /brands/{}/archive',
  'PUT /brands/{}/images',
  'GET /checkout/supported_countries',
  'POST /checkouts',
  'POST /checkouts/preview',
  'GET /checkouts/{}',
  'GET POST /credit-entitlements',
  'GET DELETE PATCH /credit-entitlements/{}',
  'GET /credit-entitlements/{}/balances',
  'GET /credit-entitlements/{}/balances/{}',
  'GET /credit-entitlements/{}/balances/{}/grants',
  'GET /credit-entitlements/{}/balances/{}/ledger',
  'POST /credit-entitlements/{}/balances/{}/ledger-entries',
  'POST /credit-entitlements/{}/undelete',
  'GET /customers/{}/credit-entitlements',
  'POST /customers/{}/customer-portal/session',
  'GET /customers/{}/emails',
  'GET /customers/{}/emails/{}/body',
  'GET /customers/{}/entitlement-grants',
  'GET /customers/{}/entitlements',
  'GET /customers/{}/payment-methods',
  'DELETE /customers/{}/payment-methods/{}',
  'GET POST /discounts',
  'GET /discounts/code/{}',
  'GET DELETE PATCH /discounts/{}',
  'GET /disputes',
  'GET /disputes/{}',
  'GET POST /entitlements',
  'GET DELETE PATCH /entitlements/{}',
  'POST /entitlements/{}/files',
  'DELETE /entitlements/{}/files/{}',
  'GET /entitlements/{}/grants',
  'DELETE /entitlements/{}/grants/{}',
  'POST /events/ingest',
  'POST /grants/{}/license-key',
  'GET /invoices/payments/{}',
  'GET /invoices/payouts/{}',
  'GET /invoices/refunds/{}',
  'GET /license_key_instances',
  'GET PATCH /license_key_instances/{}',
  'GET POST /license_keys',
  'GET PATCH /license_keys/{}',
  'POST /licenses/activate',
  'POST /licenses/deactivate',
  'POST /licenses/validate',
  'GET POST /meters',
  'GET DELETE /meters/{}',
  'POST /meters/{}/unarchive',
  'POST /moderation/screen',
  'GET /moderation/usage',
  'GET POST /payments',
  'GET /payments/{}/line-items',
  'POST GET /payments/{}/retry',
  'GET /payouts',
  'GET /payouts/{}/breakup',
  'GET /payouts/{}/breakup/details',
  'GET /payouts/{}/breakup/details/csv',
  'GET POST /product-collections',
  'GET DELETE PATCH /product-collections/{}',
  'POST /product-collections/{}/groups',
  'DELETE PATCH /product-collections/{}/groups/{}',
  'POST /product-collections/{}/groups/{}/items',
  'DELETE PATCH /product-collections/{}/groups/{}/items/{}',
  'PUT /product-collections/{}/images',
  'POST /product-collections/{}/unarchive',
  'GET POST /products',
  'GET /products/short_links',
  'GET PATCH DELETE /products/{}',
  'PUT /products/{}/files',
  'PUT /products/{}/images',
  'GET POST /products/{}/localized-prices',
  'GET PATCH DELETE /products/{}/localized-prices/{}',
  'POST /products/{}/short_links',
  'POST /products/{}/unarchive',
  'GET POST /refunds',
  'GET /refunds/{}',
  'GET POST /subscriptions',
  'GET PATCH /subscriptions/{}',
  'POST /subscriptions/{}/change-plan',
  'POST /subscriptions/{}/change-plan/preview',
  'DELETE /subscriptions/{}/change-plan/scheduled',
  'POST /subscriptions/{}/charge',
  'GET /subscriptions/{}/credit-usage',
  'POST /subscriptions/{}/update-payment-method',
  'GET /subscriptions/{}/usage-history',
  'GET POST /webhooks',
  'GET DELETE PATCH /webhooks/{}',
  'GET PATCH /webhooks/{}/headers',
  'GET /webhooks/{}/secret',
];

interface Pattern {
  readonly methods: ReadonlySet<string>;
  readonly path: RegExp;
}

const PATTERNS: readonly Pattern[] = DODO_ONLY.map((line) => {
  const words = line.split(' ');
  const path = words.pop() ?? '';
  return { methods: new Set(words), path: new RegExp(`^${path.replaceAll('{}', '[^/]+')}/?$`) };
});

/** At these paths Dodo Payments has its webhooks, with the id in the place of the name; here providers deliver their events. */
const RECEIVERS: ReadonlySet<string> = new Set(PROVIDER_NAMES.map((name) => `/webhooks/${name}`));

/** @returns NOT_SERVED_HERE for a route that only Dodo Payments has, or null for one that it does not have either. */
export function dodoOnly(method: string, path: string): PublicRefusal | null {
  const known = PATTERNS.some(({ methods, path: pattern }) => methods.has(method) && pattern.test(path));
  if (!known || RECEIVERS.has(path)) return null;
  return notServed("Dodo's own. Send it to Dodo Payments, by a client with Dodo's address and Dodo's key.");
}

function notServed(what: string): PublicRefusal {
  return { code: 'NOT_SERVED_HERE', message: `Chokin serves Dodo's customers and wallets; this route is ${what}` };
}

/**
 * For our routes whose path Dodo Payments uses for something else: its SDK would look for fields that our answer does not have.
 * @param what completes "this route is …"
 * @throws {TurnedAwayError} NOT_SERVED_HERE if an SDK of Dodo's asks
 */
export function refuseDodoSdk(headers: IncomingHttpHeaders, what: string): void {
  if (!isDodoSdk(headers)) return;
  const { code, message } = notServed(`${what}, in a form of its own. Ask for it with any other HTTP client.`);
  turnAway(code, message);
}
