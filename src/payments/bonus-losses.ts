import type { Tx } from '../db/transaction.ts';
import { walletKeyText } from '../ledger/entry.ts';
import { type LotsOfOrigin, lotsOfOrigins, type OriginKey } from '../ledger/lots/losses.ts';
import { type LedgerMoment, postBatch } from '../ledger/store.ts';
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
  await postBatch(
    tx,
    [...wallets.values()].map((wallet) => ({ op: 'sweep' as const, ...wallet })),
    moment,
  );
  const byOrigin = await lotsBy(
    tx,
    asked.flatMap(({ keys }) => keys),
  );
  return new Map(
    asked.map(({ payment, keys }) => {
      const lots = keys.flatMap((key) => byOrigin.get(originText(key)) ?? []);
      const isKept = lots.some(({ openEndsAt }) => openEndsAt !== null && openEndsAt <= moment.now);
      return [paymentKeyText(payment), { lost: Math.max(0, payment.bonusLostBefore + lostOf(lots)), isKept }];
    }),
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
  const lost = (await readLosses(tx, [payment], moment)).get(paymentKeyText(payment))?.lost;
  const { merchantId, customerId: from, currency, postedBonus, parts } = payment;
  if (payment.bonusPostings === 0 || lost === undefined || from === null || currency === null) return null;
  const keysAt = (owner: string) =>
    originsOfBonus(payment).map((originKey) => ({ merchantId, customerId: owner, currency, originKey }));
  const here = await lotsOfOrigins(tx, keysAt(from));
  const there = await lotsOfOrigins(tx, keysAt(customerId));
  const { isEndless, last } = here.length === 0 ? await endWithoutLots(tx, payment) : endOfLots(here);
  const taken = parts.reduce((sum, { postedBonusTake }) => sum + postedBonusTake, 0);
  const isAlive = isEndless || (last !== null && last > moment.now);
  const amount = isAlive ? Math.max(0, postedBonus - taken - lost) : 0;
  const bonusLost = Math.max(0, postedBonus - taken - amount);
  const kept = { bonusLost, bonusLostBefore: bonusLost - lostOf(there) };
  return { amount, endsAt: isEndless ? null : last, kept };
}

function lostOf(lots: readonly LotsOfOrigin[]): number {
  return lots.reduce((sum, { lost }) => sum + lost, 0);
}

function originText(key: OriginKey): string {
  return `${walletKeyText(key)}\0${key.originKey}`;
}
