import type { Queryable } from '../../db/transaction.ts';
import { idForSvix } from '../message-ids.ts';
import type { AttemptPage, AttemptQuery, DeliveryAttempt } from '../outgoing.ts';
import { isNotFound } from './answers.ts';
import type { SvixClient } from './client.ts';
import { copyUid, singleUid } from './single.ts';
import { hasCopy, insertSent, type KnownSent, selectSent, selectSentBySvixId } from './store.ts';

/**
 * Svix's attempts as our API shows them. An attempt of the open-source server names only Svix's id of the message. Our id and
 * the event type come from the note that was made when the message was handed over; without a note, Svix is asked. Attempts of
 * messages for a single endpoint are in the merchant's second application, so both lists are merged.
 */

/** As much of an endpoint's answer as the embedded sender keeps. */
const MAX_RESPONSE_LENGTH = 2048;
/** Svix sorts the newest first only if an end is given. The end is a little in the future, since Svix's clock may be ahead of ours. */
const AHEAD_MS = 600_000;
const AT_A_TIME = 8;
const STATUS = { succeeded: 0, failed: 2 } as const;

type SvixAttempt = Awaited<ReturnType<SvixClient['messageAttempt']['listByEndpoint']>>['data'][number];

interface Place {
  readonly application: string;
  readonly endpoint: string;
}

export interface AttemptContext {
  readonly svix: SvixClient;
  readonly application: string;
  readonly merchantId: string;
  readonly endpointId: string;
  readonly db: Queryable;
  /** Where is noted what only Svix knew. */
  readonly notes: Queryable;
  readonly now: Date;
}

/** @throws {unknown} what the SDK throws: 404 if there is no such endpoint */
export async function listSvixAttempts(context: AttemptContext, query: AttemptQuery): Promise<AttemptPage> {
  const places = await placesOf(context, query);
  const pages = await Promise.all(places.map((place) => listAt(context, place, query)));
  // By id, as Svix sorts and pages them: its ids begin with the time.
  const all = pages.flatMap(({ data }) => data).sort((a, b) => (a.id < b.id ? 1 : -1));
  const page = all.slice(0, query.pageSize);
  const hasMore = all.length > page.length || pages.some(({ done }) => !done);
  const finished = page.filter(isFinished);
  const messages = await messagesOf(context, finished, places);
  return {
    attempts: finished.map((attempt) => toAttempt(attempt, context.endpointId, messages.get(attempt.msgId) ?? null)),
    nextCursor: hasMore ? (page.at(-1)?.id ?? null) : null,
  };
}

/** Where attempts to the endpoint may be: in the merchant's application, and in the one for messages to a single endpoint. */
async function placesOf(
  { svix, application, merchantId, endpointId, db }: AttemptContext,
  { messageId }: AttemptQuery,
): Promise<readonly Place[]> {
  await svix.endpoint.get(application, endpointId);
  const main = { application, endpoint: endpointId };
  const single = { application: singleUid(application), endpoint: copyUid(endpointId) };
  if (messageId !== null) {
    const sent = await selectSent(db, merchantId, idForSvix(messageId));
    return sent === null || sent.endpointId === null ? [main] : [single];
  }
  return (await hasCopy(db, merchantId, endpointId)) ? [main, single] : [main];
}

/** The attempts in one place. None if the place does not know the id: the endpoint itself was found before. */
async function listAt(
  { svix, now }: AttemptContext,
  { application, endpoint }: Place,
  { pageSize, cursor, status, eventType, messageId, since, until }: AttemptQuery,
): Promise<{ readonly data: readonly SvixAttempt[]; readonly done: boolean }> {
  const options = {
    limit: pageSize,
    iterator: cursor,
    withContent: true,
    before: until ?? new Date(now.getTime() + AHEAD_MS),
    ...(since === null ? {} : { after: since }),
    ...(status === null ? {} : { status: STATUS[status] }),
    ...(eventType === null ? {} : { eventTypes: [eventType] }),
  };
  try {
    if (messageId === null) return await svix.messageAttempt.listByEndpoint(application, endpoint, options);
    const id = idForSvix(messageId);
    return await svix.messageAttempt.listByMsg(application, id, { ...options, endpointId: endpoint });
  } catch (error) {
    if (isNotFound(error)) return { data: [], done: true };
    throw error;
  }
}

type Named = Pick<KnownSent, 'messageId' | 'eventType'>;

/** The messages of the attempts, by Svix's ids. Messages without a note are asked for and then noted. */
async function messagesOf(
  context: AttemptContext,
  attempts: readonly SvixAttempt[],
  places: readonly Place[],
): Promise<ReadonlyMap<string, Named>> {
  const ids = [...new Set(attempts.map(({ msgId }) => msgId))];
  if (ids.length === 0) return new Map();
  const found = new Map<string, Named>(await selectSentBySvixId(context.db, context.merchantId, ids));
  const unknown = ids.filter((id) => !found.has(id));
  while (unknown.length > 0) {
    const some = unknown.splice(0, AT_A_TIME);
    const named = await Promise.all(some.map((id) => askFor(context, id, places)));
    for (const [index, one] of named.entries()) if (one !== null) found.set(some[index] ?? '', one);
  }
  return found;
}

async function askFor(
  { svix, merchantId, endpointId, notes }: AttemptContext,
  svixMessageId: string,
  places: readonly Place[],
): Promise<Named | null> {
  for (const { application, endpoint } of places) {
    try {
      const { eventId, eventType, timestamp } = await svix.message.get(application, svixMessageId, {
        withContent: false,
      });
      // A message without our id was made by somebody else, for example as a test in Svix's portal.
      if (!eventId) return { messageId: svixMessageId, eventType };
      const isMain = endpoint === endpointId;
      const message = { merchantId, messageId: eventId, svixMessageId, eventType, range: null };
      await insertSent(notes, [{ ...message, endpointId: isMain ? null : endpointId }], timestamp);
      return { messageId: eventId, eventType };
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
  return null;
}

function isFinished({ statusText }: SvixAttempt): boolean {
  return statusText !== 'pending' && statusText !== 'sending';
}

/** An attempt in our form. For a try without an answer Svix gives the status 0, and the reason in place of the response. */
function toAttempt(attempt: SvixAttempt, endpointId: string, message: Named | null): DeliveryAttempt {
  const text = attempt.response.slice(0, MAX_RESPONSE_LENGTH);
  const isAnswered = attempt.responseStatusCode > 0;
  return {
    id: attempt.id,
    messageId: message?.messageId ?? attempt.msgId,
    endpointId,
    eventType: message?.eventType ?? '',
    status: attempt.statusText === 'success' ? 'succeeded' : 'failed',
    statusCode: isAnswered ? attempt.responseStatusCode : null,
    error: isAnswered ? null : text || 'no answer',
    response: isAnswered ? text : null,
    durationMs: attempt.responseDurationMs,
    createdAt: attempt.timestamp,
  };
}
