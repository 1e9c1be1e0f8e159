import { bigint, text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { erasedHashSql } from './links.ts';

/** Moving the links of a source to another one of the same merchant. */

const PAIR = { merchantId: text, from: text, into: text };

export async function countLinks(db: Queryable, merchantId: string, from: string): Promise<number> {
  return (await COUNT_LINKS.one(db, { merchantId, from })).count;
}

const COUNT_LINKS = statement({
  params: { merchantId: text, from: text },
  row: { count: bigint },
  text: ({ merchantId, from }) =>
    `select count(*) as count from customer_link where merchant_id = ${merchantId} and source_id = ${from}`,
});

/**
 * Moves the links; where both sources have one, that of the adopting source stays, though it was erased: nobody sees it, and it still
 * says whose the payments are.
 * @returns how many were moved
 */
export async function moveLinks(
  tx: Tx,
  pair: { readonly merchantId: string; readonly from: string; readonly into: string },
): Promise<number> {
  const moved = await MOVE_LINKS.run(tx, pair);
  await DELETE_LINKS.run(tx, { merchantId: pair.merchantId, from: pair.from });
  await MOVE_ERASED.run(tx, pair);
  return moved;
}

const MOVE_LINKS = statement({
  params: PAIR,
  text: ({ merchantId, from, into }) => `
    update customer_link l set source_id = ${into}
    where l.merchant_id = ${merchantId} and l.source_id = ${from} and not exists (
      select from customer_link n where n.merchant_id = l.merchant_id and n.source_id = ${into}
        and n.provider_customer_id = l.provider_customer_id
      offset 0)
      and not exists (
        select from erased_link r where r.merchant_id = l.merchant_id and r.source_id = ${into}
          and r.provider_customer_hash = ${erasedHashSql('l.merchant_id', 'l.provider_customer_id')}
        offset 0)`,
});

/** Where both sources have one, that of the adopting source counts, and the other one is never read again. */
const MOVE_ERASED = statement({
  params: PAIR,
  text: ({ merchantId, from, into }) => `
    update erased_link r set source_id = ${into}
    where r.merchant_id = ${merchantId} and r.source_id = ${from} and not exists (
      select from erased_link n where n.merchant_id = r.merchant_id and n.source_id = ${into}
        and n.provider_customer_hash = r.provider_customer_hash
      offset 0)`,
});

const DELETE_LINKS = statement({
  params: { merchantId: text, from: text },
  text: ({ merchantId, from }) => `delete from customer_link where merchant_id = ${merchantId} and source_id = ${from}`,
});
