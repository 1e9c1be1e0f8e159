import { z } from 'zod';
import { EVENT_EFFECTS } from '../inbox/effect.ts';
import { EVENT_STATES, type ProviderEvent } from '../inbox/events.ts';
import { PARK_REASONS } from '../payments/fact.ts';
import { EXAMPLE } from './examples.ts';
import { timestamp } from './fields.ts';

export const eventStatus = z.enum(EVENT_STATES, { error: `wants one of ${EVENT_STATES.join(', ')}` });

export const EXAMPLE_EVENT = {
  event_id: EXAMPLE.eventId,
  business_id: EXAMPLE.merchantId,
  source_id: EXAMPLE.sourceId,
  provider: 'stripe',
  type: 'payment_intent.succeeded',
  status: 'applied',
  reason: null,
  advice: null,
  detail: null,
  payment_id: EXAMPLE.paymentId,
  assigned_customer_id: null,
  received_at: EXAMPLE.time,
  settled_at: EXAMPLE.later,
  effect: 'credited',
  replays: 0,
  origin: 'webhook',
  body_removed_at: null,
} as const;
export const EXAMPLE_PARKED = {
  ...EXAMPLE_EVENT,
  status: 'parked',
  effect: null,
  reason: 'no_customer',
  advice: PARK_REASONS.no_customer,
} as const;

export const eventShape = z
  .strictObject({
    event_id: z.string(),
    business_id: z.string(),
    source_id: z.string(),
    provider: z.string(),
    type: z.string().meta({ description: "The provider's name for it." }),
    status: eventStatus,
    reason: z.string().nullable().meta({ description: 'Why it is parked; null unless it is.' }),
    advice: z.string().nullable().meta({ description: 'What to do about the reason.' }),
    detail: z.string().nullable(),
    payment_id: z.string().nullable(),
    assigned_customer_id: z.string().nullable().meta({ description: 'The customer that a replay named.' }),
    received_at: timestamp,
    settled_at: timestamp.nullable(),
    effect: z.enum(EVENT_EFFECTS).nullable().meta({
      description:
        'What it did so far. none: nothing, since all that it says was known or it is parked · recorded: it told something new, and no wallet changed · credited, debited: by its entries · credited_and_debited: its entries go both ways, as when a payment arrives after its refund. Null if nothing was read of it yet, or by an earlier release.',
    }),
    replays: z.int().min(0),
    origin: z.enum(['webhook', 'reconciliation']).meta({
      description: "reconciliation: read from the provider's API, because its webhook never arrived.",
    }),
    body_removed_at: timestamp.nullable().meta({
      description:
        'Since when its body is gone, by age or by erasure: it cannot be replayed then. Null while it is kept.',
    }),
  })
  .meta({ id: 'ProviderEvent', examples: [EXAMPLE_EVENT] });

/** A provider event as the API shows it, with advice if it is parked. */
export function eventResponse(one: ProviderEvent): z.output<typeof eventShape> {
  return {
    event_id: one.eventId,
    business_id: one.merchantId,
    source_id: one.sourceId,
    provider: one.provider,
    type: one.eventType,
    status: one.state,
    reason: one.reason,
    advice: one.reason === null ? null : PARK_REASONS[one.reason],
    detail: one.detail,
    payment_id: one.paymentId,
    assigned_customer_id: one.assignedCustomerId,
    received_at: one.receivedAt.toISOString(),
    settled_at: one.settledAt?.toISOString() ?? null,
    effect: one.effect,
    replays: one.replays,
    origin: one.origin,
    body_removed_at: one.bodyRemovedAt?.toISOString() ?? null,
  };
}
