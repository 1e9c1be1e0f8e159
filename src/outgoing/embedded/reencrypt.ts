import { type Resealed, reseal, type SecretBox } from '../../crypto/secret-box.ts';
import type { Pool } from '../../db/pool.ts';
import { type Tx, transaction } from '../../db/transaction.ts';
import { headersPlace } from '../header-store.ts';
import { endpointPlace } from './endpoint-store.ts';

/** Seals every endpoint's secrets and headers anew that the newest key did not seal, those too that were stored before there was one. */
export async function resealEndpointSecrets(pool: Pool, box: SecretBox): Promise<Resealed> {
  return transaction(pool, async (tx) => {
    const results: Resealed[] = [];
    for (const column of SEALED_COLUMNS) results.push(await resealColumn(tx, box, column));
    return {
      current: results.reduce((sum, one) => sum + one.current, 0),
      resealed: results.reduce((sum, one) => sum + one.resealed, 0),
      unreadable: results.flatMap((one) => one.unreadable),
    };
  });
}

interface SealedColumn {
  readonly table: string;
  readonly column: string;
  readonly placeOf: (merchantId: string, endpointId: string) => string;
  readonly what: string;
}

const SEALED_COLUMNS: readonly SealedColumn[] = [
  { table: 'webhook_endpoint', column: 'secret', placeOf: endpointPlace, what: 'endpoint' },
  { table: 'webhook_endpoint', column: 'old_secret', placeOf: endpointPlace, what: 'endpoint' },
  { table: 'webhook_older_secret', column: 'secret', placeOf: endpointPlace, what: 'endpoint' },
  { table: 'webhook_endpoint_headers', column: 'sealed', placeOf: headersPlace, what: 'headers of endpoint' },
];

/** An endpoint may have several rows of one table, so what is stored is part of what names a row. */
async function resealColumn(tx: Tx, box: SecretBox, { table, column, placeOf, what }: SealedColumn): Promise<Resealed> {
  const { rows } = await tx.query<{ merchant_id: string; endpoint_id: string; stored: string }>(
    `select merchant_id, endpoint_id, ${column} as stored from ${table}
     where ${column} is not null order by 1, 2, 3 for update`,
  );
  const { texts, result } = reseal(
    box,
    rows.map((row) => ({
      stored: row.stored,
      place: placeOf(row.merchant_id, row.endpoint_id),
      name: `${what} ${row.endpoint_id}`,
    })),
  );
  await tx.query(
    `update ${table} t set ${column} = n.sealed
     from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as n (merchant_id, endpoint_id, stored, sealed)
     where t.merchant_id = n.merchant_id and t.endpoint_id = n.endpoint_id and t.${column} = n.stored and n.sealed <> n.stored`,
    [rows.map((row) => row.merchant_id), rows.map((row) => row.endpoint_id), rows.map((row) => row.stored), texts],
  );
  return result;
}
