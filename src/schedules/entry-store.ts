import { bigint, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { merchantsDue } from '../db/merchant-walk.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { assignments, columns, omit, pick, values } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { CustomerKey } from '../ledger/entry.ts';
import type { ScheduledEntry } from './scheduled-entry.ts';
import { ENTRY_PROGRESS, SCHEDULED_ENTRY, WAITING_ENTRIES } from './tables.ts';

/** The rows of scheduled entries. */

export interface EntryKey extends CustomerKey {
  readonly scheduledEntryId: string;
}

const { shape } = SCHEDULED_ENTRY;
const OWN = pick(shape, 'customerId', 'scheduledEntryId');
const KEY = pick(shape, 'merchantId', 'customerId', 'scheduledEntryId');

/** @returns false if there is one under its idempotency key */
export async function insertEntry(db: Queryable, entry: ScheduledEntry): Promise<boolean> {
  return (await INSERT.run(db, entry)) === 1;
}

const INSERT = statement({
  params: shape,
  text: (p) => `
    insert into scheduled_entry (${columns(shape)}) values (${values(shape, p)})
    on conflict (merchant_id, customer_id, idempotency_key) do nothing`,
});

export async function findEntryByKey(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  idempotencyKey: string,
): Promise<ScheduledEntry | null> {
  return BY_KEY.first(db, { merchantId, customerId, idempotencyKey });
}

const BY_KEY = statement({
  params: pick(shape, 'merchantId', 'customerId', 'idempotencyKey'),
  row: shape,
  text: (p) => `
    select ${columns(shape)} from scheduled_entry
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and idempotency_key = ${p.idempotencyKey}`,
});

export async function getScheduledEntry(db: Queryable, key: EntryKey): Promise<ScheduledEntry | null> {
  return GET.first(db, { ...key });
}

const GET = statement({
  params: KEY,
  row: shape,
  text: (p) => `
    select ${columns(shape)} from scheduled_entry
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and scheduled_entry_id = ${p.scheduledEntryId}`,
});

export interface ScheduledQuery {
  readonly state: ScheduledEntry['state'] | null;
  readonly currency: string | null;
  /** Only those that were made before this one: a cursor that new ones do not move. */
  readonly beforeId: string | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of a customer's scheduled entries, those first that were made last; their ids sort by time. */
export async function listScheduledEntries(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  query: ScheduledQuery,
): Promise<readonly ScheduledEntry[]> {
  return LIST.all(db, { ...query, merchantId, customerId, offset: query.pageSize * query.pageNumber });
}

const LIST = statement({
  params: {
    merchantId: text,
    customerId: text,
    state: nullable(oneOf<ScheduledEntry['state']>()),
    currency: nullable(text),
    beforeId: nullable(text),
    pageSize: bigint,
    offset: bigint,
  },
  row: shape,
  text: (p) => `
    select ${columns(shape)} from scheduled_entry
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId}
      and (${p.beforeId}::text is null or scheduled_entry_id < ${p.beforeId})
      and (${p.state}::text is null or state = ${p.state}) and (${p.currency}::text is null or currency = ${p.currency})
    order by scheduled_entry_id desc
    limit ${p.pageSize} offset ${p.offset}`,
});

/** How many of a customer wait for their time, counted up to `most`. */
export async function countScheduled(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  most: number,
): Promise<number> {
  return (await COUNT.one(db, { merchantId, customerId, most })).count;
}

const COUNT = statement({
  params: { merchantId: text, customerId: text, most: bigint },
  row: { count: bigint },
  text: (p) => `
    select count(*) as count
    from (
      select from scheduled_entry
      where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and due_at is not null
      limit ${p.most}) s`,
});

/** @returns the entry as it is then; null if it did not wait for its time any more */
export async function cancelEntry(db: Queryable, key: EntryKey, now: Date): Promise<ScheduledEntry | null> {
  return CANCEL.first(db, { ...key, now });
}

const CANCEL = statement({
  params: { ...KEY, now: timestamptz },
  row: shape,
  text: (p) => `
    update scheduled_entry set state = 'canceled', due_at = null, ended_at = ${p.now}
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and scheduled_entry_id = ${p.scheduledEntryId}
      and state = 'scheduled'
    returning ${columns(shape)}`,
});

export const merchantsWithDueEntries = merchantsDue(WAITING_ENTRIES);

export type OwnEntryKey = Omit<EntryKey, 'merchantId'>;

/** The first of a merchant that are due, without locks. */
export async function dueEntries(
  db: Queryable,
  merchantId: string,
  { now, limit }: { readonly now: Date; readonly limit: number },
): Promise<readonly OwnEntryKey[]> {
  return DUE.all(db, { merchantId, now, limit });
}

const DUE = statement({
  params: { merchantId: text, now: timestamptz, limit: bigint },
  row: OWN,
  text: (p) => `
    select ${columns(OWN)} from scheduled_entry
    where merchant_id = ${p.merchantId} and due_at <= ${p.now}
    order by due_at
    limit ${p.limit}`,
});

/** Locks those that are still due, in the order in which they are; what somebody else has locked is left out. */
export async function lockDueEntries(
  tx: Tx,
  merchantId: string,
  { keys, now }: { readonly keys: readonly OwnEntryKey[]; readonly now: Date },
): Promise<readonly ScheduledEntry[]> {
  return LOCK_DUE.all(tx, { merchantId, keys, now });
}

const LOCK_DUE = statement({
  params: { merchantId: text, keys: rowsOf(OWN), now: timestamptz },
  row: shape,
  text: ({ merchantId, keys, now }) => `
    select ${columns(shape, 's')}
    from scheduled_entry s join ${keys('k', { merchantId })} using (merchant_id, customer_id, scheduled_entry_id)
    where s.due_at <= ${now}
    order by s.due_at, s.scheduled_entry_id
    for update of s skip locked`,
});

/** Writes what became of locked entries. @returns how many were written */
export async function saveEntries(tx: Tx, merchantId: string, entries: readonly ScheduledEntry[]): Promise<number> {
  return SAVE.run(tx, { merchantId, entries });
}

const SAVE = statement({
  params: { merchantId: text, entries: rowsOf({ ...OWN, ...ENTRY_PROGRESS }) },
  text: ({ merchantId, entries }) => `
    update scheduled_entry s
    set ${assignments(ENTRY_PROGRESS, 'n')}
    from ${entries('n', { merchantId })}
    where s.merchant_id = n.merchant_id and s.customer_id = n.customer_id and s.scheduled_entry_id = n.scheduled_entry_id`,
});

export async function putOffEntries(
  db: Queryable,
  merchantId: string,
  { keys, now, until }: { readonly keys: readonly OwnEntryKey[]; readonly now: Date; readonly until: Date },
): Promise<void> {
  await PUT_OFF.run(db, { merchantId, keys, now, until });
}

const PUT_OFF = statement({
  params: { merchantId: text, keys: rowsOf(OWN), now: timestamptz, until: timestamptz },
  text: ({ merchantId, keys, now, until }) => `
    update scheduled_entry s
    set due_at = ${until}
    from ${keys('k', { merchantId })}
    where s.merchant_id = k.merchant_id and s.customer_id = k.customer_id and s.scheduled_entry_id = k.scheduled_entry_id
      and s.due_at <= ${now}`,
});

/** Strikes the texts of all scheduled entries of a customer out; those that are still to come are posted without them. */
export async function eraseEntryTexts(db: Queryable, { merchantId, customerId }: CustomerKey): Promise<void> {
  await ERASE.run(db, { merchantId, customerId });
}

const ERASE = statement({
  params: omit(KEY, 'scheduledEntryId'),
  text: (p) => `
    update scheduled_entry set reason = null, metadata = null, lot_name = null
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId}
      and (reason is not null or metadata is not null or lot_name is not null)`,
});
