import { text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/** The ids of the encryption keys that the secrets of enabled sources are sealed with. */
export async function keysOfSourceSecrets(db: Queryable): Promise<readonly string[]> {
  return (await KEY_IDS.all(db)).map(({ keyId }) => keyId);
}

const KEY_IDS = statement({
  acrossMerchants: 'the encryption key is one for all of them',
  params: {},
  row: { keyId: text },
  text: () => `
    select distinct split_part(c.sealed, '.', 2) as key_id
    from source s join source_secret c using (merchant_id, source_id)
    where s.enabled`,
});
