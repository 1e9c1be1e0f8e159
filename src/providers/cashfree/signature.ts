import { checkSecrets, equalInConstantTime, hmacSha256, refused, singleHeader } from '../../crypto/signature.ts';
import type { Delivery, Verification } from '../shared/provider.ts';

/**
 * Retries are planned by the merchant, the last of ten some hours after the first, and whether each is signed anew is not
 * documented. A body posted again within the window is the same delivery, so a wide one costs nothing.
 */
const OLDEST_MS = 2 * 24 * 3_600_000;
const FUTURE_MS = 300_000;

/** Payment links are told under other names of the same headers; one set must be whole. */
function headerNames(headers: Delivery['headers']): { readonly signature: string; readonly timestamp: string } {
  const [names = 'webhook'] = ['webhook', 'cashfree'].filter((name) => headers[`x-${name}-signature`] !== undefined);
  return { signature: `x-${names}-signature`, timestamp: `x-${names}-timestamp` };
}

/** Why {@link verifyCashfree} would refuse any body that came with these headers; null if it depends on the body. */
export function cashfreeHeadersProblem(headers: Delivery['headers'], now: Date): string | null {
  const names = headerNames(headers);
  const timestamp = singleHeader(headers, names.timestamp);
  if (singleHeader(headers, names.signature) === null) return `the ${names.signature} header is missing or repeated`;
  if (timestamp === null) return `the ${names.timestamp} header is missing or repeated`;
  // Nothing stands between time and body under the signature; the fixed length keeps digits from moving over.
  if (!/^\d{13}$/.test(timestamp)) return `the ${names.timestamp} header is malformed`;
  const ageMs = now.getTime() - Number(timestamp);
  if (ageMs > OLDEST_MS) return 'the timestamp is too old';
  return ageMs < -FUTURE_MS ? 'the timestamp is in the future' : null;
}

/** Checks Cashfree's signature over the time and the raw bytes. */
export function verifyCashfree({ rawBody, headers }: Delivery, secrets: readonly string[], now: Date): Verification {
  const problem = cashfreeHeadersProblem(headers, now);
  if (problem !== null) return refused(problem);
  const names = headerNames(headers);
  const signature = singleHeader(headers, names.signature) ?? '';
  const timestamp = singleHeader(headers, names.timestamp) ?? '';
  return checkSecrets(secrets, (secret) =>
    equalInConstantTime(signature, hmacSha256(secret, [timestamp, rawBody], 'base64')),
  );
}
