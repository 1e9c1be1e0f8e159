import { z } from 'zod';
import { autocommit } from '../../db/transaction.ts';
import { EVENT_STATES, listEvents, type ProviderEvent } from '../../inbox/events.ts';
import { dismissByHand, findEvent, replayByHand } from '../../inbox/manual.ts';
import { PARK_REASONS } from '../../payments/fact.ts';
import { itemsOf, pageOf, paging, plainIdParams, text, timestamp } from '../../views/fields.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const status = z.enum(EVENT_STATES, { error: `wants one of ${EVENT_STATES.join(', ')}` });

export const eventShape = z
  .strictObject({
    event_id: z.string(),
    business_id: z.string(),
    source_id: z.string(),
    provider: z.string(),
    type: z.string().meta({ description: "The provider's name for it." }),
    status,
    reason: z.string().nullable().meta({ description: 'Why it is parked; null unless it is.' }),
    advice: z.string().nullable().meta({ description: 'What to do about the reason.' }),
    detail: z.string().nullable(),
    payment_id: z.string().nullable(),
    assigned_customer_id: z.string().nullable().meta({ description: 'The customer that a replay named.' }),
    received_at: timestamp,
    settled_at: timestamp.nullable(),
    replays: z.int().min(0),
    origin: z.enum(['webhook', 'reconciliation']).meta({
      description: "reconciliation: read from the provider's API, because its webhook never arrived.",
    }),
  })
  .meta({ id: 'ProviderEvent' });

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
    replays: one.replays,
    origin: one.origin,
  };
}

const tag = 'Provider events';

const list = merchantRoute({
  method: 'get',
  path: '/events',
  scope: 'read',
  tag,
  summary: 'List the events that providers sent, newest first; ?status=parked for those that want attention',
  query: z.strictObject({ ...paging, status: status.optional() }),
  response: { description: 'A page of events.', schema: itemsOf(eventShape) },
  async handle({ services: { pool }, merchantId, query, headers }) {
    const events = await listEvents(autocommit(pool), merchantId, {
      state: query.status ?? null,
      ...pageOf(query, headers),
    });
    return { items: events.map(eventResponse) };
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: '/events/{event_id}',
  scope: 'read',
  tag,
  summary: 'Retrieve an event and what became of it',
  params: plainIdParams('event_id'),
  response: { description: 'The event.', schema: eventShape },
  async handle({ services: { pool }, merchantId, params }) {
    return eventResponse(await findEvent(autocommit(pool), merchantId, params.event_id));
  },
});

const replay = merchantRoute({
  method: 'post',
  path: '/events/{event_id}/replay',
  scope: 'write',
  tag,
  summary: 'Apply a parked or dismissed event again, once its cause is mended; it cannot credit twice',
  params: plainIdParams('event_id'),
  body: z.strictObject({
    customer_id: text(300, 1).nullable().optional().meta({
      description: 'Whose payment it is, where the event itself does not say.',
    }),
  }),
  bodyOptional: true,
  response: { description: 'The event, waiting to be applied.', schema: eventShape },
  errors: ['CUSTOMER_NOT_FOUND', 'CONFLICT'],
  async handle({ services: { pool, boss }, merchantId, params, body }) {
    const wanted = { merchantId, eventId: params.event_id, customerId: body.customer_id ?? null };
    return eventResponse(await replayByHand(pool, boss, wanted));
  },
});

const dismiss = merchantRoute({
  method: 'post',
  path: '/events/{event_id}/dismiss',
  scope: 'write',
  tag,
  summary: 'Set a parked event aside that you have dealt with by hand',
  params: plainIdParams('event_id'),
  body: z.strictObject({
    note: text(500).nullable().optional().meta({ description: 'What was done; it is shown in `detail`.' }),
  }),
  bodyOptional: true,
  response: { description: 'The event, dismissed.', schema: eventShape },
  errors: ['CONFLICT'],
  async handle({ services: { pool, clock }, merchantId, params, body }) {
    const dismissal = { merchantId, eventId: params.event_id, note: body.note ?? null };
    return eventResponse(await dismissByHand(autocommit(pool), dismissal, clock.now()));
  },
});

export const eventRoutes: readonly Route[] = [list, retrieve, replay, dismiss];
