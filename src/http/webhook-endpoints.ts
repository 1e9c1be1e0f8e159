import { z } from 'zod';
import type { DeliveryAttempt, WebhookEndpoint } from '../announcements/outgoing.ts';
import { refuse } from '../errors.ts';
import { itemsOf, plainIdParams, queryInteger, text, timestamp } from './fields.ts';
import { merchantRoute, type Route } from './route.ts';

const endpoint = z
  .strictObject({
    id: z.string(),
    url: z.string(),
    description: z.string(),
    event_types: z.array(z.string()).nullable().meta({ description: 'The event types it gets; null for all.' }),
    disabled: z.boolean(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'WebhookEndpoint' });

const attempt = z
  .strictObject({
    id: z.string(),
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
  .meta({ id: 'DeliveryAttempt' });

function endpointResponse(one: WebhookEndpoint): z.output<typeof endpoint> {
  return {
    id: one.id,
    url: one.url,
    description: one.description,
    event_types: one.eventTypes === null ? null : [...one.eventTypes],
    disabled: one.disabled,
    created_at: one.createdAt.toISOString(),
    updated_at: one.updatedAt.toISOString(),
  };
}

function attemptResponse(one: DeliveryAttempt): z.output<typeof attempt> {
  return {
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

const input = {
  url: text(2000, 1),
  description: text(500),
  event_types: z
    .array(text(100, 1), { error: 'wants a list of event types, or null for all' })
    .min(1, { error: 'wants at least one event type, or null for all' })
    .max(100, { error: 'wants 100 event types or fewer' })
    .nullable(),
  disabled: z.boolean({ error: 'wants true or false' }),
};

const tag = 'Outgoing webhooks';
const path = '/webhook-endpoints';
const params = plainIdParams('endpoint_id');
const one = { description: 'The endpoint.', schema: endpoint };
const accepted = z.strictObject({ message_id: z.string() });

function noEndpoint(): never {
  return refuse('NOT_FOUND', 'There is no such webhook endpoint.');
}

const create = merchantRoute({
  method: 'post',
  path,
  scope: 'write',
  tag,
  summary: 'Add an endpoint to be told of balance changes',
  body: z.strictObject({
    url: input.url,
    description: input.description.default(''),
    event_types: input.event_types.default(null),
    disabled: input.disabled.default(false),
  }),
  response: one,
  errors: ['CONFLICT'],
  async handle({ services: { webhooks }, merchantId, body }) {
    const { event_types: eventTypes, ...rest } = body;
    return endpointResponse(await webhooks.createEndpoint(merchantId, { ...rest, eventTypes }));
  },
});

const list = merchantRoute({
  method: 'get',
  path,
  scope: 'read',
  tag,
  summary: 'List the endpoints',
  response: { description: 'All endpoints.', schema: itemsOf(endpoint) },
  async handle({ services: { webhooks }, merchantId }) {
    const endpoints = await webhooks.listEndpoints(merchantId);
    return { items: endpoints.map(endpointResponse) };
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: `${path}/{endpoint_id}`,
  scope: 'read',
  tag,
  summary: 'Retrieve an endpoint',
  params,
  response: one,
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    return endpointResponse((await webhooks.getEndpoint(merchantId, id)) ?? noEndpoint());
  },
});

const update = merchantRoute({
  method: 'patch',
  path: `${path}/{endpoint_id}`,
  scope: 'write',
  tag,
  summary: 'Change an endpoint; what is left out stays',
  params,
  body: z.strictObject(input).partial(),
  response: one,
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id }, body }) {
    const { url, description, event_types: eventTypes, disabled } = body;
    const changed = await webhooks.updateEndpoint(merchantId, id, {
      ...(url === undefined ? {} : { url }),
      ...(description === undefined ? {} : { description }),
      ...(eventTypes === undefined ? {} : { eventTypes }),
      ...(disabled === undefined ? {} : { disabled }),
    });
    return endpointResponse(changed ?? noEndpoint());
  },
});

const remove = merchantRoute({
  method: 'delete',
  path: `${path}/{endpoint_id}`,
  scope: 'write',
  tag,
  summary: 'Remove an endpoint',
  params,
  response: { status: 204, description: 'It is gone.', schema: z.null() },
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    if (!(await webhooks.deleteEndpoint(merchantId, id))) noEndpoint();
    return null;
  },
});

const secret = z.strictObject({
  secret: z.string().meta({ description: '`whsec_` and base64; keep it to yourself.' }),
});

const showSecret = merchantRoute({
  method: 'get',
  path: `${path}/{endpoint_id}/secret`,
  // Whoever knows it can forge our messages, so a key that may only read must not see it.
  scope: 'write',
  tag,
  summary: 'Show the secret that messages to the endpoint are signed with',
  params,
  response: { description: 'The secret.', schema: secret },
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    return { secret: (await webhooks.getSecret(merchantId, id)) ?? noEndpoint() };
  },
});

const rotateSecret = merchantRoute({
  method: 'post',
  path: `${path}/{endpoint_id}/secret/rotate`,
  scope: 'write',
  tag,
  summary: 'Make a new secret; messages are signed with the old one too for 24 hours',
  params,
  response: { description: 'The new secret.', schema: secret },
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    return { secret: (await webhooks.rotateSecret(merchantId, id)) ?? noEndpoint() };
  },
});

const listAttempts = merchantRoute({
  method: 'get',
  path: `${path}/{endpoint_id}/attempts`,
  scope: 'read',
  tag,
  summary: 'List the latest attempts to deliver to the endpoint, newest first',
  params,
  query: z.strictObject({ page_size: queryInteger(1, 100).default(10) }),
  response: { description: 'The attempts.', schema: itemsOf(attempt) },
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id }, query }) {
    const attempts = await webhooks.listAttempts(merchantId, id, query.page_size);
    return { items: (attempts ?? noEndpoint()).map(attemptResponse) };
  },
});

const resend = merchantRoute({
  method: 'post',
  path: `${path}/{endpoint_id}/messages/{message_id}/resend`,
  scope: 'write',
  tag,
  summary: 'Send a message to the endpoint once more, under its own id',
  params: params.extend(plainIdParams('message_id').shape),
  response: { description: 'It will be sent.', schema: accepted },
  errors: ['CONFLICT'],
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id, message_id: messageId } }) {
    if (!(await webhooks.resend(merchantId, id, messageId)))
      refuse('NOT_FOUND', 'There is no such message or endpoint.');
    return { message_id: messageId };
  },
});

const sendTest = merchantRoute({
  method: 'post',
  path: `${path}/{endpoint_id}/test`,
  scope: 'write',
  tag,
  summary: 'Send an example of an event type to the endpoint',
  params,
  body: z.strictObject({ event_type: text(100, 1) }),
  response: { description: 'It will be sent.', schema: accepted },
  errors: ['CONFLICT'],
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id }, body }) {
    const messageId = await webhooks.sendTest(merchantId, id, body.event_type);
    return { message_id: messageId ?? noEndpoint() };
  },
});

const portal = merchantRoute({
  method: 'post',
  path: '/webhook-portal',
  scope: 'write',
  tag,
  summary: 'A link to the Svix App Portal, where endpoints can be managed by hand',
  response: { description: 'The link.', schema: z.strictObject({ url: z.string() }) },
  errors: ['NOT_IMPLEMENTED'],
  async handle({ services: { webhooks }, merchantId }) {
    return { url: await webhooks.portalUrl(merchantId) };
  },
});

export const webhookEndpointRoutes: readonly Route[] = [
  create,
  list,
  retrieve,
  update,
  remove,
  showSecret,
  rotateSecret,
  listAttempts,
  resend,
  sendTest,
  portal,
];
