import DodoPayments from 'dodopayments';
import { z } from 'zod';
import { asked, KEY_FORM, NAME, openDodo, PAGE_SIZE } from '../providers/dodo/api.ts';
import { declineOf } from '../providers/dodo/declines.ts';
import { type ProviderAccount, ProviderApiError } from '../providers/shared/api.ts';
import { integerFromMinor } from '../providers/shared/currency.ts';
import { isPathId, parseAnswer } from '../providers/shared/json-client.ts';
import { keyParts } from '../providers/shared/listing.ts';
import {
  type ChargeAnswer,
  type ChargePlace,
  type ChargeRequest,
  type Charger,
  type MethodReading,
  NO_PAYMENT_METHOD,
} from './charger.ts';

/*
 * Charges an on-demand subscription, which is what Dodo calls a payment method that may be charged by any amount.
 *
 * | what Dodo answers to a charge                           | what it means                                          |
 * |---------------------------------------------------------|--------------------------------------------------------|
 * | 2xx with a payment's id                                 | what the payment says, which is read once              |
 * | 404, and codes of a subscription that cannot be charged | declined: there is nothing to pay with                 |
 * | other 400, 401, 403, 422                                | refused: it is documented to be about the request      |
 * | PREVIOUS_PAYMENT_PENDING, anything else, and no answer  | unknown: it is looked for, and never asked again       |
 *
 * | a payment that is                                       | means                                                  |
 * |---------------------------------------------------------|--------------------------------------------------------|
 * | succeeded                                               | charged                                                |
 * | failed, cancelled                                       | declined, by `error_code`                              |
 * | requires_customer_action                                | declined: nobody is there                              |
 * | anything else                                           | processing: its event says what it comes to            |
 *
 * There is no idempotency key in the types of dodopayments 2.52.0 nor in Dodo's API reference, so that a second request is a second charge; the
 * SDK's retries are off. Error codes: docs.dodopayments.com, error codes.
 */

/** Both are well within the time that a worker has an attempt for itself. */
const CHARGE_TIMEOUT_MS = 20_000;
const READ_TIMEOUT_MS = 10_000;
/** A subscription is not charged a thousand times within a day. */
const MOST_PAGES = 11;
/** Clocks differ. */
const CLOCK_SKEW_MS = 300_000;

const id = z.string().min(1).max(200);
const CHARGED = z.looseObject({ payment_id: id });
const PAYMENT = z.looseObject({
  payment_id: id,
  status: z.string().nullish(),
  error_code: z.string().nullish(),
  is_update_payment_method: z.boolean().nullish(),
});
const PAGE = z.looseObject({
  items: z.array(z.looseObject({ payment_id: id, metadata: z.record(z.string(), z.unknown()).nullish() })),
});
const SUBSCRIPTION = z.looseObject({
  status: z.string(),
  on_demand: z.boolean(),
  cancel_at_next_billing_date: z.boolean(),
  has_payment_method: z.boolean(),
  currency: z.string(),
  quantity: z.int(),
  addons: z.array(z.unknown()),
  customer: z.looseObject({ customer_id: z.string() }),
  payment_method_id: z.string().nullish(),
});
const CURRENCY = z
  .string()
  .regex(/^[A-Z]{3}$/)
  .transform((code) => code as DodoPayments.Currency);
const ERROR = z.looseObject({ code: z.string() });

/** The subscription cannot be charged as it is, and nothing was. */
const NOT_CHARGEABLE: ReadonlySet<string> = new Set([
  'SUBSCRIPTION_INACTIVE',
  'SUBSCRIPTION_EXPIRED',
  'SUBSCRIPTION_NOT_ON_DEMAND',
  'CHARGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION',
]);
/** What stands in the way may be this very charge, sent twice by something on the way to Dodo. */
const MAY_BE_THIS = 'PREVIOUS_PAYMENT_PENDING';
const ABOUT_THE_REQUEST: ReadonlySet<number> = new Set([400, 401, 403, 422]);

/** By Dodo's package. @throws {ProviderApiError} `refused` if the key is not of a form that a header can carry */
export function dodoCharger(account: ProviderAccount): Charger {
  keyParts(account.apiKey, { provider: NAME, form: KEY_FORM });
  const chargeMs = account.timeoutMs ?? CHARGE_TIMEOUT_MS;
  const readMs = account.timeoutMs ?? READ_TIMEOUT_MS;
  const client = openDodo(account, chargeMs);
  return {
    knowsKeys: false,
    findMethod: (customerId, methodId, currency) => findMethod({ client, readMs }, { customerId, methodId, currency }),
    chargeSaved: (request) => chargeSaved({ client, readMs, chargeMs }, request),
    findCharge: (place) => findCharge({ client, readMs }, place),
    // No source of Dodo is asked for one (connect.ts).
    createSession: async () => ({ kind: 'refused', reason: 'request' }),
  };
}

interface Reads {
  readonly client: DodoPayments;
  readonly readMs: number;
}

interface Wanted {
  readonly customerId: string;
  readonly methodId: string | null;
  readonly currency: string;
}

/** A subscription that charges more than is asked for, or in another currency, is taken for none: nobody is to pay what is not credited. */
async function findMethod(
  { client, readMs }: Reads,
  { customerId, methodId, currency }: Wanted,
): Promise<MethodReading> {
  if (methodId === null || !isPathId(methodId)) return { kind: 'none' };
  const answer = await asked(readMs, (options) => client.subscriptions.retrieve(methodId, options));
  if (answer === null) return { kind: 'none' };
  const subscription = parseAnswer(NAME, SUBSCRIPTION, answer);
  const { status, on_demand, cancel_at_next_billing_date: isEnding, has_payment_method } = subscription;
  const mayCharge = status === 'active' && on_demand && !isEnding && has_payment_method;
  const isTheirs = subscription.customer.customer_id === customerId && subscription.currency === currency;
  const isPlain = subscription.quantity === 1 && subscription.addons.length === 0;
  if (!mayCharge || !isTheirs || !isPlain) return { kind: 'none' };
  return { kind: 'found', methodId, fingerprint: subscription.payment_method_id ?? null };
}

/** Asks once. What is not known afterwards is looked for by {@link findCharge}. */
async function chargeSaved(
  { client, readMs, chargeMs }: Reads & { readonly chargeMs: number },
  request: ChargeRequest,
): Promise<ChargeAnswer> {
  const { amount, methodId, metadata } = request;
  const product_price = integerFromMinor(NAME, request.currency, amount);
  const product_currency = CURRENCY.safeParse(request.currency);
  if (product_price === null || !product_currency.success) return { kind: 'refused' };
  try {
    const answer = await client.subscriptions.charge(
      methodId,
      {
        ...{ product_price, product_currency: product_currency.data, metadata: { ...metadata } },
        // What the customer has at Dodo is neither used nor added to: all of it is to be paid now, and to us.
        customer_balance_config: { allow_customer_credits_purchase: false, allow_customer_credits_usage: false },
      },
      { maxRetries: 0, signal: AbortSignal.timeout(chargeMs) },
    );
    const charged = CHARGED.safeParse(answer);
    if (!charged.success) return { kind: 'unknown' };
    return (await readPayment({ client, readMs }, charged.data.payment_id)) ?? { kind: 'unknown' };
  } catch (error) {
    return answerOfError(error);
  }
}

function answerOfError(error: unknown): ChargeAnswer {
  if (!(error instanceof DodoPayments.APIError) || error.status === undefined) return { kind: 'unknown' };
  const body = ERROR.safeParse(error.error);
  const code = body.success ? body.data.code : '';
  const nothing: ChargeAnswer = { kind: 'declined', paymentId: null, declineCode: NO_PAYMENT_METHOD };
  if (error.status === 404) return nothing;
  if (error.status >= 500 || code === MAY_BE_THIS) return { kind: 'unknown' };
  if (NOT_CHARGEABLE.has(code)) return nothing;
  return ABOUT_THE_REQUEST.has(error.status) ? { kind: 'refused' } : { kind: 'unknown' };
}

/** What became of a payment; null where it only changed the payment method. @throws {ProviderApiError} */
async function readPayment({ client, readMs }: Reads, paymentId: string): Promise<ChargeAnswer | null> {
  const answer = isPathId(paymentId)
    ? await asked(readMs, (options) => client.payments.retrieve(paymentId, options))
    : null;
  if (answer === null) throw new ProviderApiError('unavailable', `${NAME} does not know a payment that it names`);
  const { status, error_code, is_update_payment_method } = parseAnswer(NAME, PAYMENT, answer);
  if (is_update_payment_method === true) return null;
  if (status === 'succeeded') return { kind: 'charged', paymentId };
  if (status !== 'failed' && status !== 'cancelled' && status !== 'requires_customer_action')
    return { kind: 'processing', paymentId };
  const { code: declineCode, isHard } = declineOf(status, error_code);
  return { kind: 'declined', paymentId, declineCode, isHard };
}

/** Goes through the subscription's payments since then. @throws {ProviderApiError} */
async function findCharge(reads: Reads, { methodId, topUpId, since }: ChargePlace): Promise<ChargeAnswer | null> {
  const { client, readMs } = reads;
  const created_at_gte = new Date(since.getTime() - CLOCK_SKEW_MS).toISOString();
  const query = { subscription_id: methodId, created_at_gte, page_size: PAGE_SIZE };
  let found: ChargeAnswer | null = null;
  for (let page_number = 0; page_number < MOST_PAGES; page_number += 1) {
    const answer = await asked(readMs, (options) => client.payments.list({ ...query, page_number }, options));
    const { items } = parseAnswer(NAME, PAGE, answer);
    for (const { payment_id } of items.filter(({ metadata }) => metadata?.wallet_topup_id === topUpId)) {
      found = moreOf(found, await readPayment(reads, payment_id));
    }
    // As in the SDK's own paging, only an empty page shows that the list has ended.
    if (found?.kind === 'charged' || items.length === 0) return found;
  }
  throw new ProviderApiError('unavailable', `${NAME} lists more payments than were expected`);
}

/** Of two payments with one id, as where somebody has copied the metadata, the one that has charged, or still may. */
function moreOf(one: ChargeAnswer | null, other: ChargeAnswer | null): ChargeAnswer | null {
  if (one === null || other === null) return one ?? other;
  return other.kind === 'charged' || one.kind === 'declined' ? other : one;
}
