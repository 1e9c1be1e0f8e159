import { hash } from 'node:crypto';
import type { Entry, Metadata, WalletKey } from './entry.ts';
import type { ChainState } from './wallet-state.ts';

/**
 * Every entry carries a hash over itself and the hash of the entry before it, so that the newest hash of a wallet, its
 * head, stands for its whole history: whoever keeps a head can prove a rewrite, even by the owner of the database. How each
 * text is made is fixed for ever: README.md beside this file has it for those who compute it themselves.
 */

/** The texts of an entry as the chain has them: as hashes, so that a text can be erased and the chain still be computed. */
export interface TextHashes {
  readonly idempotencyKey: string | null;
  readonly reason: string | null;
  readonly referenceObjectId: string | null;
  readonly metadata: string | null;
}

/** The hashes of an entry's texts that were struck out, hexadecimal; null for a text that was not. */
export interface StruckOut {
  readonly reasonHash: string | null;
  readonly metadataHash: string | null;
}

/** Everything of an entry that is hashed. */
export type HashedEntry = Omit<Entry, 'hash' | 'fingerprint'>;

/** The head of a wallet: the hash of its newest entry, or null where that entry has none. */
export function headOf(wallet: ChainState & { readonly version: number }): string | null {
  return wallet.headVersion === wallet.version ? wallet.head : null;
}

/**
 * What the first hash of a chain goes on from. A new wallet's begins with the wallet's name; where there are entries
 * without hashes, written by an older release, it begins with an anchor that names how many there are and their balance.
 */
export function startOfChain(wallet: WalletKey & { readonly version: number; readonly balance: number }): string {
  const { merchantId, customerId, currency, version, balance } = wallet;
  const start = sha256(`chokin-1\0${merchantId}\0${customerId}\0${currency}`);
  return version === 0 ? start : hashAfter(start, JSON.stringify([version, balance]));
}

/** The hash of an entry after `previous`, the hash of the one before it or the start of the chain. */
export function nextHash(previous: string, entry: HashedEntry, texts: TextHashes = textHashes(entry)): string {
  const { seq, amountMinor, isCredit, eventType, beforeBalance, afterBalance, createdAt, effectiveAt } = entry;
  const { idempotencyKey, reason, referenceObjectId, metadata } = texts;
  // Appended only where there is one: entries without are hashed as they were before it was known.
  const dated = effectiveAt === null ? [] : [effectiveAt.getTime()];
  const numbers = [seq, amountMinor, isCredit, eventType, beforeBalance, afterBalance, createdAt.getTime()];
  return hashAfter(
    previous,
    JSON.stringify([...numbers, idempotencyKey, reason, referenceObjectId, metadata, ...dated]),
  );
}

/** @param struckOut where texts were erased, their hashes as they were kept */
export function textHashes(
  { idempotencyKey, reason, referenceObjectId, metadata }: HashedEntry,
  struckOut: StruckOut = { reasonHash: null, metadataHash: null },
): TextHashes {
  return {
    idempotencyKey: hashText(idempotencyKey),
    reason: hashText(reason) ?? struckOut.reasonHash,
    referenceObjectId: hashText(referenceObjectId),
    metadata: metadata === null ? struckOut.metadataHash : sha256(sortedJson(metadata)),
  };
}

/** JSON without spaces, its keys in the order of their UTF-16 units; an object would put keys that are numbers first. */
function sortedJson(metadata: Metadata): string {
  const pairs = Object.keys(metadata)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`);
  return `{${pairs.join(',')}}`;
}

function hashText(text: string | null): string | null {
  return text === null ? null : sha256(text);
}

function hashAfter(previous: string, text: string): string {
  return hash('sha256', Buffer.concat([Buffer.from(previous, 'hex'), Buffer.from(text)]), 'hex');
}

function sha256(text: string): string {
  return hash('sha256', text, 'hex');
}
