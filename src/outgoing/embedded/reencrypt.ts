import { type Reencrypted, reencrypt, type SecretBox } from '../../crypto/secret-box.ts';
import { eachMerchant } from '../../db/by-merchant.ts';
import { present, text } from '../../db/codec.ts';
import type { Pool } from '../../db/pool.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { type Tx, transaction } from '../../db/transaction.ts';
import { headersPlace } from '../header-store.ts';
import { endpointPlace } from './endpoint-store.ts';

/** Encrypts every endpoint's secrets and headers under the newest key, also those that were stored before there was a key. */
export async function reencryptEndpointSecrets(pool: Pool, box: SecretBox): Promise<Reencrypted> {
  return transaction(pool, async (tx) => {
    const results: Reencrypted[] = [];
    for (const column of SEALED_COLUMNS) results.push(await reencryptColumn(tx, box, column));
    return {
      current: results.reduce((sum, one) => sum + one.current, 0),
      reencrypted: results.reduce((sum, one) => sum + one.reencrypted, 0),
      unreadable: results.flatMap((one) => one.unreadable),
    };
  });
}

interface SealedColumn {
  readonly table: string;
  readonly column: string;
  readonly placeOf: (merchantId: string, endpointId: string) => string;
  /** The name of the secret in reports. */
  readonly what: string;
}

/**
 * The statements that read and replace the secrets of a column. An endpoint may have several rows in a table, so a row is
 * found by its stored secret too.
 */
const sealedColumn = ({ table, column, placeOf, what }: SealedColumn) => ({
  placeOf,
  what,
  lock: statement({
    acrossMerchants: 'the encryption key is one for all of them',
    params: {},
    row: STORED,
    text: () => `
      select merchant_id, endpoint_id, ${column} as stored from ${table}
      where ${column} is not null order by 1, 2, 3 for update`,
    // Rows of several nodes cannot be locked at once. One that changes meanwhile is not replaced, and stored under the newest key anyway.
    textOnCitus: () => `
      select merchant_id, endpoint_id, ${column} as stored from ${table} where ${column} is not null order by 1, 2, 3`,
  }),
  replace: statement({
    params: { merchantId: text, secrets: rowsOf({ endpointId: text, stored: text, sealed: text }) },
    text: ({ merchantId, secrets }) => `
      update ${table} t set ${column} = n.sealed
      from ${secrets('n', { merchantId })}
      where t.merchant_id = n.merchant_id and t.endpoint_id = n.endpoint_id and t.${column} = n.stored and n.sealed <> n.stored`,
  }),
});
const STORED = { merchantId: text, endpointId: text, stored: present(text) };

const SEALED_COLUMNS = [
  sealedColumn({ table: 'webhook_endpoint', column: 'secret', placeOf: endpointPlace, what: 'endpoint' }),
  sealedColumn({ table: 'webhook_endpoint', column: 'old_secret', placeOf: endpointPlace, what: 'endpoint' }),
  sealedColumn({ table: 'webhook_older_secret', column: 'secret', placeOf: endpointPlace, what: 'endpoint' }),
  sealedColumn({
    table: 'webhook_endpoint_headers',
    column: 'sealed',
    placeOf: headersPlace,
    what: 'headers of endpoint',
  }),
];

async function reencryptColumn(
  tx: Tx,
  box: SecretBox,
  { placeOf, what, lock, replace }: (typeof SEALED_COLUMNS)[number],
): Promise<Reencrypted> {
  const found = await lock.all(tx);
  const { texts, result } = reencrypt(
    box,
    found.map(({ merchantId, endpointId, stored }) => ({
      stored,
      place: placeOf(merchantId, endpointId),
      name: `${what} ${endpointId}`,
    })),
  );
  const secrets = found.map((one, index) => ({ ...one, sealed: texts[index] ?? one.stored }));
  await eachMerchant(secrets, (merchantId, own) => replace.run(tx, { merchantId, secrets: own }));
  return result;
}
