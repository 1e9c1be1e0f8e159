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

/**
 * Shares a sum out to parts. Each keeps what was posted, as far as the sum allows, also where another part tells the same money by now: so
 * nothing is given back and taken at one moment. More is taken by the newest that have not their share; less by those with more than that.
 */
function spread(wanted: number, shares: readonly number[], posted: readonly number[]): readonly number[] {
  const takes = shares.map((_, index) => posted[index] ?? 0);
  let rest = wanted - sumOf(takes);
  const newestFirst = [...shares.entries()].toReversed();
  for (const [index, share] of newestFirst) {
    const take = takes[index] ?? 0;
    const change = rest > 0 ? Math.max(0, Math.min(rest, share - take)) : -Math.max(0, Math.min(-rest, take - share));
    takes[index] = take + change;
    rest -= change;
  }
  // What expired or was voided is not taken, though it is within the shares.
  for (const [index] of newestFirst) {
    const less = Math.max(0, Math.min(-rest, takes[index] ?? 0));
    takes[index] = (takes[index] ?? 0) - less;
    rest += less;
  }
  return takes;
}

function sumOf(amounts: readonly number[]): number {
  return amounts.reduce((sum, one) => sum + one, 0);
}
