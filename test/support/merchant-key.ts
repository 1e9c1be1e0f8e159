import { systemClock } from '../../src/clock.ts';
import type { Pool } from '../../src/db/pool.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { storeApiKey } from '../../src/merchants/api-key-store.ts';
import { newApiKey, type Scope } from '../../src/merchants/api-keys.ts';

/** A new API key of any merchant, who is made on the way. */
export async function newMerchantKey(
  pool: Pool,
  merchantId: string,
  scopes: readonly Scope[] = ['read', 'write'],
): Promise<string> {
  await pool.query(
    "insert into merchant (merchant_id, name, mode) values ($1, 'Other', 'test') on conflict do nothing",
    [merchantId],
  );
  const key = newApiKey('test');
  const stored = { merchantId, key, name: 'test', scopes, expiresAt: null, isDefault: false };
  await storeApiKey(autocommit(pool), stored, systemClock.now());
  return key;
}
