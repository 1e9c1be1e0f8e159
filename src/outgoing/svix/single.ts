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
 * Messages for one endpoint alone: tests, and what a recovery makes. Svix sends a message to every endpoint of the
 * application that wants it, whatever its channel, as long as the endpoint names none; only `send-example` picks one out,
 * and its payload is the schema's example, with the same id and merchant for everybody. So each merchant has a second
 * application, in which an endpoint that gets such messages has a copy that listens to a channel of its own.
 */

/** The merchant's second application. */
export function singleUid(application: string): string {
  return besideUid(application, 'single');
}

/** The copy of an endpoint. Svix refuses uids that begin as its own ids do. */
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

/** Sends a message to one endpoint, which is as given now. @returns Svix's id of the message. @throws what the SDK throws */
export async function sendToOne(
  options: SingleOptions,
  endpoint: SvixEndpoint,
  message: SingleMessage,
): Promise<string> {
  await copyEndpoint(options, endpoint);
  return sendToCopy(options, endpoint.id, message);
}

/** The same to a copy that is known to be up to date. */
export async function sendToCopy(
  { svix, application }: Pick<SingleOptions, 'svix' | 'application'>,
  endpointId: string,
  { messageId, eventType, payload }: SingleMessage,
): Promise<string> {
  const message = { eventId: messageId, eventType, payload: JSON.parse(payload), channels: [endpointId] };
  const key = { idempotencyKey: `${application}.${messageId}` };
  return (await svix.message.create(singleUid(application), message, key)).id;
}

/** Brings the copy of an endpoint up to it; makes it, and the application, if need be. */
export async function copyEndpoint(options: SingleOptions, endpoint: SvixEndpoint): Promise<void> {
  const { svix, application, db, merchantId } = options;
  const single = singleUid(application);
  await noteCopy(db, merchantId, endpoint.id, endpoint.disabled ?? false);
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
    // As the endpoint's own rotation does; of its earlier ones the copy need not know.
    await svix.endpoint.rotateSecret(single, uid, { key, gracePeriodSeconds: 0 });
  }
  await forgetCached(svix, single, uid, disabled);
}

/** Brings the copy up to date where there is one. */
export async function refreshCopy(options: SingleOptions, endpoint: SvixEndpoint): Promise<void> {
  if (await hasCopy(options.db, options.merchantId, endpoint.id)) await copyEndpoint(options, endpoint);
}

export async function deleteCopy({ svix, application }: SingleOptions, endpointId: string): Promise<void> {
  try {
    await svix.endpoint.delete(singleUid(application), copyUid(endpointId));
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** Sends a message that is in the second application once more, to the copy of any endpoint. */
export async function resendToOne(options: SingleOptions, endpoint: SvixEndpoint, messageId: string): Promise<void> {
  await copyEndpoint(options, endpoint);
  const { svix, application } = options;
  await svix.messageAttempt.resend(singleUid(application), idForSvix(messageId), copyUid(endpoint.id));
}

/**
 * An endpoint's headers. Svix shows nobody the value of one such as `authorization`: those are taken from what we kept when
 * they were set; null for one that was set in Svix's portal.
 */
export async function readHeaders(
  { svix, application, merchantId, db, box }: SingleOptions,
  endpointId: string,
): Promise<Readonly<Record<string, string | null>>> {
  const { headers, sensitive } = await svix.endpoint.getHeaders(application, endpointId);
  if (sensitive.length === 0) return headers;
  const kept = await selectHeaders(db, box, merchantId, endpointId);
  return { ...headers, ...Object.fromEntries(sensitive.map((name) => [name, kept[name] ?? null])) };
}
