import { isUtf8 } from 'node:buffer';
import Stripe from 'stripe';
import {
  checkSecrets,
  parseTimestamp,
  refused,
  type SignatureCheck,
  singleHeader,
  TOLERANCE_SECONDS,
  timestampProblem,
} from '../../crypto/signature.ts';
import { invariant } from '../../errors.ts';
import type { Delivery } from '../shared/provider.ts';

const SIGNATURE_HEADER = /^[a-z]\w*=[^,\s]+(,[a-z]\w*=[^,\s]+)*$/;

function officialSignature() {
  const { signature } = Stripe.webhooks;
  invariant(signature !== null, 'the stripe package has no signature helper');
  return signature;
}

const SIGNATURE = officialSignature();

/** Why {@link verifyStripe} would refuse any body that came with these headers; null if it depends on the body. */
export function stripeHeadersProblem(headers: Delivery['headers'], now: Date): string | null {
  const header = singleHeader(headers, 'stripe-signature');
  if (header === null) return 'the stripe-signature header is missing or repeated';
  if (!SIGNATURE_HEADER.test(header)) return 'the stripe-signature header is malformed';
  const timestamps = header.split(',').filter((item) => item.startsWith('t='));
  const timestampSeconds = timestamps.length === 1 ? parseTimestamp((timestamps[0] ?? '').slice(2)) : null;
  if (timestampSeconds === null) return 'the timestamp of the stripe-signature header is malformed';
  return timestampProblem(timestampSeconds, now);
}

/**
 * Verifies with the SDK's `verifyHeader`, since `constructEvent` also parses the body and throws at thin events, although Stripe
 * signed them. `verifyHeader` accepts timestamps in the future or with other characters after their digits, and bytes that are
 * not text; these are refused here.
 */
export function verifyStripe({ rawBody, headers }: Delivery, secrets: readonly string[], now: Date): SignatureCheck {
  const problem = stripeHeadersProblem(headers, now);
  if (problem !== null) return refused(problem);
  const header = singleHeader(headers, 'stripe-signature') ?? '';
  if (!isExactText(rawBody)) return refused('the body is not the UTF-8 text that Stripe signs');
  return checkSecrets(secrets, (secret) => {
    try {
      return SIGNATURE.verifyHeader(rawBody, header, secret, TOLERANCE_SECONDS, undefined, now.getTime());
    } catch {
      return false;
    }
  });
}

/** Whether decoding loses nothing, so that no two bodies share a signature: valid UTF-8 without a byte-order mark. */
function isExactText(body: Buffer): boolean {
  return isUtf8(body) && !(body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf);
}
