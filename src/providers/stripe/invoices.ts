import { z } from 'zod';
import { hashToken } from '../../payments/token.ts';
import { type EventReading, ignore, reader, tell } from '../shared/event-reading.ts';
import { lenientId, NO_CUSTOMER, providerId, trustedBy } from '../shared/fields.ts';
import { walletMetadata } from '../shared/metadata.ts';
import { expandable, snapshot } from './objects.ts';

/** The subscription, by its id or expanded. */
const subscriptionId = z
  .union([z.object({ id: lenientId }).transform(({ id }) => id), lenientId])
  .optional()
  .transform((id) => id ?? null);
const OF_SUBSCRIPTION = z.object({ metadata: walletMetadata, subscription: subscriptionId }).nullish();

const INVOICE = snapshot({
  id: providerId,
  customer: expandable,
  payment_intent: expandable,
  /** Both before API version 2025-03-31. */
  subscription: subscriptionId,
  subscription_details: OF_SUBSCRIPTION,
  parent: z.object({ subscription_details: OF_SUBSCRIPTION }).nullish(),
});

/** An invoice that was paid says whose its subscription is. Of money it tells nothing that its PaymentIntent does not. */
export const readInvoicePaid = reader(INVOICE, ({ created: occurredAt, data: { object } }): EventReading => {
  const { id: groupId, customer, payment_intent, subscription, subscription_details, parent } = object;
  const details = parent?.subscription_details ?? subscription_details;
  const { wallet_token: token, ...names } = details?.metadata ?? {};
  const by = trustedBy('subscription', names);
  if (by.named === undefined && token === undefined)
    return ignore('its subscription names no customer, and its PaymentIntent tells the same money');
  const seriesId = details?.subscription ?? subscription;
  const carried = token === undefined ? {} : { token: { hash: hashToken(token), seriesId } };
  const ties = payment_intent.id === null ? [] : [{ groupId, paymentId: payment_intent.id }];
  return { kind: 'facts', facts: [], ties, naming: { groupId, ...by, ...carried, customer, occurredAt } };
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
