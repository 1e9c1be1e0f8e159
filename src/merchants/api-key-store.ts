import { hintOf } from '../crypto/secret-box.ts';
import { array, bigint, boolean, bytea, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, omit, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import { hashApiKey, type Scope } from './api-keys.ts';

/** A merchant's keys in the database: hashes, and what people need to tell them apart. */

export interface ApiKeyInput {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Null for a key that does not end by itself. */
  readonly expiresAt: Date | null;
}

/** Which key of which merchant. */
export interface ApiKeyRef {
  readonly merchantId: string;
  readonly keyId: string;
}

/** A key as it may be shown. */
export interface ApiKeyRecord extends ApiKeyInput, ApiKeyRef {
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

/** Keeps the list of keys to one answer, and stops a script that makes keys in a loop. */
const MAX_LIVE_KEYS = 50;

/** A key that is to be stored. */
export interface KeyToStore extends ApiKeyInput {
  readonly merchantId: string;
  /** The key itself, of which only a hash is kept. */
  readonly key: string;
  readonly isDefault: boolean;
}

/** Stores a further key of a merchant; the caller shows the key once, for only its hash is kept. @returns its id */
export async function storeApiKey(
  db: Queryable,
  { merchantId, key, name, scopes, expiresAt, isDefault }: KeyToStore,
  now: Date,
): Promise<string> {
  const keyId = newId('apiKey');
  await INSERT_KEY.run(db, {
    keyId,
    merchantId,
    keyHash: hashApiKey(key),
    scopes,
    name,
    isDefault,
    expiresAt,
    hint: hintOf(key),
    createdAt: now,
  });
  return keyId;
}

const API_KEY = table('api_key', {
  keyId: text,
  merchantId: text,
  name: text,
  scopes: array(oneOf<Scope>()),
  hint: nullable(text),
  isDefault: boolean,
  createdAt: timestamptz,
  expiresAt: nullable(timestamptz),
  lastUsedAt: nullable(timestamptz),
  revokedAt: nullable(timestamptz),
  replacedBy: nullable(text),
});

const INSERT_KEY = statement({
  params: { ...omit(API_KEY.shape, 'lastUsedAt', 'revokedAt', 'replacedBy'), keyHash: bytea },
  text: (p) => `
    insert into api_key (key_id, merchant_id, key_hash, scopes, name, is_default, expires_at, hint, created_at)
    values (${p.keyId}, ${p.merchantId}, ${p.keyHash}, ${p.scopes}, ${p.name}, ${p.isDefault}, ${p.expiresAt}, ${p.hint}, ${p.createdAt})`,
});

/** @throws {RefusalError} API_KEY_LIMIT if the merchant can have no further key */
export async function requireRoomForKey(db: Queryable, merchantId: string, now: Date): Promise<void> {
  if ((await countLiveKeys(db, merchantId, now)) >= MAX_LIVE_KEYS)
    refuse({ code: 'API_KEY_LIMIT', most: MAX_LIVE_KEYS });
}

const COUNT_LIVE = statement({
  params: { merchantId: text, now: timestamptz },
  row: { count: bigint },
  text: ({ merchantId, now }) => `
    select count(*) from api_key
    where merchant_id = ${merchantId} and revoked_at is null and (expires_at is null or expires_at > ${now})`,
});

/** Newest first, revoked and ended ones included. */
export async function listApiKeys(db: Queryable, merchantId: string): Promise<readonly ApiKeyRecord[]> {
  return LIST_KEYS.all(db, { merchantId });
}

const LIST_KEYS = statement({
  params: { merchantId: text },
  row: API_KEY.shape,
  text: ({ merchantId }) => `
    select ${columns(API_KEY.shape)} from api_key where merchant_id = ${merchantId}
    order by created_at desc, key_id desc limit 500`,
});

/** One key, locked until the transaction ends. */
export async function lockApiKey(tx: Tx, { merchantId, keyId }: ApiKeyRef): Promise<ApiKeyRecord | null> {
  return LOCK_KEY.first(tx, { merchantId, keyId });
}

const LOCK_KEY = statement({
  params: { merchantId: text, keyId: text },
  row: API_KEY.shape,
  text: ({ merchantId, keyId }) => `
    select ${columns(API_KEY.shape)} from api_key where merchant_id = ${merchantId} and key_id = ${keyId} for update`,
});

/** Ends a key now. Revoking twice changes nothing. @returns the key, or null if there is none */
export async function revokeApiKey(
  db: Queryable,
  { merchantId, keyId }: ApiKeyRef,
  now: Date,
): Promise<ApiKeyRecord | null> {
  return REVOKE_KEY.first(db, { merchantId, keyId, now });
}

const REVOKE_KEY = statement({
  params: { merchantId: text, keyId: text, now: timestamptz },
  row: API_KEY.shape,
  text: ({ merchantId, keyId, now }) => `
    update api_key set revoked_at = coalesce(revoked_at, ${now}), is_default = false
    where merchant_id = ${merchantId} and key_id = ${keyId} returning ${columns(API_KEY.shape)}`,
});

/** Lets a key end at a time because another, `replacedBy`, takes its place, unless it ends earlier by itself. */
export async function endApiKeyAt(
  tx: Tx,
  { merchantId, keyId }: ApiKeyRef,
  { at, replacedBy }: { readonly at: Date; readonly replacedBy: string },
): Promise<void> {
  await END_KEY_AT.run(tx, { merchantId, keyId, at, replacedBy });
}

const END_KEY_AT = statement({
  params: { merchantId: text, keyId: text, at: timestamptz, replacedBy: text },
  text: ({ merchantId, keyId, at, replacedBy }) => `
    update api_key set expires_at = least(expires_at, ${at}), is_default = false, replaced_by = ${replacedBy}
    where merchant_id = ${merchantId} and key_id = ${keyId}`,
});

/** Notes that a key is in use, at most once a minute. */
export async function noteApiKeyUse(db: Queryable, { merchantId, keyId }: ApiKeyRef, now: Date): Promise<void> {
  await NOTE_USE.run(db, { merchantId, keyId, now });
}

const NOTE_USE = statement({
  name: 'note-api-key-use',
  params: { merchantId: text, keyId: text, now: timestamptz },
  text: ({ merchantId, keyId, now }) => `
    update api_key set last_used_at = ${now}
    where merchant_id = ${merchantId} and key_id = ${keyId}
      and (last_used_at is null or last_used_at < ${now}::timestamptz - interval '1 minute')`,
});

/** What is known of a key of any merchant, by its hash. */
export async function findKey(db: Queryable, keyHash: Buffer): Promise<ApiKeyRecord | null> {
  return FIND_KEY.first(db, { keyHash });
}

const FIND_KEY = statement({
  acrossMerchants: 'a key is unique over all of them',
  params: { keyHash: bytea },
  row: API_KEY.shape,
  text: ({ keyHash }) => `select ${columns(API_KEY.shape)} from api_key where key_hash = ${keyHash}`,
});

/** Makes a key the merchant's default, once no other is. */
export async function makeDefaultKey(tx: Tx, { merchantId, keyId }: ApiKeyRef): Promise<void> {
  await MAKE_DEFAULT.run(tx, { merchantId, keyId });
}

const MAKE_DEFAULT = statement({
  params: { merchantId: text, keyId: text },
  text: ({ merchantId, keyId }) => `
    update api_key set revoked_at = null, is_default = true
    where merchant_id = ${merchantId} and key_id = ${keyId}`,
});

/** Makes the merchant's default a key like others. @returns it, or null if there is none that was not revoked */
export async function unmakeDefaultKey(tx: Tx, merchantId: string): Promise<ApiKeyRecord | null> {
  return UNMAKE_DEFAULT.first(tx, { merchantId });
}

const UNMAKE_DEFAULT = statement({
  params: { merchantId: text },
  row: API_KEY.shape,
  text: ({ merchantId }) => `
    update api_key set is_default = false
    where merchant_id = ${merchantId} and is_default and revoked_at is null returning ${columns(API_KEY.shape)}`,
});

/** How many keys of the merchant are neither revoked nor at their end. */
export async function countLiveKeys(db: Queryable, merchantId: string, now: Date): Promise<number> {
  return (await COUNT_LIVE.one(db, { merchantId, now })).count;
}
