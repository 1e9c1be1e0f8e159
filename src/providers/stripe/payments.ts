import { z } from 'zod';
import type { PaymentFact } from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import { ignore, type Reader, reader, tell, withAmount } from '../shared/event-reading.ts';
import { lenientEmail, lenientId, lenientName, minorAmount, NO_CUSTOMER } from '../shared/fields.ts';
import { expandable, INTENT_FIELDS, paymentFact, snapshot, uncaptured } from './objects.ts';

const PAID_INTENT = snapshot({
  ...INTENT_FIELDS,
  invoice: expandable.catch(NO_CUSTOMER),
  payment_details: z.object({ order_reference: lenientId }).nullish().catch(null),
  amount: minorAmount.nullish().catch(null),
  amount_received: minorAmount,
});

/** Stripe's invoice ids: `in_1` and letters and digits (`in_1TbKCUJlUF0dQbSBCq67mKfR`). A merchant's own reference may begin with `in_` too. */
const INVOICE_ID = /^in_1[A-Za-z0-9]*$/;

/** The invoice it pays: older API versions have it in `invoice`, newer ones in the reference that Stripe gives it. */
function invoiceOf({ invoice, payment_details }: z.infer<typeof PAID_INTENT>['data']['object']) {
  const reference = payment_details?.order_reference ?? null;
  const groupId = invoice.id ?? (reference !== null && INVOICE_ID.test(reference) ? reference : null);
  return groupId === null ? {} : { groupId, seriesId: groupId, mayBeNamed: true as const };
}

export const readPaid = reader(PAID_INTENT, (event) => {
  const { currency, amount: authorised, amount_received } = event.data.object;
  const amount = minorFromInteger('stripe', currency, amount_received);
  return withAmount('data.object.amount_received', amount, (amountMinor) =>
    tell({
      ...paymentFact(event, 'succeeded', amountMinor),
      ...uncaptured(currency, authorised, amount_received),
      ...invoiceOf(event.data.object),
    }),
  );
});

const CHARGE = snapshot({
  ...INTENT_FIELDS,
  amount: minorAmount,
  amount_captured: minorAmount.nullish(),
  amount_refunded: minorAmount.nullish(),
  captured: z.boolean().nullish(),
  billing_details: z.object({ email: lenientEmail, name: lenientName }).nullish().catch(null),
});
type Charge = z.infer<typeof CHARGE>;

const HAS_INTENT = ignore('its PaymentIntent tells the same');

/** Reads a charge without a PaymentIntent as a payment, whose state `stateOf` tells. */
export const readCharge = (stateOf: (charge: Charge) => PaymentFact['state']): Reader => {
  const readBare = reader(CHARGE, (charge) => {
    const { currency, amount, amount_captured, billing_details, receipt_email } = charge.data.object;
    const state = stateOf(charge);
    const captured = amount_captured ?? amount;
    const money = minorFromInteger('stripe', currency, captured);
    const fact = paymentFact(charge, state, null);
    const email = receipt_email ?? billing_details?.email ?? fact.customer.email;
    const customer = { ...fact.customer, email, name: fact.customer.name ?? billing_details?.name ?? null };
    if (state !== 'succeeded') return tell({ ...fact, customer });
    return withAmount('data.object.amount_captured', money, (amountMinor) =>
      tell({ ...fact, customer, amountMinor, ...uncaptured(currency, amount, captured) }),
    );
  });
  // Any other charge is ignored, since its PaymentIntent tells the same.
  return (body) => (BARE.safeParse(body).success ? readBare(body) : HAS_INTENT);
};

const BARE = z.object({ data: z.object({ object: z.object({ payment_intent: z.null() }) }) });

export const isCaptured = ({ data: { object } }: Charge): boolean => object.captured !== false;
