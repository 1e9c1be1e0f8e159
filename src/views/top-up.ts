import { z } from 'zod';
import { TOP_UP_REASONS, TOP_UP_STATES } from '../top-ups/attempt.ts';
import { SUSPENSIONS, TOP_UP_MODES, type TopUpRule } from '../top-ups/rule.ts';
import type { TopUp } from '../top-ups/tables.ts';
import { EXAMPLE } from './examples.ts';
import { minorUnits, timestamp } from './fields.ts';

/** How top-ups and their rules are shown. */

export const EXAMPLE_TOP_UP = {
  topup_id: 'top_01h2xcejqtf2nbrexx3vqjhp41',
  business_id: EXAMPLE.merchantId,
  customer_id: EXAMPLE.customerId,
  currency: EXAMPLE.currency,
  origin: 'threshold',
  status: 'charged',
  amount: 2000,
  source_id: EXAMPLE.sourceId,
  payment_id: EXAMPLE.paymentId,
  reason: null,
  decline_code: null,
  created_at: EXAMPLE.time,
  settled_at: null,
} as const;

const topUpFields = {
  topup_id: z.string(),
  business_id: z.string(),
  customer_id: z.string(),
  currency: z.string(),
  origin: z.enum(['threshold', 'manual', 'schedule']),
  status: z.enum(TOP_UP_STATES).meta({
    description:
      'requested: somebody else is to make the payment. charging, unknown: the provider is asked, and its answer is not known yet. charged, processing: it said so, and the payment’s own event is still to come, by which alone anything is credited.',
  }),
  amount: minorUnits.meta({ description: 'What was asked for; what is paid is credited, which may be more.' }),
  source_id: z.string().nullable(),
  payment_id: z.string().nullable(),
  reason: z.enum(TOP_UP_REASONS).nullable().meta({ description: 'Why it came to nothing.' }),
  decline_code: z.string().nullable().meta({ description: "The provider's word for a decline." }),
  created_at: timestamp,
  settled_at: timestamp.nullable(),
};

export const topUpShape = z.strictObject(topUpFields).meta({ id: 'TopUp', examples: [EXAMPLE_TOP_UP] });

export function topUpResponse(topUp: TopUp): z.output<typeof topUpShape> {
  return {
    topup_id: topUp.topUpId,
    business_id: topUp.merchantId,
    customer_id: topUp.customerId,
    currency: topUp.currency,
    origin: topUp.origin,
    status: topUp.state,
    amount: topUp.amount,
    source_id: topUp.sourceId,
    payment_id: topUp.paymentId,
    reason: topUp.reason,
    decline_code: topUp.declineCode,
    created_at: topUp.createdAt.toISOString(),
    settled_at: topUp.settledAt?.toISOString() ?? null,
  };
}

export const EXAMPLE_RULE = {
  business_id: EXAMPLE.merchantId,
  customer_id: EXAMPLE.customerId,
  currency: EXAMPLE.currency,
  enabled: true,
  threshold: 1000,
  mode: 'amount',
  amount: 2000,
  target: null,
  max_charge: 2000,
  monthly_cap: 20_000,
  max_per_day: 3,
  min_interval_seconds: 600,
  time_zone: 'UTC',
  payment: {
    source_id: EXAMPLE.sourceId,
    provider_customer_id: EXAMPLE.providerCustomerId,
    payment_method_id: null,
  },
  consent: { accepted_at: EXAMPLE.since, text_version: '2026-01' },
  status: 'active',
  suspension: null,
  decline_code: null,
  next_attempt_at: null,
  spent_this_month: 2000,
  failures_in_a_row: 0,
  in_flight: EXAMPLE_TOP_UP,
  created_at: EXAMPLE.since,
  updated_at: EXAMPLE.since,
} as const;

export const ruleShape = z
  .strictObject({
    business_id: z.string(),
    customer_id: z.string(),
    currency: z.string(),
    enabled: z.boolean(),
    threshold: minorUnits,
    mode: z.enum(TOP_UP_MODES),
    amount: minorUnits.nullable(),
    target: minorUnits.nullable(),
    max_charge: minorUnits,
    monthly_cap: minorUnits,
    max_per_day: z.int(),
    min_interval_seconds: z.int(),
    time_zone: z.string(),
    payment: z
      .strictObject({
        source_id: z.string(),
        provider_customer_id: z.string(),
        payment_method_id: z.string().nullable(),
      })
      .nullable(),
    consent: z.strictObject({ accepted_at: timestamp, text_version: z.string() }).nullable(),
    status: z.enum(['active', 'suspended']),
    suspension: z.strictObject({ reason: z.enum(SUSPENSIONS), since: timestamp }).nullable(),
    decline_code: z.string().nullable().meta({ description: 'Of the last decline, until the rule is resumed.' }),
    next_attempt_at: timestamp.nullable().meta({
      description:
        'When the wallet is looked at again, where it is below its threshold or a period of a schedule is to be charged, and nothing is under way.',
    }),
    spent_this_month: minorUnits.meta({ description: 'What counts against `monthly_cap`.' }),
    failures_in_a_row: z.int(),
    in_flight: topUpShape.nullable(),
    created_at: timestamp,
    updated_at: timestamp.meta({ description: 'When its terms were set last, or it was ended.' }),
  })
  .meta({ id: 'TopUpRule', examples: [EXAMPLE_RULE] });

/** A rule with what has come of it so far. */
export interface RuleStanding {
  readonly rule: TopUpRule;
  readonly nextAttemptAt: Date | null;
  readonly spentThisMonth: number;
  readonly inFlight: TopUp | null;
}

export function ruleResponse({ rule, ...standing }: RuleStanding): z.output<typeof ruleShape> {
  const { payment, consent, suspendedReason: reason, suspendedAt: since } = rule;
  return {
    business_id: rule.merchantId,
    customer_id: rule.customerId,
    currency: rule.currency,
    enabled: rule.enabled,
    threshold: rule.threshold,
    mode: rule.mode,
    amount: rule.amount,
    target: rule.target,
    max_charge: rule.maxCharge,
    monthly_cap: rule.monthlyCap,
    max_per_day: rule.maxPerDay,
    min_interval_seconds: rule.minIntervalSeconds,
    time_zone: rule.timeZone,
    payment:
      payment === null
        ? null
        : {
            source_id: payment.sourceId,
            provider_customer_id: payment.providerCustomerId,
            payment_method_id: payment.paymentMethodId,
          },
    consent:
      consent === null ? null : { accepted_at: consent.acceptedAt.toISOString(), text_version: consent.textVersion },
    status: reason === null ? 'active' : 'suspended',
    suspension: reason === null || since === null ? null : { reason, since: since.toISOString() },
    decline_code: rule.declineCode,
    next_attempt_at: standing.nextAttemptAt?.toISOString() ?? null,
    spent_this_month: standing.spentThisMonth,
    failures_in_a_row: rule.failuresInARow,
    in_flight: standing.inFlight === null ? null : topUpResponse(standing.inFlight),
    created_at: rule.createdAt.toISOString(),
    updated_at: rule.updatedAt.toISOString(),
  };
}
