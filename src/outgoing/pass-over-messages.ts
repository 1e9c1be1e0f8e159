import { array, bigint, text } from '../db/codec.ts';
import { Failures } from '../db/failures.ts';
import { merchantsIn } from '../db/merchant-walk.ts';
import type { Pool } from '../db/pool.ts';
import { statement } from '../db/statement.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Publisher } from './publisher.ts';

/**
 * Messages of merchants whom nobody hears are taken off, many with one statement: they are not claimed and not read. It is as with news of
 * wallets (pass-over.ts): a first endpoint is told of what is left after it is there.
 */

/** Messages of one transaction, which holds their locks. */
const PAGE_SIZE = 500;
/** What is heard waits for so long at the most; what is left then is handed over as if it were heard, and kept nowhere. */
const AT_MOST_MS = 2_000;

const merchantsWithMessages = merchantsIn('unsent_message', {
  name: 'merchants-with-messages',
  why: 'it asks which merchants are to be told something',
});

/** What fails of a merchant stays, and is handed over as if it were heard. @returns how many were taken off */
export async function passOverMessages(
  pool: Pool,
  publisher: Pick<Publisher, 'unheard'>,
  logger: Logger,
): Promise<number> {
  if (publisher.unheard === undefined) return 0;
  const merchants = await merchantsWithMessages(autocommit(pool));
  if (merchants.length === 0) return 0;
  const endsMs = performance.now() + AT_MOST_MS;
  const failures = new Failures(null);
  let passed = 0;
  for (const merchantId of await publisher.unheard(autocommit(pool), merchants)) {
    let after: string | null = '';
    const warn = (err: unknown) => logger.warn({ err, merchantId }, 'messages that nobody hears were not taken off');
    while (after !== null && performance.now() < endsMs) {
      const from: string = after;
      const pass = () => transaction(pool, (tx) => passOverPage(tx, publisher, { merchantId, after: from }));
      const page: Page | null = await failures.outlive(pass, warn);
      passed += page?.passed ?? 0;
      after = page?.last ?? null;
    }
  }
  return passed;
}

interface Page {
  readonly passed: number;
  /** Null if it was the last. */
  readonly last: string | null;
}

async function passOverPage(
  tx: Tx,
  publisher: Pick<Publisher, 'unheard'>,
  { merchantId, after }: { readonly merchantId: string; readonly after: string },
): Promise<Page> {
  const messages = await LOCK.all(tx, { merchantId, after, limit: PAGE_SIZE });
  // Asked for once they are locked: an endpoint whose commit came before theirs is seen by this younger question.
  const isUnheard = messages.length > 0 && (await publisher.unheard?.(tx, [merchantId]))?.includes(merchantId);
  if (isUnheard !== true) return { passed: 0, last: null };
  await TAKE_OFF.run(tx, { merchantId, ids: messages.map(({ messageId }) => messageId) });
  return { passed: messages.length, last: messages.length < PAGE_SIZE ? null : (messages.at(-1)?.messageId ?? null) };
}

/** In the order of their keys, and none that somebody works on. */
const LOCK = statement({
  name: 'lock-messages-to-pass-over',
  params: { merchantId: text, after: text, limit: bigint },
  row: { messageId: text },
  text: ({ merchantId, after, limit }) => `
    select u.message_id from unsent_message u
    where u.merchant_id = ${merchantId} and u.message_id > ${after} and (u.claimed_until is null or u.claimed_until <= now())
    order by u.message_id
    limit ${limit}
    for update of u skip locked`,
});

/** By a condition on the key: a join would read the whole table by a plan that was made while it was empty. */
const TAKE_OFF = statement({
  name: 'pass-over-messages',
  params: { merchantId: text, ids: array(text) },
  text: ({ merchantId, ids }) =>
    `delete from unsent_message where merchant_id = ${merchantId} and message_id = any (${ids})`,
});
