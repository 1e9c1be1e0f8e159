import { text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Tx } from '../db/transaction.ts';

/** Lets top-ups and rules of one source be charged and paid by another one of the same account from now on. */
export async function moveTopUps(
  tx: Tx,
  { merchantId, from, into }: { readonly merchantId: string; readonly from: string; readonly into: string },
): Promise<void> {
  const pair = { merchantId, from, into };
  await MOVE_RULES.run(tx, pair);
  await MOVE_TOPUPS.run(tx, pair);
}

const PAIR = { merchantId: text, from: text, into: text };

const MOVE_RULES = statement({
  params: PAIR,
  text: ({ merchantId, from, into }) =>
    `update topup_rule set source_id = ${into} where merchant_id = ${merchantId} and source_id = ${from}`,
});

const MOVE_TOPUPS = statement({
  params: PAIR,
  text: ({ merchantId, from, into }) =>
    `update topup set source_id = ${into} where merchant_id = ${merchantId} and source_id = ${from}`,
});
