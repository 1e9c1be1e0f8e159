import { Svix } from 'svix';
import type { Secret } from '../../crypto/secret.ts';
import { svixFetch } from './fetch.ts';

export type SvixClient = Svix;

export interface SvixClientOptions {
  readonly token: Secret;
  /** For a self-hosted Svix; the cloud region is in the token. */
  readonly serverUrl?: string;
  readonly timeoutMs?: number;
}

/** Part of how soon merchants are told after an outage of Svix: see `ticker.ts`. */
export const TIMEOUT_MS = 10_000;

/** The official client, without its retries: ours are jobs, with back-off over days. */
export function newSvixClient({ token, serverUrl, timeoutMs = TIMEOUT_MS }: SvixClientOptions): SvixClient {
  return new Svix(token.reveal(), {
    requestTimeout: timeoutMs,
    // `numRetries: 0` would mean the client's default of two.
    retryScheduleInMs: [],
    fetch: svixFetch,
    ...(serverUrl === undefined ? {} : { serverUrl }),
  });
}
