import { setTimeout as delay } from 'node:timers/promises';
import type { Queryable } from '../db/transaction.ts';
import type { ProviderEvent } from '../inbox/events.ts';
import { findDelivery } from '../inbox/find-delivery.ts';
import type { Source } from '../merchants/source.ts';
import type { Delivery } from '../providers/shared/provider.ts';
import { giveUp } from './give-up.ts';

/** Sends an event to the running service as a provider would, and follows it until it is applied. */

const ANSWER_MS = 10_000;
const LOOK_EVERY_MS = 100;

/**
 * Posts the delivery to the webhook route of its source.
 * @throws {GivenUpError} that says what to do, if nobody answers there or the service does not take it
 */
export async function sendDelivery(url: string, source: Source, { rawBody, headers }: Delivery): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    body: new Uint8Array(rawBody),
    headers: Object.entries(headers).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
    redirect: 'error',
    signal: AbortSignal.timeout(ANSWER_MS),
  }).catch((error: unknown) =>
    giveUp(`No service answers at ${url} (${reasonOf(error)}). Is npm start running? PORT, HOST or --url says where.`),
  );
  // Read to its end, or the connection would stay open.
  await response.arrayBuffer();
  if (!response.ok) refuseAnswer(url, response.status, source);
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof Error) return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message;
  return String(cause);
}

function refuseAnswer(url: string, status: number, { provider, sourceId }: Source): never {
  const isOfEnvironment = sourceId === `src_${provider}`;
  const variable = `${provider.toUpperCase()}_WEBHOOK_SECRET`;
  if (status === 404) {
    const cure = isOfEnvironment
      ? `Set ${variable} where it runs, to what it is here, and start it again.`
      : 'Is it on another database than this command?';
    giveUp(`The service at ${url} has no such source. ${cure}`);
  }
  if (status === 401) {
    const cure = isOfEnvironment ? `Its ${variable} is another than here.` : 'Was its secret changed just now?';
    giveUp(`The service at ${url} refused the signature. ${cure}`);
  }
  return giveUp(`The service at ${url} answered ${status}; its log says why.`);
}

/**
 * The event as it is once a worker is done with it, or as it is after `waitMs`.
 * @returns null if it was not even stored, so that the service works on another database
 */
export async function followDelivery(
  db: Queryable,
  source: Source,
  { deliveryKey, waitMs }: { readonly deliveryKey: string; readonly waitMs: number },
): Promise<ProviderEvent | null> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const event = await findDelivery(db, source, deliveryKey);
    // It was stored before it was answered.
    if (event?.state !== 'pending' || performance.now() > deadline) return event;
    await delay(LOOK_EVERY_MS);
  }
}
