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
 * The Standard Webhooks scheme (standardwebhooks.com), as Dodo and Svix sign and as our own sender does: HMAC-SHA256 over
 * `id.timestamp.body` under a base64 secret. The `standardwebhooks` package reads the time itself and decodes the body to
 * text before it signs, so the few lines are here; the tests check them against that package and against `svix`.
 */

const SECRET_PREFIX = 'whsec_';
const MAX_ID_LENGTH = 200;

/** The key inside `whsec_` and base64 (the prefix may be missing), or null if the secret has another form. */
function decodeSecret(secret: string): Buffer | null {
  const text = secret.startsWith(SECRET_PREFIX) ? secret.slice(SECRET_PREFIX.length) : secret;
  // Node skips what is not base64, and would make a weak key of a mistyped secret.
  return /^[A-Za-z0-9+/]{4,}={0,2}$/.test(text) ? Buffer.from(text, 'base64') : null;
}

/** Whether `secret` is one that this scheme can sign with: base64, with or without `whsec_`. */
export function isStandardWebhooksSecret(secret: string): boolean {
  return decodeSecret(secret) !== null;
}

/**
 * The `webhook-signature` of a message: `v1,` and base64. Join those of several secrets with a space while one is rotated.
 * @param timestampSeconds Unix seconds, sent along as `webhook-timestamp`
 * @param body the exact text or bytes that are sent
 */
export function sign(secret: string, messageId: string, timestampSeconds: number, body: string | Buffer): string {
  const key = decodeSecret(secret);
  invariant(key !== null, 'a signing secret that is not base64');
  invariant(Number.isSafeInteger(timestampSeconds), 'a signing timestamp that is not whole seconds');
  return signWithKey(key, messageId, String(timestampSeconds), body);
}

function signWithKey(key: Buffer, messageId: string, timestamp: string, body: string | Buffer): string {
  return `v1,${hmacSha256(key, `${messageId}.${timestamp}.`, body, 'base64')}`;
}

/** Verifies the `webhook-id`, `-timestamp` and `-signature` headers over the raw bytes with every secret. Never throws. */
export function verify(
  headers: RequestHeaders,
  rawBody: Buffer,
  secrets: readonly string[],
  now: Date,
): SignatureCheck {
  const messageId = singleHeader(headers, 'webhook-id');
  const timestamp = singleHeader(headers, 'webhook-timestamp');
  const signatureList = singleHeader(headers, 'webhook-signature');
  if (messageId === null || timestamp === null || signatureList === null) {
    return refused('a webhook-id, webhook-timestamp or webhook-signature header is missing or repeated');
  }
  if (messageId.length > MAX_ID_LENGTH || !/^[\x21-\x7e]+$/.test(messageId))
    return refused('the webhook-id is malformed');
  const timestampSeconds = parseTimestamp(timestamp);
  if (timestampSeconds === null) return refused('the webhook-timestamp is malformed');
  const problem = timestampProblem(timestampSeconds, now);
  if (problem !== null) return refused(problem);
  const signatures = signatureList.split(' ');
  if (!signatures.every((signature) => /^v\w+,[A-Za-z0-9+/]+={0,2}$/.test(signature))) {
    return refused('the webhook-signature is malformed');
  }
  return checkSecrets(secrets, (secret) => {
    const key = decodeSecret(secret);
    if (key === null) return false;
    const expected = signWithKey(key, messageId, timestamp, rawBody);
    return signatures.filter((signature) => equalInConstantTime(signature, expected)).length > 0;
  });
}
