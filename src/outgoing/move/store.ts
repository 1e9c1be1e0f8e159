import type { Queryable, Tx } from '../../db/transaction.ts';
import type { EndpointInput } from '../outgoing.ts';

/** The embedded sender's endpoints with all that moves along with them. */

export interface MovableEndpoint extends EndpointInput {
  readonly endpointId: string;
  /** As it is stored. */
  readonly sealedSecret: string;
  /** When it was copied to Svix, if it was and was not copied back. */
  readonly movedAt: Date | null;
  readonly updatedAt: Date;
}

/** The merchant's endpoints, oldest first. */
export async function selectMovable(db: Queryable, merchantId: string): Promise<readonly MovableEndpoint[]> {
  const { rows } = await db.query<{
    endpoint_id: string;
    url: string;
    description: string;
    event_types: string[] | null;
    disabled: boolean;
    secret: string;
    moved_at: Date | null;
    updated_at: Date;
  }>(
    `select endpoint_id, url, description, event_types, disabled, secret, moved_at, updated_at
     from webhook_endpoint where merchant_id = $1 order by created_at, endpoint_id`,
    [merchantId],
  );
  return rows.map((row) => ({
    endpointId: row.endpoint_id,
    url: row.url,
    description: row.description,
    eventTypes: row.event_types,
    disabled: row.disabled,
    sealedSecret: row.secret,
    movedAt: row.moved_at,
    updatedAt: row.updated_at,
  }));
}

/** Merchants with endpoints of the embedded sender. */
export async function merchantsWithEndpoints(db: Queryable): Promise<readonly string[]> {
  const { rows } = await db.query<{ merchant_id: string }>(
    'select distinct merchant_id from webhook_endpoint order by merchant_id',
  );
  return rows.map((row) => row.merchant_id);
}

/** Notes that Svix has the endpoint's settings as they are. */
export async function markMoved(db: Queryable, merchantId: string, endpointId: string, now: Date): Promise<void> {
  await db.query('update webhook_endpoint set moved_at = $3 where merchant_id = $1 and endpoint_id = $2', [
    merchantId,
    endpointId,
    now.toISOString(),
  ]);
}

export interface MovedBack extends EndpointInput {
  readonly endpointId: string;
  readonly sealedSecret: string;
}

/** Writes an endpoint as Svix has it; an endpoint that is enabled starts with a clean record. */
export async function upsertMovedBack(tx: Tx, merchantId: string, endpoint: MovedBack, now: Date): Promise<void> {
  await tx.query(
    `insert into webhook_endpoint as e
       (merchant_id, endpoint_id, url, description, event_types, disabled, secret, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
     on conflict (merchant_id, endpoint_id) do update
     set url = excluded.url, description = excluded.description, event_types = excluded.event_types,
       disabled = excluded.disabled, secret = excluded.secret, updated_at = excluded.updated_at, moved_at = null,
       failing_since = case when e.disabled and not excluded.disabled then null else e.failing_since end`,
    [
      merchantId,
      endpoint.endpointId,
      endpoint.url,
      endpoint.description,
      endpoint.eventTypes,
      endpoint.disabled,
      endpoint.sealedSecret,
      now.toISOString(),
    ],
  );
}

/** What was deleted at Svix is not sent to any more; its deliveries and attempts stay to be looked at. */
export async function disableDeletedElsewhere(
  db: Queryable,
  merchantId: string,
  endpointId: string,
  now: Date,
): Promise<void> {
  await db.query(
    `update webhook_endpoint set disabled = true, moved_at = null, updated_at = $3
     where merchant_id = $1 and endpoint_id = $2`,
    [merchantId, endpointId, now.toISOString()],
  );
}
