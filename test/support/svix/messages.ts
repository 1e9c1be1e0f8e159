import { findApplication, makeAlong } from './applications.ts';
import type { BodyOf } from './contract.ts';
import { checkApplicationInPath, checkName, checkUid, checkUnique } from './rules.ts';
import { newSvixId, pageOf, type StoredApplication, type StoredMessage } from './store.ts';
import { type Handlers, type SvixWorld, theApplication, theMessage } from './world.ts';

/** v1/endpoints/message.rs. */
export function messageHandlers(world: SvixWorld) {
  return {
    'message.create': ({ params: [idOrUid = ''], query, body }) => {
      const { application, message } = storeMessage(world, idOrUid, body);
      world.worker.dispatch({ application, message });
      return { status: 202, body: showMessage(message, query.with_content ?? true) };
    },
    'message.list': ({ params, query }) => {
      const { messages } = theApplication(world, params);
      const { event_types, channel, with_content = true } = query;
      const listed = [...messages.values()]
        .filter(({ eventType }) => !event_types || event_types.includes(eventType))
        .filter(({ channels }) => !channel || channels?.includes(channel));
      const by = {
        prefix: 'msg_',
        idOf: ({ id }: StoredMessage) => id,
        createdAtOf: ({ createdAt }: StoredMessage) => createdAt,
        order: 'descending' as const,
        show: (message: StoredMessage) => showMessage(message, with_content),
        pageSize: world.pageSize,
      };
      return { status: 200, body: pageOf(listed, query, by) };
    },
    'message.get': ({ params, query }) => {
      const message = theMessage(theApplication(world, params), params[1]);
      return { status: 200, body: showMessage(message, query.with_content ?? true) };
    },
  } satisfies Partial<Handlers>;
}

/**
 * As `create_message_inner` before anything is sent. That the event type exists is not asked. An eventId is unique within
 * its application, for good on the open-source server, whatever its description says of a day.
 */
export function storeMessage(
  world: SvixWorld,
  idOrUid: string,
  body: BodyOf<'message.create'>,
): { application: StoredApplication; message: StoredMessage } {
  const { eventId = null, eventType, payload, channels = null } = body;
  checkUid('message', eventId);
  checkName(eventType, 'eventType');
  checkApplicationInPath(idOrUid);
  const application = findApplication(world, idOrUid) ?? makeAlong(world, idOrUid, body.application);
  checkUnique(eventId !== null && application.messages.has(eventId));
  return { application, message: addMessage(application, { eventId, eventType, payload, channels }) };
}

export function addMessage(
  { messages }: StoredApplication,
  {
    eventId = null,
    eventType,
    payload,
    channels = null,
  }: Partial<StoredMessage> & Pick<StoredMessage, 'eventType' | 'payload'>,
): StoredMessage {
  const message = { id: newSvixId('msg_'), eventId, eventType, payload, channels, createdAt: new Date() };
  messages.set(eventId ?? message.id, message);
  return message;
}

/** `MessageOut`. */
export function showMessage(message: StoredMessage, withContent: boolean): Record<string, unknown> {
  const { eventId, eventType, payload, channels, id, createdAt } = message;
  return { eventId, eventType, payload: withContent ? payload : {}, channels, id, timestamp: createdAt };
}
