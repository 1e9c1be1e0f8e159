import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Queryable } from '../db/transaction.ts';
import { newId } from '../ids.ts';

export type Scope = 'read' | 'write';

/** Who is calling: a key, what it may do, and the merchant it belongs to. */
export interface Caller {
  readonly merchantId: string;
  readonly keyId: string;
  readonly scopes: ReadonlySet<string>;
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

/** The caller a key stands for, or null if there is no such key or it was revoked. */
export async function findCaller(db: Queryable, keyHash: Buffer): Promise<Caller | null> {
  const { rows } = await db.query<{ merchant_id: string; key_id: string; key_hash: Buffer; scopes: string[] }>(
    {
      name: 'find-api-key',
      text: 'select merchant_id, key_id, key_hash, scopes from api_key where key_hash = $1 and revoked_at is null',
    },
    [keyHash],
  );
  const row = rows[0];
  if (row === undefined || !timingSafeEqual(row.key_hash, keyHash)) return null;
  return { merchantId: row.merchant_id, keyId: row.key_id, scopes: new Set(row.scopes) };
}

/** Stores a further key of a merchant; the caller shows the key once, for only its hash is kept. */
export async function storeApiKey(
  db: Queryable,
  merchantId: string,
  key: { readonly key: string; readonly name: string; readonly scopes: readonly Scope[]; readonly isDefault: boolean },
): Promise<void> {
  await db.query(
    'insert into api_key (key_id, merchant_id, key_hash, scopes, name, is_default) values ($1, $2, $3, $4, $5, $6)',
    [newId('apiKey'), merchantId, hashApiKey(key.key), key.scopes, key.name, key.isDefault],
  );
}

function checksum(text: string): string {
  return base62(BigInt(crc32(text)), CHECKSUM_LENGTH);
}

function base62(value: bigint, length: number): string {
  let text = '';
  for (let rest = value; rest > 0n; rest /= 62n) text = BASE62.charAt(Number(rest % 62n)) + text;
  return text.padStart(length, '0');
}
