import { z } from 'zod';
import { UnreadableSecretError } from '../../crypto/secret-box.ts';
import { ReadersBusyError, ReadTooSlowError } from '../../db/readers.ts';
import { isDatabaseError } from '../../db/sqlstate.ts';
import { InvariantError } from '../../errors.ts';
import { parseRetryAfter } from '../embedded/retry-schedule.ts';

/**
 * Why a call to Svix failed. The SDK throws an exception with a numeric `code` for an answer that it can read, a SyntaxError
 * for a body that is not JSON (a proxy's error page), and whatever `fetch` throws.
 */
export type SvixFailure =
  | { readonly kind: 'conflict' }
  | { readonly kind: 'notFound' }
  /** The token is wrong or may not do this. */
  | { readonly kind: 'unauthorized'; readonly status: number }
  | { readonly kind: 'rateLimited'; readonly retryAfterSeconds: number }
  /** Svix will never accept this request. */
  | { readonly kind: 'refused'; readonly status: number; readonly detail: string }
  /** Svix may have done it or not; only the same request again can tell. */
  | { readonly kind: 'unavailable'; readonly reason: string };

const RATE_LIMIT_SECONDS = 5;
const MAX_RATE_LIMIT_SECONDS = 900;

const refusalBody = z.object({
  detail: z.union([
    z.string(),
    z.array(z.object({ loc: z.array(z.union([z.string(), z.number()])), msg: z.string() })),
  ]),
});

/** The failure that an exception of the SDK stands for. `now` is needed for a `Retry-After` that is a date. */
export function readSvixFailure(thrown: unknown, now: Date): SvixFailure {
  const status = statusOf(thrown);
  if (status === null) return { kind: 'unavailable', reason: describe(thrown) };
  switch (status) {
    case 400:
    case 413:
    case 422:
      return { kind: 'refused', status, detail: detailOf(thrown) };
    case 401:
    case 403:
      return { kind: 'unauthorized', status };
    case 404:
      return { kind: 'notFound' };
    case 409:
      return { kind: 'conflict' };
    case 429:
      return { kind: 'rateLimited', retryAfterSeconds: retryAfterOf(thrown, now) };
    default:
      return { kind: 'unavailable', reason: `Svix answered ${status}` };
  }
}

const OURS = [UnreadableSecretError, InvariantError, ReadersBusyError, ReadTooSlowError];

/** Whether an error comes from the database or its limits, an unreadable secret or a broken invariant, and so not from Svix. */
export function isOurFailure(thrown: unknown): boolean {
  return isDatabaseError(thrown) || OURS.some((kind) => thrown instanceof kind);
}

/** Whether an error is one that the SDK throws for an answer, or because there was none. */
export function isSvixError(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  const isUnanswered =
    thrown.name === 'TimeoutError' || thrown instanceof SyntaxError || thrown.message === 'fetch failed';
  return isUnanswered || statusOf(thrown) !== null;
}

/** Whether the SDK threw because there is nothing of that id. */
export function isNotFound(thrown: unknown): boolean {
  return statusOf(thrown) === 404;
}

function statusOf(thrown: unknown): number | null {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'number' && 'headers' in thrown
    ? thrown.code
    : null;
}

/** A short description without the server's text, which may hold anything. */
function describe(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'Svix could not be called';
  if (thrown.name === 'TimeoutError') return 'Svix did not answer in time';
  if (thrown instanceof SyntaxError) return 'Svix answered with something that is not JSON';
  const cause = thrown.cause instanceof Error && 'code' in thrown.cause ? ` (${String(thrown.cause.code)})` : '';
  return `Svix could not be reached${cause}`;
}

function detailOf(thrown: unknown): string {
  const body = refusalBody.safeParse(thrown instanceof Error && 'body' in thrown ? thrown.body : null);
  if (!body.success) return 'no reason given';
  const { detail } = body.data;
  const text =
    typeof detail === 'string'
      ? detail
      : detail.map(({ loc, msg }) => `${loc.filter((part) => part !== 'body').join('.')}: ${msg}`).join('; ');
  return text.slice(0, 300);
}

const headersWithRetryAfter = z.object({ headers: z.object({ 'retry-after': z.string() }) });

function retryAfterOf(thrown: unknown, now: Date): number {
  const parsed = headersWithRetryAfter.safeParse(thrown);
  const seconds = parsed.success ? parseRetryAfter(parsed.data.headers['retry-after'], now) : null;
  return Math.min(Math.max(seconds ?? RATE_LIMIT_SECONDS, 1), MAX_RATE_LIMIT_SECONDS);
}
