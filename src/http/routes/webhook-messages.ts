import { z } from 'zod';
import { OUTGOING_EVENT_TYPES } from '../../outgoing/catalogue.ts';
import { noEventType } from '../../outgoing/endpoint-rules.ts';
import type { AttemptQuery, DeliveryAttempt, Recovery } from '../../outgoing/outgoing.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { moment, paging, plainIdParams, timestamp } from '../../views/fields.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';
import { noEndpoint } from './webhook-endpoints.ts';

/** Routes that show what was sent to an endpoint, and send it once more. */

const attempt = z
  .strictObject({
    attempt_id: z.string(),
    id: z.string().meta({ description: 'The same as `attempt_id`, by its older name.' }),
    message_id: z.string(),
    endpoint_id: z.string(),
    event_type: z.string(),
    status: z.enum(['succeeded', 'failed']),
    status_code: z.int().nullable().meta({ description: 'Null when no answer came.' }),
    error: z.string().nullable(),
    response: z.string().nullable().meta({ description: "The start of the endpoint's answer." }),
    duration_ms: z.number().nullable(),
    created_at: timestamp,
  })
  .meta({
    id: 'DeliveryAttempt',
    examples: [
      {
        attempt_id: EXAMPLE.attemptId,
        id: EXAMPLE.attemptId,
        message_id: EXAMPLE.messageId,
        endpoint_id: EXAMPLE.endpointId,
        event_type: 'wallet.balance.changed',
        status: 'failed',
        status_code: 503,
        error: 'answered 503',
        response: 'down for maintenance',
        duration_ms: 42,
        created_at: EXAMPLE.later,
      },
    ],
  });

function attemptResponse(one: DeliveryAttempt): z.output<typeof attempt> {
  return {
    attempt_id: one.id,
    id: one.id,
    message_id: one.messageId,
    endpoint_id: one.endpointId,
    event_type: one.eventType,
    status: one.status,
    status_code: one.statusCode,
    error: one.error,
    response: one.response,
    duration_ms: one.durationMs,
    created_at: one.createdAt.toISOString(),
  };
}

const RECOVERY_STATES = ['running', 'finished', 'stopped'] as const;

const recovery = z
  .strictObject({
    recovery_id: z.string(),
    endpoint_id: z.string(),
    since: timestamp,
    until: timestamp,
    status: z.enum(RECOVERY_STATES),
    state: z.enum(RECOVERY_STATES).meta({ description: 'The same as `status`, by its older name.' }),
    reason: z.string().nullable().meta({ description: 'Why it was stopped.' }),
    resent: z.int().meta({ description: 'Messages that were kept and are sent again.' }),
    rebuilt: z.int().meta({
      description: 'Messages that nobody had made, because nobody listened, and are made from the ledger.',
    }),
    created_at: timestamp,
    finished_at: timestamp.nullable(),
  })
  .meta({
    id: 'WebhookRecovery',
    examples: [
      {
        recovery_id: EXAMPLE.recoveryId,
        endpoint_id: EXAMPLE.endpointId,
        since: EXAMPLE.since,
        until: EXAMPLE.time,
        status: 'running',
        state: 'running',
        reason: null,
        resent: 12,
        rebuilt: 3,
        created_at: EXAMPLE.later,
        finished_at: null,
      },
    ],
  });

function recoveryResponse(one: Recovery): z.output<typeof recovery> {
  return {
    recovery_id: one.recoveryId,
    endpoint_id: one.endpointId,
    since: one.since.toISOString(),
    until: one.until.toISOString(),
    status: one.state,
    state: one.state,
    reason: one.reason,
    resent: one.resent,
    rebuilt: one.rebuilt,
    created_at: one.createdAt.toISOString(),
    finished_at: one.finishedAt?.toISOString() ?? null,
  };
}

const tag = 'Outgoing webhooks';
const path = '/webhook-endpoints/{endpoint_id}';
const params = plainIdParams('endpoint_id');
const accepted = z.strictObject({ message_id: z.string(), endpoint_id: z.string() });

const knownEventType = z.enum(OUTGOING_EVENT_TYPES, { error: ({ input: name }) => noEventType(name) });
const STATUS_ERROR = 'wants succeeded or failed';

const attemptQuery = z.strictObject({
  page_size: paging.page_size,
  cursor: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,200}$/, { error: 'wants the next_cursor of the page before' })
    .optional()
    .meta({ description: 'The `next_cursor` of the page before.' }),
  status: z.enum(['succeeded', 'failed'], { error: STATUS_ERROR }).optional(),
  event_type: knownEventType.optional(),
  message_id: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,200}$/, { error: 'wants the id of a message' })
    .optional(),
  since: moment.optional(),
  until: moment.optional().meta({ description: 'Before this time.' }),
});

function toQuery(query: z.output<typeof attemptQuery>): AttemptQuery {
  return {
    pageSize: query.page_size,
    cursor: query.cursor ?? null,
    status: query.status ?? null,
    eventType: query.event_type ?? null,
    messageId: query.message_id ?? null,
    since: query.since ?? null,
    until: query.until ?? null,
  };
}

const listAttempts = merchantRoute({
  method: 'get',
  path: `${path}/attempts`,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: 'List the attempts to deliver to the endpoint, newest first',
  description: 'Each try of each message, with what the endpoint answered.',
  params,
  query: attemptQuery,
  response: {
    description: 'A page of attempts.',
    schema: z.strictObject({
      items: z.array(attempt),
      next_cursor: z
        .string()
        .optional()
        .meta({ description: 'For the next page; absent on the last.', examples: [EXAMPLE.attemptId] }),
    }),
  },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id }, query }) {
    const { attempts, nextCursor } = (await webhooks.listAttempts(merchantId, id, toQuery(query))) ?? noEndpoint();
    const next = nextCursor === null ? {} : { next_cursor: nextCursor };
    return { items: attempts.map(attemptResponse), ...next };
  },
});

const resend = merchantRoute({
  method: 'post',
  path: `${path}/messages/{message_id}/resend`,
  scope: 'write',
  tag,
  summary: 'Send a message to the endpoint once more',
  description: 'Under its own id, so that a receiver which drops what it has seen does nothing twice.',
  params: params.extend(plainIdParams('message_id').shape),
  response: { description: 'It will be sent.', schema: accepted },
  errors: ['CONFLICT'],
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id, message_id: messageId } }) {
    if (!(await webhooks.resend(merchantId, id, messageId)))
      turnAway('NOT_FOUND', 'There is no such message or endpoint.');
    return { message_id: messageId, endpoint_id: id };
  },
});

const sendTest = merchantRoute({
  method: 'post',
  path: `${path}/test`,
  scope: 'write',
  tag,
  summary: 'Send an example to the endpoint',
  description: 'To it alone, of an event type that it subscribes to.',
  params,
  body: z.strictObject({ event_type: knownEventType }).meta({ examples: [{ event_type: 'wallet.balance.changed' }] }),
  response: { description: 'It will be sent.', schema: accepted },
  errors: ['CONFLICT'],
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id }, body }) {
    const messageId = await webhooks.sendTest(merchantId, id, body.event_type);
    return { message_id: messageId ?? noEndpoint(), endpoint_id: id };
  },
});

const recover = merchantRoute({
  method: 'post',
  path: `${path}/recover`,
  scope: 'write',
  tag,
  summary: 'Send what the endpoint has not received',
  description:
    'Of what it subscribes to, since a time: messages that were kept are sent again, and `wallet.balance.changed` is made anew from the ledger.',
  params,
  body: z
    .strictObject({
      since: moment.meta({ description: 'At most 30 days ago: nothing older is kept.' }),
      until: moment.optional().meta({ description: 'Now unless given.' }),
    })
    .meta({ examples: [{ since: EXAMPLE.since, until: EXAMPLE.time }] }),
  response: {
    status: 202,
    description: 'It begins within seconds; ask for it to see how far it is.',
    schema: recovery,
  },
  errors: ['CONFLICT'],
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id }, body }) {
    const window = { since: body.since, until: body.until ?? null };
    return recoveryResponse((await webhooks.recover(merchantId, id, window)) ?? noEndpoint());
  },
});

const retrieveRecovery = merchantRoute({
  method: 'get',
  path: `${path}/recoveries/{recovery_id}`,
  scope: 'read',
  tag,
  summary: 'Retrieve a recovery and how far it is',
  description: '`resent` and `rebuilt` grow until `status` is `finished`.',
  params: params.extend(plainIdParams('recovery_id').shape),
  response: { description: 'The recovery.', schema: recovery },
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id, recovery_id: recoveryId } }) {
    const found = await webhooks.getRecovery(merchantId, id, recoveryId);
    return recoveryResponse(found ?? turnAway('NOT_FOUND', 'There is no such recovery.'));
  },
});

export const webhookMessageRoutes: readonly Route[] = [listAttempts, resend, sendTest, recover, retrieveRecovery];
