import type { Clock } from '../clock.ts';
import type { Config } from '../config/env.ts';
import type { Pool } from '../db/pool.ts';
import { type Queryable, type Tx, transaction } from '../db/transaction.ts';
import {
  countLiveKeys,
  findKey,
  type KeyToStore,
  makeDefaultKey,
  storeApiKey,
  unmakeDefaultKey,
} from './api-key-store.ts';
import { hashApiKey, newApiKey } from './api-keys.ts';
import { getMerchant, insertMerchant, lockMerchant, type Merchant, renameMerchant } from './merchant-store.ts';

const FULL = { scopes: ['read', 'write'], expiresAt: null, isDefault: true } as const;

export interface DefaultMerchant {
  readonly merchantId: string;
  /** A key made just now, to be shown once; null if the merchant had one or the environment gives it. */
  readonly newApiKey: string | null;
  /** The environment's API_KEY was rotated or revoked by an operator, and stays so. */
  readonly isApiKeyEnded: boolean;
  /** The default that `API_KEY` has just taken the place of. It is good until an operator revokes it. */
  readonly earlierKey: { readonly keyId: string; readonly hint: string | null } | null;
}

/**
 * Makes the merchant that the environment describes, or brings it up to date, with its default key: the one in
 * `API_KEY`, else a new one if the merchant has none at all. Another default goes on as a key like others, since a process may be
 * running whose `API_KEY` it is. Safe to run from several processes at once; they take turns.
 * @throws {Error} that says what to set: if the merchant exists in the other mode, since its wallets hold play money or real money
 *   and cannot change sides; if `API_KEY` is a key of another merchant, or one that may not do everything
 */
export function ensureDefaultMerchant(pool: Pool, config: Config, clock: Clock): Promise<DefaultMerchant> {
  const { MERCHANT_ID: merchantId, MERCHANT_NAME: name, MODE: mode } = config;
  return transaction(pool, async (tx) => {
    const now = clock.now();
    await insertMerchant(tx, { merchantId, name, mode }, now);
    const existing = await lockMerchant(tx, merchantId);
    requireSameMode(existing, config);
    if (existing?.name !== name) await renameMerchant(tx, merchantId, name);
    if (config.API_KEY !== undefined) {
      return {
        merchantId,
        newApiKey: null,
        ...(await useAsDefault(tx, { merchantId, key: config.API_KEY.reveal() }, now)),
      };
    }
    const newApiKey = await makeIfMissing(tx, { merchantId, mode }, now);
    return { merchantId, newApiKey, isApiKeyEnded: false, earlierKey: null };
  });
}

/** @throws {Error} that says what to set, if the merchant that the environment describes exists in the other mode */
export async function requireMode(db: Queryable, config: Config): Promise<void> {
  requireSameMode(await getMerchant(db, config.MERCHANT_ID), config);
}

function requireSameMode(existing: Merchant | null, { MERCHANT_ID: merchantId, MODE: mode }: Config): void {
  if (existing !== null && existing.mode !== mode)
    throw new Error(
      `MODE: the merchant ${merchantId} exists in ${existing.mode} mode. Set MODE=${existing.mode}, or another MERCHANT_ID for ${mode} mode.`,
    );
}

/**
 * A default whose place another took is the default again when `API_KEY` names it again. One that an operator rotated or revoked
 * is left as it is: to bring it back to life would undo what was done about a leak.
 */
async function useAsDefault(
  tx: Tx,
  { merchantId, key }: Pick<KeyToStore, 'merchantId' | 'key'>,
  now: Date,
): Promise<Pick<DefaultMerchant, 'isApiKeyEnded' | 'earlierKey'>> {
  const known = await findKey(tx, hashApiKey(key));
  if (known !== null && known.merchantId !== merchantId) {
    throw new Error('API_KEY: this key belongs to another merchant of the database. Choose another key.');
  }
  const lacks = known === null ? [] : FULL.scopes.filter((scope) => !known.scopes.includes(scope));
  if (lacks.length > 0) {
    throw new Error(
      `API_KEY: this key was made without the scope ${lacks.join(' and ')}. Choose another key, which gets both, or unset API_KEY.`,
    );
  }
  if (known?.isDefault && known.revokedAt === null) return { isApiKeyEnded: false, earlierKey: null };
  const isEnded = known !== null && (known.revokedAt !== null || known.expiresAt !== null);
  if (isEnded && !known.isDefault) return { isApiKeyEnded: true, earlierKey: null };
  const earlierKey = await unmakeDefaultKey(tx, merchantId);
  if (known === null) await storeApiKey(tx, { merchantId, key, name: 'API_KEY', ...FULL }, now);
  else await makeDefaultKey(tx, known);
  return { isApiKeyEnded: false, earlierKey };
}

async function makeIfMissing(
  tx: Tx,
  { merchantId, mode }: Pick<Merchant, 'merchantId' | 'mode'>,
  now: Date,
): Promise<string | null> {
  if ((await countLiveKeys(tx, merchantId, now)) > 0) return null;
  const key = newApiKey(mode);
  await storeApiKey(tx, { merchantId, key, name: 'first start', ...FULL }, now);
  return key;
}
