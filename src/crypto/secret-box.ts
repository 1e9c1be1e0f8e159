import { createCipheriv, createDecipheriv, createHmac, hash, hkdfSync, randomBytes } from 'node:crypto';
import { Secret } from './secret.ts';

const ALGORITHM = 'aes-256-gcm';
export const ENCRYPTION_KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEALED = /^v1\.([0-9a-f]{8})\.([A-Za-z0-9_-]+)$/;

/** A stored secret cannot be read: its key is missing, or it was changed or moved in the database. */
export class UnreadableSecretError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnreadableSecretError';
  }
}

interface Key {
  readonly id: string;
  readonly bytes: Buffer;
  /** A separate key for hashes, so that a hash tells nothing of a sealed text. */
  readonly hashKey: Buffer;
}

/**
 * Encrypts the secrets that the database keeps, by AES-256-GCM with a random 96-bit nonce each (NIST SP 800-38D, 8.2.2).
 * A sealed text carries the id of its key, so that old keys can be kept beside the newest until everything is encrypted again.
 */
export class SecretBox {
  readonly #keys: readonly Key[];

  /**
   * @param keys base64 or hexadecimal, 32 bytes each. The first one seals; each of them opens.
   * @throws {Error} if one is not 32 bytes
   */
  constructor(keys: readonly Secret[]) {
    this.#keys = keys.map((key) => {
      const bytes = decodeEncryptionKey(key.reveal());
      if (bytes === null) throw new Error('an encryption key is not 32 bytes');
      const hashKey = Buffer.from(hkdfSync('sha256', bytes, '', 'chokin secret hash', ENCRYPTION_KEY_BYTES));
      return { id: hash('sha256', bytes, 'hex').slice(0, 8), bytes, hashKey };
    });
  }

  /** False if there is no key. */
  get canSeal(): boolean {
    return this.#keys.length > 0;
  }

  /**
   * @param place what the secret belongs to: a sealed text copied to another place does not open there
   * @throws {Error} if there is no key
   */
  seal(text: string, place: string): string {
    const [key] = this.#keys;
    if (key === undefined) throw new Error('there is no encryption key');
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, key.bytes, nonce);
    cipher.setAAD(Buffer.from(place));
    const ciphertext = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return `v1.${key.id}.${Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]).toString('base64url')}`;
  }

  /** Seals the text if there is a key, else returns it as it is; `npm run rotate-secrets` seals it later. */
  sealIfPossible(text: string, place: string): string {
    return this.canSeal ? this.seal(text, place) : text;
  }

  /**
   * The text that was sealed for this place; a text that was stored before there was a key comes back as it is.
   * @throws {UnreadableSecretError}
   */
  open(stored: string, place: string): string {
    const match = SEALED.exec(stored);
    if (match === null) return stored;
    const [, keyId = '', payload = ''] = match;
    const key = this.#keys.find((one) => one.id === keyId);
    if (key === undefined) throw new UnreadableSecretError(`ENCRYPTION_KEY lacks the key ${keyId}`);
    const bytes = Buffer.from(payload, 'base64url');
    try {
      const decipher = createDecipheriv(ALGORITHM, key.bytes, bytes.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      const text = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
      return text.toString('utf8');
    } catch {
      throw new UnreadableSecretError('a stored secret was changed or moved; set it anew');
    }
  }

  /** The same, where an answer for each of several is wanted: the secret, or why it cannot be read. */
  tryToOpen(stored: string, place: string): Secret | UnreadableSecretError {
    try {
      return new Secret(this.open(stored, place));
    } catch (error) {
      if (error instanceof UnreadableSecretError) return error;
      throw error;
    }
  }

  /**
   * HMAC-SHA256 of a secret under each key, the newest first. Two secrets are equal if they have a hash in common. So equal
   * secrets are found without opening all of them, and a stolen table does not show whether it holds a secret that is known.
   */
  keyedHashes(text: string): readonly Buffer[] {
    return this.#keys.map(({ hashKey }) => createHmac('sha256', hashKey).update(text).digest());
  }

  /** Which of these ids are of no key of ours, so that what they sealed does not open. */
  lacking(keyIds: readonly string[]): readonly string[] {
    const ours = new Set(this.#keys.map(({ id }) => id));
    return keyIds.filter((id) => !ours.has(id));
  }

  /** Whether the text was sealed with the newest key. */
  isCurrent(stored: string): boolean {
    const keyId = SEALED.exec(stored)?.[1];
    return keyId !== undefined && keyId === this.#keys[0]?.id;
  }
}

/** Those that could be opened, so that one that cannot does not silence the others. @throws {UnreadableSecretError} if none could */
export function secretsAmong(opened: readonly (Secret | UnreadableSecretError)[]): readonly Secret[] {
  const secrets = opened.filter((one) => one instanceof Secret);
  const problem = opened.find((one) => one instanceof UnreadableSecretError);
  if (secrets.length === 0 && problem !== undefined) throw problem;
  return secrets;
}

/** The bytes of a key in base64 or hexadecimal, or null if it is not 32 bytes. */
export function decodeEncryptionKey(text: string): Buffer | null {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex');
  const bytes = Buffer.from(text, /[-_]/.test(text) ? 'base64url' : 'base64');
  const isWhole =
    bytes.toString('base64').replace(/=+$/, '') === text.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '');
  return isWhole && bytes.length === ENCRYPTION_KEY_BYTES ? bytes : null;
}

/** The last four characters of a secret, by which a person recognises it; empty if it has fewer than 16. */
export function hintOf(secret: string): string {
  return secret.length >= 16 ? `…${secret.slice(-4)}` : '…';
}

/** How many secrets were encrypted again under the newest key. */
export interface Reencrypted {
  /** Already sealed with the newest key. */
  readonly current: number;
  readonly reencrypted: number;
  /** A line for each secret that cannot be read, with the reason; these stay as they are. */
  readonly unreadable: readonly string[];
}

/** Encrypts every text under the newest key, unless that key sealed it already or it cannot be read. */
export function reencrypt(
  box: SecretBox,
  secrets: readonly { readonly stored: string; readonly place: string; readonly name: string }[],
): { readonly texts: readonly string[]; readonly result: Reencrypted } {
  const unreadable: string[] = [];
  let reencrypted = 0;
  const texts = secrets.map(({ stored, place, name }) => {
    try {
      const opened = box.open(stored, place);
      if (box.isCurrent(stored)) return stored;
      const sealed = box.seal(opened, place);
      reencrypted += 1;
      return sealed;
    } catch (error) {
      if (!(error instanceof UnreadableSecretError)) throw error;
      unreadable.push(`${name}: ${error.message}`);
      return stored;
    }
  });
  return { texts, result: { current: secrets.length - reencrypted - unreadable.length, reencrypted, unreadable } };
}
