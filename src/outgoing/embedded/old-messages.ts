import { bigint, text, timestamptz } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { CustomerKey } from '../../ledger/entry.ts';

/** What the embedded sender and the recoveries keep for a time: messages with their deliveries and attempts, and past recoveries. */

interface Oldest {
  readonly merchantId: string;
  readonly before: Date;
  /** At most so many. */
  readonly limit: number;
}

const OLDEST = { merchantId: text, before: timestamptz, limit: bigint };

type Places = Readonly<Record<keyof typeof OLDEST, string>>;

/**
 * SQL for whether a message under an alias is still to be delivered to an endpoint. It asks for the time that only pending ones have: by their
 * state Postgres may read all of the merchant's that are pending for each message, where it knows nothing of the table yet.
 */
const isPending = (m: string) => `exists (
      select 1 from webhook_delivery d
      where d.merchant_id = ${m}.merchant_id and d.message_id = ${m}.message_id and d.next_attempt_at is not null offset 0)`;

/**
 * Whence messages come that were stored before a time. One that is still to be delivered stays; so does one that a recovery under way may offer, which would
 * else make it again from the ledger and send it to an endpoint that has it.
 */
const messagesBefore = ({ merchantId, before, limit }: Places) => `
  from webhook_message m
  where m.merchant_id = ${merchantId} and m.created_at < ${before}
    and not ${isPending('m')}
    and not exists (
      select 1 from webhook_recovery r
      where r.merchant_id = ${merchantId} and r.state = 'running' and r.since <= m.created_at offset 0)
  order by m.created_at, m.message_id limit ${limit}`;

/** Deletes messages stored before a time with their deliveries and attempts, the oldest first. @returns how many messages */
export async function forgetMessages(db: Queryable, oldest: Oldest): Promise<number> {
  return FORGET_MESSAGES.run(db, { ...oldest });
}

const FORGET_MESSAGES = statement({
  params: OLDEST,
  text: (p) => `
    with old as (select m.message_id ${messagesBefore(p)} for update of m skip locked),
    -- Their attempts go with them.
    deliveries as (
      delete from webhook_delivery d using old where d.merchant_id = ${p.merchantId} and d.message_id = old.message_id)
    delete from webhook_message m using old where m.merchant_id = ${p.merchantId} and m.message_id = old.message_id`,
});

/** How many {@link forgetMessages} would delete. */
export async function countMessages(db: Queryable, oldest: Oldest): Promise<number> {
  return (await COUNT_MESSAGES.one(db, { ...oldest })).count;
}

const COUNT_MESSAGES = statement({
  params: OLDEST,
  row: { count: bigint },
  text: (p) => `select count(*) from (select 1 ${messagesBefore(p)}) m`,
});

/**
 * Deletes up to `limit` messages of a customer's wallets with their deliveries and attempts. One that is still to be delivered stays. Asked to
 * recover, an endpoint gets such messages made anew from the ledger, as it has the texts by then.
 * @returns how many
 */
export async function forgetMessagesOf(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  limit: number,
): Promise<number> {
  return FORGET_OF.run(db, { merchantId, customerId, limit });
}

const FORGET_OF = statement({
  params: { merchantId: text, customerId: text, limit: bigint },
  text: ({ merchantId, customerId, limit }) => `
    with theirs as (
      select m.message_id from webhook_message m
      where m.merchant_id = ${merchantId} and m.customer_id = ${customerId} and not ${isPending('m')}
      order by m.message_id limit ${limit}
      for update of m skip locked),
    deliveries as (
      delete from webhook_delivery d using theirs where d.merchant_id = ${merchantId} and d.message_id = theirs.message_id)
    delete from webhook_message m using theirs where m.merchant_id = ${merchantId} and m.message_id = theirs.message_id`,
});

/** How many messages of a customer's wallets there are. */
export async function countMessagesOf(db: Queryable, { merchantId, customerId }: CustomerKey): Promise<number> {
  return (await COUNT_OF.one(db, { merchantId, customerId })).count;
}

const COUNT_OF = statement({
  params: { merchantId: text, customerId: text },
  row: { count: bigint },
  text: ({ merchantId, customerId }) =>
    `select count(*) from webhook_message where merchant_id = ${merchantId} and customer_id = ${customerId}`,
});

/** Whence recoveries come that ended before a time. */
const recoveriesBefore = ({ merchantId, before, limit }: Places) => `
  from webhook_recovery
  where merchant_id = ${merchantId} and state <> 'running' and finished_at < ${before} limit ${limit}`;

/** Deletes recoveries that ended before a time. @returns how many */
export async function forgetRecoveries(db: Queryable, oldest: Oldest): Promise<number> {
  return FORGET_RECOVERIES.run(db, { ...oldest });
}

const FORGET_RECOVERIES = statement({
  params: OLDEST,
  text: (p) => `
    with old as (select recovery_id ${recoveriesBefore(p)})
    delete from webhook_recovery r using old where r.merchant_id = ${p.merchantId} and r.recovery_id = old.recovery_id`,
});

/** How many {@link forgetRecoveries} would delete. */
export async function countRecoveries(db: Queryable, oldest: Oldest): Promise<number> {
  return (await COUNT_RECOVERIES.one(db, { ...oldest })).count;
}

const COUNT_RECOVERIES = statement({
  params: OLDEST,
  row: { count: bigint },
  text: (p) => `select count(*) from (select 1 ${recoveriesBefore(p)}) r`,
});
