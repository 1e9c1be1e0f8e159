import { createHmac, timingSafeEqual } from 'node:crypto';

/** What every webhook signature scheme shares: HMAC over the bytes received, compared in constant time, within a time window. */

/** How far a signed timestamp may lie from now, in either direction; the window of Stripe and of Standard Webhooks. */
export const TOLERANCE_SECONDS = 300;

/** Request headers with lower-case names. */
export type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Which of several secrets matched, or why none did. The reason quotes neither header nor body, so it may be logged. */
export type SignatureCheck =
  | { readonly ok: true; readonly secretIndex: number }
  | { readonly ok: false; readonly reason: string };

export function refused(reason: string): SignatureCheck {
  return { ok: false, reason };
}

/** The header's value if it was sent exactly once and is not empty; null for anything else, such as an array. */
export function singleHeader(headers: RequestHeaders, name: string): string | null {
  const value = headers[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

/**
 * HMAC-SHA256 of `prefix` and `body`. The body goes in as bytes: decoding it to text first would give different bodies
 * one signature.
 */
export function hmacSha256(
  key: string | Buffer,
  prefix: string,
  body: string | Buffer,
  encoding: 'hex' | 'base64',
): string {
  return createHmac('sha256', key).update(prefix).update(body).digest(encoding);
}

/** Whether two texts are the same, in a time that depends on the length of `given` alone. */
export function equalInConstantTime(given: string, expected: string): boolean {
  const givenBytes = Buffer.from(given);
  const expectedBytes = Buffer.from(expected);
  return givenBytes.length === expectedBytes.length && timingSafeEqual(givenBytes, expectedBytes);
}

/** Unix seconds written as digits and nothing else; null for any other text, which lenient parsers read half of. */
export function parseTimestamp(text: string): number | null {
  return /^\d{1,12}$/.test(text) ? Number(text) : null;
}

/** Why a signed timestamp is not acceptable at `now`, or null if it is. */
export function timestampProblem(timestampSeconds: number, now: Date): string | null {
  const ageSeconds = Math.floor(now.getTime() / 1000) - timestampSeconds;
  if (ageSeconds > TOLERANCE_SECONDS) return 'the timestamp is too old';
  if (ageSeconds < -TOLERANCE_SECONDS) return 'the timestamp is in the future';
  return null;
}

/**
 * Tries every secret, also after one has matched, so that the time taken does not tell which. Blank secrets never match.
 * @param isSignedWith must not throw
 */
export function checkSecrets(secrets: readonly string[], isSignedWith: (secret: string) => boolean): SignatureCheck {
  let secretIndex = -1;
  for (const [index, secret] of secrets.entries()) {
    const matches = secret.trim() !== '' && isSignedWith(secret);
    if (matches && secretIndex === -1) secretIndex = index;
  }
  return secretIndex === -1 ? refused('no secret of the source made this signature') : { ok: true, secretIndex };
}
