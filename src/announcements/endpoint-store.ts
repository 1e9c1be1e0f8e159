import type { Queryable, Tx } from '../db/transaction.ts';
import type { DeliveryKey } from './delivery-store.ts';
import type { EndpointInput, WebhookEndpoint } from './outgoing.ts';

/** The embedded sender's endpoints and their secrets, which are encrypted where there is a key to do it with. */

/** A sealed secret opens only as its endpoint's; the old one is sealed for the same place. */
export function endpointPlace(merchantId: string, endpointId: string): string {
  return `endpoint ${merchantId} ${endpointId}`;
}

const ENDPOINT_COLUMNS = 'endpoint_id, url, description, event_types, disabled, created_at, updated_at';

export async function insertEndpoint(
  db: Queryable,
  merchantId: string,
  endpointId: string,
  input: EndpointInput,
  secret: string,
  now: Date,
): Promise<void> {
  await db.query(
    `insert into webhook_endpoint (merchant_id, endpoint_id, url, description, event_types, disabled, secret, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $8)`,
    [merchantId, endpointId, input.url, input.description, input.eventTypes, input.disabled, secret, now.toISOString()],
  );
}

/** Oldest first. */
export async function selectEndpoints(db: Queryable, merchantId: string): Promise<readonly WebhookEndpoint[]> {
  const { rows } = await db.query<EndpointRow>(
    `select ${ENDPOINT_COLUMNS} from webhook_endpoint where merchant_id = $1 order by created_at, endpoint_id`,
    [merchantId],
  );
  return rows.map(toEndpoint);
}

export async function selectEndpoint(
  db: Queryable,
  merchantId: string,
  endpointId: string,
  lock: '' | 'for update' | 'for key share' = '',
): Promise<WebhookEndpoint | null> {
  const { rows } = await db.query<EndpointRow>(
    `select ${ENDPOINT_COLUMNS} from webhook_endpoint where merchant_id = $1 and endpoint_id = $2 ${lock}`,
    [merchantId, endpointId],
  );
  return rows[0] === undefined ? null : toEndpoint(rows[0]);
}

/** Writes an endpoint that the transaction has locked. An endpoint that is enabled starts with a clean record. */
export async function updateEndpoint(
  tx: Tx,
  merchantId: string,
  { id, url, description, eventTypes, disabled, updatedAt }: WebhookEndpoint,
): Promise<void> {
  await tx.query(
    `update webhook_endpoint
     set url = $3, description = $4, event_types = $5, disabled = $6, updated_at = $7,
       failing_since = case when disabled and not $6 then null else failing_since end
     where merchant_id = $1 and endpoint_id = $2`,
    [merchantId, id, url, description, eventTypes, disabled, updatedAt.toISOString()],
  );
}

/** Takes its deliveries and their attempts along. */
export async function deleteEndpoint(tx: Tx, merchantId: string, endpointId: string): Promise<boolean> {
  const { rowCount } = await tx.query('delete from webhook_endpoint where merchant_id = $1 and endpoint_id = $2', [
    merchantId,
    endpointId,
  ]);
  return rowCount === 1;
}

export async function selectSecret(db: Queryable, merchantId: string, endpointId: string): Promise<string | null> {
  const { rows } = await db.query<{ secret: string }>(
    'select secret from webhook_endpoint where merchant_id = $1 and endpoint_id = $2',
    [merchantId, endpointId],
  );
  return rows[0]?.secret ?? null;
}

export async function replaceSecret(
  db: Queryable,
  merchantId: string,
  endpointId: string,
  secret: string,
  now: Date,
  oldSecretUntil: Date,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `update webhook_endpoint
     set old_secret = secret, old_secret_until = $4, secret = $3, updated_at = $5
     where merchant_id = $1 and endpoint_id = $2`,
    [merchantId, endpointId, secret, oldSecretUntil.toISOString(), now.toISOString()],
  );
  return rowCount === 1;
}

export async function noteSuccess(tx: Tx, { merchantId, endpointId }: DeliveryKey): Promise<void> {
  await tx.query(
    'update webhook_endpoint set failing_since = null where merchant_id = $1 and endpoint_id = $2 and failing_since is not null',
    [merchantId, endpointId],
  );
}

/**
 * Notes a failure, and disables the endpoint if it has done nothing else since `failingSinceBefore`.
 * @returns true if this failure disabled it
 */
export async function noteFailure(
  tx: Tx,
  { merchantId, endpointId }: DeliveryKey,
  now: Date,
  failingSinceBefore: Date,
): Promise<boolean> {
  const { rows } = await tx.query<{ disabled: boolean }>(
    `update webhook_endpoint
     set failing_since = coalesce(failing_since, $3), disabled = coalesce(failing_since <= $4, false)
     where merchant_id = $1 and endpoint_id = $2 and not disabled and (failing_since is null or failing_since <= $4)
     returning disabled`,
    [merchantId, endpointId, now.toISOString(), failingSinceBefore.toISOString()],
  );
  return rows[0]?.disabled ?? false;
}

interface EndpointRow {
  endpoint_id: string;
  url: string;
  description: string;
  event_types: string[] | null;
  disabled: boolean;
  created_at: Date;
  updated_at: Date;
}

function toEndpoint(row: EndpointRow): WebhookEndpoint {
  return {
    id: row.endpoint_id,
    url: row.url,
    description: row.description,
    eventTypes: row.event_types,
    disabled: row.disabled,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
