import { z } from 'zod';
import { refuse } from '../../errors.ts';
import type { WebhookEndpoint } from '../../outgoing/outgoing.ts';
import { itemsOf, moment, plainIdParams, text, timestamp } from '../../views/fields.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const endpoint = z
  .strictObject({
    endpoint_id: z.string(),
    id: z.string().meta({ description: 'The same as `endpoint_id`, by its older name.' }),
    url: z.string(),
    description: z.string(),
    event_types: z.array(z.string()).nullable().meta({ description: 'The event types it gets; null for all.' }),
    disabled: z.boolean(),
    header_names: z.array(z.string()).meta({ description: 'The headers it gets; their values may be passwords.' }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'WebhookEndpoint' });

function endpointResponse(one: WebhookEndpoint): z.output<typeof endpoint> {
  return {
    endpoint_id: one.id,
    id: one.id,
    url: one.url,
    description: one.description,
    event_types: one.eventTypes === null ? null : [...one.eventTypes],
    disabled: one.disabled,
    header_names: [...one.headerNames],
    created_at: one.createdAt.toISOString(),
    updated_at: one.updatedAt.toISOString(),
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
  headers: z
    .record(text(100, 1), text(2000, 1), { error: 'wants an object of header names and values' })
    .refine((headers) => Object.keys(headers).length <= 20, { error: 'wants 20 headers or fewer' })
    .meta({
      description:
        'Headers for every request, such as Authorization; all of them. Not those that belong to the message or the connection (Content-…, Host, User-Agent, svix-…, webhook-… and the like).',
    }),
};

const tag = 'Outgoing webhooks';
const path = '/webhook-endpoints';
const params = plainIdParams('endpoint_id');
const one = { description: 'The endpoint.', schema: endpoint };

export function noEndpoint(): never {
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
    headers: input.headers.default({}),
    since: moment.optional().meta({
      description:
        'Also send what was said from this time on, at most 30 days ago; see the recover route. It begins within seconds.',
    }),
  }),
  response: one,
  errors: ['CONFLICT'],
  async handle({ services: { webhooks }, merchantId, body }) {
    const { event_types: eventTypes, since, ...rest } = body;
    return endpointResponse(await webhooks.createEndpoint(merchantId, { ...rest, eventTypes }, since));
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
    const { url, description, event_types: eventTypes, disabled, headers } = body;
    const changed = await webhooks.updateEndpoint(merchantId, id, {
      ...(url === undefined ? {} : { url }),
      ...(description === undefined ? {} : { description }),
      ...(eventTypes === undefined ? {} : { eventTypes }),
      ...(disabled === undefined ? {} : { disabled }),
      ...(headers === undefined ? {} : { headers }),
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

const showHeaders = merchantRoute({
  method: 'get',
  path: `${path}/{endpoint_id}/headers`,
  // Their values may be passwords.
  scope: 'write',
  tag,
  summary: 'Show the headers that the endpoint gets, with their values',
  params,
  response: {
    description: 'The headers.',
    schema: z.strictObject({
      endpoint_id: z.string(),
      headers: z.record(z.string(), z.string().nullable()).meta({
        description: 'By name. Null for a secret that was set in Svix’s portal, which shows it to nobody.',
      }),
    }),
  },
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    return { endpoint_id: id, headers: { ...((await webhooks.getHeaders(merchantId, id)) ?? noEndpoint()) } };
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
  summary: 'Make a new secret; messages are signed with the old one too for 24 hours. Ten times within 24 hours',
  params,
  response: { description: 'The new secret.', schema: secret },
  errors: ['CONFLICT'],
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    return { secret: (await webhooks.rotateSecret(merchantId, id)) ?? noEndpoint() };
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
  showHeaders,
  showSecret,
  rotateSecret,
  portal,
];
