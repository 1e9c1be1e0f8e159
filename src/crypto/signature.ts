import { createHmac, timingSafeEqual } from 'node:crypto';

/** What the signature schemes of webhooks share: HMAC over the received bytes, a comparison in constant time, a time window. */

/** How far a signed timestamp may lie from now, in either direction; the window of Stripe and of Standard Webhooks. */
export const TOLERANCE_SECONDS = 300;

/** Of a SHA-256 in hexadecimal. */
const HEX_LENGTH = 64;

/** Request headers with lower-case names. */
export type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Which of several secrets matched, or why none did. The reason may be logged, since it quotes neither header nor body. */
export type SignatureCheck =
  | { readonly ok: true; readonly secretIndex: number }
  | { readonly ok: false; readonly reason: string };

/** The result of a check that failed for this reason. */
export function refused(reason: string): SignatureCheck {
  return { ok: false, reason };
}

/** The header's value if it was sent exactly once and is not empty; null for anything else, such as an array. */
export function singleHeader(headers: RequestHeaders, name: string): string | null {
  const value = headers[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

/** What is wrong with a header that should hold one HMAC-SHA256 in hexadecimal, whatever was signed; null if nothing is. */
export function hexSignatureProblem(headers: RequestHeaders, name: string): string | null {
  const signature = singleHeader(headers, name);
  if (signature === null) return `the ${name} header is missing or repeated`;
  return signature.length === HEX_LENGTH ? null : `the ${name} header is malformed`;
}

/**
 * HMAC-SHA256 of the parts, one after the other. Pass a body as the received bytes: different bytes can decode to the same
 * text, and would then have the same signature.
 */
export function hmacSha256(
  key: string | Buffer,
  parts: readonly (string | Buffer)[],
  encoding: 'hex' | 'base64',
): string {
  const hmac = createHmac('sha256', key);
  for (const part of parts) hmac.update(part);
  return hmac.digest(encoding);
}

/** Whether two texts are equal, in a time that depends only on the length of `given`. */
export function equalInConstantTime(given: string, expected: string): boolean {
  const givenBytes = Buffer.from(given);
  const expectedBytes = Buffer.from(expected);
  return givenBytes.length === expectedBytes.length && timingSafeEqual(givenBytes, expectedBytes);
}

/** Unix seconds, written as 1 to 12 digits; null for any other text. `parseInt` would read `12abc` as 12. */
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
 * Tries every secret, also after one has matched, so that the time does not show which one it was. Blank secrets never match.
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
