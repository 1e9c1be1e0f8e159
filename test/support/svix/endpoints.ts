import type { BodyOf } from './contract.ts';
import { forgetHeaders } from './delivery.ts';
import { namesOf } from './event-types.ts';
import { addMessage, showMessage } from './messages.ts';
import { notFound, refusal } from './refusals.ts';
import {
  checkChannels,
  checkControlCharacters,
  checkEventTypes,
  checkHeaders,
  checkMetadata,
  checkOldKeys,
  checkRecoverable,
  checkSecret,
  checkThrottleRate,
  checkUid,
  checkUnique,
  readUrl,
  SENSITIVE_HEADERS,
} from './rules.ts';
import { newSecret, newSvixId, pageOf, type StoredApplication, type StoredEndpoint } from './store.ts';
import { type Handlers, type SomeOf, type SvixWorld, theApplication, theEndpoint } from './world.ts';

const DEFAULT_GRACE_SECONDS = 86_400;
const PING = { type: 'svix.ping', payload: { success: true } };

/** v1/endpoints/endpoint/crud.rs. */
export function endpointHandlers(world: SvixWorld) {
  return {
    'endpoint.create': ({ params, body }) => {
      const application = theApplication(world, params);
      return { status: 201, body: showEndpoint(addEndpoint(world, application, body)) };
    },
    'endpoint.list': ({ params, query }) => {
      const { endpoints } = theApplication(world, params);
      const by = {
        prefix: 'ep_',
        idOf: ({ id }: StoredEndpoint) => id,
        order: 'descending' as const,
        show: showEndpoint,
        pageSize: world.pageSize,
      };
      return { status: 200, body: pageOf(endpoints.values(), query, by) };
    },
    'endpoint.get': ({ params }) => {
      const endpoint = theEndpoint(theApplication(world, params), params[1]);
      return { status: 200, body: showEndpoint(endpoint) };
    },
    'endpoint.update': ({ params, body }) => {
      const application = theApplication(world, params);
      const url = checkEndpoint(world, body);
      const known = [...application.endpoints.values()].find(({ id, uid }) => id === params[1] || uid === params[1]);
      if (known === undefined) return { status: 201, body: showEndpoint(addEndpoint(world, application, body)) };
      checkUidOf(application, body.uid, known);
      const { description = '', throttleRate = null, uid = null, disabled = false } = body;
      const { eventTypes = null, channels = null, metadata = {} } = body;
      const all = { description, throttleRate, uid, disabled, eventTypes, channels, metadata };
      change(application, known, { ...all, ...(url === undefined ? {} : { url }) });
      return { status: 200, body: showEndpoint(known) };
    },
    'endpoint.patch': ({ params, body }) => {
      const application = theApplication(world, params);
      const url = checkEndpoint(world, body);
      const endpoint = theEndpoint(application, params[1]);
      checkUidOf(application, body.uid, endpoint);
      change(application, endpoint, { ...body, ...(url === undefined ? {} : { url }) });
      return { status: 200, body: showEndpoint(endpoint) };
    },
    'endpoint.delete': ({ params }) => {
      const application = theApplication(world, params);
      application.endpoints.delete(theEndpoint(application, params[1]).id);
      forgetHeaders(application);
      return { status: 204, body: null };
    },
    'endpoint.getStats': ({ params }) => {
      const application = theApplication(world, params);
      const { id } = theEndpoint(application, params[1]);
      const count = (status: string) =>
        application.attempts.filter(({ endpointId, statusText }) => endpointId === id && statusText === status).length;
      return {
        status: 200,
        body: { success: count('success'), pending: 0, sending: 0, fail: count('fail'), canceled: 0 },
      };
    },
    ...secretHandlers(world),
    ...headerHandlers(world),
    ...sendingHandlers(world),
  } satisfies Partial<Handlers>;
}

/** v1/endpoints/endpoint/secrets.rs. */
function secretHandlers(world: SvixWorld) {
  return {
    'endpoint.getSecret': ({ params }) => {
      const { secret } = theEndpoint(theApplication(world, params), params[1]);
      return { status: 200, body: { key: secret } };
    },
    'endpoint.rotateSecret': ({ params, body }) => {
      const application = theApplication(world, params);
      checkSecret(body.key, 'key');
      const endpoint = theEndpoint(application, params[1]);
      const now = new Date();
      const expiresAt = new Date(now.getTime() + (body.gracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000);
      const oldKeys = [...endpoint.oldKeys, { secret: endpoint.secret, expiresAt }]
        .filter((key) => key.expiresAt > now)
        .sort((a, b) => a.expiresAt.getTime() - b.expiresAt.getTime());
      checkOldKeys(oldKeys.map((key) => key.expiresAt));
      change(application, endpoint, { secret: body.key ?? newSecret(), oldKeys });
      return { status: 204, body: null };
    },
  } satisfies Partial<Handlers>;
}

/** v1/endpoints/endpoint/headers.rs. */
function headerHandlers(world: SvixWorld) {
  return {
    'endpoint.getHeaders': ({ params }) => {
      const { headers } = theEndpoint(theApplication(world, params), params[1]);
      const isSensitive = (name: string) => SENSITIVE_HEADERS.has(name.toLowerCase());
      const shown = Object.entries(headers).filter(([name]) => !isSensitive(name));
      const sensitive = Object.keys(headers).filter(isSensitive);
      return { status: 200, body: { headers: Object.fromEntries(shown), sensitive } };
    },
    'endpoint.updateHeaders': ({ params, body: { headers } }) => {
      const application = theApplication(world, params);
      checkHeaders(headers, 'put');
      theEndpoint(application, params[1]).headers = headers;
      return { status: 204, body: null };
    },
    'endpoint.patchHeaders': ({ params, body }) => {
      const application = theApplication(world, params);
      checkHeaders(body.headers, 'patch');
      const endpoint = theEndpoint(application, params[1]);
      const headers = new Map(Object.entries(endpoint.headers));
      for (const [name, value] of Object.entries(body.headers)) {
        if (value === null) headers.delete(name);
        else headers.set(name, value);
      }
      endpoint.headers = Object.fromEntries(headers);
      return { status: 204, body: null };
    },
  } satisfies Partial<Handlers>;
}

/** v1/endpoints/endpoint/mod.rs, `send_example`, and recovery.rs. */
function sendingHandlers(world: SvixWorld) {
  return {
    'endpoint.sendExample': ({ params, body: { eventType } }) => {
      const application = theApplication(world, params);
      const endpoint = theEndpoint(application, params[1]);
      const payload = eventType === PING.type ? PING.payload : exampleOf(world, eventType);
      // It has no eventId, and goes out as any message does: not at all, if the endpoint is disabled or wants other types.
      const message = addMessage(application, { eventType, payload });
      world.worker.dispatch({ application, message, only: endpoint.id });
      return { status: 200, body: showMessage(message, false) };
    },
    'endpoint.recover': ({ params, body }) => {
      const application = theApplication(world, params);
      const since = new Date(body.since);
      const until = body.until ? new Date(body.until) : new Date();
      checkRecoverable(since, until);
      const { id: only } = theEndpoint(application, params[1]);
      const tried = application.attempts.filter(
        ({ endpointId, createdAt }) => endpointId === only && createdAt >= since && createdAt < until,
      );
      const succeeded = new Set(tried.filter(({ statusText }) => statusText === 'success').map(({ msgId }) => msgId));
      const failed = new Set(tried.map(({ msgId }) => msgId).filter((msgId) => !succeeded.has(msgId)));
      // Messages of which there was no attempt, such as those from before the endpoint, are not recovered.
      for (const message of application.messages.values()) {
        if (failed.has(message.id)) world.worker.dispatch({ application, message, only, isManual: true });
      }
      const answer = { id: newSvixId('qtask_'), status: 'running', task: 'endpoint.recover', updatedAt: new Date() };
      return { status: 202, body: answer };
    },
  } satisfies Partial<Handlers>;
}

/** db/models/eventtype.rs, `Schema::example`: the first of the examples in version 1 of the schema. */
function exampleOf({ eventTypes }: SvixWorld, eventType: string): unknown {
  const type = eventTypes.get(eventType);
  if (type === undefined) throw notFound();
  const examples = type.schemas?.['1']?.examples;
  const [first] = Array.isArray(examples) ? examples : [];
  if (first !== undefined) return first;
  throw refusal(400, 'invalid_scheme', 'Unable to generate example message from event-type schema');
}

type EndpointIn = BodyOf<'endpoint.create'>;

/** @returns the URL as it is kept, if there is one */
function checkEndpoint(
  world: SvixWorld,
  { url, uid, description, secret, metadata, eventTypes, throttleRate, channels }: SomeOf<EndpointIn>,
): string | undefined {
  checkMetadata(metadata);
  const kept = url === undefined ? undefined : readUrl(url);
  checkControlCharacters('description', description);
  checkUid('endpoint', uid);
  checkSecret(secret, 'secret');
  checkThrottleRate(throttleRate, 'Endpoint');
  checkChannels(channels);
  checkEventTypes(eventTypes, namesOf(world));
  return kept;
}

function checkUidOf({ endpoints }: StoredApplication, uid: string | null | undefined, self?: StoredEndpoint): void {
  const other = [...endpoints.values()].find((endpoint) => uid && endpoint.uid === uid);
  checkUnique(other !== undefined && other !== self);
}

function addEndpoint(world: SvixWorld, application: StoredApplication, body: EndpointIn): StoredEndpoint {
  const url = checkEndpoint(world, body) ?? body.url;
  checkUidOf(application, body.uid);
  const now = new Date();
  const endpoint: StoredEndpoint = {
    id: newSvixId('ep_'),
    uid: body.uid ?? null,
    url,
    description: body.description ?? '',
    eventTypes: body.eventTypes ?? null,
    channels: body.channels ?? null,
    throttleRate: body.throttleRate ?? null,
    disabled: body.disabled ?? false,
    metadata: body.metadata ?? {},
    secret: body.secret ?? newSecret(),
    oldKeys: [],
    headers: {},
    createdAt: now,
    updatedAt: now,
  };
  application.endpoints.set(endpoint.id, endpoint);
  forgetHeaders(application);
  return endpoint;
}

function change(application: StoredApplication, endpoint: StoredEndpoint, by: object): void {
  Object.assign(endpoint, by, { updatedAt: new Date() });
  forgetHeaders(application);
}

/** `EndpointOut`, with the fields that its description hides: deprecated names of others. */
function showEndpoint(endpoint: StoredEndpoint): Record<string, unknown> {
  const { description, throttleRate, uid, url, disabled, eventTypes, channels, createdAt, updatedAt } = endpoint;
  const { id, metadata } = endpoint;
  return {
    ...{ description, rateLimit: throttleRate, throttleRate, uid, url, version: 1, disabled, eventTypes },
    ...{ filterTypes: eventTypes, channels, createdAt, updatedAt, id, metadata },
  };
}
