import { Secret } from '../../src/crypto/secret.ts';
import { SecretBox } from '../../src/crypto/secret-box.ts';

/** 32 bytes, in base64. */
export const ENCRYPTION_KEY = Buffer.alloc(32, 'a key for tests').toString('base64');

export const BOX = new SecretBox([new Secret(ENCRYPTION_KEY)]);
