import Stripe from 'stripe';
import { z } from 'zod';
import type { ProviderAccount } from '../providers/shared/api.ts';
import { ProviderApiError } from '../providers/shared/api.ts';
import { integerFromMinor } from '../providers/shared/currency.ts';
import { errorOfStatus, parseAnswer, unreachable } from '../providers/shared/json-client.ts';
import { keyParts } from '../providers/shared/listing.ts';
import { KEY_FORMS, openClient } from '../providers/stripe/api.ts';
import {
  type ChargeAnswer,
  type ChargePlace,
  type ChargeRequest,
  type Charger,
  type MethodReading,
  NO_PAYMENT_METHOD,
} from './charger.ts';
import { createSession, inOneOrder } from './stripe-session.ts';

/*
 * | what Stripe answers                                       | what it means                                             |
 * |-----------------------------------------------------------|-----------------------------------------------------------|
 * | 200, status succeeded · processing                        | charged · processing                                      |
 * | 200, any other status                                     | declined: nobody is there to do what it wants             |
 * | 402 (card_error)                                          | declined, by `decline_code`, else `code`                  |
 * | 400 resource_missing of the customer or payment method    | declined: there is nothing to pay with                    |
 * | 400 of the mandate                                        | declined: mandate_missing                                 |
 * | 400 idempotency_error, 409, 429, 5xx, no answer           | unknown: to be asked again under the same key             |
 * | other 400, 401, 403                                       | refused: Stripe made nothing, and never will              |
 *
 * An off-session payment that wants authentication is declined, with `authentication_required` (docs.stripe.com/declines/codes);
 * `error_on_requires_action` says so for the methods that know no off-session. A decline is an exception of the package although a
 * PaymentIntent was made (stripe-ruby issue 838), which the error carries. Keys are remembered for at least 24 hours, with the answer
 * to the first request, a 500 included; what fails before the work begins (a limit, a conflict, a bad parameter) is not remembered
 * (docs.stripe.com/api/idempotent_requests). So an error 5xx stays one for a day, and a list says what became of it.
 */

const NAME = 'stripe';
/** Well within the time that a worker has an attempt for itself. */
const CHARGE_TIMEOUT_MS = 20_000;
const PAGE_SIZE = 100;
/** A customer has no thousand payments within a day. */
const MOST_PAGES = 10;
/** Clocks differ. */
const CLOCK_SKEW_S = 300;

const INTENT = z.looseObject({
  id: z.string().min(1).max(200),
  status: z.string(),
  metadata: z.record(z.string(), z.string()).nullish(),
  last_payment_error: z.looseObject({ code: z.string().nullish(), decline_code: z.string().nullish() }).nullish(),
});
const INTENTS = z.object({ data: z.array(INTENT), has_more: z.boolean() });

const FINGERPRINT = z.looseObject({ fingerprint: z.string().nullish() }).nullish();
const METHOD = z.looseObject({
  id: z.string().min(1).max(200),
  customer: z.union([z.string(), z.looseObject({ id: z.string() })]).nullish(),
  card: FINGERPRINT,
  sepa_debit: FINGERPRINT,
  us_bank_account: FINGERPRINT,
  bacs_debit: FINGERPRINT,
});
const REFERENCE = z.union([z.string(), z.looseObject({ id: z.string() })]).nullish();
const CUSTOMER = z.looseObject({
  id: z.string(),
  deleted: z.boolean().optional(),
  default_source: REFERENCE,
  invoice_settings: z.looseObject({ default_payment_method: REFERENCE }).nullish(),
});

const AUTHENTICATION: ReadonlySet<string> = new Set([
  'authentication_required',
  'requires_action_not_handled',
  'payment_intent_authentication_failure',
]);
const NO_METHOD_PARAMETERS: ReadonlySet<string> = new Set(['customer', 'payment_method']);

/** By Stripe's package. @throws {ProviderApiError} `refused` if the key is not of Stripe's form */
export function stripeCharger(account: ProviderAccount): Charger {
  keyParts(account.apiKey, { provider: NAME, form: KEY_FORMS[account.mode] });
  const client = openClient({ timeoutMs: CHARGE_TIMEOUT_MS, ...account });
  return {
    knowsKeys: true,
    findMethod: (customerId, methodId) => findMethod(client, customerId, methodId),
    chargeSaved: (request, key) => chargeSaved(client, request, key),
    findCharge: (place) => findCharge(client, place),
    createSession: (order) => createSession(client, order),
  };
}

async function findMethod(client: Stripe, customerId: string, methodId: string | null): Promise<MethodReading> {
  const id = methodId ?? (await defaultMethod(client, customerId));
  if (id === null) return { kind: 'none' };
  const answer = await orMissing(() => client.paymentMethods.retrieve(id));
  if (answer === null) return { kind: 'none' };
  const { card, sepa_debit, us_bank_account, bacs_debit, customer } = parseAnswer(NAME, METHOD, answer);
  // One that was detached, or is somebody else's, cannot be charged.
  if (idOf(customer) !== customerId) return { kind: 'none' };
  const prints = [card, sepa_debit, us_bank_account, bacs_debit].map((one) => one?.fingerprint ?? null);
  return { kind: 'found', methodId: id, fingerprint: prints.find((one) => one !== null) ?? null };
}

/** What Stripe charges an invoice to: the default of invoices, else the default source of older integrations. */
async function defaultMethod(client: Stripe, customerId: string): Promise<string | null> {
  const answer = await orMissing(() => client.customers.retrieve(customerId));
  if (answer === null) return null;
  const { deleted, invoice_settings, default_source } = parseAnswer(NAME, CUSTOMER, answer);
  return deleted === true ? null : (idOf(invoice_settings?.default_payment_method) ?? idOf(default_source));
}

function idOf(reference: z.infer<typeof REFERENCE>): string | null {
  return typeof reference === 'string' ? reference : (reference?.id ?? null);
}

async function chargeSaved(client: Stripe, request: ChargeRequest, idempotencyKey: string): Promise<ChargeAnswer> {
  const { currency, customerId: customer, methodId: payment_method } = request;
  // It counts some currencies in another unit: the same number would be a hundred times as much.
  const amount = integerFromMinor(NAME, currency, request.amount);
  if (amount === null) return { kind: 'refused' };
  const metadata = inOneOrder(request.metadata);
  try {
    const answer = await client.paymentIntents.create(
      {
        ...{ amount, currency: currency.toLowerCase(), customer, payment_method, metadata },
        ...{ confirm: true, off_session: true, error_on_requires_action: true },
        automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
      },
      { idempotencyKey },
    );
    const intent = INTENT.safeParse(answer);
    return intent.success ? answerOf(intent.data) : { kind: 'unknown' };
  } catch (error) {
    return answerOfError(error);
  }
}

function answerOf({ id: paymentId, status, last_payment_error: error }: z.infer<typeof INTENT>): ChargeAnswer {
  if (status === 'succeeded') return { kind: 'charged', paymentId };
  if (status === 'processing') return { kind: 'processing', paymentId };
  if (status === 'requires_action') return { kind: 'declined', paymentId, declineCode: 'authentication_required' };
  return { kind: 'declined', paymentId, declineCode: codeOf(error?.decline_code ?? null, error?.code ?? status) };
}

function codeOf(declineCode: string | null, code: string): string {
  if (AUTHENTICATION.has(code) || (declineCode !== null && AUTHENTICATION.has(declineCode))) {
    return 'authentication_required';
  }
  return (declineCode ?? code).slice(0, 100);
}

function answerOfError(error: unknown): ChargeAnswer {
  if (!(error instanceof Stripe.errors.StripeError)) return { kind: 'unknown' };
  const { statusCode: status, code = '', decline_code: declineCode, payment_intent: intent, param = '', type } = error;
  if (status === 402) {
    return {
      kind: 'declined',
      paymentId: intent?.id ?? null,
      declineCode: codeOf(declineCode ?? null, code || 'declined'),
    };
  }
  if (status === 400 && type !== 'StripeIdempotencyError') {
    const isMissing = code === 'resource_missing' || code === 'payment_method_unexpected_state';
    if (isMissing && NO_METHOD_PARAMETERS.has(param)) {
      return { kind: 'declined', paymentId: null, declineCode: NO_PAYMENT_METHOD };
    }
    if (code === 'payment_intent_mandate_invalid') {
      return { kind: 'declined', paymentId: null, declineCode: 'mandate_missing' };
    }
    // The package's own limits come as errors of requests too.
    return code === 'rate_limit' || code === 'lock_timeout' ? { kind: 'unknown' } : { kind: 'refused' };
  }
  return status === 401 || status === 403 ? { kind: 'refused' } : { kind: 'unknown' };
}

/**
 * Goes through the customer's payments since then. Stripe's search would be shorter, but what was made a moment ago is not found by
 * it, and in India nothing is (docs.stripe.com/search).
 */
async function findCharge(client: Stripe, { customerId, topUpId, since }: ChargePlace): Promise<ChargeAnswer | null> {
  const created = { gte: Math.floor(since.getTime() / 1000) - CLOCK_SKEW_S };
  let after: string | null = null;
  let found: ChargeAnswer | null = null;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const from: { starting_after?: string } = after === null ? {} : { starting_after: after };
    const answer = await orMissing(() =>
      client.paymentIntents.list({ customer: customerId, created, limit: PAGE_SIZE, ...from }),
    );
    if (answer === null) return found;
    const { data, has_more } = parseAnswer(NAME, INTENTS, answer);
    for (const one of data.filter(({ metadata }) => metadata?.wallet_topup_id === topUpId)) {
      found = moreOf(found, answerOf(one));
    }
    after = data.at(-1)?.id ?? null;
    if (found?.kind === 'charged' || !has_more || after === null) return found;
  }
  throw new ProviderApiError('unavailable', `${NAME} lists more payments than were expected`);
}

/** Of two payments with one id, as where somebody has copied the metadata, the one that has charged, or still may. */
function moreOf(one: ChargeAnswer | null, other: ChargeAnswer): ChargeAnswer {
  if (one === null || other.kind === 'charged') return other;
  return one.kind === 'declined' ? other : one;
}

/** The answer, or null where there is no such object. @throws {ProviderApiError} */
async function orMissing(ask: () => Promise<unknown>): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof Stripe.errors.StripeError)) throw unreachable(NAME, error);
    const { detail, statusCode, headers, code } = error;
    if (detail instanceof ProviderApiError) throw detail;
    if (statusCode === undefined) throw unreachable(NAME, detail);
    if (statusCode === 404 || (statusCode === 400 && code === 'resource_missing')) return null;
    throw errorOfStatus(NAME, statusCode, headers?.['retry-after'] ?? null);
  }
}
