import { MAX_AMOUNT_MINOR, proportionMinor } from '../money.ts';
import { awaitsCaptures } from './captures.ts';
import type { Payment } from './payment.ts';

/** What a merchant gives on top of top-ups that fit. Amounts are minor units. */
export interface BonusRule {
  readonly merchantId: string;
  readonly ruleId: string;
  readonly currency: string;
  readonly minPaid: number;
  /** Null: no most. */
  readonly maxPaid: number | null;
  /** Hundredths of a per cent of what was paid; null where {@link fixed} is given. */
  readonly basisPoints: number | null;
  readonly fixed: number | null;
  readonly maxBonus: number | null;
  /** Null: the bonus does not end. */
  readonly expiresInDays: number | null;
  /** Only where the customer has no other top-up in the currency, but for those that went back wholly. */
  readonly firstTopUpOnly: boolean;
  /** So many bonuses of the rule each customer gets; null: no most. */
  readonly perCustomerLimit: number | null;
  /** From when to when, exclusive, a payment must have been paid; null: at any time. */
  readonly startsAt: Date | null;
  readonly endsAt: Date | null;
  /** Only payments of these sources; null: of all. */
  readonly sources: readonly string[] | null;
  /** Of those that fit, the lowest counts, and of equals the first by id. */
  readonly priority: number;
  readonly actor: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** What else is known of a customer's top-ups in a currency, where a rule asks for it. */
export interface TopUpHistory {
  /** Whether another payment topped the wallet up and did not go back wholly. */
  readonly hasOther: boolean;
  /** How many other payments got a bonus by each rule. */
  readonly uses: ReadonlyMap<string, number>;
}

/** What merchants offer on payments. */
export interface Offers {
  /** The merchant's rules, the first to be looked at first. */
  readonly rules: readonly BonusRule[];
  /** Of the customer whose the payment is; null if it is not known, and then no rule fits that asks for it. */
  readonly historyOf: (payment: Payment) => TopUpHistory | null;
  readonly now: Date;
}

/** The order in which rules are looked at. @returns below 0 if `one` goes first */
export function byPriority(one: BonusRule, other: BonusRule): number {
  return one.priority - other.priority || (one.ruleId < other.ruleId ? -1 : 1);
}

/** The bonus that a rule gives for what was paid. */
export function bonusBy(
  { basisPoints, fixed, maxBonus }: Pick<BonusRule, 'basisPoints' | 'fixed' | 'maxBonus'>,
  paid: number,
): number {
  const bonus = basisPoints === null ? (fixed ?? 0) : shareOf(paid, basisPoints);
  return Math.min(bonus, maxBonus ?? MAX_AMOUNT_MINOR);
}

/** All of it, in hundredths of a per cent. */
export const WHOLE = 10_000;

/** May be more than the whole; down to a whole minor unit, exactly. */
function shareOf(paid: number, basisPoints: number): number {
  const times = Math.floor(basisPoints / WHOLE);
  const rest = proportionMinor(paid, basisPoints % WHOLE, WHOLE);
  // What is too much for a wallet is refused with the payment.
  return Math.min(paid * times + rest, MAX_AMOUNT_MINOR);
}

/**
 * The payment with its bonus decided, at the first news of its success: by what it says itself, else by the first rule that fits. It is
 * frozen from then on, whatever becomes of the rules. While more may be captured, the sum that rules look at is not known yet.
 */
export function withBonus(payment: Payment, offers: Offers | null): Payment {
  const { bonusSplit, bonusAmount, creditAmount, purpose, state, amountPaid, customerId } = payment;
  const isUndecided = bonusSplit && bonusAmount === null && purpose === 'topup' && state === 'succeeded';
  if (!isUndecided || customerId === null || amountPaid === null || amountPaid === 0) return payment;
  if (creditAmount !== null) return { ...payment, bonusAmount: 0 };
  if (awaitsCaptures(payment)) return payment;
  const rule = offers?.rules.find((one) => fits(one, payment, offers));
  if (rule === undefined) return { ...payment, bonusAmount: 0 };
  return {
    ...payment,
    ...{ bonusAmount: bonusBy(rule, amountPaid), bonusPrice: amountPaid, bonusRuleId: rule.ruleId },
    bonusDays: payment.bonusDays ?? rule.expiresInDays,
  };
}

function fits(rule: BonusRule, payment: Payment, { historyOf, now }: Offers): boolean {
  const { merchantId, currency, sourceId, amountPaid } = payment;
  const paid = amountPaid ?? 0;
  if (rule.merchantId !== merchantId || rule.currency !== currency) return false;
  if (paid < rule.minPaid || (rule.maxPaid !== null && paid > rule.maxPaid) || bonusBy(rule, paid) === 0) return false;
  if (rule.sources !== null && !rule.sources.includes(sourceId)) return false;
  const at = payment.paidAt ?? now.getTime();
  if (rule.startsAt !== null && at < rule.startsAt.getTime()) return false;
  if (rule.endsAt !== null && at >= rule.endsAt.getTime()) return false;
  if (!rule.firstTopUpOnly && rule.perCustomerLimit === null) return true;
  const history = historyOf(payment);
  if (history === null) return false;
  const { hasOther, uses } = history;
  if (rule.firstTopUpOnly && hasOther) return false;
  return rule.perCustomerLimit === null || (uses.get(rule.ruleId) ?? 0) < rule.perCustomerLimit;
}

/** Whether a payment topped a wallet up and did not go back wholly. */
export function isPaidTopUp({ purpose, postedCredit, parts }: Payment): boolean {
  return purpose === 'topup' && postedCredit > parts.reduce((sum, { postedTake }) => sum + postedTake, 0);
}
