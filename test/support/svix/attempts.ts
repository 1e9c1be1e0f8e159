import type { QueryOf } from './contract.ts';
import { showMessage } from './messages.ts';
import { notFound } from './refusals.ts';
import { pageOf, type StoredApplication, type StoredAttempt, type StoredMessage } from './store.ts';
import { type Handlers, type SvixWorld, theApplication, theEndpoint, theMessage } from './world.ts';

const STATUSES = { success: 0, pending: 1, fail: 2, sending: 3 } as const;

/** v1/endpoints/attempt.rs. */
export function attemptHandlers(world: SvixWorld) {
  return {
    'messageAttempt.listByEndpoint': ({ params, query, asksForMessages }) => {
      const application = theApplication(world, params);
      const { id } = theEndpoint(application, params[1]);
      const listed = application.attempts.filter(({ endpointId }) => endpointId === id);
      return { status: 200, body: pageOfAttempts(world, application, listed, { ...query, asksForMessages }) };
    },
    'messageAttempt.listByMsg': ({ params, query, asksForMessages }) => {
      const application = theApplication(world, params);
      const message = theMessage(application, params[1]);
      const only = query.endpoint_id ? theEndpoint(application, query.endpoint_id).id : null;
      const listed = application.attempts.filter(
        ({ msgId, endpointId }) => msgId === message.id && (only === null || endpointId === only),
      );
      return { status: 200, body: pageOfAttempts(world, application, listed, { ...query, asksForMessages }) };
    },
    'messageAttempt.listAttemptedMessages': ({ params, query }) => {
      const application = theApplication(world, params);
      const { id } = theEndpoint(application, params[1]);
      const attempts = application.attempts.filter(({ endpointId }) => endpointId === id);
      const stateOf = (message: StoredMessage) => stateAt(attempts.filter(({ msgId }) => msgId === message.id));
      const { event_types, status, channel, with_content = true } = query;
      const listed = [...application.messages.values()]
        .filter((message) => stateOf(message) !== null)
        .filter((message) => status === null || status === undefined || STATUSES[stateOf(message) ?? 'fail'] === status)
        .filter(({ eventType }) => !event_types || event_types.includes(eventType))
        .filter(({ channels }) => !channel || channels?.includes(channel));
      const show = (message: StoredMessage) => {
        const statusText = stateOf(message) ?? 'fail';
        const next = attempts.findLast(({ msgId }) => msgId === message.id)?.nextAttemptAt ?? null;
        const shown = { ...showMessage(message, with_content), status: STATUSES[statusText], statusText };
        return next === null ? shown : { ...shown, nextAttempt: next };
      };
      const idOf = ({ id: messageId }: StoredMessage) => messageId;
      const createdAtOf = ({ createdAt }: StoredMessage) => createdAt;
      const order = 'descending' as const;
      const by = { prefix: 'msg_', idOf, createdAtOf, order, show, pageSize: world.pageSize };
      return { status: 200, body: pageOf(listed, query, by) };
    },
    'messageAttempt.get': ({ params }) => {
      const application = theApplication(world, params);
      const message = theMessage(application, params[1]);
      const found = application.attempts.find(({ id, msgId }) => id === params[2] && msgId === message.id);
      if (found === undefined) throw notFound();
      return { status: 200, body: showAttempt(found) };
    },
    'messageAttempt.resend': ({ params }) => {
      const application = theApplication(world, params);
      const message = theMessage(application, params[1]);
      const endpoint = theEndpoint(application, params[2]);
      // To a disabled endpoint too: accepted, and nothing is sent.
      world.worker.dispatch({ application, message, only: endpoint.id, isManual: true });
      return { status: 202, body: {} };
    },
  } satisfies Partial<Handlers>;
}

/** `list_attempted_messages`: one success counts whatever else happened; one that will be tried again is being sent. */
function stateAt(attempts: readonly StoredAttempt[]): keyof typeof STATUSES | null {
  const latest = attempts.at(-1);
  if (latest === undefined) return null;
  return latest.nextAttemptAt === null ? latest.statusText : 'sending';
}

type AttemptQuery = QueryOf<'messageAttempt.listByEndpoint'> & { readonly asksForMessages: boolean };

function pageOfAttempts(
  world: SvixWorld,
  application: StoredApplication,
  attempts: readonly StoredAttempt[],
  query: AttemptQuery,
): Record<string, unknown> {
  const { status, status_code_class: wanted, event_types, channel, with_content = true, asksForMessages } = query;
  const messageOf = ({ eventId, msgId }: StoredAttempt) => application.messages.get(eventId ?? msgId);
  const listed = attempts
    .filter(({ statusText }) => status === null || status === undefined || STATUSES[statusText] === status)
    .filter(({ responseStatusCode }) => !isOutside(responseStatusCode, wanted))
    .filter((attempt) => !event_types || event_types.includes(messageOf(attempt)?.eventType ?? ''))
    .filter((attempt) => !channel || messageOf(attempt)?.channels?.includes(channel));
  const show = (attempt: StoredAttempt) => {
    const shown = with_content ? showAttempt(attempt) : { ...showAttempt(attempt), response: '{}' };
    const message = asksForMessages && world.givesMessages ? messageOf(attempt) : undefined;
    return message === undefined ? shown : { ...shown, msg: showMessage(message, true) };
  };
  const idOf = ({ id }: StoredAttempt) => id;
  const createdAtOf = ({ createdAt }: StoredAttempt) => createdAt;
  const order = 'descending' as const;
  return pageOf(listed, query, { prefix: 'atmpt_', idOf, createdAtOf, order, show, pageSize: world.pageSize });
}

/** `StatusCodeClass`: the hundred that the code lies in, 0 for no answer. */
function isOutside(code: number, wanted: number | null | undefined): boolean {
  return wanted !== null && wanted !== undefined && Math.floor(code / 100) * 100 !== wanted;
}

/** `MessageAttemptOut`: neither the event type nor the eventId is in it. */
function showAttempt(attempt: StoredAttempt): Record<string, unknown> {
  const { url, response, responseStatusCode, responseDurationMs, statusText, isManual } = attempt;
  const { msgId, endpointId, id, createdAt } = attempt;
  return {
    ...{ url, response, responseStatusCode, responseDurationMs, status: STATUSES[statusText], statusText },
    ...{ triggerType: isManual ? 1 : 0, msgId, endpointId, id, timestamp: createdAt },
  };
}
