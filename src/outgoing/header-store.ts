import { z } from 'zod';
import type { SecretBox } from '../crypto/secret-box.ts';
import type { Queryable } from '../db/transaction.ts';
import type { EndpointHeaders } from './outgoing.ts';

/**
 * The headers that merchants want on requests to their endpoints, of either sender. Values may be passwords, so they are
 * stored as secrets are; the names are not secret.
 */

/** Sealed headers open only as these headers of this endpoint. */
export function headersPlace(merchantId: string, endpointId: string): string {
  return `endpoint headers ${merchantId} ${endpointId}`;
}

const headersText = z.record(z.string(), z.string());

/** @throws {UnreadableSecretError} */
export function openHeaders(
  box: SecretBox,
  { merchantId, endpointId }: { readonly merchantId: string; readonly endpointId: string },
  sealed: string,
): EndpointHeaders {
  return headersText.parse(JSON.parse(box.open(sealed, headersPlace(merchantId, endpointId))));
}

/** Replaces all headers of an endpoint; none takes the row away. */
export async function storeHeaders(
  db: Queryable,
  box: SecretBox,
  { merchantId, endpointId }: { readonly merchantId: string; readonly endpointId: string },
  headers: EndpointHeaders,
): Promise<void> {
  const names = Object.keys(headers);
  if (names.length === 0) return deleteHeaders(db, merchantId, endpointId);
  await db.query(
    `insert into webhook_endpoint_headers (merchant_id, endpoint_id, names, sealed) values ($1, $2, $3, $4)
     on conflict (merchant_id, endpoint_id) do update set names = excluded.names, sealed = excluded.sealed`,
    [merchantId, endpointId, names, box.sealIfPossible(JSON.stringify(headers), headersPlace(merchantId, endpointId))],
  );
}

export async function selectHeaders(
  db: Queryable,
  box: SecretBox,
  merchantId: string,
  endpointId: string,
): Promise<EndpointHeaders> {
  const { rows } = await db.query<{ sealed: string }>(
    'select sealed from webhook_endpoint_headers where merchant_id = $1 and endpoint_id = $2',
    [merchantId, endpointId],
  );
  return rows[0] === undefined ? {} : openHeaders(box, { merchantId, endpointId }, rows[0].sealed);
}

/** The names alone, by endpoint; endpoints without headers are left out. */
export async function selectHeaderNames(
  db: Queryable,
  merchantId: string,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const { rows } = await db.query<{ endpoint_id: string; names: string[] }>(
    'select endpoint_id, names from webhook_endpoint_headers where merchant_id = $1',
    [merchantId],
  );
  return new Map(rows.map((row) => [row.endpoint_id, row.names]));
}

export async function deleteHeaders(db: Queryable, merchantId: string, endpointId: string): Promise<void> {
  await db.query('delete from webhook_endpoint_headers where merchant_id = $1 and endpoint_id = $2', [
    merchantId,
    endpointId,
  ]);
}
