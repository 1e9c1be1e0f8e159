import { text } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import type { Queryable } from '../../db/transaction.ts';

/** The ids of the encryption keys that secrets and headers of endpoints are sealed with. Some may be stored plain, without a key. */
export async function keysOfEndpointSecrets(db: Queryable): Promise<readonly string[]> {
  return (await KEY_IDS.all(db)).map(({ keyId }) => keyId);
}

const KEY_IDS = statement({
  acrossMerchants: 'the encryption key is one for all of them',
  params: {},
  row: { keyId: text },
  text: () => `
    select distinct split_part(s.stored, '.', 2) as key_id
    from (
      select secret as stored from webhook_endpoint
      union all select old_secret from webhook_endpoint
      union all select secret from webhook_older_secret
      union all select sealed from webhook_endpoint_headers
    ) s
    where s.stored ~ '^v1\\.[0-9a-f]{8}\\.'`,
});
