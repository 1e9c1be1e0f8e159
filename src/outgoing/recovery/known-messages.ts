import { bigint, present, text } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { WalletKey } from '../../ledger/entry.ts';

/** Messages that exist already, by the entries they tell of. */

export interface KnownMessage {
  readonly messageId: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** Finds the messages that tell of any of the entries after `from` up to `to`, in the order of these. */
export type FindKnown = (wallet: WalletKey, from: number, to: number) => Promise<readonly KnownMessage[]>;

/** Where a sender notes its messages: the embedded one keeps them, of Svix's there are notes. */
type MessageTable = 'webhook_message' | 'svix_message';

/** Looks for messages where a sender notes its own. */
export function knownMessagesIn(table: MessageTable, db: Queryable): FindKnown {
  return ({ merchantId, customerId, currency }, from, to) =>
    SELECT_KNOWN[table].all(db, { merchantId, customerId, currency, from, to });
}

const selectKnown = (table: MessageTable) =>
  statement({
    params: { merchantId: text, customerId: text, currency: text, from: bigint, to: bigint },
    row: { messageId: text, firstSeq: present(bigint), lastSeq: present(bigint) },
    text: ({ merchantId, customerId, currency, from, to }) => `
      select message_id, first_seq, last_seq from ${table}
      where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}
        and last_seq > ${from} and first_seq <= ${to}
      order by last_seq`,
  });
const SELECT_KNOWN = {
  webhook_message: selectKnown('webhook_message'),
  svix_message: selectKnown('svix_message'),
};
