import { invariant } from '../errors.ts';
import {
  checkSecrets,
  equalInConstantTime,
  hmacSha256,
  parseTimestamp,
  type RequestHeaders,
  refused,
  type SignatureCheck,
  singleHeader,
  timestampProblem,
} from './signature.ts';

/**
 * The Standard Webhooks scheme (standardwebhooks.com), by which Dodo, Svix and our own sender sign: HMAC-SHA256 over
 * `id.timestamp.body` with a base64 secret. The `standardwebhooks` package is not used, since it reads the clock itself and
 * decodes the body to text before it signs; the tests compare this code with that package and with `svix`.
 */

const SECRET_PREFIX = 'whsec_';
const MAX_ID_LENGTH = 200;

/** The key inside `whsec_` and base64 (the prefix may be missing), or null if the secret has another form. */
function decodeSecret(secret: string): Buffer | null {
  const text = secret.startsWith(SECRET_PREFIX) ? secret.slice(SECRET_PREFIX.length) : secret;
  // Node skips characters that are not base64, and would so make a weak key from a secret with a typing error.
  return /^[A-Za-z0-9+/]{4,}={0,2}$/.test(text) ? Buffer.from(text, 'base64') : null;
}

/** Whether this scheme can sign with `secret`: base64, with or without `whsec_`. */
export function isStandardWebhooksSecret(secret: string): boolean {
  return decodeSecret(secret) !== null;
}

/** What a signature covers. */
export interface SignedMessage {
  readonly messageId: string;
  /** Unix seconds, sent along as `webhook-timestamp`. */
  readonly timestampSeconds: number;
  /** The exact text or bytes that are sent. */
  readonly body: string | Buffer;
}

/**
 * The `webhook-signature` of a message: `v1,` and base64. While a secret is rotated, join the signatures of all with a space.
 * @throws {InvariantError} if the secret is not base64, or the timestamp is not whole seconds
 */
export function sign(secret: string, { messageId, timestampSeconds, body }: SignedMessage): string {
  const key = decodeSecret(secret);
  invariant(key !== null, 'a signing secret that is not base64');
  invariant(Number.isSafeInteger(timestampSeconds), 'a signing timestamp that is not whole seconds');
  return signWithKey(key, `${messageId}.${timestampSeconds}.`, body);
}

function signWithKey(key: Buffer, prefix: string, body: string | Buffer): string {
  return `v1,${hmacSha256(key, [prefix, body], 'base64')}`;
}

/** Why {@link verify} would refuse any body that came with these headers; null if it depends on the body. */
export function signedHeadersProblem(headers: RequestHeaders, now: Date): string | null {
  const messageId = singleHeader(headers, 'webhook-id');
  const timestamp = singleHeader(headers, 'webhook-timestamp');
  const signatureList = singleHeader(headers, 'webhook-signature');
  if (messageId === null || timestamp === null || signatureList === null) {
    return 'a webhook-id, webhook-timestamp or webhook-signature header is missing or repeated';
  }
  if (messageId.length > MAX_ID_LENGTH || !/^[\x21-\x7e]+$/.test(messageId)) return 'the webhook-id is malformed';
  const timestampSeconds = parseTimestamp(timestamp);
  if (timestampSeconds === null) return 'the webhook-timestamp is malformed';
  const problem = timestampProblem(timestampSeconds, now);
  if (problem !== null) return problem;
  const areSignatures = signatureList.split(' ').every((signature) => /^v\w+,[A-Za-z0-9+/]+={0,2}$/.test(signature));
  return areSignatures ? null : 'the webhook-signature is malformed';
}

/** Verifies the `webhook-id`, `-timestamp` and `-signature` headers over the raw bytes with every secret. Never throws. */
export function verify(
  { headers, rawBody }: { readonly headers: RequestHeaders; readonly rawBody: Buffer },
  secrets: readonly string[],
  now: Date,
): SignatureCheck {
  const problem = signedHeadersProblem(headers, now);
  if (problem !== null) return refused(problem);
  const prefix = `${singleHeader(headers, 'webhook-id')}.${singleHeader(headers, 'webhook-timestamp')}.`;
  const signatures = (singleHeader(headers, 'webhook-signature') ?? '').split(' ');
  return checkSecrets(secrets, (secret) => {
    const key = decodeSecret(secret);
    if (key === null) return false;
    const expected = signWithKey(key, prefix, rawBody);
    return signatures.filter((signature) => equalInConstantTime(signature, expected)).length > 0;
  });
}
