import { randomUUID } from 'node:crypto';
import type { SvixAccount } from './account.ts';
import type { SvixClient } from './client.ts';
import { describeSvixFailure, OLDEST_SVIX_SERVER } from './failures.ts';

const FILTER = ['wallet.balance.low'];

/** What a check found: null if everything is well. */
export type SvixProblem = string | null;

/**
 * Tries whether the token and the address are right, and whether the server keeps what endpoints subscribe to, by an
 * application of its own that is removed again. It stops nothing: what it finds is told.
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
    // Left behind it costs nothing but a line in Svix's dashboard.
    await svix.application.delete(uid).catch(() => {});
  }
}
