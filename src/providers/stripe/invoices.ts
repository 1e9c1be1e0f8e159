import { z } from 'zod';
import { type EventReading, ignore, park, reader, tell } from '../shared/event-reading.ts';
import { NO_CUSTOMER, providerId, trustedBy } from '../shared/fields.ts';
import { walletMetadata } from '../shared/metadata.ts';
import { expandable, snapshot } from './objects.ts';

const OF_SUBSCRIPTION = z.object({ metadata: walletMetadata }).nullish();

const INVOICE = snapshot({
  id: providerId,
  customer: expandable,
  payment_intent: expandable,
  /** Before API version 2025-03-31. */
  subscription_details: OF_SUBSCRIPTION,
  parent: z.object({ subscription_details: OF_SUBSCRIPTION }).nullish(),
});

/** An invoice that was paid says whose its subscription is. Of money it tells nothing that its PaymentIntent does not. */
export const readInvoicePaid = reader(INVOICE, ({ created: occurredAt, data: { object } }): EventReading => {
  const { id: groupId, customer, payment_intent, subscription_details, parent } = object;
  const { metadata = {} } = parent?.subscription_details ?? subscription_details ?? {};
  const { named } = trustedBy('subscription', metadata);
  if (named === undefined && metadata.wallet_token !== undefined) {
    return park('bad_token', 'a subscription takes no token; set wallet_customer_id there, which no payer can write');
  }
  if (named === undefined)
    return ignore('its subscription names no customer, and its PaymentIntent tells the same money');
  const ties = payment_intent.id === null ? [] : [{ groupId, paymentId: payment_intent.id }];
  return { kind: 'facts', facts: [], ties, naming: { groupId, named, customer, occurredAt } };
});

const INVOICE_PAYMENT = snapshot({
  invoice: expandable,
  payment: z.object({ payment_intent: expandable }),
});

/** Which PaymentIntent pays an invoice. */
export const readInvoicePayment = reader(INVOICE_PAYMENT, ({ created: occurredAt, data: { object } }) => {
  const [groupId, paymentId] = [object.invoice.id, object.payment.payment_intent.id];
  if (groupId === null || paymentId === null) return ignore('not the payment of an invoice by a PaymentIntent');
  const silent = { amountMinor: null, currency: null, customer: NO_CUSTOMER, metadata: {} } as const;
  return tell({ kind: 'payment', paymentId, state: 'pending', ...silent, occurredAt, groupId });
});
