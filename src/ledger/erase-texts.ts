import { array, bigint, hex, nullable, text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import type { CustomerKey } from './entry.ts';
import { textHashes } from './hash-chain.ts';
import { eraseHoldTexts, FIRST_HOLD, type HoldPlace } from './holds/erase.ts';
import { eraseLotTexts, FIRST_LOT, type LotPlace } from './lots/erase.ts';
import { eraseStatusTexts, FIRST_STATUS, type StatusPlace } from './status/erase.ts';
import { ENTRY } from './tables.ts';

/** Striking out the texts of entries, holds, lots and changes of status: their amounts, keys and hashes stay, and so do the chain and every balance. */

/** A place among a customer's entries. */
interface EntryPlace {
  readonly currency: string;
  readonly seq: number;
}

/** How far it has come: first the holds, whose reasons captures copy into entries, then the lots, the changes of status, and the entries. */
export type TextPlace = EntryPlace | HoldPlace | LotPlace | StatusPlace;

const FIRST_ENTRY: EntryPlace = { currency: '', seq: 0 };

/** Few enough that entries with as much metadata as the API takes are no burden. */
const PAGE_SIZE = 200;

/**
 * Strikes out the texts of the next page of the customer's holds, lots, changes of status and entries.
 * @returns how many entries were changed, and where the next page begins; null if this was the last
 */
export async function eraseTexts(
  db: Queryable,
  customer: CustomerKey,
  place: TextPlace | null,
): Promise<{ readonly erased: number; readonly place: TextPlace | null }> {
  if (place !== null && 'seq' in place) return eraseEntryTexts(db, customer, place);
  if (place !== null && 'changeNo' in place) {
    return { erased: 0, place: (await eraseStatusTexts(db, customer, place)) ?? FIRST_ENTRY };
  }
  if (place !== null && 'lotNo' in place) {
    return { erased: 0, place: (await eraseLotTexts(db, customer, place)) ?? FIRST_STATUS };
  }
  return { erased: 0, place: (await eraseHoldTexts(db, customer, place ?? FIRST_HOLD)) ?? FIRST_LOT };
}

/**
 * Strikes out the reasons and metadata of a page of the customer's entries, in the order of their wallets; those of payments too, whose
 * reasons name the payment.
 * @returns how many entries were changed, and where the next page begins; null if this was the last
 */
async function eraseEntryTexts(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  after: EntryPlace,
): Promise<{ readonly erased: number; readonly place: EntryPlace | null }> {
  const page = await WITH_TEXTS.all(db, { merchantId, customerId, ...after, limit: PAGE_SIZE });
  let erased = 0;
  for (const [currency, own] of Map.groupBy(page, (entry) => entry.currency)) {
    const hashes = own.map((entry) => textHashes(entry));
    const { struck } = await ERASE.one(db, {
      ...{ merchantId, customerId, currency },
      seqs: own.map(({ seq }) => seq),
      reasonHashes: hashes.map(({ reason }) => reason),
      metadataHashes: hashes.map(({ metadata }) => metadata),
    });
    erased += struck;
  }
  const last = page.at(-1);
  const next = last === undefined || page.length < PAGE_SIZE ? null : { currency: last.currency, seq: last.seq };
  return { erased, place: next };
}

const WITH_TEXTS = statement({
  params: { merchantId: text, customerId: text, currency: text, seq: bigint, limit: bigint },
  row: ENTRY.shape,
  text: (p) => `
    select ${columns(ENTRY.shape, 'e')} from entry e
    where e.merchant_id = ${p.merchantId} and e.customer_id = ${p.customerId} and (e.currency, e.seq) > (${p.currency}, ${p.seq})
      and (e.reason is not null or e.metadata is not null)
    order by e.currency, e.seq
    limit ${p.limit}`,
});

const ERASE = statement({
  params: {
    ...{ merchantId: text, customerId: text, currency: text, seqs: array(bigint) },
    ...{ reasonHashes: array(nullable(hex)), metadataHashes: array(nullable(hex)) },
  },
  row: { struck: bigint },
  text: (p) =>
    `select erase_entry_texts(${p.merchantId}, ${p.customerId}, ${p.currency}, ${p.seqs}, ${p.reasonHashes}, ${p.metadataHashes}) as struck`,
});
