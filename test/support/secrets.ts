import { Secret } from '../../src/crypto/secret.ts';
import { SecretBox } from '../../src/crypto/secret-box.ts';

/** 32 bytes, in base64. */
export const ENCRYPTION_KEY = Buffer.alloc(32, 'a key for tests').toString('base64');

/** A box with these keys, the newest first. */
export const boxOf = (...keys: readonly string[]): SecretBox => new SecretBox(keys.map((key) => new Secret(key)));

export const BOX = boxOf(ENCRYPTION_KEY);
