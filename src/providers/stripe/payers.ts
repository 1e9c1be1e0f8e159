import { z } from 'zod';
import type { EventReading, Reader } from '../shared/event-reading.ts';
import { providerId } from '../shared/fields.ts';
import { expandable } from './objects.ts';

/*
 * Events that move no money, and say of which customer another payment method may be charged from now on:
 *
 * | event                   | whose                                                                                            |
 * |-------------------------|--------------------------------------------------------------------------------------------------|
 * | payment_method.attached | `data.object.customer`                                                                           |
 * | customer.updated        | `data.object.id`, where `data.previous_attributes` names what he pays with by default, or is     |
 * |                         | not there. A new address says nothing of that                                                    |
 *
 * docs.stripe.com/api/events/object (`previous_attributes`: the attributes that were updated, with their values before),
 * docs.stripe.com/api/events/types. What cannot be read is ignored like any other event without money: nobody has to look.
 */

const ATTACHED = z.object({ data: z.object({ object: z.object({ customer: expandable }) }) });

const UPDATED = z.object({
  data: z.object({
    object: z.object({ id: providerId }),
    previous_attributes: z.record(z.string(), z.unknown()).nullish().catch(null),
  }),
});

/** What a charge without a named payment method goes by (src/charging/stripe.ts). */
const DEFAULTS = ['invoice_settings', 'default_source'] as const;

export const readAttachedMethod: Reader = (body) => {
  const read = ATTACHED.safeParse(body);
  return ofPayer(read.success ? read.data.data.object.customer.id : null);
};

export const readUpdatedCustomer: Reader = (body) => {
  const read = UPDATED.safeParse(body);
  if (!read.success) return ofPayer(null);
  const { object, previous_attributes: before } = read.data.data;
  const mayMatter = before == null || DEFAULTS.some((name) => name in before);
  return ofPayer(mayMatter ? object.id : null);
};

function ofPayer(payer: string | null): EventReading {
  return { kind: 'ignored', reason: 'moves no money', ...(payer === null ? {} : { payer }) };
}
