import { bigint, boolean, integer, json, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { CustomerKey } from '../ledger/entry.ts';
import { erasedHashSql } from './links.ts';
import { lockCustomer } from './store.ts';

/** Erasing what is known of a customer: what stands in the customers' tables, and how far the rest has come. */

type ErasurePhase = 'entries' | 'payments' | 'messages';

/** A request to erase, which is worked off piece by piece. */
export interface CustomerErasure extends CustomerKey {
  /** When it was asked for the last time; no two times are the same, so it says which request a piece of work belongs to. */
  readonly requestedAt: Date;
  /** Also the reasons and metadata of entries. */
  readonly withTexts: boolean;
  readonly phase: ErasurePhase;
  /** Where the phase goes on, in its own form; null at its start. */
  readonly place: unknown;
  /** How many entries, events and messages were emptied or deleted so far. */
  readonly entries: number;
  readonly events: number;
  readonly messages: number;
  /** How many events and messages the last pass had to keep, since they are in dispute, unfinished or not delivered yet. */
  readonly kept: number;
  /** Null while something is left. */
  readonly finishedAt: Date | null;
}

const ERASURE = table('customer_erasure', {
  ...{ merchantId: text, customerId: text, requestedAt: timestamptz, withTexts: boolean },
  ...{ phase: oneOf<ErasurePhase>(), place: nullable(json<unknown>()) },
  ...{ entries: integer, events: integer, messages: integer, kept: integer, finishedAt: nullable(timestamptz) },
});

/**
 * Removes the customer's name, addresses, number and metadata, keeps links as hashes only, and notes that the rest is to be
 * erased. Asked again, it begins again with what has come since.
 * @throws {RefusalError} CUSTOMER_NOT_FOUND
 */
export async function eraseCustomer(
  tx: Tx,
  { merchantId, customerId, withTexts }: CustomerKey & { readonly withTexts: boolean },
  now: Date,
): Promise<CustomerErasure> {
  const key = { merchantId, customerId };
  await lockCustomer(tx, merchantId, customerId);
  await EMPTY_CUSTOMER.run(tx, key);
  await KEEP_HASHES.run(tx, key);
  await DELETE_LINKS_OF.run(tx, key);
  return BEGIN.one(tx, { ...key, withTexts, now });
}

const KEY = { merchantId: text, customerId: text };

const EMPTY_CUSTOMER = statement({
  params: KEY,
  text: ({ merchantId, customerId }) => `
    update customer set email = '', name = '', phone_number = null, metadata = '{}'
    where merchant_id = ${merchantId} and customer_id = ${customerId}`,
});

const KEEP_HASHES = statement({
  params: KEY,
  text: ({ merchantId, customerId }) => `
    insert into erased_link (merchant_id, source_id, provider_customer_hash, customer_id, cause, named_at, created_at)
    select l.merchant_id, l.source_id, ${erasedHashSql('l.merchant_id', 'l.provider_customer_id')}, l.customer_id, l.cause,
      l.named_at, l.created_at
    from customer_link l
    where l.merchant_id = ${merchantId} and l.customer_id = ${customerId}
    order by 1, 2, 3
    on conflict (merchant_id, source_id, provider_customer_hash) do update
    set customer_id = excluded.customer_id, cause = excluded.cause, named_at = excluded.named_at, created_at = excluded.created_at`,
});

const DELETE_LINKS_OF = statement({
  params: KEY,
  text: ({ merchantId, customerId }) =>
    `delete from customer_link where merchant_id = ${merchantId} and customer_id = ${customerId}`,
});

const BEGIN = statement({
  params: { ...KEY, withTexts: boolean, now: timestamptz },
  row: ERASURE.shape,
  text: ({ merchantId, customerId, withTexts, now }) => `
    insert into customer_erasure as r (merchant_id, customer_id, requested_at, with_texts, phase, not_before)
    values (${merchantId}, ${customerId}, ${now}, ${withTexts}, 'entries', ${now})
    on conflict (merchant_id, customer_id) do update
    set requested_at = greatest(excluded.requested_at, (r.requested_at at time zone 'UTC' + interval '1 millisecond') at time zone 'UTC'), with_texts = r.with_texts or excluded.with_texts, phase = 'entries', place = null,
      kept = 0, not_before = excluded.not_before, finished_at = null
    returning ${columns(ERASURE.shape, 'r')}`,
});

/** What a piece of the work did, and where the next one begins. */
export interface ErasureStep {
  readonly phase: ErasurePhase;
  readonly place: unknown;
  readonly entries: number;
  readonly events: number;
  readonly messages: number;
  readonly kept: number;
  /** It begins again then, with nothing kept; null to go on at once. */
  readonly notBefore: Date | null;
  readonly finishedAt: Date | null;
}

/** Notes what a piece of the work did. @returns null if it was asked for again meanwhile: then it begins again, and the piece does not count */
export async function saveErasureStep(
  db: Queryable,
  { merchantId, customerId, requestedAt }: CustomerKey & Pick<CustomerErasure, 'requestedAt'>,
  step: ErasureStep,
): Promise<CustomerErasure | null> {
  return SAVE_STEP.first(db, { merchantId, customerId, requestedAt, ...step });
}

const SAVE_STEP = statement({
  params: {
    ...{ ...KEY, requestedAt: timestamptz, phase: text, place: nullable(json<unknown>()) },
    ...{ entries: integer, events: integer, messages: integer },
    ...{ kept: integer, notBefore: nullable(timestamptz), finishedAt: nullable(timestamptz) },
  },
  row: ERASURE.shape,
  text: (p) => `
    update customer_erasure r
    set phase = ${p.phase}, place = ${p.place}, entries = r.entries + ${p.entries}, events = r.events + ${p.events},
      messages = r.messages + ${p.messages}, kept = ${p.kept}, not_before = coalesce(${p.notBefore}, r.not_before),
      finished_at = ${p.finishedAt}
    where r.merchant_id = ${p.merchantId} and r.customer_id = ${p.customerId} and r.requested_at = ${p.requestedAt}
    returning ${columns(ERASURE.shape, 'r')}`,
});

/** Makes an erasure that could not go on due at a later time; where it has come to stays. */
export async function putOffErasure(
  db: Queryable,
  { merchantId, customerId, requestedAt }: CustomerKey & Pick<CustomerErasure, 'requestedAt'>,
  until: Date,
): Promise<void> {
  await PUT_OFF.run(db, { merchantId, customerId, requestedAt, until });
}

const PUT_OFF = statement({
  params: { ...KEY, requestedAt: timestamptz, until: timestamptz },
  text: (p) => `
    update customer_erasure set not_before = ${p.until}
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and requested_at = ${p.requestedAt} and finished_at is null`,
});

/** Erasures that are not finished and due: the longest due of each merchant first, so that as many of one as a run takes leave room for others'. */
export function dueErasures(db: Queryable, now: Date, limit: number): Promise<readonly CustomerErasure[]> {
  return DUE.all(db, { now, limit });
}

const DUE = statement({
  acrossMerchants: 'whoever has waited longest is next',
  params: { now: timestamptz, limit: bigint },
  row: ERASURE.shape,
  text: ({ now, limit }) => `
    select ${columns(ERASURE.shape)} from customer_erasure
    where finished_at is null and not_before <= ${now}
    order by row_number() over (partition by merchant_id order by not_before, customer_id), not_before, merchant_id limit ${limit}`,
});
