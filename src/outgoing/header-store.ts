import { z } from 'zod';
import type { SecretBox } from '../crypto/secret-box.ts';
import { array, text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, table, values } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import type { EndpointHeaders, EndpointKey } from './outgoing.ts';

/**
 * The headers that merchants want on requests to their endpoints, for both senders. Values may be passwords, so they are
 * encrypted like secrets; the names are not secret.
 */

/** What the headers of an endpoint are sealed for, so that they cannot be opened as those of another. */
export function headersPlace(merchantId: string, endpointId: string): string {
  return `endpoint headers ${merchantId} ${endpointId}`;
}

const headersText = z.record(z.string(), z.string());

/** Opens headers as they are stored. @throws {UnreadableSecretError} */
export function openHeaders(box: SecretBox, { merchantId, endpointId }: EndpointKey, sealed: string): EndpointHeaders {
  return headersText.parse(JSON.parse(box.open(sealed, headersPlace(merchantId, endpointId))));
}

/** Replaces all headers of an endpoint; an empty object deletes them. */
export async function storeHeaders(
  db: Queryable,
  box: SecretBox,
  { merchantId, endpointId, headers }: EndpointKey & { readonly headers: EndpointHeaders },
): Promise<void> {
  const names = Object.keys(headers);
  if (names.length === 0) return deleteHeaders(db, merchantId, endpointId);
  const sealed = box.sealIfPossible(JSON.stringify(headers), headersPlace(merchantId, endpointId));
  await STORE_HEADERS.run(db, { merchantId, endpointId, names, sealed });
}

const HEADERS = table('webhook_endpoint_headers', {
  merchantId: text,
  endpointId: text,
  names: array(text),
  sealed: text,
});

const STORE_HEADERS = statement({
  params: HEADERS.shape,
  text: (p) => `
    insert into webhook_endpoint_headers (${columns(HEADERS.shape)})
    values (${values(HEADERS.shape, p)})
    on conflict (merchant_id, endpoint_id) do update set names = excluded.names, sealed = excluded.sealed`,
});

/**
 * The headers of an endpoint with their values; an empty object if it has none.
 * @throws {UnreadableSecretError}
 */
export async function selectHeaders(
  db: Queryable,
  box: SecretBox,
  { merchantId, endpointId }: EndpointKey,
): Promise<EndpointHeaders> {
  const found = await SELECT_HEADERS.first(db, { merchantId, endpointId });
  return found === null ? {} : openHeaders(box, { merchantId, endpointId }, found.sealed);
}

const SELECT_HEADERS = statement({
  params: { merchantId: text, endpointId: text },
  row: { sealed: text },
  text: ({ merchantId, endpointId }) => `
    select sealed from webhook_endpoint_headers where merchant_id = ${merchantId} and endpoint_id = ${endpointId}`,
});

/** The names alone, by endpoint; endpoints without headers are left out. */
export async function selectHeaderNames(
  db: Queryable,
  merchantId: string,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = await SELECT_NAMES.all(db, { merchantId });
  return new Map(found.map(({ endpointId, names }) => [endpointId, names]));
}

const SELECT_NAMES = statement({
  params: { merchantId: text },
  row: { endpointId: text, names: array(text) },
  text: ({ merchantId }) => `select endpoint_id, names from webhook_endpoint_headers where merchant_id = ${merchantId}`,
});

export async function deleteHeaders(db: Queryable, merchantId: string, endpointId: string): Promise<void> {
  await DELETE_HEADERS.run(db, { merchantId, endpointId });
}

const DELETE_HEADERS = statement({
  params: { merchantId: text, endpointId: text },
  text: ({ merchantId, endpointId }) =>
    `delete from webhook_endpoint_headers where merchant_id = ${merchantId} and endpoint_id = ${endpointId}`,
});
