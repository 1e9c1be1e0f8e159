import type { Tx } from '../db/transaction.ts';
import { type LotsOfOrigin, lotsOfOrigins } from '../ledger/lots/losses.ts';
import { daysAfter } from '../ledger/lots/notices.ts';
import { entriesByKeys } from '../ledger/store.ts';
import { keysOfBonus, originsOfBonus } from './due.ts';
import { movesOf } from './move-store.ts';
import type { Payment, PaymentPart } from './payment.ts';

/** When a bonus ends. */
interface End {
  readonly isEndless: boolean;
  /** Null where that is not known either. */
  readonly last: Date | null;
}

export function endOfLots(lots: readonly LotsOfOrigin[]): End {
  return { isEndless: lots.some((one) => one.isEndless), last: latest(lots.flatMap(({ endsAt }) => endsAt ?? [])) };
}

/** What repaid a debt opened no lot. Its days count all the same, from when it was given, to whomever that was. */
export async function endWithoutLots(tx: Tx, payment: Payment): Promise<End> {
  const { merchantId, bonusDays } = payment;
  if (bonusDays === null) return { isEndless: true, last: null };
  const keys = (await ownersOf(tx, payment)).flatMap((customerId) =>
    keysOfBonus(payment).map((idempotencyKey) => ({ customerId, idempotencyKey })),
  );
  const given = (await entriesByKeys(tx, merchantId, keys)).filter(({ isCredit }) => isCredit);
  const last = latest(given.map(({ createdAt }) => createdAt));
  return { isEndless: false, last: last === null ? null : daysAfter(last, bonusDays) };
}

/**
 * For how many milliseconds the bonus could still be spent when parts of the payment took of it at one of its owners before, by
 * {@link partText}. Null: it did not end. For a part that took nothing there, nothing is said.
 */
export async function livesLeft(tx: Tx, payment: Payment): Promise<ReadonlyMap<string, number | null>> {
  const { merchantId, currency, moves } = payment;
  const taking = payment.parts.filter(({ postedBonusTake }) => postedBonusTake > 0);
  if (moves === 0 || currency === null || taking.length === 0) return new Map();
  const owners = await ownersOf(tx, payment);
  const found = new Map<string, number | null>();
  for (const part of taking) {
    const keys = keysOfBonus(payment, part).flatMap((idempotencyKey) =>
      owners.map((customerId) => ({ customerId, idempotencyKey })),
    );
    const takes = (await entriesByKeys(tx, merchantId, keys)).filter(({ isCredit }) => !isCredit);
    const last = takes.toSorted((one, other) => other.createdAt.getTime() - one.createdAt.getTime())[0];
    if (last === undefined) continue;
    const { customerId } = last;
    const origins = originsOfBonus(payment).map((originKey) => ({ merchantId, customerId, currency, originKey }));
    const lots = await lotsOfOrigins(tx, origins);
    const end = lots.length === 0 ? await endWithoutLots(tx, payment) : endOfLots(lots);
    if (end.isEndless) found.set(partText(part), null);
    else if (end.last !== null) found.set(partText(part), end.last.getTime() - last.createdAt.getTime());
  }
  return found;
}

export function partText({ kind, partId }: Pick<PaymentPart, 'kind' | 'partId'>): string {
  return `${kind}\0${partId}`;
}

/** Whose it was and is. */
async function ownersOf(tx: Tx, payment: Payment): Promise<readonly string[]> {
  const moves = await movesOf(tx, [payment]);
  const owners = [payment.customerId, ...moves.flatMap((one) => [one.fromCustomerId, one.toCustomerId])];
  return [...new Set(owners.filter((one) => one !== null))];
}

function latest(times: readonly Date[]): Date | null {
  return times.reduce<Date | null>((last, one) => (last === null || one > last ? one : last), null);
}
