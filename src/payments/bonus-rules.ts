import type { Queryable, Tx } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { exceeds, formatRate, MAX_AMOUNT_MINOR, type Rate } from '../money.ts';
import { type BonusRule, bonusBy, WHOLE } from './bonus-rule.ts';
import { deleteBonusRule, findBonusRule, lockBonusRules, type RuleKey, saveBonusRule } from './bonus-rule-store.ts';

/** A merchant's bonus rules: made, replaced, read and deleted. */

/** More rules would all be read with each payment that is decided. */
export const MOST_BONUS_RULES = 100;

export type BonusRuleRequest = Omit<BonusRule, 'createdAt' | 'updatedAt'>;

/** What a rule is held against. */
interface RuleSettings {
  readonly currencies: ReadonlySet<string>;
  readonly maxBonusRatio: Rate;
  readonly now: Date;
}

/**
 * Makes a rule, or replaces the one of that id. Payments whose bonus is decided keep it.
 * @throws {RefusalError} UNSUPPORTED_CURRENCY; INVALID_FIELD for what no payment could be granted by; BONUS_RULE_LIMIT if the merchant has
 *   {@link MOST_BONUS_RULES}
 */
export async function putBonusRule(
  tx: Tx,
  rule: BonusRuleRequest,
  { currencies, maxBonusRatio, now }: RuleSettings,
): Promise<BonusRule> {
  const { merchantId, ruleId, currency } = rule;
  if (!currencies.has(currency)) refuse({ code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] });
  refuseContradictions(rule);
  refuseTooMuch(rule, maxBonusRatio);
  const ruleIds = await lockBonusRules(tx, merchantId);
  if (!ruleIds.includes(ruleId) && ruleIds.length >= MOST_BONUS_RULES)
    refuse({ code: 'BONUS_RULE_LIMIT', most: MOST_BONUS_RULES });
  await saveBonusRule(tx, { ...rule, createdAt: now, updatedAt: now });
  return getBonusRule(tx, { merchantId, ruleId });
}

function refuseContradictions({ minPaid, maxPaid, basisPoints, fixed, startsAt, endsAt }: BonusRuleRequest): void {
  const invalid = (field: string, wants: string) => refuse({ code: 'INVALID_FIELD', field, wants });
  if ((basisPoints === null) === (fixed === null)) invalid('percent', 'wants percent or fixed, and not both.');
  if (maxPaid !== null && maxPaid < minPaid) invalid('max_paid', 'wants no less than min_paid.');
  if (startsAt !== null && endsAt !== null && endsAt <= startsAt) invalid('ends_at', 'wants a time after starts_at.');
}

/** What a payment that fits would be parked for: a share by itself, unless no payment is so small that it is not cut. */
function refuseTooMuch(rule: BonusRuleRequest, most: Rate): void {
  const { minPaid, basisPoints, maxBonus } = rule;
  const bonus = bonusBy(rule, minPaid);
  const isShare = basisPoints !== null && (maxBonus === null || bonus < maxBonus);
  const isTooMuch = isShare
    ? exceeds(WHOLE + basisPoints, WHOLE, most)
    : exceeds(Math.min(minPaid + bonus, MAX_AMOUNT_MINOR), minPaid, most);
  if (!isTooMuch) return;
  const field = basisPoints === null ? 'fixed' : 'percent';
  const wants = `wants a bonus with which no payment from min_paid on grants more than ${formatRate(most)} times what was paid (MAX_BONUS_RATIO).`;
  refuse({ code: 'INVALID_FIELD', field, wants });
}

/** @throws {RefusalError} NO_SUCH_BONUS_RULE */
export async function getBonusRule(db: Queryable, key: RuleKey): Promise<BonusRule> {
  return (await findBonusRule(db, key)) ?? refuse({ code: 'NO_SUCH_BONUS_RULE' });
}

/** Payments whose bonus is decided keep it. @throws {RefusalError} NO_SUCH_BONUS_RULE */
export async function removeBonusRule(db: Queryable, key: RuleKey): Promise<void> {
  if (!(await deleteBonusRule(db, key))) refuse({ code: 'NO_SUCH_BONUS_RULE' });
}
