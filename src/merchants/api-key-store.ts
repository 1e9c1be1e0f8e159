import { hintOf } from '../crypto/secret-box.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { type Refusal, refusal } from '../errors.ts';
import { newId } from '../ids.ts';
import { hashApiKey, type Scope } from './api-keys.ts';

/** A merchant's keys in the database: hashes, and what people need to tell them apart. */

export interface ApiKeyInput {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Null for a key that does not end by itself. */
  readonly expiresAt: Date | null;
}

/** A key as it may be shown. */
export interface ApiKeyRecord extends ApiKeyInput {
  readonly keyId: string;
  readonly merchantId: string;
  /** How it ends; null for keys stored before hints were. */
  readonly hint: string | null;
  /** The one of the environment's API_KEY or of the first start. */
  readonly isDefault: boolean;
  readonly createdAt: Date;
  /** To the minute; null if it never was. */
  readonly lastUsedAt: Date | null;
  readonly revokedAt: Date | null;
  /** The key that was made to take its place. */
  readonly replacedBy: string | null;
}

/** So that a list is one answer, and a leaking loop is noticed. */
const MAX_LIVE_KEYS = 50;

/** Stores a further key of a merchant; the caller shows the key once, for only its hash is kept. */
export async function storeApiKey(
  db: Queryable,
  merchantId: string,
  { key, name, scopes, expiresAt, isDefault }: ApiKeyInput & { readonly key: string; readonly isDefault: boolean },
  now: Date,
): Promise<string> {
  const keyId = newId('apiKey');
  await db.query(
    `insert into api_key (key_id, merchant_id, key_hash, scopes, name, is_default, expires_at, hint, created_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      keyId,
      merchantId,
      hashApiKey(key),
      scopes,
      name,
      isDefault,
      expiresAt?.toISOString() ?? null,
      hintOf(key),
      now.toISOString(),
    ],
  );
  return keyId;
}

/** Why the merchant can have no further key, or null. */
export async function keyLimitProblem(db: Queryable, merchantId: string, now: Date): Promise<Refusal | null> {
  const { rows } = await db.query<{ count: number }>(
    `select count(*) from api_key where merchant_id = $1 and revoked_at is null and (expires_at is null or expires_at > $2)`,
    [merchantId, now.toISOString()],
  );
  if ((rows[0]?.count ?? 0) < MAX_LIVE_KEYS) return null;
  return refusal('CONFLICT', `The merchant has ${MAX_LIVE_KEYS} live keys, which is the most. Revoke one first.`);
}

/** Newest first, revoked and ended ones included. */
export async function listApiKeys(db: Queryable, merchantId: string): Promise<readonly ApiKeyRecord[]> {
  const { rows } = await db.query<KeyRow>(
    `select ${COLUMNS} from api_key where merchant_id = $1 order by created_at desc, key_id desc limit 500`,
    [merchantId],
  );
  return rows.map(toRecord);
}

/** One key, locked until the transaction ends. */
export async function lockApiKey(tx: Tx, merchantId: string, keyId: string): Promise<ApiKeyRecord | null> {
  const { rows } = await tx.query<KeyRow>(
    `select ${COLUMNS} from api_key where merchant_id = $1 and key_id = $2 for update`,
    [merchantId, keyId],
  );
  return rows[0] === undefined ? null : toRecord(rows[0]);
}

/** Ends a key now. Revoking twice changes nothing. @returns the key, or null if there is none */
export async function revokeApiKey(
  db: Queryable,
  merchantId: string,
  keyId: string,
  now: Date,
): Promise<ApiKeyRecord | null> {
  const { rows } = await db.query<KeyRow>(
    `update api_key set revoked_at = coalesce(revoked_at, $3), is_default = false
     where merchant_id = $1 and key_id = $2 returning ${COLUMNS}`,
    [merchantId, keyId, now.toISOString()],
  );
  return rows[0] === undefined ? null : toRecord(rows[0]);
}

/** Lets a key end at a time because another takes its place, unless it ends earlier by itself. */
export async function endApiKeyAt(
  tx: Tx,
  merchantId: string,
  keyId: string,
  at: Date,
  replacedBy: string,
): Promise<void> {
  await tx.query(
    `update api_key set expires_at = least(expires_at, $3), is_default = false, replaced_by = $4
     where merchant_id = $1 and key_id = $2`,
    [merchantId, keyId, at.toISOString(), replacedBy],
  );
}

/** Notes that a key is in use, at most once a minute. */
export async function noteApiKeyUse(db: Queryable, keyId: string, now: Date): Promise<void> {
  await db.query(NOTE_USE, [keyId, now.toISOString()]);
}

const NOTE_USE = {
  name: 'note-api-key-use',
  text: `update api_key set last_used_at = $2
    where key_id = $1 and (last_used_at is null or last_used_at < $2::timestamptz - interval '1 minute')`,
};

const COLUMNS =
  'key_id, merchant_id, name, scopes, hint, is_default, created_at, expires_at, last_used_at, revoked_at, replaced_by';

interface KeyRow {
  key_id: string;
  merchant_id: string;
  name: string;
  scopes: Scope[];
  hint: string | null;
  is_default: boolean;
  created_at: Date;
  expires_at: Date | null;
  last_used_at: Date | null;
  revoked_at: Date | null;
  replaced_by: string | null;
}

function toRecord(row: KeyRow): ApiKeyRecord {
  return {
    keyId: row.key_id,
    merchantId: row.merchant_id,
    name: row.name,
    scopes: row.scopes,
    hint: row.hint,
    isDefault: row.is_default,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
    revokedAt: row.revoked_at,
    replacedBy: row.replaced_by,
  };
}
