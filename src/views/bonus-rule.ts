import { z } from 'zod';
import type { BonusRule } from '../payments/bonus-rule.ts';
import { EXAMPLE } from './examples.ts';
import { amount, moment, text, timestamp, walletCurrency } from './fields.ts';

/** Bonus rules as the API takes and shows them. */

const PERCENT_ERROR = 'wants a number of per cent from 0.01 to 10000, with two decimals at most';
const DAYS_ERROR = 'wants a whole number of days from 1 to 3660';
const LIMIT_ERROR = 'wants a whole number from 1 to 1000';
const PRIORITY_ERROR = 'wants a whole number from 0 to 1000';
const RULE_ID_ERROR = 'wants 1 to 64 lower-case letters, digits, _ or -';

export const ruleParams = z.strictObject({
  rule_id: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, { error: RULE_ID_ERROR })
    .meta({ description: 'Chosen by you.', examples: ['summer'] }),
});

const percent = z
  .number({ error: PERCENT_ERROR })
  .min(0.01, { error: PERCENT_ERROR })
  .max(10_000, { error: PERCENT_ERROR })
  .refine((value) => /^\d+(?:\.\d{1,2})?$/.test(String(value)), { error: PERCENT_ERROR });

const REQUEST = {
  currency: EXAMPLE.currency,
  min_paid: 5000,
  percent: 10,
  max_bonus: 800,
  expires_in_days: 90,
  first_top_up_only: true,
} as const;

export const bonusRuleRequest = z
  .strictObject({
    currency: walletCurrency,
    min_paid: amount.default(1).meta({ description: 'What must at least be paid, in minor units.' }),
    max_paid: amount.nullable().default(null).meta({ description: 'What may at most be paid.' }),
    percent: percent
      .nullable()
      .default(null)
      .meta({ description: 'Of what was paid, rounded down. It or `fixed` is wanted.' }),
    fixed: amount.nullable().default(null).meta({ description: 'In minor units.' }),
    max_bonus: amount.nullable().default(null).meta({ description: 'The most that one payment is given.' }),
    expires_in_days: z
      .int({ error: DAYS_ERROR })
      .min(1, { error: DAYS_ERROR })
      .max(3660, { error: DAYS_ERROR })
      .nullable()
      .default(null)
      .meta({ description: 'For how many days of 24 hours it can be spent; null: it does not end.' }),
    first_top_up_only: z.boolean({ error: 'wants true or false' }).default(false).meta({
      description:
        'Only where the customer has no other top-up in the currency, but for those that were refunded in full.',
    }),
    per_customer_limit: z
      .int({ error: LIMIT_ERROR })
      .min(1, { error: LIMIT_ERROR })
      .max(1000, { error: LIMIT_ERROR })
      .nullable()
      .default(null)
      .meta({ description: 'So many bonuses of the rule each customer gets, refunded ones included.' }),
    starts_at: moment.nullable().default(null).meta({ description: 'From when on, by the time of the payment.' }),
    ends_at: moment.nullable().default(null).meta({ description: 'Until when, exclusive.' }),
    sources: z
      .array(text(200, 1))
      .min(1, { error: 'wants one source or more, or null for all' })
      .max(100, { error: 'wants 100 sources or fewer' })
      .nullable()
      .default(null)
      .meta({ description: 'Only payments of these sources; null: of all.' }),
    priority: z
      .int({ error: PRIORITY_ERROR })
      .min(0, { error: PRIORITY_ERROR })
      .max(1000, { error: PRIORITY_ERROR })
      .default(50)
      .meta({ description: 'Of the rules that fit a payment, the lowest counts, and of equals the first by id.' }),
  })
  .meta({ examples: [REQUEST] });

export const bonusRuleShape = z
  .strictObject({
    rule_id: z.string(),
    currency: z.string(),
    min_paid: amount,
    max_paid: amount.nullable(),
    percent: z.number().nullable(),
    fixed: amount.nullable(),
    max_bonus: amount.nullable(),
    expires_in_days: z.int().nullable(),
    first_top_up_only: z.boolean(),
    per_customer_limit: z.int().nullable(),
    starts_at: timestamp.nullable(),
    ends_at: timestamp.nullable(),
    sources: z.array(z.string()).nullable(),
    priority: z.int(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({
    id: 'BonusRule',
    examples: [
      {
        ...{ rule_id: 'summer', ...REQUEST, max_paid: null, fixed: null, per_customer_limit: null, starts_at: null },
        ...{ ends_at: null, sources: null, priority: 50, created_at: EXAMPLE.time, updated_at: EXAMPLE.time },
      },
    ],
  });

/** What a request says of a rule. */
export function ruleOf(
  body: z.output<typeof bonusRuleRequest>,
  named: Pick<BonusRule, 'merchantId' | 'ruleId' | 'actor'>,
): Omit<BonusRule, 'createdAt' | 'updatedAt'> {
  return {
    ...named,
    currency: body.currency,
    minPaid: body.min_paid,
    maxPaid: body.max_paid,
    basisPoints: body.percent === null ? null : Math.round(body.percent * 100),
    fixed: body.fixed,
    maxBonus: body.max_bonus,
    expiresInDays: body.expires_in_days,
    firstTopUpOnly: body.first_top_up_only,
    perCustomerLimit: body.per_customer_limit,
    startsAt: body.starts_at,
    endsAt: body.ends_at,
    sources: body.sources,
    priority: body.priority,
  };
}

export function bonusRuleResponse(rule: BonusRule): z.output<typeof bonusRuleShape> {
  return {
    rule_id: rule.ruleId,
    currency: rule.currency,
    min_paid: rule.minPaid,
    max_paid: rule.maxPaid,
    percent: rule.basisPoints === null ? null : rule.basisPoints / 100,
    fixed: rule.fixed,
    max_bonus: rule.maxBonus,
    expires_in_days: rule.expiresInDays,
    first_top_up_only: rule.firstTopUpOnly,
    per_customer_limit: rule.perCustomerLimit,
    starts_at: rule.startsAt?.toISOString() ?? null,
    ends_at: rule.endsAt?.toISOString() ?? null,
    sources: rule.sources === null ? null : [...rule.sources],
    priority: rule.priority,
    created_at: rule.createdAt.toISOString(),
    updated_at: rule.updatedAt.toISOString(),
  };
}
