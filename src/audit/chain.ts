import { bigint, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, pick } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { beginningOf, type ChainPlace, judgeHash, placeAfter } from '../ledger/chain-check.ts';
import { type Entry, type WalletKey, walletKeyText } from '../ledger/entry.ts';
import type { StruckOut } from '../ledger/hash-chain.ts';
import { CHAINED_ENTRY, chainedEntries, WALLET, WALLET_KEY } from '../ledger/tables.ts';
import { type Disagreement, MAX_PER_RULE } from './check.ts';

/**
 * Rule 3b: every entry has the hash that follows from it and the entry before it, and every wallet has the hash of its newest
 * entry. It reads all entries, and holds only one page of them at a time.
 */

const RULE = '3b hash chain';
const WALLETS_PER_PAGE = 500;
/** Few enough for the memory, also if all entries have as much metadata as the API takes. */
const ENTRIES_PER_PAGE = 500;
/** How much the clock of a process may differ from the database's. */
const CLOCKS_DIFFER_MS = 60_000;

const HEAD = pick(WALLET.shape, 'merchantId', 'customerId', 'currency', 'version', 'head', 'headVersion');
type Head = WalletKey & { readonly version: number; readonly head: string | null; readonly headVersion: number };

export async function checkChains(db: Queryable): Promise<readonly Disagreement[]> {
  const { closedAt } = await CLOSED_AT.one(db);
  const found: Disagreement[] = [];
  const name = (key: WalletKey, detail: string) => {
    if (found.length < MAX_PER_RULE)
      found.push({ rule: RULE, subject: `${key.merchantId}/${key.customerId}/${key.currency}`, detail });
  };
  let after: WalletKey = { merchantId: '', customerId: '', currency: '' };
  while (found.length < MAX_PER_RULE) {
    const wallets: Head[] = await WALLETS.all(db, { ...afterKey(after), limit: WALLETS_PER_PAGE });
    const last = wallets.at(-1);
    if (last === undefined) break;
    await checkPage(db, { wallets, after, last, closedAt, name });
    after = last;
  }
  return found;
}

interface Page {
  readonly wallets: readonly Head[];
  /** Reports a disagreement. */
  readonly name: (key: WalletKey, detail: string) => void;
  readonly after: WalletKey;
  readonly last: WalletKey;
  readonly closedAt: Date;
}

async function checkPage(db: Queryable, { wallets, after, last, closedAt, name }: Page): Promise<void> {
  const walks = new Map(wallets.map((wallet) => [walletKeyText(wallet), new Walk(wallet, closedAt, name)]));
  // The cursor begins after every entry of the wallet that comes before the first one here.
  let cursor = { ...after, seq: Number.MAX_SAFE_INTEGER };
  for (;;) {
    const entries: (Entry & StruckOut)[] = await ENTRIES.all(db, {
      ...afterKey(cursor),
      afterSeq: cursor.seq,
      lastMerchantId: last.merchantId,
      lastCustomerId: last.customerId,
      lastCurrency: last.currency,
      limit: ENTRIES_PER_PAGE,
    });
    for (const entry of entries) walks.get(walletKeyText(entry))?.take(entry);
    cursor = entries.at(-1) ?? cursor;
    if (entries.length < ENTRIES_PER_PAGE) break;
  }
  for (const walk of walks.values()) walk.end();
}

/** Follows one wallet's entries up to the version that it had when it was read. */
class Walk {
  readonly #wallet: Head;
  readonly #closedAt: Date;
  readonly #name: (key: WalletKey, detail: string) => void;
  #place: ChainPlace;
  #hashAtHead: string | null = null;

  constructor(wallet: Head, closedAt: Date, name: (key: WalletKey, detail: string) => void) {
    this.#wallet = wallet;
    this.#closedAt = closedAt;
    this.#name = name;
    this.#place = beginningOf(wallet);
  }

  take(entry: Entry & StruckOut): void {
    if (entry.seq > this.#wallet.version) return;
    const finding = judgeHash(this.#place, entry);
    if (finding === 'wrong') this.#name(entry, `entry ${entry.seq} or the chain before it was changed`);
    const isLate = entry.createdAt.getTime() > this.#closedAt.getTime() + CLOCKS_DIFFER_MS;
    if (finding === 'missing' && isLate) this.#name(entry, `entry ${entry.seq} has no hash and is of this release`);
    if (entry.seq === this.#wallet.headVersion) this.#hashAtHead = entry.hash;
    this.#place = placeAfter(entry);
  }

  end(): void {
    const { head, headVersion, version } = this.#wallet;
    const isNewest = this.#place.hash === null || headVersion === version;
    if (head !== this.#hashAtHead || !isNewest)
      this.#name(
        this.#wallet,
        `its head is of entry ${headVersion} of ${version} and not that entry's, or not of the newest`,
      );
  }
}

function afterKey({ merchantId, customerId, currency }: WalletKey) {
  return { afterMerchantId: merchantId, afterCustomerId: customerId, afterCurrency: currency };
}

/**
 * When the last process of a release without the chain ended: as the operator said, else a week after the migration. An entry
 * after that time that has no hash was not written by Chokin.
 */
const CLOSED_AT = statement({
  params: {},
  row: { closedAt: timestamptz },
  text: () => `
    select coalesce(i.release_closed_at, m.run_on + interval '7 days') as closed_at
    from installation i cross join (select max(run_on) as run_on from schema_migration where name = '0018_entry-hash') m`,
});

const AFTER = { afterMerchantId: text, afterCustomerId: text, afterCurrency: text };

const WALLETS = statement({
  acrossMerchants: 'the audit reads every wallet',
  params: { ...AFTER, limit: bigint },
  row: HEAD,
  text: (p) => `
    select ${columns(HEAD, 'w')} from wallet w
    where (w.merchant_id, w.customer_id, w.currency) > (${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency})
    order by ${columns(WALLET_KEY, 'w')}
    limit ${p.limit}`,
});

const ENTRIES = statement({
  acrossMerchants: 'the audit reads every entry',
  params: { ...AFTER, afterSeq: bigint, lastMerchantId: text, lastCustomerId: text, lastCurrency: text, limit: bigint },
  row: CHAINED_ENTRY,
  text: (p) => `
    select ${chainedEntries('e')}
    where (e.merchant_id, e.customer_id, e.currency, e.seq) > (${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency}, ${p.afterSeq})
      and (e.merchant_id, e.customer_id, e.currency) <= (${p.lastMerchantId}, ${p.lastCustomerId}, ${p.lastCurrency})
    order by ${columns(WALLET_KEY, 'e')}, e.seq
    limit ${p.limit}`,
});
