import { invariant } from '../errors.ts';
import type { Entry, Wallet } from './entry.ts';

/** What every batch writes of a merchant, whichever statement does. */
export interface Written {
  readonly merchantId: string;
  readonly written: readonly Entry[];
  /** The wallets in their new state; whoever writes has locked them. */
  readonly moved: readonly Wallet[];
}

/** @throws {InvariantError} if less was written than there was */
export function expectWritten(
  { moved, written }: Written,
  counts: { readonly wallets: number; readonly entries: number },
): void {
  invariant(counts.wallets === moved.length, 'a locked wallet was not there to be updated');
  invariant(counts.entries === written.length, 'an entry was not written');
}
