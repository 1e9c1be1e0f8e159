import { eachMerchant } from '../../db/by-merchant.ts';
import { array, bigint, boolean, float, nullable, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns, pick, table } from '../../db/table.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { EndpointKey, EntryRange } from '../outgoing.ts';

/** What we know of what Svix keeps for us: its ids of our messages, and how its endpoints were when we last looked. */

export interface SentMessage {
  readonly merchantId: string;
  /** The id by which Svix and the merchant know the message. */
  readonly messageId: string;
  readonly svixMessageId: string;
  readonly eventType: string;
  /** The only endpoint it was for; null for every endpoint that wanted it. */
  readonly endpointId: string | null;
  readonly range: EntryRange | null;
}

/** Notes messages that Svix has, in one statement. A message that was noted before without its range of entries now gets it. */
export async function insertSent(db: Queryable, messages: readonly SentMessage[], sentAt: Date): Promise<void> {
  await eachMerchant(messages, (merchantId, own) =>
    INSERT_SENT.run(db, {
      merchantId,
      messages: own.map(({ range, ...message }) => ({
        ...message,
        customerId: range?.customerId ?? null,
        currency: range?.currency ?? null,
        firstSeq: range?.firstSeq ?? null,
        lastSeq: range?.lastSeq ?? null,
      })),
      sentAt,
    }),
  );
}

const SENT = table('svix_message', {
  messageId: text,
  svixMessageId: text,
  eventType: text,
  endpointId: nullable(text),
  customerId: nullable(text),
  currency: nullable(text),
  firstSeq: nullable(bigint),
  lastSeq: nullable(bigint),
});

const INSERT_SENT = statement({
  name: 'insert-sent',
  params: { merchantId: text, messages: rowsOf(SENT.shape), sentAt: timestamptz },
  text: ({ merchantId, messages, sentAt }) => `
    with watched as (insert into svix_merchant (merchant_id) values (${merchantId}) on conflict do nothing),
    sent as (
      insert into svix_message (merchant_id, ${columns(SENT.shape)}, sent_at)
      select ${merchantId}, ${columns(SENT.shape, 's')}, ${sentAt} from ${messages('s')}
      on conflict (merchant_id, message_id) do update
        set customer_id = excluded.customer_id, currency = excluded.currency,
          first_seq = excluded.first_seq, last_seq = excluded.last_seq
        where svix_message.customer_id is null and excluded.customer_id is not null
      returning 1)
    select 1 from sent`,
});

export interface KnownSent extends Pick<SentMessage, 'messageId' | 'svixMessageId' | 'eventType' | 'endpointId'> {
  readonly sentAt: Date;
}

const KNOWN = { ...pick(SENT.shape, 'messageId', 'svixMessageId', 'eventType', 'endpointId'), sentAt: timestamptz };

/** What is known of a message that was handed to Svix; null if it is not known or was forgotten. */
export async function selectSent(db: Queryable, merchantId: string, messageId: string): Promise<KnownSent | null> {
  return SELECT_SENT.first(db, { merchantId, messageId });
}

const SELECT_SENT = statement({
  params: { merchantId: text, messageId: text },
  row: KNOWN,
  text: ({ merchantId, messageId }) =>
    `select ${columns(KNOWN)} from svix_message where merchant_id = ${merchantId} and message_id = ${messageId}`,
});

/** By Svix's ids. */
export async function selectSentBySvixId(
  db: Queryable,
  merchantId: string,
  svixMessageIds: readonly string[],
): Promise<ReadonlyMap<string, KnownSent>> {
  const found = await SELECT_BY_SVIX_ID.all(db, { merchantId, svixMessageIds });
  return new Map(found.map((sent) => [sent.svixMessageId, sent]));
}

const SELECT_BY_SVIX_ID = statement({
  params: { merchantId: text, svixMessageIds: array(text) },
  row: KNOWN,
  text: ({ merchantId, svixMessageIds }) => `
    select ${columns(KNOWN)} from svix_message
    where merchant_id = ${merchantId} and svix_message_id = any (${svixMessageIds})`,
});

/** Takes away up to `limit` notes of messages handed over before a time. @returns how many */
export async function deleteSentBefore(db: Queryable, before: Date, limit: number): Promise<number> {
  return DELETE_SENT.run(db, { before, limit });
}

const DELETE_SENT = statement({
  acrossMerchants: 'age is the same for all of them',
  params: { before: timestamptz, limit: bigint },
  text: ({ before, limit }) => `
    delete from svix_message m using (
      select merchant_id, message_id from svix_message where sent_at < ${before} order by sent_at limit ${limit}) old
    where m.merchant_id = old.merchant_id and m.message_id = old.message_id`,
});

const ENDPOINT_KEY = { merchantId: text, endpointId: text };

/** Notes the state in which we left an endpoint, so that a difference later shows what Svix did by itself. */
export async function noteEndpoint(
  db: Queryable,
  { merchantId, endpointId }: EndpointKey,
  disabled: boolean,
): Promise<void> {
  await NOTE_ENDPOINT.run(db, { merchantId, endpointId, disabled });
}

const NOTE_ENDPOINT = statement({
  params: { ...ENDPOINT_KEY, disabled: boolean },
  text: ({ merchantId, endpointId, disabled }) => `
    with watched as (insert into svix_merchant (merchant_id) values (${merchantId}) on conflict do nothing)
    insert into svix_endpoint (merchant_id, endpoint_id, disabled) values (${merchantId}, ${endpointId}, ${disabled})
    on conflict (merchant_id, endpoint_id) do update set disabled = excluded.disabled`,
});

/** Notes that an endpoint has a copy, before it is made. */
export async function noteCopy(
  db: Queryable,
  { merchantId, endpointId }: EndpointKey,
  disabled: boolean,
): Promise<void> {
  await NOTE_COPY.run(db, { merchantId, endpointId, disabled });
}

const NOTE_COPY = statement({
  params: { ...ENDPOINT_KEY, disabled: boolean },
  text: ({ merchantId, endpointId, disabled }) => `
    insert into svix_endpoint (merchant_id, endpoint_id, disabled, has_copy)
    values (${merchantId}, ${endpointId}, ${disabled}, true)
    on conflict (merchant_id, endpoint_id) do update set has_copy = true where not svix_endpoint.has_copy`,
});

/** Whether a copy of an endpoint was made for messages that are for it alone. */
export async function hasCopy(db: Queryable, merchantId: string, endpointId: string): Promise<boolean> {
  return (await HAS_COPY.run(db, { merchantId, endpointId })) > 0;
}

const HAS_COPY = statement({
  params: ENDPOINT_KEY,
  text: ({ merchantId, endpointId }) =>
    `select 1 from svix_endpoint where merchant_id = ${merchantId} and endpoint_id = ${endpointId} and has_copy`,
});

/** Deletes the note of an endpoint at Svix. */
export async function forgetEndpoint(db: Queryable, merchantId: string, endpointId: string): Promise<void> {
  await FORGET.run(db, { merchantId, endpointId });
}

const FORGET = statement({
  params: ENDPOINT_KEY,
  text: ({ merchantId, endpointId }) =>
    `delete from svix_endpoint where merchant_id = ${merchantId} and endpoint_id = ${endpointId}`,
});

/** Forgets the merchant's endpoints that are not among those that Svix has. */
export async function forgetEndpointsBut(
  db: Queryable,
  merchantId: string,
  endpointIds: readonly string[],
): Promise<void> {
  await FORGET_BUT.run(db, { merchantId, endpointIds });
}

const FORGET_BUT = statement({
  params: { merchantId: text, endpointIds: array(text) },
  text: ({ merchantId, endpointIds }) =>
    `delete from svix_endpoint where merchant_id = ${merchantId} and not endpoint_id = any (${endpointIds})`,
});

/** Which of the merchant's endpoints we last knew enabled. */
export async function selectEnabled(db: Queryable, merchantId: string): Promise<ReadonlySet<string>> {
  return new Set((await SELECT_ENABLED.all(db, { merchantId })).map(({ endpointId }) => endpointId));
}

const SELECT_ENABLED = statement({
  params: { merchantId: text },
  row: { endpointId: text },
  text: ({ merchantId }) => `select endpoint_id from svix_endpoint where merchant_id = ${merchantId} and not disabled`,
});

/** Notes that an endpoint is disabled. @returns true if it was known as enabled until now */
export async function noteDisabled(db: Queryable, merchantId: string, endpointId: string): Promise<boolean> {
  return (await NOTE_DISABLED.run(db, { merchantId, endpointId })) === 1;
}

const NOTE_DISABLED = statement({
  params: ENDPOINT_KEY,
  text: ({ merchantId, endpointId }) => `
    update svix_endpoint set disabled = true
    where merchant_id = ${merchantId} and endpoint_id = ${endpointId} and not disabled`,
});

/** Takes the merchants that were looked at the longest ago, and not within the last `seconds`. */
export async function takeMerchantsToLookAt(db: Queryable, seconds: number, limit: number): Promise<readonly string[]> {
  const taken: string[] = [];
  for (const { merchantId } of await MERCHANTS_DUE.all(db, { seconds, limit }))
    if ((await TAKE_MERCHANT.run(db, { merchantId, seconds })) > 0) taken.push(merchantId);
  return taken;
}

const MERCHANTS_DUE = statement({
  acrossMerchants: 'who was looked at the longest ago is next',
  params: { seconds: float, limit: bigint },
  row: { merchantId: text },
  text: ({ seconds, limit }) => `
    select merchant_id from svix_merchant
    where looked_at is null or looked_at < now() - make_interval(secs => ${seconds})
    order by looked_at nulls first limit ${limit}`,
});

const TAKE_MERCHANT = statement({
  params: { merchantId: text, seconds: float },
  text: ({ merchantId, seconds }) => `
    update svix_merchant set looked_at = now()
    where merchant_id = ${merchantId} and (looked_at is null or looked_at < now() - make_interval(secs => ${seconds}))`,
});
