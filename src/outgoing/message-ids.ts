import { createHash } from 'node:crypto';

/**
 * The ids of messages. Svix takes our id as the message's uid, and refuses uids that begin like its own ids of messages
 * (`msg_`; svix-server 1.100.0: "Uids are not allowed to have the same prefix as the ID"). Hence `whm_`, for webhook message.
 */
const PREFIX = 'whm_';
/** What our ids began with in the first release; such messages may still be stored. */
const REFUSED_PREFIX = 'msg_';

const BASE32 = '0123456789abcdefghjkmnpqrstvwxyz';

/** `whm_` and 130 bits of a SHA-256 over what tells the message from all others, in the alphabet of our other ids. */
export function messageIdFrom(identity: readonly (string | number)[]): string {
  const digest = createHash('sha256').update(identity.join('\0')).digest();
  let bits = BigInt(`0x${digest.subarray(0, 17).toString('hex')}`) >> 6n;
  let text = '';
  for (let index = 0; index < 26; index += 1) {
    text = `${BASE32[Number(bits & 31n)]}${text}`;
    bits >>= 5n;
  }
  return PREFIX + text;
}

/**
 * The id under which Svix takes a message. It is our own id; only the prefix that the first release used is replaced. It
 * depends on our id alone, so that a message handed over twice has the same id both times.
 */
export function idForSvix(messageId: string): string {
  return messageId.startsWith(REFUSED_PREFIX) ? PREFIX + messageId.slice(REFUSED_PREFIX.length) : messageId;
}
