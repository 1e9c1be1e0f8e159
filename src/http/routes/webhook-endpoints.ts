import { z } from 'zod';
import type { WebhookEndpoint } from '../../outgoing/outgoing.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { itemsOf, moment, plainIdParams, timestamp } from '../../views/fields.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';
import { turnAway } from '../kit/turn-away.ts';
import { endpointFields as input } from './webhook-endpoint-fields.ts';

const EXAMPLE_HEADERS = { Authorization: 'Bearer let-me-in' };
const EXAMPLE_URL = 'https://shop.example/webhooks/chokin';

const endpoint = z
  .strictObject({
    endpoint_id: z.string(),
    id: z.string().meta({ description: 'The same as `endpoint_id`, by its older name.' }),
    url: z.string().meta({ format: 'uri' }),
    description: z.string(),
    event_types: z.array(z.string()).nullable().meta({ description: 'The event types it gets; null for all.' }),
    disabled: z.boolean(),
    header_names: z.array(z.string()).meta({ description: 'The headers it gets; their values may be passwords.' }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({
    id: 'WebhookEndpoint',
    examples: [
      {
        endpoint_id: EXAMPLE.endpointId,
        id: EXAMPLE.endpointId,
        url: EXAMPLE_URL,
        description: 'Billing',
        event_types: ['wallet.balance.changed', 'wallet.balance.low'],
        disabled: false,
        header_names: ['Authorization'],
        created_at: EXAMPLE.since,
        updated_at: EXAMPLE.since,
      },
    ],
  });

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

const tag = 'Outgoing webhooks';
/** Svix keeps its endpoints itself, and may take seconds to answer: nobody of the same merchant should wait behind that. */
const areOurs = ({ senderStatus }: Services) => senderStatus().sender === 'embedded';

const path = '/webhook-endpoints';
const params = plainIdParams('endpoint_id');
const one = { description: 'The endpoint.', schema: endpoint };

/** Answers 404: the merchant has no such endpoint. @throws {TurnedAwayError} NOT_FOUND, always */
export function noEndpoint(): never {
  return turnAway('NOT_FOUND', 'There is no such webhook endpoint.');
}

const create = merchantRoute({
  takesTurns: areOurs,
  method: 'post',
  path,
  scope: 'write',
  tag,
  summary: 'Add an endpoint',
  description:
    'It is sent every event type, or those of `event_types`, from now on; with `since`, also what was said before.',
  body: z
    .strictObject({
      url: input.url,
      description: input.description.default(''),
      event_types: input.event_types.default(null),
      disabled: input.disabled.default(false),
      headers: input.headers.default({}),
      since: moment.optional().meta({
        description:
          'Also send what was said from this time on, at most 30 days ago; see the recover route. It begins within seconds.',
      }),
    })
    .meta({
      examples: [
        {
          url: EXAMPLE_URL,
          description: 'Billing',
          event_types: ['wallet.balance.changed', 'wallet.balance.low'],
          headers: EXAMPLE_HEADERS,
        },
      ],
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
  takesTurns: false,
  tag,
  summary: 'List the endpoints',
  description: 'All of them, disabled ones too. There are few, so there are no pages.',
  response: { description: 'All endpoints.', schema: itemsOf(endpoint) },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { webhooks }, merchantId }) {
    const endpoints = await webhooks.listEndpoints(merchantId);
    return { items: endpoints.map(endpointResponse) };
  },
});

const retrieve = merchantRoute({
  takesTurns: areOurs,
  method: 'get',
  path: `${path}/{endpoint_id}`,
  scope: 'read',
  tag,
  summary: 'Retrieve an endpoint',
  description: 'Its settings. Headers and secret have routes of their own, for keys that may write.',
  params,
  response: one,
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    return endpointResponse((await webhooks.getEndpoint(merchantId, id)) ?? noEndpoint());
  },
});

const update = merchantRoute({
  takesTurns: areOurs,
  method: 'patch',
  path: `${path}/{endpoint_id}`,
  scope: 'write',
  tag,
  summary: 'Change an endpoint',
  description: 'What is left out stays. `event_types` and `headers` are replaced whole.',
  params,
  body: z
    .strictObject(input)
    .partial()
    .meta({ examples: [{ event_types: null, disabled: false }] }),
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
  takesTurns: areOurs,
  method: 'delete',
  path: `${path}/{endpoint_id}`,
  scope: 'write',
  tag,
  summary: 'Remove an endpoint',
  description: 'It is sent nothing more, not even what was waiting.',
  params,
  response: { status: 204, description: 'It is gone.', schema: z.null() },
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    if (!(await webhooks.deleteEndpoint(merchantId, id))) noEndpoint();
    return null;
  },
});

const showHeaders = merchantRoute({
  takesTurns: areOurs,
  method: 'get',
  path: `${path}/{endpoint_id}/headers`,
  // Headers may hold passwords, so a key that may only read must not see them.
  scope: 'write',
  tag,
  summary: 'Show the headers that the endpoint gets, with their values',
  description: 'Wants write access, since the values may be passwords.',
  params,
  response: {
    description: 'The headers.',
    schema: z.strictObject({
      endpoint_id: z.string(),
      headers: z.record(z.string(), z.string().nullable()).meta({
        description: "By name. Null for a secret that was set in Svix's portal, which shows it to nobody.",
        examples: [EXAMPLE_HEADERS],
      }),
    }),
  },
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    return { endpoint_id: id, headers: { ...((await webhooks.getHeaders(merchantId, id)) ?? noEndpoint()) } };
  },
});

const EXAMPLE_SECRET = `whsec_${Buffer.from('only-an-example, not-a-secret').toString('base64')}`;

const secret = z.strictObject({
  secret: z
    .string()
    .regex(/^whsec_[A-Za-z0-9+/]{4,}={0,2}$/)
    .meta({ description: '`whsec_` and base64; keep it to yourself.', examples: [EXAMPLE_SECRET] }),
});

const showSecret = merchantRoute({
  takesTurns: areOurs,
  method: 'get',
  path: `${path}/{endpoint_id}/secret`,
  // Whoever has the secret can forge our messages, so a key that may only read must not see it.
  scope: 'write',
  tag,
  summary: 'Show the secret that messages to the endpoint are signed with',
  description: 'Wants write access: whoever knows it can forge our messages.',
  params,
  response: { description: 'The secret.', schema: secret },
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    return { secret: (await webhooks.getSecret(merchantId, id)) ?? noEndpoint() };
  },
});

const rotateSecret = merchantRoute({
  takesTurns: areOurs,
  method: 'post',
  path: `${path}/{endpoint_id}/secret/rotate`,
  scope: 'write',
  tag,
  summary: 'Make a new secret',
  description: 'Messages are signed with the old one too for 24 hours. At most ten times within 24 hours.',
  params,
  response: { description: 'The new secret.', schema: secret },
  errors: ['CONFLICT'],
  async handle({ services: { webhooks }, merchantId, params: { endpoint_id: id } }) {
    return { secret: (await webhooks.rotateSecret(merchantId, id)) ?? noEndpoint() };
  },
});

const portalLink = z.strictObject({
  url: z.string().meta({ format: 'uri', examples: ['https://app.svix.com/login#key=eyJhcHBJZCI6ImFwcF8x'] }),
});

const portal = merchantRoute({
  takesTurns: areOurs,
  method: 'post',
  path: '/webhook-portal',
  scope: 'write',
  tag,
  summary: 'Make a link to the Svix App Portal',
  description:
    "There endpoints are managed by hand. The link lets in whoever has it, for an hour. Only with Svix's own cloud.",
  response: { description: 'The link.', schema: portalLink },
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
