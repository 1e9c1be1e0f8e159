import { bigint } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import type { Entry, WalletKey } from './entry.ts';
import { nextHash, type StruckOut, startOfChain, textHashes } from './hash-chain.ts';
import { CHAINED_ENTRY, chainedEntries, WALLET_KEY } from './tables.ts';

/** A place in a wallet's history: after entry `version`, which left `balance` and has `hash`. */
export interface ChainPlace extends WalletKey {
  readonly version: number;
  readonly balance: number;
  readonly hash: string | null;
}

export function beginningOf({ merchantId, customerId, currency }: WalletKey): ChainPlace {
  return { merchantId, customerId, currency, version: 0, balance: 0, hash: null };
}

/**
 * What an entry's hash is worth after the place before it. `right`: it is what it must be. `anchored`: so it is, and the chain
 * begins with it after entries without hashes. `missing`: it has none. `wrong`: the entry or one before it was changed.
 */
export type HashFinding = 'right' | 'anchored' | 'missing' | 'wrong';

export function judgeHash(before: ChainPlace, entry: Entry & Partial<StruckOut>): HashFinding {
  if (entry.hash === null) return 'missing';
  const { reasonHash = null, metadataHash = null } = entry;
  const texts = textHashes(entry, { reasonHash, metadataHash });
  if (entry.hash !== nextHash(before.hash ?? startOfChain(before), entry, texts)) return 'wrong';
  return before.hash === null && before.version > 0 ? 'anchored' : 'right';
}

/** The place after an entry, with the hash that it has, right or wrong: so that what follows is judged by itself. */
export function placeAfter(entry: Entry): ChainPlace {
  const { merchantId, customerId, currency, seq, afterBalance, hash } = entry;
  return { merchantId, customerId, currency, version: seq, balance: afterBalance, hash };
}

/** Few enough that entries with as much metadata as the API takes are no burden. */
const PAGE_SIZE = 500;

export interface JudgedEntry {
  readonly entry: Entry;
  readonly finding: HashFinding;
}

/** Every entry of one wallet, oldest first, with what its hash is worth; read page by page. */
export async function* judgeWallet(db: Queryable, key: WalletKey): AsyncGenerator<JudgedEntry> {
  let place = beginningOf(key);
  for (;;) {
    const page = await NEXT_ENTRIES.all(db, { ...beginningOf(key), afterSeq: place.version, limit: PAGE_SIZE });
    for (const entry of page) {
      yield { entry, finding: judgeHash(place, entry) };
      place = placeAfter(entry);
    }
    if (page.length < PAGE_SIZE) return;
  }
}

const NEXT_ENTRIES = statement({
  params: { ...WALLET_KEY, afterSeq: bigint, limit: bigint },
  row: CHAINED_ENTRY,
  text: (p) => `
    select ${chainedEntries('e')}
    where e.merchant_id = ${p.merchantId} and e.customer_id = ${p.customerId} and e.currency = ${p.currency} and e.seq > ${p.afterSeq}
    order by e.seq
    limit ${p.limit}`,
});
