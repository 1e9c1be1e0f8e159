import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { array, bigint, boolean, bytea, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import type { KeyGuardMode } from './key-guard/key-guard.ts';

export type Scope = 'read' | 'write';

/** Who is calling: a key, what it may do, and the merchant it belongs to. */
export interface Caller {
  readonly merchantId: string;
  readonly keyId: string;
  readonly scopes: ReadonlySet<string>;
  /** Its merchant may do nothing for now. */
  readonly isSuspended: boolean;
  /** What its merchant wants done about keys that hold the time. */
  readonly keyGuard: KeyGuardMode;
  /** When the key ends; null for never. */
  readonly expiresAt: Date | null;
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 256 bits take 43 characters of base 62, a CRC-32 takes 6. */
const RANDOM_LENGTH = 43;
const CHECKSUM_LENGTH = 6;

/**
 * A new key such as `ck_test_…`: 256 random bits and a checksum, by which a secret scanner tells a key that leaked from a
 * text that looks like one (GitHub's token format). Keys that an operator chose have neither, so nothing depends on it.
 */
export function newApiKey(mode: 'test' | 'live'): string {
  const random = base62(BigInt(`0x${randomBytes(32).toString('hex')}`), RANDOM_LENGTH);
  const key = `ck_${mode}_${random}`;
  return key + checksum(key);
}

/** SHA-256, which is what is stored: at 256 random bits a slow hash would add nothing. */
export function hashApiKey(key: string): Buffer {
  return hash('sha256', key, 'buffer');
}

/** The caller a key stands for, or null if there is no such key or it was revoked. It may be past its end. */
export async function findCaller(db: Queryable, keyHash: Buffer): Promise<Caller | null> {
  const found = await FIND_CALLER.first(db, { keyHash });
  if (found === null || !timingSafeEqual(found.keyHash, keyHash)) return null;
  const { merchantId, keyId, isSuspended, keyGuard, expiresAt } = found;
  return { merchantId, keyId, scopes: new Set(found.scopes), isSuspended, keyGuard, expiresAt };
}

const FIND_CALLER = statement({
  name: 'find-caller',
  acrossMerchants: 'the key alone says whose it is',
  params: { keyHash: bytea },
  row: {
    merchantId: text,
    keyId: text,
    keyHash: bytea,
    scopes: array(text),
    expiresAt: nullable(timestamptz),
    isSuspended: boolean,
    keyGuard: oneOf<KeyGuardMode>(),
  },
  text: ({ keyHash }) => `
    select k.merchant_id, k.key_id, k.key_hash, k.scopes, k.expires_at, m.suspended_at is not null as is_suspended, m.key_guard
    from api_key k join merchant m using (merchant_id)
    where k.key_hash = ${keyHash} and k.revoked_at is null`,
});

/** The hashes, in base64, of the `most` live keys that were used or made last. */
export async function recentKeys(db: Queryable, most: number): Promise<ReadonlySet<string>> {
  const rows = await RECENT_KEYS.all(db, { most });
  return new Set(rows.map(({ keyHash }) => keyHash.toString('base64')));
}

const RECENT_KEYS = statement({
  acrossMerchants: 'tells right keys from wrong ones before it is known whose they are',
  params: { most: bigint },
  row: { keyHash: bytea },
  text: ({ most }) => `
    select key_hash from api_key where revoked_at is null
    order by coalesce(last_used_at, created_at) desc limit ${most}`,
});

function checksum(text: string): string {
  return base62(BigInt(crc32(text)), CHECKSUM_LENGTH);
}

function base62(value: bigint, length: number): string {
  let text = '';
  for (let rest = value; rest > 0n; rest /= 62n) text = BASE62.charAt(Number(rest % 62n)) + text;
  return text.padStart(length, '0');
}
