import { z } from 'zod';
import type { PaymentFact, ProviderCustomer } from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import { type EventReading, park, withAmount } from '../shared/event-reading.ts';
import {
  besides,
  currencyCode,
  lenientEmail,
  lenientName,
  lenientUnixTime,
  NO_CUSTOMER,
  optionalId,
  providerId,
} from '../shared/fields.ts';
import { walletMetadata } from '../shared/metadata.ts';

/** Schemas and helpers that the objects in Stripe's events share. */

/** A customer or PaymentIntent by its id, or expanded. */
export const expandable = z
  .union([
    providerId.transform((id) => ({ id, email: null, name: null })),
    z.object({ id: providerId, email: lenientEmail, name: lenientName }),
  ])
  .nullish()
  .transform((value): ProviderCustomer => value ?? NO_CUSTOMER);

export const INTENT_FIELDS = {
  id: providerId,
  currency: currencyCode,
  customer: expandable,
  customer_account: optionalId,
  receipt_email: lenientEmail,
  metadata: walletMetadata,
  created: lenientUnixTime,
};

export const snapshot = <Fields extends z.ZodRawShape>(fields: Fields) =>
  z.object({
    created: lenientUnixTime,
    livemode: z.boolean(),
    api_version: z.string().nullish().catch(null),
    data: z.object({ object: z.object(fields) }),
  });

/** From this API version on, what is not captured is released without a refund. */
const FIRST_WITHOUT_RELEASES = '2025-03-31';

export function mayBeRelease(version: string | null | undefined): { readonly mayBeRelease?: true } {
  const isOld = /^\d{4}-\d\d-\d\d/.test(version ?? '') && (version ?? '') < FIRST_WITHOUT_RELEASES;
  return isOld ? { mayBeRelease: true } : {};
}

export const INTENT = snapshot(INTENT_FIELDS);

export function paymentFact(
  event: z.infer<typeof INTENT>,
  state: PaymentFact['state'],
  amountMinor: number | null,
): PaymentFact {
  const { id: paymentId, currency, customer, customer_account, receipt_email, metadata } = event.data.object;
  return {
    kind: 'payment',
    paymentId,
    state,
    amountMinor,
    currency,
    // If the customer is null, `customer_account` may name an account of Stripe's v2 API.
    customer: { id: customer.id ?? customer_account, email: receipt_email ?? customer.email, name: customer.name },
    metadata,
    occurredAt: event.created,
    ...besides({ triedAt: event.data.object.created }),
  };
}

/** What was authorised and is not captured, in our minor units. */
export function uncaptured(currency: string, authorised: number | null | undefined, captured: number) {
  const rest = minorFromInteger('stripe', currency, Math.max(0, (authorised ?? captured) - captured));
  return typeof rest === 'number' && rest > 0 ? { uncapturedMinor: rest } : {};
}

/** Reads the money of a refund or dispute, which both have in `amount`. */
export function withMoneyOf(
  { amount, currency }: { readonly amount: number; readonly currency: string },
  readingOf: (amountMinor: number) => EventReading,
): EventReading {
  return withAmount('data.object.amount', minorFromInteger('stripe', currency, amount), readingOf);
}

/** The id of the payment: of the PaymentIntent, or of the charge itself in an older integration without one. */
export function paymentOf({
  payment_intent,
  charge,
}: {
  payment_intent: ProviderCustomer;
  charge: ProviderCustomer;
}): string | null {
  return payment_intent.id ?? charge.id;
}

export const WITHOUT_PAYMENT = park('malformed', 'data.object: names neither a payment_intent nor a charge');
