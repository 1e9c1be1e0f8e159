import type { SvixFailure } from './answers.ts';

/**
 * The oldest Svix server that Chokin works with. Older ones know the endpoints' event types as `filterTypes` and ignore what
 * they do not know, so that every endpoint would get every event (Svix's change log: "Rename `filterTypes` to `eventTypes`").
 */
export const OLDEST_SVIX_SERVER = '1.100.0';

/** What is wrong, and who can mend it; nothing of the token. */
export function describeSvixFailure(failure: SvixFailure, where: string): string {
  switch (failure.kind) {
    case 'unauthorized':
      return `${where} refuses the token (${failure.status}): set SVIX_TOKEN to a token of that server, or SVIX_SERVER_URL to the server of that token.`;
    case 'notFound':
      return `${where} answers 404 as no Svix does: set SVIX_SERVER_URL to the address of a Svix server.`;
    case 'unavailable':
      return `${failure.reason}: ${where} cannot be used now. Look whether it runs, or set SVIX_SERVER_URL to its address.`;
    case 'rateLimited':
      return `${where} limits the rate of calls: it is tried again in a minute.`;
    case 'conflict':
      return `${where} has this already.`;
    case 'refused':
      return `${where} refuses what Chokin sends (${failure.status}: ${failure.detail}): Chokin wants Svix server ${OLDEST_SVIX_SERVER} or newer.`;
  }
}
