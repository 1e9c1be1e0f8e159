import { availableOf, type Entry, type LapsedCredit, type Posting, type Wallet, type WalletAlert } from '../entry.ts';
import { inDrainOrder } from './drain.ts';
import { isOver, type Lot, lotId } from './lot.ts';
import { type LotRule, noticeDue } from './notices.ts';
import type { WorkingLots } from './working-lots.ts';

/** What time does to lots: they are told of, and end. Pure. */

/** What of the books is needed for it. */
interface Books {
  readonly lots: WorkingLots;
  readonly lotRule: LotRule;
  momentIn(wallet: Wallet): Date;
  write(posting: Posting & { fingerprint: null; fromLot: number }, wallet: Wallet): { entry: Entry; wallet: Wallet };
  alert(wallet: Wallet, news: Pick<WalletAlert, 'kind' | 'details'>): Wallet;
}

/**
 * Ends the wallet's lots that are over, as far as no hold needs them: by their ends, and of those that end together first what
 * would be spent last. Each is an entry of its own.
 */
export function expireLots(books: Books, wallet: Wallet): Wallet {
  const now = books.momentIn(wallet);
  const over = books.lots.open(wallet).filter((lot) => isOver(lot, now));
  if (over.length === 0) return wallet;
  const lots: LapsedCredit['lots'][number][] = [];
  let next = wallet;
  for (const lot of over.sort(inEndingOrder)) {
    const amount = Math.min(lot.remaining, availableOf(next));
    if (amount === 0) break;
    next = books.write(expiryOf(lot, amount), next).wallet;
    lots.push({ lotId: lotId(lot), amount });
  }
  return inHundreds(lots).reduce(
    (last, some) => books.alert(last, { kind: 'credit_expired', details: { lots: some } }),
    next,
  );
}

/** An alert tells of so many lots; of more, another one does. */
const LOTS_AN_ALERT = 100;

function inHundreds<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  const alerts = Math.ceil(items.length / LOTS_AN_ALERT);
  return Array.from({ length: alerts }, (_, index) => items.slice(index * LOTS_AN_ALERT, (index + 1) * LOTS_AN_ALERT));
}

function inEndingOrder(one: Lot, other: Lot): number {
  return (one.expiresAt?.getTime() ?? 0) - (other.expiresAt?.getTime() ?? 0) || inDrainOrder(other, one);
}

function expiryOf(lot: Lot, amountMinor: number) {
  const { merchantId, customerId, currency, lotNo } = lot;
  return {
    ...{ merchantId, customerId, currency, amountMinor, isCredit: false, eventType: 'credit_expired' as const },
    ...{ reason: null, referenceObjectId: lotId(lot), metadata: null, idempotencyKey: null },
    ...{ fingerprint: null, fromLot: lotNo },
  };
}

/** Tells of lots that will end soon, those with the same notice together. */
export function noticeLots(books: Books, wallet: Wallet): Wallet {
  const now = books.momentIn(wallet);
  const least = books.lotRule.noticeMinimums.get(wallet.currency) ?? 1;
  const due = books.lots.open(wallet).flatMap((lot) => {
    const days = noticeDue(lot, books.lotRule, now);
    return days === null ? [] : [{ lot, days }];
  });
  let next = wallet;
  for (const [noticeDays, own] of Map.groupBy(due, ({ days }) => days)) {
    // Too small to be told of, it is not looked at again either.
    for (const { lot } of own) books.lots.put({ ...lot, notices: noticeDays });
    const lots = own.flatMap(({ lot }) => {
      const { kind, remaining, expiresAt } = lot;
      if (remaining < least || expiresAt === null) return [];
      return [{ lotId: lotId(lot), kind, remaining, expiresAt: expiresAt.toISOString() }];
    });
    for (const some of inHundreds(lots)) {
      next = books.alert(next, { kind: 'credit_expiring', details: { noticeDays, lots: some } });
    }
  }
  return next;
}
