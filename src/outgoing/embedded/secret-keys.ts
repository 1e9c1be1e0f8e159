import { text } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import type { Queryable } from '../../db/transaction.ts';

/** The ids of the encryption keys that secrets and headers of endpoints are sealed with that are not disabled. Some may be stored plain, without a key. */
export async function keysOfEndpointSecrets(db: Queryable): Promise<readonly string[]> {
  return (await KEY_IDS.all(db)).map(({ keyId }) => keyId);
}

const KEY_IDS = statement({
  acrossMerchants: 'the encryption key is one for all of them',
  params: {},
  row: { keyId: text },
  text: () => `
    select distinct split_part(s.stored, '.', 2) as key_id
    from webhook_endpoint e
      left join webhook_older_secret o using (merchant_id, endpoint_id)
      left join webhook_endpoint_headers h using (merchant_id, endpoint_id)
      cross join lateral unnest(array[e.secret, e.old_secret, o.secret, h.sealed]) as s (stored)
    where not e.disabled and s.stored ~ '^v1\\.[0-9a-f]{8}\\.'`,
});
