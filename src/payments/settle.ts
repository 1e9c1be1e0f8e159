import { proportionMinor } from '../money.ts';
import { afterLosses } from './bonus.ts';
import { checkoutTarget } from './checkout-shares.ts';
import { countedAmounts, isForeign } from './counted.ts';
import { disputedAmounts } from './dispute-holds.ts';
import { grantOf } from './grant.ts';
import { type Net, netOfHandled } from './handled.ts';
import type { HeldTarget, Payment, PaymentPart, Target } from './payment.ts';
import type { PaymentPurpose, RefundPolicy } from './purpose.ts';

/**
 * Says what a wallet should have received from a payment, given all that is known of it. A pure function of the facts:
 * the job posts the difference to what it has posted, so any order of the same facts ends in the same balance and a
 * repeated fact changes nothing. docs/payments.md has the rules in words.
 *
 * What is taken back is, of what was granted, the share of `taken` in what was paid:
 * taken = min(paid, refunds + max(0, chargebacks and reversals - reinstatements)).
 * What open disputes may take besides is held (dispute-holds.ts).
 */
export function settle(payment: Payment, policy: RefundPolicy): HeldTarget {
  const { target } = netOf(payment, policy);
  const holds = disputedAmounts(payment, (life) => {
    const { target, isUnclear } = netOf(life, policy);
    return isUnclear ? null : target.parts.reduce((sum, { take, bonusTake }) => sum + take + bonusTake, 0);
  });
  return { ...target, holds };
}

function netOf(payment: Payment, policy: RefundPolicy): Net {
  const { target, isUnclear } =
    payment.handled.length === 0
      ? { target: targetOf(payment, policy), isUnclear: false }
      : netOfHandled(payment, (life, granted) => targetOf(life, policy, granted));
  return { target: afterLosses(payment, target), isUnclear };
}

/** Whether it is unclear what to post beside what was handled by hand, so that a person must decide. */
export function isUnsettleable(payment: Payment, policy: RefundPolicy): boolean {
  return netOf(payment, policy).isUnclear;
}

/** @param given what was granted, if that differs from what the payment tells */
function targetOf(payment: Payment, policy: RefundPolicy, given?: number): Target {
  // Whatever the source's refunds do.
  if (payment.purpose === 'checkout') return checkoutTarget(payment);
  const isPaid = payment.state === 'succeeded';
  const paid = isPaid ? (payment.amountPaid ?? 0) : 0;
  const grant = isPaid && payment.purpose === 'topup' ? grantOf(payment, paid) : { credit: 0, bonus: 0 };
  // Where something of the payment itself was handled by hand, what was posted as its bonus stays.
  const [granted, bonus] = given === undefined ? [grant.credit, grant.bonus] : [given, payment.postedBonus];
  // A payment that never arrived has no known amount, so it sets no limit.
  const bound = isPaid ? paid : payment.waitedOut ? Number.MAX_SAFE_INTEGER : 0;
  const amounts = countedAmounts(payment, paid);
  const effects = payment.parts.map((part) => effectOf(payment, part, policy));
  const left = { credit: bound, take: bound };
  // In the order in which the parts settled, so that later news does not shift what one part took to another.
  const parts = payment.parts.map((_, index) => {
    const effect = effects[index] ?? 'none';
    if (effect === 'none') return { credit: 0, take: 0, bonusTake: 0 };
    const amount = Math.min(amounts[index] ?? 0, left[effect]);
    const undone = bound - left[effect];
    left[effect] -= amount;
    if (effect === 'credit') return { credit: amount, take: 0, bonusTake: 0 };
    // Each share of what was paid takes the same share of the bonus.
    const shareOf = (whole: number) => takenBack(whole, undone + amount, paid) - takenBack(whole, undone, paid);
    return { credit: 0, take: shareOf(granted), bonusTake: shareOf(bonus) };
  });
  const undone = bound - left.take;
  return handedOver(payment, { credit: granted, returned: 0, bonus, parts, undone, paid });
}

/** How much of `granted` is to be taken back once `undone` of `paid` is undone: in proportion, rounded for the customer. */
function takenBack(granted: number, undone: number, paid: number): number {
  return paid === 0 ? 0 : proportionMinor(granted, undone, paid);
}

/**
 * If two families of events tell the same money, what the first one posted stays posted: the entries of a part that informs
 * pass to the part that takes its place. So no customer gets money back and loses it again at the same moment.
 */
function handedOver(payment: Payment, target: Target): Target {
  const parts = target.parts.map((part) => ({ ...part }));
  for (const side of ['credit', 'take'] as const) {
    const posted = payment.parts.map((part) => (side === 'credit' ? part.postedCredit : part.postedTake));
    const excess = (index: number) => (posted[index] ?? 0) - (parts[index]?.[side] ?? 0);
    for (const [from, informing] of parts.entries()) {
      if (payment.parts[from]?.role !== 'informs') continue;
      for (const [to, moving] of parts.entries()) {
        if (payment.parts[to]?.role === 'informs') continue;
        const shift = Math.max(0, Math.min(excess(from), -excess(to)));
        informing[side] += shift;
        moving[side] -= shift;
      }
    }
  }
  return { ...target, parts };
}

function effectOf(payment: Payment, part: PaymentPart, policy: RefundPolicy): 'none' | 'credit' | 'take' {
  const isPaid = payment.state === 'succeeded';
  if (!(isPaid || payment.waitedOut) || isForeign(payment, part)) return 'none';
  const purpose: PaymentPurpose = isPaid ? (payment.purpose ?? 'none') : 'order';
  if (part.kind === 'dispute') return purpose === 'topup' ? 'take' : 'none';
  if (purpose === 'none' || purpose === 'checkout') return 'none';
  switch (policy) {
    case 'ignore':
      return 'none';
    case 'credit':
      return 'credit';
    case 'reverse':
      return purpose === 'topup' ? 'take' : 'none';
    case 'auto':
      return purpose === 'topup' ? 'take' : 'credit';
  }
}
