import type { PartTarget, Payment, Target } from './payment.ts';

/** How much of a bonus is taken back. Pure. */

/**
 * The target with what the parts take of the bonus, as far as that is there to be taken: what expired or was voided is not taken back
 * as well. What was taken stays taken, whatever expires later, unless less of the payment is undone now or another amount is paid.
 * @param target in which the parts have their shares of the bonus as if nothing of it was lost
 */
export function afterLosses(payment: Payment, target: Target): Target {
  const { bonusLost, postedBonus, parts } = payment;
  if (target.bonus === 0 && postedBonus === 0) return target;
  const posted = parts.map((part) => part.postedBonusTake);
  const shares = target.parts.map(({ bonusTake }) => bonusTake);
  const formula = Math.max(0, sumOf(shares) - bonusLost);
  const wanted = isLessUndone(payment, target) ? formula : Math.max(formula, Math.min(sumOf(posted), sumOf(shares)));
  const takes = spread(wanted, shares, posted);
  return {
    ...target,
    // What was lost of it cannot be taken back from the payment itself either.
    bonus: Math.max(target.bonus, Math.min(postedBonus, bonusLost)),
    parts: target.parts.map((part, index): PartTarget => ({ ...part, bonusTake: takes[index] ?? 0 })),
  };
}

function isLessUndone({ bonusUndone, bonusPaid }: Payment, { undone, paid }: Target): boolean {
  return undone < bonusUndone || paid !== bonusPaid;
}

/** Deals a sum out to parts, each at most its share: each keeps what it has, and the newest take more or give back first. */
function spread(wanted: number, shares: readonly number[], posted: readonly number[]): readonly number[] {
  const takes = shares.map((share, index) => Math.min(share, posted[index] ?? 0));
  let rest = wanted - sumOf(takes);
  for (let index = takes.length - 1; index >= 0; index -= 1) {
    const take = takes[index] ?? 0;
    const change = Math.max(-take, Math.min(rest, (shares[index] ?? 0) - take));
    takes[index] = take + change;
    rest -= change;
  }
  return takes;
}

function sumOf(amounts: readonly number[]): number {
  return amounts.reduce((sum, one) => sum + one, 0);
}
