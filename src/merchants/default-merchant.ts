import type { Clock } from '../clock.ts';
import type { Config } from '../config/env.ts';
import type { Pool } from '../db/pool.ts';
import { type Tx, transaction } from '../db/transaction.ts';
import { storeApiKey } from './api-key-store.ts';
import { hashApiKey, newApiKey } from './api-keys.ts';

const FULL = { scopes: ['read', 'write'], expiresAt: null, isDefault: true } as const;

export interface DefaultMerchant {
  readonly merchantId: string;
  /** A key made just now, to be shown once; null if the merchant had one or the environment gives it. */
  readonly newApiKey: string | null;
  /** The environment's API_KEY was rotated or revoked by an operator, and stays so. */
  readonly isApiKeyEnded: boolean;
}

/**
 * Makes the merchant that the environment describes, or brings it up to date, with its default key: the one in
 * `API_KEY` (which replaces another default), else a new one if the merchant has none at all. Safe to run from several processes at
 * once; they take turns.
 * @throws if the merchant exists in the other mode: its wallets hold play money or real money, and cannot change sides
 */
export function ensureDefaultMerchant(pool: Pool, config: Config, clock: Clock): Promise<DefaultMerchant> {
  const { MERCHANT_ID: merchantId, MERCHANT_NAME: name, MODE: mode } = config;
  return transaction(pool, async (tx) => {
    const at = clock.now();
    const now = at.toISOString();
    await tx.query(
      'insert into merchant (merchant_id, name, mode, created_at) values ($1, $2, $3, $4) on conflict do nothing',
      [merchantId, name, mode, now],
    );
    const { rows } = await tx.query<{ name: string; mode: string }>(
      'select name, mode from merchant where merchant_id = $1 for update',
      [merchantId],
    );
    const existing = rows[0];
    if (existing !== undefined && existing.mode !== mode) {
      throw new Error(
        `MODE: the merchant ${merchantId} exists in ${existing.mode} mode. Set MODE=${existing.mode}, or another MERCHANT_ID for ${mode} mode.`,
      );
    }
    if (existing?.name !== name) {
      await tx.query('update merchant set name = $2 where merchant_id = $1', [merchantId, name]);
    }
    if (config.API_KEY !== undefined) {
      const isUsable = await useAsDefault(tx, merchantId, config.API_KEY.reveal(), at);
      return { merchantId, newApiKey: null, isApiKeyEnded: !isUsable };
    }
    return { merchantId, newApiKey: await makeIfMissing(tx, merchantId, mode, at), isApiKeyEnded: false };
  });
}

/**
 * A default that was replaced by another comes back when `API_KEY` names it again. One that an operator rotated or revoked
 * is left as it is: to bring it back to life would undo what was done about a leak.
 * @returns false if calls with the key are refused, now or soon
 */
async function useAsDefault(tx: Tx, merchantId: string, key: string, now: Date): Promise<boolean> {
  const keyHash = hashApiKey(key);
  const { rows } = await tx.query<{ merchant_id: string; is_default: boolean; is_live: boolean; is_ended: boolean }>(
    `select merchant_id, is_default, revoked_at is null as is_live, revoked_at is not null or expires_at is not null as is_ended
     from api_key where key_hash = $1`,
    [keyHash],
  );
  const known = rows[0];
  if (known !== undefined && known.merchant_id !== merchantId) {
    throw new Error('API_KEY: this key belongs to another merchant of the database. Choose another key.');
  }
  if (known?.is_default && known.is_live) return true;
  if (known !== undefined && !known.is_default && known.is_ended) return false;
  await tx.query('update api_key set revoked_at = $2 where merchant_id = $1 and is_default and revoked_at is null', [
    merchantId,
    now.toISOString(),
  ]);
  if (known === undefined) {
    await storeApiKey(tx, merchantId, { key, name: 'API_KEY', ...FULL }, now);
  } else {
    await tx.query(
      "update api_key set revoked_at = null, is_default = true, scopes = array['read', 'write'] where key_hash = $1",
      [keyHash],
    );
  }
  return true;
}

async function makeIfMissing(tx: Tx, merchantId: string, mode: 'test' | 'live', now: Date): Promise<string | null> {
  const { rowCount } = await tx.query(
    'select 1 from api_key where merchant_id = $1 and revoked_at is null and (expires_at is null or expires_at > $2) limit 1',
    [merchantId, now.toISOString()],
  );
  if (rowCount !== 0) return null;
  const key = newApiKey(mode);
  await storeApiKey(tx, merchantId, { key, name: 'first start', ...FULL }, now);
  return key;
}
