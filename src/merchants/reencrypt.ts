import { type Resealed, reseal, type SecretBox } from '../crypto/secret-box.ts';
import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { type SecretPurpose, secretPlace } from './source-store.ts';

/** Seals every source's secrets anew that the newest key did not seal. */
export async function resealSourceSecrets(pool: Pool, box: SecretBox): Promise<Resealed> {
  return transaction(pool, async (tx) => {
    const { rows } = await tx.query<{
      merchant_id: string;
      source_id: string;
      secret_id: string;
      purpose: SecretPurpose;
      sealed: string;
    }>('select merchant_id, source_id, secret_id, purpose, sealed from source_secret order by 1, 2, 3 for update');
    const places = rows.map((row) => ({
      stored: row.sealed,
      place: secretPlace({ merchantId: row.merchant_id, sourceId: row.source_id }, row.purpose),
      name: `source ${row.source_id}, secret ${row.secret_id}`,
    }));
    const { texts, result } = reseal(box, places);
    await tx.query(
      `update source_secret s set sealed = n.sealed
       from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as n (merchant_id, source_id, secret_id, sealed)
       where s.merchant_id = n.merchant_id and s.source_id = n.source_id and s.secret_id = n.secret_id and s.sealed <> n.sealed`,
      [rows.map((row) => row.merchant_id), rows.map((row) => row.source_id), rows.map((row) => row.secret_id), texts],
    );
    return result;
  });
}
