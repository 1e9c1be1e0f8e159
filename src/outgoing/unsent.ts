import { mayBeOfOneMerchant, transactionsAtOnce, whereItCan } from '../db/apart.ts';
import { Batcher } from '../db/batcher.ts';
import { eachMerchant, ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, float, integer, text, timestamptz } from '../db/codec.ts';
import { Failures } from '../db/failures.ts';
import { BOUNDED_ELSEWHERE } from '../db/fair-queue.ts';
import type { Pool } from '../db/pool.ts';
import { isOutage } from '../db/sqlstate.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, pick, table } from '../db/table.ts';
import { autocommit, type Queryable, type Tx, transaction } from '../db/transaction.ts';
import { dueInSeconds, IS_DUE, inTurns, ofOthers, thatFit } from '../db/work-list.ts';
import type { Logger } from '../telemetry/log.ts';
import { LEASE_SECONDS, RENEW_MS, UNCLAIMED_SECONDS } from './claim.ts';
import type { OutgoingMessage } from './outgoing.ts';
import { passOverMessages } from './pass-over-messages.ts';
import { failedUnexpectedly, type Publisher, type SendResult, secondsUntilRetry } from './publisher.ts';

/** Messages that say nothing of a wallet's balance: they wait in a table of their own until they are handed over. */

/** Leaves messages to be sent, in the transaction that makes them true. */
export async function leaveMessages(tx: Tx, messages: readonly OutgoingMessage[], now: Date): Promise<void> {
  await eachMerchant(messages, (merchantId, own) => LEAVE.run(tx, { merchantId, messages: own, now }));
}

const UNSENT = table('unsent_message', {
  merchantId: text,
  messageId: text,
  eventType: text,
  payload: text,
  attempts: integer,
});
const MESSAGE = pick(UNSENT.shape, 'messageId', 'eventType', 'payload');

const LEAVE = statement({
  name: 'leave-messages',
  params: { merchantId: text, messages: rowsOf(MESSAGE), now: timestamptz },
  text: ({ merchantId, messages, now }) => `
    insert into unsent_message (merchant_id, ${columns(MESSAGE)}, since)
    select ${merchantId}, ${columns(MESSAGE, 'n')}, ${now} from ${messages('n')} on conflict do nothing`,
});

/** How one try went, over all messages claimed. */
export interface UnsentResult {
  readonly messages: number;
  readonly deferred: number;
  readonly failed: number;
  /** True if there may be more that are due. */
  readonly unfinished: boolean;
  readonly retryAfterSeconds: number | null;
}

/** The messages of one claim are sent at the same time, and beside those of wallets. */
const MAX_CLAIMED = 100;
/** The bytes of one claim's payloads, of which those of other merchants may have half, unless the first alone of either is larger. */
const MAX_CLAIMED_BYTES = 1024 * 1024;

/** Hands over what is due, and takes off what nobody would hear. A message that fails is tried again later, under its own id. */
export async function sendUnsent(pool: Pool, publisher: Publisher, logger: Logger): Promise<UnsentResult> {
  const passed = await passOverMessages(pool, publisher, logger);
  const claimed: ClaimedMessage[] = [];
  // A renewal that fails does no harm: if another process sends the message as well, it has the same id.
  const renewal = setInterval(() => void whereItCan(pool, claimed, (own) => renew(autocommit(pool), own)), RENEW_MS);
  const sending = claimAndSend(pool, { publisher, logger }, claimed).finally(() => clearInterval(renewal));
  const { results, isAnyUnclaimed } = await sending;
  const dueInSeconds = await unsentDueInSeconds(autocommit(pool));
  return {
    messages: results.filter((kind) => kind === 'sent').length,
    deferred: results.filter((kind) => kind === 'deferred').length,
    failed: results.filter((kind) => kind === 'failed').length,
    unfinished: dueInSeconds === 0 && (passed > 0 || results.includes('sent')),
    retryAfterSeconds:
      dueInSeconds === null ? null : Math.max(isAnyUnclaimed ? UNCLAIMED_SECONDS : 1, Math.ceil(dueInSeconds)),
  };
}

/** @param claimed takes up each merchant's messages once they are claimed */
async function claimAndSend(
  pool: Pool,
  { publisher, logger }: Pick<Sending, 'publisher' | 'logger'>,
  claimed: ClaimedMessage[],
): Promise<{ readonly results: readonly Sent[]; readonly isAnyUnclaimed: boolean }> {
  const isAnyUnclaimed = !(await claim(autocommit(pool), claimed, logger));
  const records = recordsOf(pool, publisher);
  const sending = claimed.map((message) => sendOne(pool, { publisher, records, logger }, message));
  await Promise.allSettled(sending);
  return { results: await Promise.all(sending), isAnyUnclaimed };
}

interface ClaimedMessage extends OutgoingMessage {
  readonly attempts: number;
}

type Sent = SendResult['kind'];

interface Sending {
  readonly publisher: Publisher;
  readonly records: Batcher<ClaimedMessage, null>;
  readonly logger: Logger;
}

async function sendOne(pool: Pool, sending: Sending, message: ClaimedMessage): Promise<Sent> {
  const { publisher, records, logger } = sending;
  const unexpectedly = (error: unknown) => failedUnexpectedly(error, message.attempts);
  const record = async (): Promise<SendResult> => {
    await records.submit(message);
    return { kind: 'sent' };
  };
  const handedOver = await publisher.send([message]).catch(unexpectedly);
  const sent =
    handedOver.kind !== 'sent'
      ? handedOver
      : await record().catch((error: unknown) => {
          if (isOutage(error) && !mayBeOfOneMerchant(error)) throw error;
          const { merchantId, messageId } = message;
          logger.error({ err: error, merchantId, messageId }, 'a message went wrong and is tried again');
          return unexpectedly(error);
        });
  if (sent.kind === 'sent') return 'sent';
  const afterSeconds = secondsUntilRetry(sent, message.attempts);
  await postpone(autocommit(pool), message, { ...sent, afterSeconds }).catch((error: unknown) => {
    if (isOutage(error) && !mayBeOfOneMerchant(error)) throw error;
    logger.debug({ err: error }, 'a message was not put off; it is tried again when its lease ends');
  });
  return sent.kind;
}

/** Takes messages off that were handed over, those of the same moment in one transaction. */
function recordsOf(pool: Pool, publisher: Publisher): Sending['records'] {
  return new Batcher({
    maxBatch: { items: MAX_CLAIMED, bytes: Number.POSITIVE_INFINITY },
    // By what was claimed.
    maxWaiting: BOUNDED_ELSEWHERE,
    ownerOf: ({ merchantId }) => merchantId,
    apart: transactionsAtOnce(pool, 'worker'),
    flush: async (messages) => {
      await transaction(pool, async (tx) => {
        const taken = await ofEachMerchant(messages, (merchantId, own) =>
          TAKE_OFF.all(tx, { merchantId, ids: own.map(({ messageId }) => messageId) }),
        );
        const ids = new Set(taken.map(({ messageId }) => messageId));
        // Where a row is gone, another process has recorded the message already.
        const own = messages.filter(({ messageId }) => ids.has(messageId));
        if (own.length > 0) await publisher.record(tx, own);
      });
      publisher.committed?.();
      return messages.map(() => null);
    },
  });
}

/**
 * Locked in one order for everybody: another process may have claimed the same, once their lease was over. The ids are a condition on the key, and
 * no join: its plan is kept, and one that was made while the table was empty read all of it for each of them.
 */
const TAKE_OFF = statement({
  name: 'take-off-messages',
  params: { merchantId: text, ids: array(text) },
  row: { messageId: text },
  text: ({ merchantId, ids }) => `
    with own as materialized (
      select u.message_id from unsent_message u
      where u.merchant_id = ${merchantId} and u.message_id = any (${ids})
      order by u.message_id
      for update of u)
    delete from unsent_message u
    where u.merchant_id = ${merchantId} and u.message_id = any (array(select message_id from own))
    returning u.message_id`,
});

/** Seconds until the next message is due: 0 if one is due now, null if none waits. */
export const unsentDueInSeconds = dueInSeconds('unsent_message', {
  name: 'messages-due-in',
  why: 'the sender sleeps until any message is due',
});

/** Where more are due than are claimed at a time: so many of each other merchant, and of all of them. */
const OF_OTHERS = { each: 2, limit: 50 };

/** Those of each merchant by themselves: what cannot be claimed of one is looked for again by the next run, and the others' are sent. @returns whether all could be */
async function claim(db: Queryable, claimed: ClaimedMessage[], logger: Logger): Promise<boolean> {
  const oldest = await DUE.all(db, { maxMessages: MAX_CLAIMED, maxBytes: MAX_CLAIMED_BYTES });
  const isFull = oldest.some(({ found }) => found === MAX_CLAIMED || found > oldest.length);
  const taken = [...new Set(oldest.map((one) => one.merchantId))];
  const others = isFull ? await dueOfOthers(db, { ...OF_OTHERS, taken, maxBytes: MAX_CLAIMED_BYTES / 2 }) : [];
  const bytesOfOthers = others.reduce((sum, { bytes }) => sum + bytes, 0);
  const due = [...thatFit(oldest, MAX_CLAIMED_BYTES - bytesOfOthers), ...others];
  const failures = new Failures(null);
  let isWhole = true;
  await eachMerchant(due, async (merchantId, own) => {
    const claimOwn = () => CLAIM.all(db, { merchantId, messages: own, leaseSeconds: LEASE_SECONDS });
    const warn = (err: unknown) => {
      isWhole = false;
      logger.warn({ err, merchantId }, 'messages of a merchant were not claimed');
    };
    claimed.push(...((await failures.outlive(claimOwn, warn)) ?? []));
  });
  return isWhole;
}

const DUE = statement({
  acrossMerchants: 'whatever has waited longest is next',
  params: { maxMessages: bigint, maxBytes: bigint },
  row: { merchantId: text, messageId: text, bytes: bigint, found: bigint },
  text: ({ maxMessages, maxBytes }) => `
    with due as (
      select merchant_id, message_id, since, octet_length(payload) as bytes from unsent_message
      where ${IS_DUE}
      order by since limit ${maxMessages}),
    sized as (select *, sum(bytes) over (order by since, merchant_id, message_id) as total from due)
    select merchant_id, message_id, bytes::int8, (select count(*) from due) as found from sized where total <= ${maxBytes} or total = bytes`,
});

const DUE_OF_OTHERS = ofOthers('unsent_message', {
  key: pick(UNSENT.shape, 'merchantId', 'messageId'),
  bytes: 'octet_length(payload)::int8',
});
const dueOfOthers = inTurns(DUE_OF_OTHERS.all);

/** Those that somebody else has claimed meanwhile, or is claiming, are his. */
const CLAIM = statement({
  params: { merchantId: text, messages: rowsOf({ messageId: text }), leaseSeconds: float },
  row: UNSENT.shape,
  text: ({ merchantId, messages, leaseSeconds }) => `
    with free as materialized (
      select u.message_id from unsent_message u
      join ${messages('k', { merchantId })} using (merchant_id, message_id)
      where ${IS_DUE}
      for update of u skip locked)
    update unsent_message u set claimed_until = now() + make_interval(secs => ${leaseSeconds}), retry_at = null
    from free f where u.merchant_id = ${merchantId} and u.message_id = f.message_id
    returning ${columns(UNSENT.shape, 'u')}`,
});

/** Keeps the leases of messages that are still being sent. */
async function renew(db: Queryable, messages: readonly ClaimedMessage[]): Promise<void> {
  await eachMerchant(messages, (merchantId, own) =>
    RENEW.run(db, { merchantId, messages: own, seconds: LEASE_SECONDS }),
  );
}

const RENEW = statement({
  params: { merchantId: text, messages: rowsOf({ messageId: text }), seconds: float },
  text: ({ merchantId, messages, seconds }) => `
    update unsent_message u set claimed_until = now() + make_interval(secs => ${seconds})
    from ${messages('k', { merchantId })}
    where u.merchant_id = k.merchant_id and u.message_id = k.message_id and u.claimed_until is not null`,
});

async function postpone(
  db: Queryable,
  { merchantId, messageId }: ClaimedMessage,
  { kind, reason, afterSeconds }: Exclude<SendResult, { kind: 'sent' }> & { readonly afterSeconds: number },
): Promise<void> {
  await POSTPONE.run(db, { merchantId, messageId, afterSeconds, failures: kind === 'failed' ? 1 : 0, reason });
}

const POSTPONE = statement({
  params: { merchantId: text, messageId: text, afterSeconds: float, failures: integer, reason: text },
  text: ({ merchantId, messageId, afterSeconds, failures, reason }) => `
    update unsent_message
    set claimed_until = null, retry_at = now() + make_interval(secs => ${afterSeconds}), attempts = attempts + ${failures},
      last_error = left(${reason}, 500)
    where merchant_id = ${merchantId} and message_id = ${messageId}`,
});

/** Makes due what was put off by more than `seconds`. */
export async function retryUnsent(db: Queryable, seconds: number): Promise<void> {
  await RETRY.run(db, { seconds });
}

const RETRY = statement({
  acrossMerchants: 'a start of the worker is for all of them',
  params: { seconds: float },
  text: ({ seconds }) =>
    `update unsent_message set retry_at = null where retry_at > now() + make_interval(secs => ${seconds})`,
});
