import { array, boolean, named, nullable, text, timestamptz } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import { columns, values } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import type { EndpointInput, EndpointKey } from '../outgoing.ts';

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
  return SELECT_MOVABLE.all(db, { merchantId });
}

const MOVABLE = {
  endpointId: text,
  url: text,
  description: text,
  eventTypes: nullable(array(text)),
  disabled: boolean,
  sealedSecret: named('secret', text),
};
const MOVABLE_STATE = { ...MOVABLE, movedAt: nullable(timestamptz), updatedAt: timestamptz };

const SELECT_MOVABLE = statement({
  params: { merchantId: text },
  row: MOVABLE_STATE,
  text: ({ merchantId }) => `
    select ${columns(MOVABLE_STATE)} from webhook_endpoint where merchant_id = ${merchantId} order by created_at, endpoint_id`,
});

/** Merchants with endpoints of the embedded sender. */
export async function merchantsWithEndpoints(db: Queryable): Promise<readonly string[]> {
  return (await MERCHANTS.all(db)).map(({ merchantId }) => merchantId);
}

const MERCHANTS = statement({
  acrossMerchants: 'a move is of all of them',
  params: {},
  row: { merchantId: text },
  text: () => 'select distinct merchant_id from webhook_endpoint order by merchant_id',
});

/** Notes that Svix has the endpoint's settings as they are. */
export async function markMoved(db: Queryable, { merchantId, endpointId }: EndpointKey, now: Date): Promise<void> {
  await MARK_MOVED.run(db, { merchantId, endpointId, now });
}

const MARK_MOVED = statement({
  params: { merchantId: text, endpointId: text, now: timestamptz },
  text: ({ merchantId, endpointId, now }) =>
    `update webhook_endpoint set moved_at = ${now} where merchant_id = ${merchantId} and endpoint_id = ${endpointId}`,
});

export interface MovedBack extends EndpointInput, EndpointKey {
  readonly sealedSecret: string;
}

/** Stores an endpoint as Svix has it. If that enables it, its record of failures is cleared. */
export async function upsertMovedBack(tx: Tx, endpoint: MovedBack, now: Date): Promise<void> {
  const { merchantId, endpointId, url, description, eventTypes, disabled, sealedSecret } = endpoint;
  await UPSERT.run(tx, { merchantId, endpointId, url, description, eventTypes, disabled, sealedSecret, now });
}

const UPSERT = statement({
  params: { merchantId: text, ...MOVABLE, now: timestamptz },
  text: (p) => `
    insert into webhook_endpoint as e (merchant_id, ${columns(MOVABLE)}, created_at, updated_at)
    values (${p.merchantId}, ${values(MOVABLE, p)}, ${p.now}, ${p.now})
    on conflict (merchant_id, endpoint_id) do update
    set url = excluded.url, description = excluded.description, event_types = excluded.event_types,
      disabled = excluded.disabled, secret = excluded.secret, updated_at = excluded.updated_at, moved_at = null,
      failing_since = case when e.disabled and not excluded.disabled then null else e.failing_since end`,
});

/** Disables an endpoint that was deleted at Svix. Its deliveries and attempts are kept, so that they can be looked at. */
export async function disableDeletedElsewhere(
  db: Queryable,
  { merchantId, endpointId }: EndpointKey,
  now: Date,
): Promise<void> {
  await DISABLE_DELETED.run(db, { merchantId, endpointId, now });
}

const DISABLE_DELETED = statement({
  params: { merchantId: text, endpointId: text, now: timestamptz },
  text: ({ merchantId, endpointId, now }) => `
    update webhook_endpoint set disabled = true, moved_at = null, updated_at = ${now}
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId}`,
});
