import type { SecretBox } from '../../crypto/secret-box.ts';
import type { Queryable } from '../../db/transaction.ts';
import { selectHeaders } from '../header-store.ts';
import { idForSvix } from '../message-ids.ts';
import type { OutgoingMessage } from '../outgoing.ts';
import { isNotFound } from './answers.ts';
import { besideUid } from './applications.ts';
import type { SvixClient } from './client.ts';
import { forgetCached, type SvixEndpoint } from './endpoints.ts';
import { hasCopy, noteCopy } from './store.ts';

/**
 * Messages for a single endpoint: tests, and messages that a recovery makes. Svix sends a message to every endpoint of the
 * application that wants its type; a channel does not change this for endpoints that name no channel. Only `send-example`
 * chooses one endpoint, but its payload is the schema's example, with the same id and merchant for everybody. So each merchant
 * has a second application. An endpoint that gets such messages has a copy there, which listens to a channel of its own.
 */

/** The merchant's second application. */
export function singleUid(application: string): string {
  return besideUid(application, 'single');
}

/** The uid of an endpoint's copy. Svix refuses uids that begin like its own ids. */
export function copyUid(endpointId: string): string {
  return `copy-of-${endpointId}`;
}

export interface SingleOptions {
  readonly svix: SvixClient;
  /** The uid of the merchant's application. */
  readonly application: string;
  readonly merchantId: string;
  readonly db: Queryable;
  readonly box: SecretBox;
}

/** A message for one endpoint. */
export type SingleMessage = Pick<OutgoingMessage, 'messageId' | 'eventType' | 'payload'>;

/**
 * Sends a message to one endpoint.
 * @param endpoint its present settings, to which the copy is brought first
 * @returns Svix's id of the message
 * @throws {unknown} what the SDK throws
 */
export async function sendToOne(
  options: SingleOptions,
  endpoint: SvixEndpoint,
  message: SingleMessage,
): Promise<string> {
  await copyEndpoint(options, endpoint);
  return sendToCopy(options, endpoint.id, message);
}

/** The same, if the copy is known to be up to date. */
export async function sendToCopy(
  { svix, application }: Pick<SingleOptions, 'svix' | 'application'>,
  endpointId: string,
  { messageId, eventType, payload }: SingleMessage,
): Promise<string> {
  const message = { eventId: messageId, eventType, payload: JSON.parse(payload), channels: [endpointId] };
  const key = { idempotencyKey: `${application}.${messageId}` };
  return (await svix.message.create(singleUid(application), message, key)).id;
}

/** Gives the copy the endpoint's present settings; makes the copy, and the application, if they are missing. */
export async function copyEndpoint(options: SingleOptions, endpoint: SvixEndpoint): Promise<void> {
  const { svix, application, db, merchantId } = options;
  const single = singleUid(application);
  await noteCopy(db, { merchantId, endpointId: endpoint.id }, endpoint.disabled ?? false);
  const metadata = { chokin_single: application };
  await svix.application.getOrCreate({ uid: single, name: 'Messages for one endpoint', metadata });
  const uid = copyUid(endpoint.id);
  const disabled = endpoint.disabled ?? false;
  const { url, description } = endpoint;
  await svix.endpoint.upsert(single, uid, { uid, url, description, disabled, channels: [endpoint.id] });
  const headers = await readHeaders(options, endpoint.id);
  const known = Object.entries(headers).flatMap(([name, value]) => (value === null ? [] : [[name, value] as const]));
  await svix.endpoint.setHeaders(single, uid, { headers: Object.fromEntries(known) });
  const { key } = await svix.endpoint.getSecret(application, endpoint.id);
  if ((await svix.endpoint.getSecret(single, uid)).key !== key) {
    // The copy signs with the endpoint's present secret alone; it need not know the older ones.
    await svix.endpoint.rotateSecret(single, uid, { key, gracePeriodSeconds: 0 });
  }
  await forgetCached(svix, { application: single, endpointId: uid }, disabled);
}

/** Gives the copy the endpoint's present settings, if there is a copy. */
export async function refreshCopy(options: SingleOptions, endpoint: SvixEndpoint): Promise<void> {
  if (await hasCopy(options.db, options.merchantId, endpoint.id)) await copyEndpoint(options, endpoint);
}

/** Deletes the copy of an endpoint, if there is one. @throws {unknown} what Svix's client throws */
export async function deleteCopy({ svix, application }: SingleOptions, endpointId: string): Promise<void> {
  try {
    await svix.endpoint.delete(singleUid(application), copyUid(endpointId));
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** Sends a message of the second application once more, to the copy of the given endpoint. */
export async function resendToOne(options: SingleOptions, endpoint: SvixEndpoint, messageId: string): Promise<void> {
  await copyEndpoint(options, endpoint);
  const { svix, application } = options;
  await svix.messageAttempt.resend(singleUid(application), idForSvix(messageId), copyUid(endpoint.id));
}

/**
 * An endpoint's headers. Svix does not show the values of headers such as `authorization`; they come from our own copy, which
 * was stored when they were set. Null for one that was set in Svix's portal, of which we have no copy.
 */
export async function readHeaders(
  { svix, application, merchantId, db, box }: SingleOptions,
  endpointId: string,
): Promise<Readonly<Record<string, string | null>>> {
  const { headers, sensitive } = await svix.endpoint.getHeaders(application, endpointId);
  if (sensitive.length === 0) return headers;
  const kept = await selectHeaders(db, box, { merchantId, endpointId });
  return { ...headers, ...Object.fromEntries(sensitive.map((name) => [name, kept[name] ?? null])) };
}
