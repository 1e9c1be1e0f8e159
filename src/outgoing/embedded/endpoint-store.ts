import type { Queryable, Tx } from '../../db/transaction.ts';
import type { EndpointInput, WebhookEndpoint } from '../outgoing.ts';
import type { DeliveryKey } from './delivery-store.ts';

/** The embedded sender's endpoints and their secrets, which are encrypted where there is a key to do it with. */

/** A sealed secret opens only as its endpoint's; the old one is sealed for the same place. */
export function endpointPlace(merchantId: string, endpointId: string): string {
  return `endpoint ${merchantId} ${endpointId}`;
}

const ENDPOINT_COLUMNS = `e.endpoint_id, e.url, e.description, e.event_types, e.disabled, e.created_at, e.updated_at,
  coalesce((select h.names from webhook_endpoint_headers h
    where h.merchant_id = e.merchant_id and h.endpoint_id = e.endpoint_id), '{}') as header_names`;

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
    `select ${ENDPOINT_COLUMNS} from webhook_endpoint e where e.merchant_id = $1 order by e.created_at, e.endpoint_id`,
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
    `select ${ENDPOINT_COLUMNS} from webhook_endpoint e where e.merchant_id = $1 and e.endpoint_id = $2 ${lock}`,
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

/** Until when each secret before the present one still signs, the first to end first. Of an endpoint that is locked. */
export async function oldSecretEnds(
  tx: Tx,
  merchantId: string,
  endpointId: string,
  now: Date,
): Promise<readonly Date[]> {
  const { rows } = await tx.query<{ valid_until: Date }>(
    `select old_secret_until as valid_until from webhook_endpoint
     where merchant_id = $1 and endpoint_id = $2 and old_secret_until > $3
     union all
     select valid_until from webhook_older_secret where merchant_id = $1 and endpoint_id = $2 and valid_until > $3
     order by 1`,
    [merchantId, endpointId, now.toISOString()],
  );
  return rows.map((row) => row.valid_until);
}

/** Puts a new secret in the place of the present one, which signs on until `oldUntil`; so do those before it, to their own end. */
export async function replaceSecret(
  tx: Tx,
  { merchantId, endpointId, secret }: { merchantId: string; endpointId: string; secret: string },
  now: Date,
  oldUntil: Date,
): Promise<void> {
  const key = [merchantId, endpointId];
  await tx.query('delete from webhook_older_secret where merchant_id = $1 and endpoint_id = $2 and valid_until <= $3', [
    ...key,
    now.toISOString(),
  ]);
  await tx.query(
    `insert into webhook_older_secret (merchant_id, endpoint_id, secret, valid_until)
     select merchant_id, endpoint_id, old_secret, old_secret_until from webhook_endpoint
     where merchant_id = $1 and endpoint_id = $2 and old_secret is not null and old_secret_until > $3`,
    [...key, now.toISOString()],
  );
  await tx.query(
    `update webhook_endpoint
     set old_secret = secret, old_secret_until = $4, secret = $3, updated_at = $5
     where merchant_id = $1 and endpoint_id = $2`,
    [...key, secret, oldUntil.toISOString(), now.toISOString()],
  );
}

export async function noteSuccess(tx: Tx, { merchantId, endpointId }: DeliveryKey): Promise<void> {
  await tx.query(
    'update webhook_endpoint set failing_since = null where merchant_id = $1 and endpoint_id = $2 and failing_since is not null',
    [merchantId, endpointId],
  );
}

/** An endpoint that was given up. */
export interface GivenUp {
  readonly description: string;
  readonly failingSince: Date;
}

/**
 * Notes a failure, and disables the endpoint if it has done nothing else since `failingSinceBefore`.
 * @returns the endpoint if this failure disabled it, else null
 */
export async function noteFailure(
  tx: Tx,
  { merchantId, endpointId }: DeliveryKey,
  now: Date,
  failingSinceBefore: Date,
): Promise<GivenUp | null> {
  const { rows } = await tx.query<{ disabled: boolean; description: string; failing_since: Date }>(
    `update webhook_endpoint
     set failing_since = coalesce(failing_since, $3), disabled = coalesce(failing_since <= $4, false)
     where merchant_id = $1 and endpoint_id = $2 and not disabled and (failing_since is null or failing_since <= $4)
     returning disabled, description, failing_since`,
    [merchantId, endpointId, now.toISOString(), failingSinceBefore.toISOString()],
  );
  const [row] = rows;
  return row?.disabled ? { description: row.description, failingSince: row.failing_since } : null;
}

interface EndpointRow {
  endpoint_id: string;
  url: string;
  description: string;
  event_types: string[] | null;
  disabled: boolean;
  header_names: string[];
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
    headerNames: row.header_names,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
