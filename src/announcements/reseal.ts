import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { type Resealed, reseal, type SecretBox } from '../secret-box.ts';
import { endpointPlace } from './endpoint-store.ts';

/** Seals every endpoint's secrets anew that the newest key did not seal, those too that were stored before there was one. */
export async function resealEndpointSecrets(pool: Pool, box: SecretBox): Promise<Resealed> {
  return transaction(pool, async (tx) => {
    const { rows } = await tx.query<{
      merchant_id: string;
      endpoint_id: string;
      column: 'secret' | 'old_secret';
      stored: string;
    }>(
      `with locked as (
         select merchant_id, endpoint_id, secret, old_secret from webhook_endpoint order by 1, 2 for update)
       select merchant_id, endpoint_id, 'secret' as column, secret as stored from locked
       union all
       select merchant_id, endpoint_id, 'old_secret', old_secret from locked where old_secret is not null`,
    );
    const places = rows.map((row) => ({
      stored: row.stored,
      place: endpointPlace(row.merchant_id, row.endpoint_id),
      name: `endpoint ${row.endpoint_id}`,
    }));
    const { texts, result } = reseal(box, places);
    for (const column of ['secret', 'old_secret'] as const) {
      const own = rows.flatMap((row, index) => (row.column === column ? [{ ...row, sealed: texts[index] }] : []));
      await tx.query(
        `update webhook_endpoint e set ${column} = n.sealed
         from unnest($1::text[], $2::text[], $3::text[]) as n (merchant_id, endpoint_id, sealed)
         where e.merchant_id = n.merchant_id and e.endpoint_id = n.endpoint_id and e.${column} <> n.sealed`,
        [own.map((row) => row.merchant_id), own.map((row) => row.endpoint_id), own.map((row) => row.sealed)],
      );
    }
    return result;
  });
}
