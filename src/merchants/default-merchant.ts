import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { Pool } from '../db/pool.ts';
import { type Tx, transaction } from '../db/transaction.ts';
import { storeApiKey } from './api-key-store.ts';
import { hashApiKey, newApiKey } from './api-keys.ts';

const FULL = { scopes: ['read', 'write'], expiresAt: null, isDefault: true } as const;

export interface DefaultMerchant {
  readonly merchantId: string;
  /** A key made just now, to be shown once; null if the merchant had one or the environment gives it. */
  readonly newApiKey: string | null;
}

/**
 * Makes the merchant that the environment describes, or brings it up to date, with its default key: the one in
 * `API_KEY` (which replaces another default), else the one there is, else a new one. Safe to run from several processes at
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
      await useAsDefault(tx, merchantId, config.API_KEY.reveal(), at);
      return { merchantId, newApiKey: null };
    }
    return { merchantId, newApiKey: await makeIfMissing(tx, merchantId, mode, at) };
  });
}

async function useAsDefault(tx: Tx, merchantId: string, key: string, now: Date): Promise<void> {
  const keyHash = hashApiKey(key);
  const { rows } = await tx.query<{ merchant_id: string; is_live: boolean }>(
    'select merchant_id, is_default and revoked_at is null and expires_at is null as is_live from api_key where key_hash = $1',
    [keyHash],
  );
  const known = rows[0];
  if (known?.is_live && known.merchant_id === merchantId) return;
  if (known !== undefined && known.merchant_id !== merchantId) {
    throw new Error('API_KEY: this key belongs to another merchant of the database. Choose another key.');
  }
  await tx.query('update api_key set revoked_at = $2 where merchant_id = $1 and is_default and revoked_at is null', [
    merchantId,
    now.toISOString(),
  ]);
  if (known === undefined) {
    await storeApiKey(tx, merchantId, { key, name: 'API_KEY', ...FULL }, now);
  } else {
    await tx.query(
      "update api_key set revoked_at = null, expires_at = null, is_default = true, scopes = array['read', 'write'] where key_hash = $1",
      [keyHash],
    );
  }
}

async function makeIfMissing(tx: Tx, merchantId: string, mode: 'test' | 'live', now: Date): Promise<string | null> {
  const { rowCount } = await tx.query(
    'select 1 from api_key where merchant_id = $1 and is_default and revoked_at is null',
    [merchantId],
  );
  if (rowCount !== 0) return null;
  const key = newApiKey(mode);
  await storeApiKey(tx, merchantId, { key, name: 'first start', ...FULL }, now);
  return key;
}
