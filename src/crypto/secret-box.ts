import { createCipheriv, createDecipheriv, hash, randomBytes } from 'node:crypto';
import type { Secret } from './secret.ts';

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
}

/**
 * Encrypts the secrets that the database keeps, by AES-256-GCM with a random 96-bit nonce each (NIST SP 800-38D, 8.2.2).
 * A sealed text carries the id of its key, so that old keys can stand beside the newest until everything is sealed anew.
 */
export class SecretBox {
  readonly #keys: readonly Key[];

  /** @param keys base64 or hexadecimal, 32 bytes each; the first seals, all of them open */
  constructor(keys: readonly Secret[]) {
    this.#keys = keys.map((key) => {
      const bytes = decodeEncryptionKey(key.reveal());
      if (bytes === null) throw new Error('an encryption key is not 32 bytes');
      return { id: hash('sha256', bytes, 'hex').slice(0, 8), bytes };
    });
  }

  /** False if there is no key. */
  get canSeal(): boolean {
    return this.#keys.length > 0;
  }

  /**
   * @param place what the secret belongs to: a sealed text copied to another place does not open there
   * @throws if there is no key
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

  /** As it is where there is no key yet; `npm run rotate-secrets` seals it once there is one. */
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

  /** Whether it was sealed with the newest key. */
  isCurrent(stored: string): boolean {
    const keyId = SEALED.exec(stored)?.[1];
    return keyId !== undefined && keyId === this.#keys[0]?.id;
  }
}

/** The bytes of a key in base64 or hexadecimal, or null if it is not 32 bytes. */
export function decodeEncryptionKey(text: string): Buffer | null {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex');
  const bytes = Buffer.from(text, /[-_]/.test(text) ? 'base64url' : 'base64');
  const isWhole =
    bytes.toString('base64').replace(/=+$/, '') === text.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '');
  return isWhole && bytes.length === ENCRYPTION_KEY_BYTES ? bytes : null;
}

/** How a secret ends, by which a person tells one from another; nothing of one that is short. */
export function hintOf(secret: string): string {
  return secret.length >= 16 ? `…${secret.slice(-4)}` : '…';
}

/** What sealing anew came to. */
export interface Resealed {
  /** Already sealed with the newest key. */
  readonly current: number;
  readonly resealed: number;
  /** Which could not be read, and why; they stay as they are. */
  readonly unreadable: readonly string[];
}

/** Each text sealed with the newest key, where it can be read and is not already. */
export function reseal(
  box: SecretBox,
  secrets: readonly { readonly stored: string; readonly place: string; readonly name: string }[],
): { readonly texts: readonly string[]; readonly result: Resealed } {
  const unreadable: string[] = [];
  let resealed = 0;
  const texts = secrets.map(({ stored, place, name }) => {
    if (box.isCurrent(stored)) return stored;
    try {
      const sealed = box.seal(box.open(stored, place), place);
      resealed += 1;
      return sealed;
    } catch (error) {
      if (!(error instanceof UnreadableSecretError)) throw error;
      unreadable.push(`${name}: ${error.message}`);
      return stored;
    }
  });
  return { texts, result: { current: secrets.length - resealed - unreadable.length, resealed, unreadable } };
}
