import { LAST_MOMENT } from '../clock.ts';
import type { Tx } from '../db/transaction.ts';
import { type Wallet, type WalletKey, walletKeyText } from '../ledger/entry.ts';
import { type LotsOfOrigin, lotsOfOrigins, type OriginKey } from '../ledger/lots/losses.ts';
import type { StatusChange } from '../ledger/status/status.ts';
import { findStatuses } from '../ledger/status/store.ts';
import { type LedgerMoment, postBatch } from '../ledger/store.ts';
import { momentIn } from '../ledger/working-books.ts';
import { endOfLots, endWithoutLots } from './bonus-ends.ts';
import { originsOfBonus } from './due.ts';
import type { Payment } from './payment.ts';
import { paymentKeyText } from './tables.ts';

/** What became of a payment's bonus in its wallet. */
export interface BonusLoss {
  /** What of it is lost to the customer. */
  readonly lost: number;
  /** Whether a hold keeps what of it is over, and which is lost as soon as the hold lets go of it. */
  readonly isKept: boolean;
  /** The wallet's time, by which that was judged: never before its last entry, which another process may have dated later. */
  readonly at: Date;
  /** Since when no credit of the wallet ends; null where it does. */
  readonly pausedSince: Date | null;
}

/** What became of the bonuses of these payments, by the payment's key. What is over ends first. Their wallets are locked. */
export async function readLosses(
  tx: Tx,
  payments: readonly Payment[],
  moment: LedgerMoment,
): Promise<ReadonlyMap<string, BonusLoss>> {
  const asked = payments.flatMap((payment) => {
    const { merchantId, customerId, currency } = payment;
    if (customerId === null || currency === null) return [];
    const wallet = { merchantId, customerId, currency };
    return [{ payment, wallet, keys: originsOfBonus(payment).map((originKey) => ({ ...wallet, originKey })) }];
  });
  const wallets = new Map(asked.map(({ wallet }) => [walletKeyText(wallet), wallet]));
  const swept = await sweepAll(tx, [...wallets.values()], moment);
  const statuses = await findStatuses(tx, [], swept);
  const byOrigin = await lotsBy(
    tx,
    asked.flatMap(({ keys }) => keys),
  );
  return new Map(
    asked.map(({ payment, wallet, keys }) => {
      const lots = keys.flatMap((key) => byOrigin.get(originText(key)) ?? []);
      const own = swept.get(walletKeyText(wallet));
      const at = own === undefined ? moment.now : momentIn(own, moment.now);
      const isKept = lots.some(({ openEndsAt }) => openEndsAt !== null && openEndsAt <= at);
      const lost = Math.max(0, payment.bonusLostBefore + lostOf(lots));
      const pausedSince = pauseOf(statuses.get(walletKeyText(wallet)));
      return [paymentKeyText(payment), { lost, isKept, at, pausedSince }];
    }),
  );
}

function pauseOf(last: StatusChange | undefined): Date | null {
  return last?.newStatus === 'frozen' && last.pauseExpiry ? last.createdAt : null;
}

/** Ends what is over in these wallets. @returns them as they are then, by {@link walletKeyText} */
async function sweepAll(
  tx: Tx,
  wallets: readonly WalletKey[],
  moment: LedgerMoment,
): Promise<ReadonlyMap<string, Wallet>> {
  const sweeps = wallets.map((wallet) => ({ op: 'sweep' as const, ...wallet }));
  const results = await postBatch(tx, sweeps, moment);
  return new Map(
    results.flatMap((one) => ('wallet' in one && one.wallet !== null ? [[walletKeyText(one.wallet), one.wallet]] : [])),
  );
}

/** By {@link originText}. */
async function lotsBy(tx: Tx, keys: readonly OriginKey[]): Promise<ReadonlyMap<string, LotsOfOrigin>> {
  return new Map((await lotsOfOrigins(tx, keys)).map((one) => [originText(one), one]));
}

/** What goes of a payment's bonus to another customer. */
export interface MovedBonus {
  readonly amount: number;
  /** When it ends there, as it would have where it was; null: never. */
  readonly endsAt: Date | null;
  /** What is kept of it with the payment. */
  readonly kept: Pick<Payment, 'bonusLost' | 'bonusLostBefore'>;
}

/**
 * What a payment's bonus has left, spent or not, if its end is to come; what expired or was voided does not move, nor what was spent of one
 * that would be over. The wallets of both customers are locked.
 */
export async function movedBonus(
  tx: Tx,
  payment: Payment,
  { to: customerId, moment }: { readonly to: string; readonly moment: LedgerMoment },
): Promise<MovedBonus | null> {
  const loss = (await readLosses(tx, [payment], moment)).get(paymentKeyText(payment));
  const { merchantId, customerId: from, currency, postedBonus, parts } = payment;
  if (payment.bonusPostings === 0 || loss === undefined || from === null || currency === null) return null;
  const { lost } = loss;
  const keysAt = (owner: string) =>
    originsOfBonus(payment).map((originKey) => ({ merchantId, customerId: owner, currency, originKey }));
  const here = await lotsOfOrigins(tx, keysAt(from));
  const there = await lotsOfOrigins(tx, keysAt(customerId));
  const { isEndless, last } =
    here.length === 0 ? await endWithoutLots(tx, payment) : endOfLots(here.map((one) => resumed(one, loss)));
  const taken = parts.reduce((sum, { postedBonusTake }) => sum + postedBonusTake, 0);
  const isAlive = isEndless || (last !== null && last > moment.now);
  const amount = isAlive ? Math.max(0, postedBonus - taken - lost) : 0;
  const bonusLost = Math.max(0, postedBonus - taken - amount);
  const kept = { bonusLost, bonusLostBefore: bonusLost - lostOf(there) };
  return { amount, endsAt: isEndless ? null : last, kept };
}

/** Lots of a paused wallet with the ends that they would have if the pause were over: they have as much time left as they had then. */
function resumed(lots: LotsOfOrigin, { at, pausedSince }: BonusLoss): LotsOfOrigin {
  const { endsAt, lastOpen } = lots;
  if (pausedSince === null || lastOpen === null) return lots;
  const stopped = Math.max(pausedSince.getTime(), lastOpen.since.getTime());
  const stood = lastOpen.endsAt.getTime() <= stopped ? 0 : Math.max(0, at.getTime() - stopped);
  const end = Math.min(Math.max(endsAt?.getTime() ?? 0, lastOpen.endsAt.getTime() + stood), LAST_MOMENT);
  return { ...lots, endsAt: new Date(end) };
}

function lostOf(lots: readonly LotsOfOrigin[]): number {
  return lots.reduce((sum, { lost }) => sum + lost, 0);
}

function originText(key: OriginKey): string {
  return `${walletKeyText(key)}\0${key.originKey}`;
}
