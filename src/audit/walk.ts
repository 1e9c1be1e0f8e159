import { beginningOf, type ChainPlace, judgeHash, placeAfter } from '../ledger/chain-check.ts';
import { type Entry, MAY_OVERDRAW, type WalletKey } from '../ledger/entry.ts';
import type { StruckOut } from '../ledger/hash-chain.ts';
import type { Mark } from './marks.ts';

/** A wallet as the books have it. */
type Head = WalletKey & {
  readonly balance: number;
  readonly version: number;
  readonly head: string | null;
  readonly headVersion: number;
};

const CHAIN_RULE = '3b hash chain';
const PROVED_RULE = '3c proved before';

/** Says that a wallet disagrees with itself. */
export type Name = (rule: string, key: WalletKey, detail: string) => void;

/** How much the clock of a process may differ from the database's. */
const CLOCKS_DIFFER_MS = 60_000;

/**
 * Follows one wallet's entries up to the version that it had when it was read: from the first on, or from the last that was proved, which
 * has to be the one that it was. What was not read before is also judged as rules 2 to 4 do for the books as a whole. Pure.
 */
export class Walk {
  readonly wallet: Head;
  /** How far it was proved; null if it never was. */
  readonly #mark: Mark | null;
  /** Whether reading begins at the mark. If not, the entry of the mark still has to be the one that was proved. */
  readonly #begins: boolean;
  readonly #closedAt: Date;
  readonly #name: Name;
  #place: ChainPlace;
  #lastAt: Date | null = null;
  #hashAtHead: string | null = null;
  #findings = 0;

  constructor(
    { wallet, mark, trusts }: { readonly wallet: Head; readonly mark: Mark | null; readonly trusts: boolean },
    closedAt: Date,
    name: Name,
  ) {
    this.wallet = wallet;
    this.#mark = mark;
    this.#closedAt = closedAt;
    this.#name = name;
    const isBehind = mark !== null && wallet.version < mark.seq;
    if (isBehind) this.#find(PROVED_RULE, `${mark.seq} entries were proved, and it has ${wallet.version}`);
    this.#begins = mark !== null && trusts && !isBehind;
    this.#place = mark !== null && this.#begins ? placeOf(mark) : beginningOf(wallet);
  }

  /** The first entry to be read; none if it is behind the wallet's last. A mark's own entry is read again, if anything came after it. */
  get fromSeq(): number {
    return this.isUnread ? this.wallet.version + 1 : Math.max(this.#place.version, 1);
  }

  /** Whether nothing came after what was proved. */
  get isUnread(): boolean {
    return this.#begins && this.#mark?.seq === this.wallet.version;
  }

  get hasFindings(): boolean {
    return this.#findings > 0;
  }

  /** @param judges whether the entry is also judged by the rules of the books */
  take(entry: Entry & StruckOut, judges: boolean): void {
    if (entry.seq > this.wallet.version) return;
    const isMarked = entry.seq === this.#mark?.seq;
    if (isMarked && (entry.hash !== this.#mark?.head || entry.afterBalance !== this.#mark.balance))
      this.#find(PROVED_RULE, `entry ${entry.seq} is not the one that was proved`);
    if (!isMarked || !this.#begins) this.#judge(entry, judges);
    if (entry.seq === this.wallet.headVersion) this.#hashAtHead = entry.hash;
    this.#lastAt = entry.createdAt;
    this.#place = placeAfter(entry);
  }

  #judge(entry: Entry & StruckOut, judges: boolean): void {
    const finding = judgeHash(this.#place, entry);
    if (finding === 'wrong') this.#find(CHAIN_RULE, `entry ${entry.seq} or the chain before it was changed`);
    const isLate = entry.createdAt.getTime() > this.#closedAt.getTime() + CLOCKS_DIFFER_MS;
    if (finding === 'missing' && isLate)
      this.#find(CHAIN_RULE, `entry ${entry.seq} has no hash and is of this release`);
    if (!judges) return;
    const { version, balance } = this.#place;
    const { seq, beforeBalance, afterBalance, amountMinor, isCredit, eventType } = entry;
    const isNext = seq === version + 1 && beforeBalance === balance;
    const addsUp = afterBalance === beforeBalance + (isCredit ? amountMinor : -amountMinor);
    if (!isNext || !addsUp || (this.#lastAt !== null && entry.createdAt < this.#lastAt))
      this.#find('3 chain', `entry ${seq}: before ${beforeBalance}, entry ${version} before it ended with ${balance}`);
    if (afterBalance < 0 && !isCredit && !MAY_OVERDRAW.has(eventType))
      this.#find('4 no overdraft', `entry ${seq}: ${eventType} left ${afterBalance}`);
  }

  end(judges: boolean): void {
    const { head, headVersion, version, balance } = this.wallet;
    // Behind its head a wallet may have entries of a release without hashes, which were proved: then its head was, too, and is not read again.
    const isProved = this.#begins && this.#mark !== null && headVersion < this.#mark.seq;
    const readHash = this.isUnread ? this.#place.hash : this.#hashAtHead;
    const atHead = isProved ? head : readHash;
    const isNewest = this.#place.hash === null || headVersion === version;
    if (head !== atHead || !isNewest)
      this.#find(
        CHAIN_RULE,
        `its head is of entry ${headVersion} of ${version} and not that entry's, or not of the newest`,
      );
    if (judges && (this.#place.version !== version || this.#place.balance !== balance))
      this.#find(
        '2 agreement',
        `balance ${balance}, entries sum to ${this.#place.balance}; version ${version}, entries ${this.#place.version}`,
      );
  }

  /** What is to be noted of a wallet in which nothing was found. */
  markAt(now: Date): Mark {
    const { merchantId, customerId, currency } = this.wallet;
    const { version: seq, balance, hash: head } = this.#place;
    const wholeAt = this.#begins && this.#mark !== null ? this.#mark.wholeAt : now;
    return { merchantId, customerId, currency, seq, balance, head, wholeAt, provedAt: now };
  }

  #find(rule: string, detail: string): void {
    this.#findings += 1;
    this.#name(rule, this.wallet, detail);
  }
}

function placeOf({ merchantId, customerId, currency, seq, balance, head }: Mark): ChainPlace {
  return { merchantId, customerId, currency, version: seq, balance, hash: head };
}
