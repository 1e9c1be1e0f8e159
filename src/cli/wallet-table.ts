import type { Queryable } from '../db/transaction.ts';
import { availableOf, type Wallet } from '../ledger/entry.ts';
import { type NextExpiry, nextExpiry } from '../ledger/lots/read.ts';
import { formatMinor } from '../money.ts';
import { alignRight, table, time } from './output.ts';

/** A wallet, and when credit of it ends next; null if none does. */
export interface ShownWallet extends Wallet {
  readonly next: NextExpiry | null;
}

export async function withNextExpiry(db: Queryable, wallets: readonly Wallet[]): Promise<readonly ShownWallet[]> {
  const shown: ShownWallet[] = [];
  for (const wallet of wallets)
    shown.push({ ...wallet, next: wallet.openLots === 0 ? null : await nextExpiry(db, wallet) });
  return shown;
}

/** Wallets as a table for the terminal; amounts are in the currency's major unit. What is held or in lots is shown where something is. */
export function walletTable(wallets: readonly ShownWallet[]): string {
  const amounts = (amountOf: (one: ShownWallet) => number) =>
    alignRight(wallets.map((one) => formatMinor(amountOf(one), one.currency)));
  const hasHolds = wallets.some(({ openHolds }) => openHolds > 0);
  const hasLots = wallets.some(({ openLots }) => openLots > 0);
  const columns = new Map<string, readonly (string | null)[]>([['balance', amounts(({ balance }) => balance)]]);
  if (hasLots) {
    columns.set(
      'base',
      amounts(({ balance, inLots }) => balance - inLots),
    );
    columns.set(
      'in lots',
      amounts(({ inLots }) => inLots),
    );
  }
  if (hasHolds || hasLots) {
    columns.set(
      'held',
      amounts(({ held }) => held),
    );
    columns.set('available', amounts(availableOf));
  }
  if (hasLots) columns.set('next expiry', wallets.map(expiryText));
  if (wallets.some(({ status }) => status !== 'active')) {
    columns.set(
      'status',
      wallets.map(({ status }) => status),
    );
  }
  return table(
    [...columns.keys(), 'entries', 'changed'],
    wallets.map((one, row) => [
      ...[...columns.values()].map((column) => column[row] ?? null),
      ...[one.version, time(one.updatedAt.toISOString())],
    ]),
    'No wallets.',
  );
}

function expiryText({ next, currency }: ShownWallet): string | null {
  return next === null ? null : `${formatMinor(next.amountMinor, currency)} at ${time(next.at.toISOString())}`;
}
