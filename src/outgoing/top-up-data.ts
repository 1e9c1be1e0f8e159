import { z } from 'zod';
import { MAX_AMOUNT_MINOR } from '../money.ts';
import { eventTime } from './event-data.ts';

/** What outgoing events of top-ups carry under `data`. */

const amount = z.int().min(1).max(MAX_AMOUNT_MINOR).meta({ description: 'In minor units (cents, paise).' });
const wallet = { customer_id: z.string(), currency: z.string().meta({ description: 'ISO 4217, upper case.' }) };
const topUp = {
  ...wallet,
  topup_id: z.string(),
  origin: z.enum(['threshold', 'manual', 'schedule']),
  amount,
  created_at: eventTime,
};

export const requestedData = z.object({
  ...topUp,
  metadata: z
    .object({
      wallet_customer_id: z.string(),
      wallet_purpose: z.literal('topup'),
      wallet_topup_id: z.string(),
    })
    .meta({ description: 'What the payment has to carry as its metadata, so that it is credited as this top-up.' }),
  expires_at: eventTime.meta({
    description: 'Paid later, it is credited all the same; another is asked for an hour after.',
  }),
});
export const succeededData = z.object({
  ...topUp,
  payment_id: z.string(),
  source_id: z.string(),
  amount_paid: amount,
  late: z.boolean().meta({ description: 'True if it had been told of as failed before.' }),
});
export const failedData = z.object({
  ...topUp,
  reason: z.enum(['provider_refused', 'outcome_unknown', 'never_settled', 'declined', 'not_acted_on']),
  decline_code: z.string().nullable().meta({ description: "The provider's word; null where it has none." }),
  hard: z.boolean().meta({ description: 'True if to try again does not help until the payment method changes.' }),
  next_attempt_at: eventTime.nullable().meta({ description: 'Null: not by itself.' }),
});
export const paidTwiceData = z.object({
  ...topUp,
  payment_id: z.string().meta({ description: 'The second payment, which was credited as any top-up.' }),
  first_payment_id: z.string().nullable(),
});
export const suspendedData = z.object({
  ...wallet,
  reason: z.enum(['declined', 'too_many_declines', 'disputed']),
  decline_code: z.string().nullable(),
  since: eventTime,
});
export const resumedData = z.object({
  ...wallet,
  cause: z.enum(['merchant', 'payment_method', 'paid']).meta({
    description:
      'merchant: by the API. payment_method: another one was found. paid: the customer topped up by himself.',
  }),
});
export const blockedData = z.object({
  ...wallet,
  reason: z.enum(['monthly_cap', 'below_minimum', 'max_per_day']),
  until: eventTime.meta({ description: 'When it is looked at again by itself.' }),
});
