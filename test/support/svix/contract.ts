import { z } from 'zod';

/**
 * What Svix publishes of the calls that we make: their queries, bodies and answers, written by hand after its OpenAPI
 * description (server 1.100.0), whose schema is named above each. No npm package carries that description, so
 * `npm run test:svix` compares every line here with the one that a real server serves. What the server refuses beyond its
 * description stands in rules.ts.
 */

const NAME_PATTERN = /^[a-zA-Z0-9\-_.]+$/;
const TOO_LONG = 'String too long';
const TOO_SHORT = 'String must be at least one character';
/** The server looks at the length first (core/types/mod.rs, `validate_limited_str`). */
const NO_NAME = {
  error: ({ input }: { readonly input: unknown }) =>
    input === '' ? TOO_SHORT : 'String must match the following pattern: [a-zA-Z0-9\\-_.].',
};
const MAX_UINT16 = 65_535;

/** ApplicationUid, EndpointUid, MessageUid; each `…IdOrUid` of a path. */
export const uid = z.string().min(1, TOO_SHORT).max(256, TOO_LONG).regex(NAME_PATTERN, NO_NAME);
/** EventTypeName, FeatureFlag. */
const name = z.string().max(256, TOO_LONG).regex(NAME_PATTERN, NO_NAME);
/** EventChannel. */
const channel = z.string().max(128, TOO_LONG).regex(NAME_PATTERN, NO_NAME);
/** EndpointSecret. */
const secret = z.string().regex(/^(whsec_)?[a-zA-Z0-9+/=]{32,100}$/, 'secret length invalid');
const time = z.iso.datetime({ offset: true });
const metadata = z.record(z.string(), z.string());
const throttleRate = (minimum: number) => z.int().min(minimum).max(MAX_UINT16).nullable().optional();
const url = z.string().min(1).max(65_536).meta({ format: 'uri' });
const anyObject = z.record(z.string(), z.unknown());

const applicationIn = z.object({
  name: z.string().min(1, 'Application names must be at least one character'),
  throttleRate: throttleRate(1),
  uid: uid.nullable().optional(),
  metadata: metadata.optional(),
});
const applicationPatch = z.object({
  name: z.string().optional(),
  throttleRate: throttleRate(0),
  uid: uid.nullable().optional(),
  metadata: metadata.optional(),
});
const applicationOut = z.object({
  uid: uid.nullable().optional(),
  name: z.string(),
  throttleRate: throttleRate(0),
  id: z.string(),
  createdAt: time,
  updatedAt: time,
  metadata,
});

const eventTypeUpdate = z.object({
  description: z.string(),
  archived: z.boolean().optional(),
  deprecated: z.boolean().optional(),
  schemas: z.record(z.string(), anyObject).nullable().optional(),
  featureFlag: name.nullable().optional(),
});
const eventTypeOut = z.object({
  name,
  description: z.string(),
  archived: z.boolean().optional(),
  deprecated: z.boolean(),
  schemas: z.record(z.string(), anyObject).nullable().optional(),
  createdAt: time,
  updatedAt: time,
  featureFlag: name.nullable().optional(),
});

const messageIn = z.object({
  eventId: uid.nullable().optional(),
  eventType: name,
  payload: anyObject,
  channels: z.array(channel).min(1).max(5).nullable().optional(),
  payloadRetentionPeriod: z.int().min(5).max(90).optional(),
  application: applicationIn.nullable().optional(),
});
const messageOut = z.object({
  eventId: uid.nullable().optional(),
  eventType: name,
  payload: anyObject,
  channels: z.array(channel).min(1).max(5).nullable().optional(),
  id: z.string(),
  timestamp: time,
});

/** EndpointIn without `secret` is EndpointUpdate. */
const endpointUpdate = z.object({
  description: z.string().optional(),
  throttleRate: throttleRate(1),
  uid: uid.nullable().optional(),
  url,
  disabled: z.boolean().optional(),
  eventTypes: z.array(name).min(1, "eventTypes can't be empty, it must have at least one item.").nullable().optional(),
  channels: z.array(channel).min(1).max(10).nullable().optional(),
  metadata: metadata.optional(),
});
const endpointIn = endpointUpdate.extend({ secret: secret.nullable().optional() });
const endpointPatch = z.object({
  description: z.string().optional(),
  throttleRate: throttleRate(0),
  uid: uid.nullable().optional(),
  url: z.string().meta({ format: 'uri' }).optional(),
  disabled: z.boolean().optional(),
  eventTypes: z.array(name).nullable().optional(),
  channels: z.array(channel).nullable().optional(),
  metadata: metadata.optional(),
});
const endpointOut = z.object({
  description: z.string(),
  throttleRate: throttleRate(0),
  uid: uid.nullable().optional(),
  url,
  disabled: z.boolean().optional(),
  eventTypes: z.array(name).min(1).nullable().optional(),
  channels: z.array(channel).min(1).max(10).nullable().optional(),
  createdAt: time,
  updatedAt: time,
  id: z.string(),
  metadata,
});
const endpointHeadersOut = z.object({ headers: z.record(z.string(), z.string()), sensitive: z.array(z.string()) });
const count = z.int();

/** MessageStatus: success, pending, fail, sending. */
const messageStatus = z.union([z.literal(0), z.literal(1), z.literal(2), z.literal(3)]);
const messageStatusText = z.enum(['success', 'pending', 'fail', 'sending']);
/** MessageAttemptTriggerType: scheduled, manual. */
const triggerType = z.union([z.literal(0), z.literal(1)]);
const statusCodeClass = z.union([0, 100, 200, 300, 400, 500].map((first) => z.literal(first)));
const messageAttemptOut = z.object({
  url,
  response: z.string(),
  responseStatusCode: z.int(),
  responseDurationMs: z.int(),
  status: messageStatus,
  statusText: messageStatusText,
  triggerType,
  msgId: z.string(),
  endpointId: z.string(),
  id: z.string(),
  timestamp: time,
});
const endpointMessageOut = messageOut.extend({
  status: messageStatus,
  statusText: messageStatusText,
  nextAttempt: time.nullable().optional(),
});

/** ListResponse_…_ of anything. */
const listOf = <T extends z.ZodType>(item: T) =>
  z.object({
    data: z.array(item),
    iterator: z.string().nullable().optional(),
    prevIterator: z.string().nullable().optional(),
    done: z.boolean(),
  });

const limit = z.int().min(0).optional();
const iterator = z.string().nullable().optional();
const order = z.enum(['ascending', 'descending']).nullable().optional();
const timeFilter = { before: time.nullable().optional(), after: time.nullable().optional() };
const messageFilters = {
  channel: channel.nullable().optional(),
  ...timeFilter,
  with_content: z.boolean().optional(),
  event_types: z.array(name).nullable().optional(),
};
const attemptFilters = {
  limit,
  iterator,
  status: messageStatus.nullable().optional(),
  status_code_class: statusCodeClass.nullable().optional(),
  ...messageFilters,
};
const noQuery = z.object({});
const orderedPage = z.object({ limit, iterator, order });

export interface OperationContract {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** The path as published, its parameters in braces. */
  readonly path: string;
  readonly query: z.ZodObject;
  readonly body: z.ZodObject | null;
  /** By status; null where nothing comes. Refusals have the shape of {@link refusalOut}. */
  readonly answers: Readonly<Record<number, z.ZodType | null>>;
}

const APPLICATION = '/api/v1/app/{app_id}';
const ENDPOINT = `${APPLICATION}/endpoint/{endpoint_id}`;
const MESSAGE = `${APPLICATION}/msg/{msg_id}`;
const EVENT_TYPE = '/api/v1/event-type/{event_type_name}';

/** Everything that we call, or that a test of ours does. */
export const CONTRACT = {
  'health.get': { method: 'GET', path: '/api/v1/health', query: noQuery, body: null, answers: {} },
  'application.create': {
    method: 'POST',
    path: '/api/v1/app',
    query: z.object({ get_if_exists: z.boolean().optional() }),
    body: applicationIn,
    answers: { 200: applicationOut, 201: applicationOut },
  },
  'application.list': {
    method: 'GET',
    path: '/api/v1/app',
    query: orderedPage,
    body: null,
    answers: { 200: listOf(applicationOut) },
  },
  'application.get': { method: 'GET', path: APPLICATION, query: noQuery, body: null, answers: { 200: applicationOut } },
  'application.patch': {
    method: 'PATCH',
    path: APPLICATION,
    query: noQuery,
    body: applicationPatch,
    answers: { 200: applicationOut },
  },
  'application.delete': { method: 'DELETE', path: APPLICATION, query: noQuery, body: null, answers: { 204: null } },
  'eventType.upsert': {
    method: 'PUT',
    path: EVENT_TYPE,
    query: noQuery,
    body: eventTypeUpdate,
    answers: { 200: eventTypeOut, 201: eventTypeOut },
  },
  'eventType.get': { method: 'GET', path: EVENT_TYPE, query: noQuery, body: null, answers: { 200: eventTypeOut } },
  'eventType.list': {
    method: 'GET',
    path: '/api/v1/event-type',
    query: z.object({
      limit,
      iterator: name.nullable().optional(),
      order,
      include_archived: z.boolean().optional(),
      with_content: z.boolean().optional(),
    }),
    body: null,
    answers: { 200: listOf(eventTypeOut) },
  },
  'message.create': {
    method: 'POST',
    path: `${APPLICATION}/msg`,
    query: z.object({ with_content: z.boolean().optional() }),
    body: messageIn,
    answers: { 202: messageOut },
  },
  'message.list': {
    method: 'GET',
    path: `${APPLICATION}/msg`,
    query: z.object({ limit, iterator, ...messageFilters }),
    body: null,
    answers: { 200: listOf(messageOut) },
  },
  'message.get': {
    method: 'GET',
    path: MESSAGE,
    query: z.object({ with_content: z.boolean().optional() }),
    body: null,
    answers: { 200: messageOut },
  },
  'endpoint.create': {
    method: 'POST',
    path: `${APPLICATION}/endpoint`,
    query: noQuery,
    body: endpointIn,
    answers: { 201: endpointOut },
  },
  'endpoint.list': {
    method: 'GET',
    path: `${APPLICATION}/endpoint`,
    query: orderedPage,
    body: null,
    answers: { 200: listOf(endpointOut) },
  },
  'endpoint.get': { method: 'GET', path: ENDPOINT, query: noQuery, body: null, answers: { 200: endpointOut } },
  'endpoint.update': {
    method: 'PUT',
    path: ENDPOINT,
    query: noQuery,
    body: endpointUpdate,
    answers: { 200: endpointOut, 201: endpointOut },
  },
  'endpoint.patch': {
    method: 'PATCH',
    path: ENDPOINT,
    query: noQuery,
    body: endpointPatch,
    answers: { 200: endpointOut },
  },
  'endpoint.delete': { method: 'DELETE', path: ENDPOINT, query: noQuery, body: null, answers: { 204: null } },
  'endpoint.getSecret': {
    method: 'GET',
    path: `${ENDPOINT}/secret`,
    query: noQuery,
    body: null,
    answers: { 200: z.object({ key: secret }) },
  },
  'endpoint.rotateSecret': {
    method: 'POST',
    path: `${ENDPOINT}/secret/rotate`,
    query: noQuery,
    body: z.object({
      key: secret.nullable().optional(),
      gracePeriodSeconds: z.int().min(0).max(604_800, 'Duration must be between 0 and 7 days').nullable().optional(),
    }),
    answers: { 204: null },
  },
  'endpoint.getHeaders': {
    method: 'GET',
    path: `${ENDPOINT}/headers`,
    query: noQuery,
    body: null,
    answers: { 200: endpointHeadersOut },
  },
  'endpoint.updateHeaders': {
    method: 'PUT',
    path: `${ENDPOINT}/headers`,
    query: noQuery,
    body: z.object({ headers: z.record(z.string(), z.string()) }),
    answers: { 204: null },
  },
  'endpoint.patchHeaders': {
    method: 'PATCH',
    path: `${ENDPOINT}/headers`,
    query: noQuery,
    body: z.object({ headers: z.record(z.string(), z.string().nullable()) }),
    answers: { 204: null },
  },
  'endpoint.getStats': {
    method: 'GET',
    path: `${ENDPOINT}/stats`,
    query: z.object({ since: time.nullable().optional(), until: time.nullable().optional() }),
    body: null,
    answers: { 200: z.object({ success: count, pending: count, sending: count, fail: count, canceled: count }) },
  },
  'endpoint.recover': {
    method: 'POST',
    path: `${ENDPOINT}/recover`,
    query: noQuery,
    body: z.object({ since: time, until: time.nullable().optional() }),
    answers: {
      202: z.object({
        id: z.string(),
        status: z.enum(['running']),
        task: z.enum(['endpoint.recover']),
        updatedAt: time,
      }),
    },
  },
  'endpoint.sendExample': {
    method: 'POST',
    path: `${ENDPOINT}/send-example`,
    query: noQuery,
    body: z.object({ eventType: name }),
    answers: { 200: messageOut },
  },
  'messageAttempt.listByMsg': {
    method: 'GET',
    path: `${APPLICATION}/attempt/msg/{msg_id}`,
    query: z.object({ ...attemptFilters, endpoint_id: uid.nullable().optional() }),
    body: null,
    answers: { 200: listOf(messageAttemptOut) },
  },
  'messageAttempt.listByEndpoint': {
    method: 'GET',
    path: `${APPLICATION}/attempt/endpoint/{endpoint_id}`,
    query: z.object(attemptFilters),
    body: null,
    answers: { 200: listOf(messageAttemptOut) },
  },
  'messageAttempt.listAttemptedMessages': {
    method: 'GET',
    path: `${ENDPOINT}/msg`,
    query: z.object({ limit, iterator, status: messageStatus.nullable().optional(), ...messageFilters }),
    body: null,
    answers: { 200: listOf(endpointMessageOut) },
  },
  'messageAttempt.get': {
    method: 'GET',
    path: `${MESSAGE}/attempt/{attempt_id}`,
    query: noQuery,
    body: null,
    answers: { 200: messageAttemptOut },
  },
  'messageAttempt.resend': {
    method: 'POST',
    path: `${MESSAGE}/endpoint/{endpoint_id}/resend`,
    query: noQuery,
    body: null,
    answers: { 202: z.object({}) },
  },
  'authentication.appPortalAccess': {
    method: 'POST',
    path: '/api/v1/auth/app-portal-access/{app_id}',
    query: noQuery,
    body: z.object({
      featureFlags: z.array(name).optional(),
      application: applicationIn.nullable().optional(),
    }),
    answers: { 200: z.object({ url, token: z.string() }) },
  },
} as const satisfies Readonly<Record<string, OperationContract>>;

export type SvixOperation = keyof typeof CONTRACT;
export type QueryOf<T extends SvixOperation> = z.infer<(typeof CONTRACT)[T]['query']>;
export type BodyOf<T extends SvixOperation> = (typeof CONTRACT)[T]['body'] extends z.ZodObject
  ? z.infer<(typeof CONTRACT)[T]['body']>
  : null;

/** HttpErrorOut and HTTPValidationError; nothing for a path that is none. */
export const refusalOut = z.union([
  z.strictObject({ code: z.string(), detail: z.string() }),
  z.strictObject({
    detail: z.array(z.strictObject({ loc: z.array(z.string()), msg: z.string(), type: z.string() })).min(1),
  }),
]);

/**
 * What the official SDK can say to Svix's cloud and the open-source server does not know: it is sent on purpose and read
 * over there. Everything else that the description does not know is a mistake of ours.
 */
export const CLOUD_ONLY: Readonly<Partial<Record<SvixOperation, readonly string[]>>> = {
  // SDK 2.5.0, models/appPortalAccessIn.ts
  'authentication.appPortalAccess': ['expiry'],
  // SDK 2.5.0, api/messageAttempt.ts; it sends `expanded_statuses` unasked.
  'messageAttempt.listByEndpoint': ['with_msg', 'expanded_statuses'],
  'messageAttempt.listByMsg': ['expanded_statuses'],
  'messageAttempt.listAttemptedMessages': ['expanded_statuses'],
};
