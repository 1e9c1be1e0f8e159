import type { Command } from 'commander';
import { z } from 'zod';
import { transaction } from '../db/transaction.ts';
import { formatMinor } from '../money.ts';
import type { BonusRule } from '../payments/bonus-rule.ts';
import { listBonusRules } from '../payments/bonus-rule-store.ts';
import { getBonusRule, putBonusRule, removeBonusRule } from '../payments/bonus-rules.ts';
import { bonusRuleRequest, bonusRuleResponse, ruleOf, ruleParams } from '../views/bonus-rule.ts';
import { currency, text } from '../views/fields.ts';
import { addMerchantCommand, takes, UsageError } from './command.ts';
import { table, time } from './output.ts';
import { count, id, parseAmount } from './values.ts';

const ruleId = takes('<rule-id>', 'chosen by you, such as summer', ruleParams.shape.rule_id);
const money = text(20, 1).optional();

const TERMS = {
  ruleId,
  currency: takes('<currency>', 'such as USD', currency),
  percent: takes('--percent <number>', 'of what was paid, such as 10 or 12.5; or --fixed', text(10, 1).optional()),
  fixed: takes('--fixed <amount>', 'the same for every payment, such as 5.00', money),
  minPaid: takes('--min-paid <amount>', 'what must at least be paid (default: anything)', money),
  maxPaid: takes('--max-paid <amount>', 'what may at most be paid (default: anything)', money),
  maxBonus: takes('--max-bonus <amount>', 'the most that one payment is given', money),
  days: takes('--days <number>', 'for how long it can be spent (default: for ever)', count(1, 3660).optional()),
  first: takes('--first-top-up-only', "only on a customer's first top-up", z.boolean().default(false)),
  limit: takes('--per-customer-limit <number>', 'so many bonuses for each customer', count(1, 1000).optional()),
  from: takes('--starts-at <time>', 'from when on, such as 2026-12-01T00:00:00Z', text(40, 1).optional()),
  until: takes('--ends-at <time>', 'until when, exclusive', text(40, 1).optional()),
  source: takes('--source <id>', 'only payments of this source', id.optional()),
  priority: takes('--priority <number>', 'lower ones are looked at first (default: 50)', count(0, 1000).default(50)),
};

/** What merchants give on top of top-ups. */
export function addBonusRuleCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: 'List the bonus rules, in the order in which they are looked at',
    takes: {},
    async run(_input, { db }, { merchantId }) {
      const rules = await listBonusRules(db, merchantId);
      return { json: { items: rules.map(bonusRuleResponse) }, text: ruleTable(rules) };
    },
  });

  addMerchantCommand(group, {
    name: 'show',
    summary: 'Show a bonus rule',
    takes: { ruleId },
    async run(input, { db }, { merchantId }) {
      const rule = await getBonusRule(db, { merchantId, ruleId: input.ruleId });
      return { json: bonusRuleResponse(rule), text: ruleTable([rule]) };
    },
  });

  addMerchantCommand(group, {
    name: 'put',
    summary: 'Make a bonus rule, or replace it',
    details: 'The first rule that fits a top-up gives its bonus. Payments that were decided before keep theirs.',
    takes: TERMS,
    async run(input, { pool, clock, config }, { merchantId }) {
      const minor = (written: string | undefined) =>
        written === undefined ? null : parseAmount(written, input.currency);
      const minPaid = minor(input.minPaid);
      const body = bonusRuleRequest.safeParse({
        currency: input.currency,
        ...(minPaid === null ? {} : { min_paid: minPaid }),
        max_paid: minor(input.maxPaid),
        percent: input.percent === undefined ? null : Number(input.percent),
        fixed: minor(input.fixed),
        max_bonus: minor(input.maxBonus),
        expires_in_days: input.days ?? null,
        first_top_up_only: input.first,
        per_customer_limit: input.limit ?? null,
        starts_at: input.from ?? null,
        ends_at: input.until ?? null,
        sources: input.source === undefined ? null : [input.source],
        priority: input.priority,
      });
      if (!body.success)
        throw new UsageError(body.error.issues.map((one) => `${one.path.join('.')}: ${one.message}`).join('; '));
      const rules = {
        currencies: new Set(config.WALLET_CURRENCIES),
        maxBonusRatio: config.MAX_BONUS_RATIO,
        now: clock.now(),
      };
      const rule = ruleOf(body.data, { merchantId, ruleId: input.ruleId, actor: 'operator' });
      const saved = await transaction(pool, (tx) => putBonusRule(tx, rule, rules));
      return { json: bonusRuleResponse(saved), text: ruleTable([saved]) };
    },
  });

  addMerchantCommand(group, {
    name: 'delete',
    summary: 'Delete a bonus rule; what was given by it stays',
    takes: { ruleId },
    async run(input, { db }, { merchantId }) {
      await removeBonusRule(db, { merchantId, ruleId: input.ruleId });
      return { json: { deleted: true }, text: 'The rule is gone.' };
    },
  });
}

function ruleTable(rules: readonly BonusRule[]): string {
  return table(
    ['rule', 'priority', 'paid', 'bonus', 'at most', 'days', 'whom', 'from', 'until', 'sources'],
    rules.map((one) => {
      const money = (amount: number | null) => (amount === null ? null : formatMinor(amount, one.currency));
      const whom = [
        ...(one.firstTopUpOnly ? ['first top-up'] : []),
        ...(one.perCustomerLimit === null ? [] : [`${one.perCustomerLimit} each`]),
      ];
      return [
        one.ruleId,
        String(one.priority),
        one.maxPaid === null ? `${money(one.minPaid)} or more` : `${money(one.minPaid)} to ${money(one.maxPaid)}`,
        one.basisPoints === null ? money(one.fixed) : `${one.basisPoints / 100} %`,
        money(one.maxBonus),
        one.expiresInDays === null ? null : String(one.expiresInDays),
        whom.length === 0 ? null : whom.join(', '),
        one.startsAt === null ? null : time(one.startsAt.toISOString()),
        one.endsAt === null ? null : time(one.endsAt.toISOString()),
        one.sources === null ? null : one.sources.join(', '),
      ];
    }),
    'No bonus rules.',
  );
}
