import { randomUUID } from 'node:crypto';
import type { SvixAccount } from './account.ts';
import type { SvixClient } from './client.ts';
import { describeSvixFailure, OLDEST_SVIX_SERVER } from './failures.ts';

const FILTER = ['wallet.balance.low'];

/** What a check found, as a text; null if nothing is wrong. */
export type SvixProblem = string | null;

/**
 * Checks whether the token and the address are right, and whether the server stores what endpoints subscribe to. For this it
 * makes an application and removes it again. It only reports what it finds.
 */
export async function checkSvix(account: SvixAccount, installationId: string): Promise<SvixProblem> {
  // A name of its own for each check: web and worker start at the same time.
  const uid = `${installationId}.check-${randomUUID()}`;
  const kept = await account.callAccount((svix) => keepsFilters(svix, uid));
  if (!kept.ok) return describeSvixFailure(kept.failure, account.where);
  if (kept.value) return null;
  return `${account.where} drops the event types of endpoints, which would then get every event: it is older than ${OLDEST_SVIX_SERVER}, the oldest that works. Upgrade it.`;
}

async function keepsFilters(svix: SvixClient, uid: string): Promise<boolean> {
  await svix.application.getOrCreate({ uid, name: 'Chokin: check at start' });
  try {
    const made = await svix.endpoint.create(uid, { url: 'https://example.com/', disabled: true, eventTypes: FILTER });
    const { eventTypes } = await svix.endpoint.get(uid, made.id);
    return eventTypes?.length === FILTER.length && FILTER.every((type) => eventTypes.includes(type));
  } finally {
    // If it stays there, it is only one more line in Svix's dashboard.
    await svix.application.delete(uid).catch(() => {});
  }
}
