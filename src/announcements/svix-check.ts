import { randomUUID } from 'node:crypto';
import type { SvixAccount } from './svix.ts';
import type { SvixFailure } from './svix-answers.ts';
import type { SvixClient } from './svix-client.ts';

/**
 * The oldest Svix server that Chokin works with. Older ones know the endpoints' event types as `filterTypes` and ignore what
 * they do not know, so that every endpoint would get every event (Svix's change log: "Rename `filterTypes` to `eventTypes`").
 */
export const OLDEST_SVIX_SERVER = '1.100.0';

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

/** What is wrong, and who can mend it; nothing of the token. */
export function describeSvixFailure(failure: SvixFailure, where: string): string {
  switch (failure.kind) {
    case 'unauthorized':
      return `${where} refuses the token (${failure.status}): set SVIX_TOKEN to a token of that server, or SVIX_SERVER_URL to the server of that token.`;
    case 'notFound':
      return `${where} answers 404 as no Svix does: set SVIX_SERVER_URL to the address of a Svix server.`;
    case 'unavailable':
      return `${failure.reason} (${where}): look whether it runs, or set SVIX_SERVER_URL to its address.`;
    case 'rateLimited':
      return `${where} limits the rate of calls: it is tried again in a minute.`;
    case 'conflict':
      return `${where} has this already.`;
    case 'refused':
      return `${where} refuses what Chokin sends (${failure.status}: ${failure.detail}): Chokin wants Svix server ${OLDEST_SVIX_SERVER} or newer.`;
  }
}
