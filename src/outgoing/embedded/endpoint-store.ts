import { array, boolean, named, nullable, present, text, timestamptz } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import { columns, omit, pick, table } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import type { EndpointInput, EndpointKey, WebhookEndpoint } from '../outgoing.ts';
import type { DeliveryKey } from './delivery-store.ts';

/** The embedded sender's endpoints and their secrets, which are encrypted where there is a key to do it with. */

/** What a secret of an endpoint is sealed for, so that it does not open as that of another. Its old secrets have the same place. */
export function endpointPlace(merchantId: string, endpointId: string): string {
  return `endpoint ${merchantId} ${endpointId}`;
}

const ENDPOINT = table('webhook_endpoint', {
  merchantId: text,
  endpointId: text,
  url: text,
  description: text,
  eventTypes: nullable(array(text)),
  disabled: boolean,
  secret: text,
  createdAt: timestamptz,
  updatedAt: timestamptz,
});
const SHOWN = {
  id: named('endpoint_id', text),
  ...pick(ENDPOINT.shape, 'url', 'description', 'eventTypes', 'disabled', 'createdAt', 'updatedAt'),
};
const SHOWN_COLUMNS = `${columns(SHOWN, 'e')},
  coalesce((select h.names from webhook_endpoint_headers h
    where h.merchant_id = e.merchant_id and h.endpoint_id = e.endpoint_id), '{}') as header_names`;
const SHOWN_WITH_NAMES = { ...SHOWN, headerNames: array(text) };

/** Stores an endpoint without its headers; `secret` is sealed, where there is a key. */
export async function insertEndpoint(
  db: Queryable,
  endpoint: EndpointKey & EndpointInput & { readonly secret: string; readonly now: Date },
): Promise<void> {
  const { merchantId, endpointId, url, description, eventTypes, disabled, secret, now } = endpoint;
  await INSERT.run(db, { merchantId, endpointId, url, description, eventTypes, disabled, secret, now });
}

const INSERT = statement({
  params: { ...omit(ENDPOINT.shape, 'createdAt', 'updatedAt'), now: timestamptz },
  text: (p) => `
    insert into webhook_endpoint (${columns(ENDPOINT.shape)})
    values (${p.merchantId}, ${p.endpointId}, ${p.url}, ${p.description}, ${p.eventTypes}, ${p.disabled}, ${p.secret}, ${p.now}, ${p.now})`,
});

/** Oldest first. */
export async function selectEndpoints(db: Queryable, merchantId: string): Promise<readonly WebhookEndpoint[]> {
  return SELECT_ALL.all(db, { merchantId });
}

const SELECT_ALL = statement({
  params: { merchantId: text },
  row: SHOWN_WITH_NAMES,
  text: ({ merchantId }) => `
    select ${SHOWN_COLUMNS} from webhook_endpoint e where e.merchant_id = ${merchantId} order by e.created_at, e.endpoint_id`,
});

/**
 * An endpoint without its secret; null if the merchant has none of this id.
 * @param lock how its row is locked until the end of the transaction; not at all by default
 */
export async function selectEndpoint(
  db: Queryable,
  { merchantId, endpointId }: EndpointKey,
  lock: keyof typeof SELECT_ONE = '',
): Promise<WebhookEndpoint | null> {
  return SELECT_ONE[lock].first(db, { merchantId, endpointId });
}

const selectOne = (lock: string) =>
  statement({
    params: { merchantId: text, endpointId: text },
    row: SHOWN_WITH_NAMES,
    text: ({ merchantId, endpointId }) => `
      select ${SHOWN_COLUMNS} from webhook_endpoint e
      where e.merchant_id = ${merchantId} and e.endpoint_id = ${endpointId} ${lock}`,
  });
const SELECT_ONE = {
  '': selectOne(''),
  'for update': selectOne('for update'),
  'for key share': selectOne('for key share'),
};

/** Writes an endpoint that the transaction has locked. An endpoint that is enabled starts with a clean record. */
export async function updateEndpoint(
  tx: Tx,
  merchantId: string,
  { id, url, description, eventTypes, disabled, updatedAt }: WebhookEndpoint,
): Promise<void> {
  await UPDATE.run(tx, { merchantId, endpointId: id, url, description, eventTypes, disabled, updatedAt });
}

const UPDATE = statement({
  params: omit(ENDPOINT.shape, 'secret', 'createdAt'),
  text: (p) => `
    update webhook_endpoint
    set url = ${p.url}, description = ${p.description}, event_types = ${p.eventTypes}, disabled = ${p.disabled},
      updated_at = ${p.updatedAt}, failing_since = case when disabled and not ${p.disabled} then null else failing_since end
    where merchant_id = ${p.merchantId} and endpoint_id = ${p.endpointId}`,
});

/** Takes its deliveries and their attempts along. */
export async function deleteEndpoint(tx: Tx, merchantId: string, endpointId: string): Promise<boolean> {
  return (await DELETE.run(tx, { merchantId, endpointId })) === 1;
}

const DELETE = statement({
  params: { merchantId: text, endpointId: text },
  text: ({ merchantId, endpointId }) =>
    `delete from webhook_endpoint where merchant_id = ${merchantId} and endpoint_id = ${endpointId}`,
});

/** Those of the merchants who have no endpoint at all; to a disabled one what it misses can be sent again. */
export async function withoutEndpoint(db: Queryable, merchantIds: readonly string[]): Promise<readonly string[]> {
  return (await WITHOUT_ENDPOINT.all(db, { merchantIds })).map(({ merchantId }) => merchantId);
}

const WITHOUT_ENDPOINT = statement({
  name: 'without-endpoint',
  acrossMerchants: 'of those who have news, it asks who is heard',
  params: { merchantIds: array(text) },
  row: { merchantId: text },
  text: ({ merchantIds }) => `
    select m.merchant_id from unnest(${merchantIds}::text[]) as m (merchant_id)
    where not exists (select from webhook_endpoint e where e.merchant_id = m.merchant_id)`,
  textOnCitus: ({ merchantIds }) => `
    select m.merchant_id from unnest(${merchantIds}::text[]) as m (merchant_id)
    except select merchant_id from webhook_endpoint where merchant_id = any (${merchantIds})`,
});

/** The present secret of an endpoint as it is stored, perhaps sealed; null if there is no such endpoint. */
export async function selectSecret(db: Queryable, merchantId: string, endpointId: string): Promise<string | null> {
  return (await SELECT_SECRET.first(db, { merchantId, endpointId }))?.secret ?? null;
}

const SELECT_SECRET = statement({
  params: { merchantId: text, endpointId: text },
  row: { secret: text },
  text: ({ merchantId, endpointId }) =>
    `select secret from webhook_endpoint where merchant_id = ${merchantId} and endpoint_id = ${endpointId}`,
});

/** When each older secret, which still signs beside the present one, ends; ascending. The caller has locked the endpoint. */
export async function oldSecretEnds(
  tx: Tx,
  { merchantId, endpointId }: EndpointKey,
  now: Date,
): Promise<readonly Date[]> {
  const ends = await OLD_SECRET_ENDS.all(tx, { merchantId, endpointId, now });
  return ends.map(({ validUntil }) => validUntil);
}

const OLD_SECRET_ENDS = statement({
  params: { merchantId: text, endpointId: text, now: timestamptz },
  row: { validUntil: timestamptz },
  text: ({ merchantId, endpointId, now }) => `
    select old_secret_until as valid_until from webhook_endpoint
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId} and old_secret_until > ${now}
    union all
    select valid_until from webhook_older_secret
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId} and valid_until > ${now}
    order by 1`,
});

/** Replaces the secret. The present one goes on signing until `oldUntil`, and older ones until the end that they have. */
export async function replaceSecret(
  tx: Tx,
  { merchantId, endpointId }: EndpointKey,
  { secret, oldUntil, now }: { readonly secret: string; readonly oldUntil: Date; readonly now: Date },
): Promise<void> {
  await DELETE_ENDED.run(tx, { merchantId, endpointId, now });
  await KEEP_OLD.run(tx, { merchantId, endpointId, now });
  await REPLACE_SECRET.run(tx, { merchantId, endpointId, secret, oldUntil, now });
}

const DELETE_ENDED = statement({
  params: { merchantId: text, endpointId: text, now: timestamptz },
  text: ({ merchantId, endpointId, now }) => `
    delete from webhook_older_secret
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId} and valid_until <= ${now}`,
});

const KEEP_OLD = statement({
  params: { merchantId: text, endpointId: text, now: timestamptz },
  text: ({ merchantId, endpointId, now }) => `
    insert into webhook_older_secret (merchant_id, endpoint_id, secret, valid_until)
    select merchant_id, endpoint_id, old_secret, old_secret_until from webhook_endpoint
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId}
      and old_secret is not null and old_secret_until > ${now}`,
});

const REPLACE_SECRET = statement({
  params: { merchantId: text, endpointId: text, secret: text, oldUntil: timestamptz, now: timestamptz },
  text: ({ merchantId, endpointId, secret, oldUntil, now }) => `
    update webhook_endpoint
    set old_secret = secret, old_secret_until = ${oldUntil}, secret = ${secret}, updated_at = ${now}
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId}`,
});

/** Notes that an endpoint took a message, so that its earlier failures no longer count. */
export async function noteSuccess(tx: Tx, { merchantId, endpointId }: DeliveryKey): Promise<void> {
  await NOTE_SUCCESS.run(tx, { merchantId, endpointId });
}

const NOTE_SUCCESS = statement({
  params: { merchantId: text, endpointId: text },
  text: ({ merchantId, endpointId }) => `
    update webhook_endpoint set failing_since = null
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId} and failing_since is not null`,
});

/** An endpoint that was given up. */
export interface GivenUp {
  readonly description: string;
  readonly failingSince: Date;
}

/**
 * Notes a failure, and disables the endpoint if it has only failed since `failingSinceBefore` or longer.
 * @returns the endpoint if this failure disabled it, else null
 */
export async function noteFailure(
  tx: Tx,
  { merchantId, endpointId }: DeliveryKey,
  { now, failingSinceBefore }: { readonly now: Date; readonly failingSinceBefore: Date },
): Promise<GivenUp | null> {
  const noted = await NOTE_FAILURE.first(tx, { merchantId, endpointId, now, failingSinceBefore });
  return noted?.disabled ? { description: noted.description, failingSince: noted.failingSince } : null;
}

const NOTE_FAILURE = statement({
  params: { merchantId: text, endpointId: text, now: timestamptz, failingSinceBefore: timestamptz },
  row: { disabled: boolean, description: text, failingSince: present(timestamptz) },
  text: ({ merchantId, endpointId, now, failingSinceBefore }) => `
    update webhook_endpoint
    set failing_since = coalesce(failing_since, ${now}), disabled = coalesce(failing_since <= ${failingSinceBefore}, false)
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId} and not disabled
      and (failing_since is null or failing_since <= ${failingSinceBefore})
    returning disabled, description, failing_since`,
});
