import { z } from 'zod';
import { autocommit, transaction } from '../../db/transaction.ts';
import { deleteRule, putRule, resumeRule } from '../../top-ups/manage.ts';
import { TOP_UP_MODES } from '../../top-ups/rule.ts';
import { standingOf } from '../../top-ups/standing.ts';
import { amount, moment, text, walletParams } from '../../views/fields.ts';
import { EXAMPLE_RULE, ruleResponse, ruleShape } from '../../views/top-up.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';

const tag = 'Top-ups';
const rulePath = '/customers/{customer_id}/wallets/{currency}/top-up-rule';

interface Params {
  readonly customer_id: string;
  readonly currency: string;
}

export function topUpWalletOf(merchantId: string, { customer_id: customerId, currency }: Params) {
  return { merchantId, customerId, currency };
}

/** What a rule wants is done by the worker, which looks by itself within a minute where this is lost. */
export function wakeTopUps({ boss, onPosted, logger }: Services): void {
  onPosted();
  boss.send('charge-top-ups', {}).catch((error: unknown) => logger.debug({ err: error }, 'top-ups were not woken'));
}

const THRESHOLD_ERROR = 'wants 0 or a positive whole number of minor units';
const whole = (minimum: number, maximum: number) => {
  const error = `wants a whole number from ${minimum} to ${maximum}`;
  return z.int({ error }).min(minimum, { error }).max(maximum, { error });
};

const ruleBody = z
  .strictObject({
    enabled: z.boolean({ error: 'wants true or false' }),
    threshold: z.int({ error: THRESHOLD_ERROR }).min(0, { error: THRESHOLD_ERROR }).meta({
      description: 'A balance below it is filled up. What holds set aside counts as there.',
    }),
    mode: z.enum(TOP_UP_MODES, { error: 'wants amount or target' }),
    amount: amount
      .optional()
      .meta({ description: 'In the mode `amount`: that much, or the multiple that closes the gap.' }),
    target: amount.optional().meta({ description: 'In the mode `target`: up to that balance.' }),
    max_charge: amount.optional().meta({ description: '`amount`, or `target`, unless given.' }),
    monthly_cap: amount.meta({ description: 'Of a calendar month in `time_zone`. Refunds do not free it.' }),
    max_per_day: whole(1, 10).default(3),
    min_interval_seconds: whole(60, 86_400).default(600),
    time_zone: text(64, 1).default('UTC').meta({ description: 'A name such as Europe/Berlin.' }),
    payment: z
      .strictObject({
        source_id: text(100, 1),
        provider_customer_id: text(255, 1),
        payment_method_id: text(255, 1).nullable().default(null).meta({
          description:
            "Null: the customer's default at Stripe, as it is at each attempt. At Dodo the customer's on-demand subscription (`sub_…`), which has to be named.",
        }),
      })
      .nullable()
      .meta({
        description:
          'Null: you charge yourself, when `topup.requested` tells you to. Else a source of Stripe or Dodo with a charge key.',
      }),
    consent: z
      .strictObject({ accepted_at: moment, text_version: text(255, 1) })
      .nullable()
      .default(null)
      .meta({ description: 'That the customer agreed to be charged without being there. Wanted to enable the rule.' }),
  })
  .meta({
    examples: [
      {
        ...{ enabled: true, threshold: 1000, mode: 'amount', amount: 2000, monthly_cap: 20_000 },
        ...{ payment: EXAMPLE_RULE.payment, consent: EXAMPLE_RULE.consent },
      },
    ],
  });

const put = merchantRoute({
  method: 'put',
  path: rulePath,
  scope: 'write',
  tag,
  summary: 'Set when and how a wallet is filled up',
  description:
    'Nothing is charged before the wallet is below its threshold. A rule that is suspended stays so: resume it, or let the customer pay with another method.',
  params: walletParams,
  body: ruleBody,
  response: { description: 'The rule as it stands.', schema: ruleShape },
  errors: [
    'CUSTOMER_NOT_FOUND',
    'UNSUPPORTED_CURRENCY',
    'CONSENT_REQUIRED',
    'CHARGING_NOT_CONFIGURED',
    'WALLET_CLOSED',
  ],
  async handle({ services, merchantId, params, body }) {
    const { pool, clock, settings, sources } = services;
    const key = topUpWalletOf(merchantId, params);
    const payment =
      body.payment === null
        ? null
        : {
            sourceId: body.payment.source_id,
            providerCustomerId: body.payment.provider_customer_id,
            paymentMethodId: body.payment.payment_method_id,
          };
    const source = payment === null ? null : await sources.find(autocommit(pool), merchantId, payment.sourceId);
    const { consent } = body;
    const rule = {
      ...{ ...key, enabled: body.enabled, threshold: body.threshold, mode: body.mode, payment, source },
      ...{ amount: body.amount ?? null, target: body.target ?? null },
      maxCharge: body.max_charge ?? (body.mode === 'amount' ? body.amount : body.target) ?? 1,
      ...{ monthlyCap: body.monthly_cap, maxPerDay: body.max_per_day, minIntervalSeconds: body.min_interval_seconds },
      timeZone: body.time_zone,
      consent: consent === null ? null : { acceptedAt: consent.accepted_at, textVersion: consent.text_version },
    };
    const now = clock.now();
    const standing = await transaction(pool, async (tx) => {
      await putRule(tx, rule, { currencies: settings.currencies, now });
      return standingOf(tx, key, now);
    });
    wakeTopUps(services);
    return ruleResponse(standing);
  },
});

const get = merchantRoute({
  takesTurns: false,
  method: 'get',
  path: rulePath,
  scope: 'read',
  tag,
  summary: 'Show when and how a wallet is filled up',
  description: 'With what was tried this month, and what is under way.',
  params: walletParams,
  response: { description: 'The rule.', schema: ruleShape },
  errors: ['TOP_UP_RULE_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { readers, clock }, merchantId, params }) {
    const key = topUpWalletOf(merchantId, params);
    return ruleResponse(await readers.read(merchantId, (db) => standingOf(db, key, clock.now())));
  },
});

const remove = merchantRoute({
  method: 'delete',
  path: rulePath,
  scope: 'write',
  tag,
  summary: 'Fill a wallet up no more',
  description:
    'An attempt under way goes on, since it may have been paid. Periods of schedules that are due and not charged yet are skipped.',
  params: walletParams,
  response: { status: 204, description: 'There is no rule any more.', schema: z.null() },
  errors: ['TOP_UP_RULE_NOT_FOUND'],
  async handle({ services: { pool, clock, onPosted }, merchantId, params }) {
    await transaction(pool, (tx) => deleteRule(tx, topUpWalletOf(merchantId, params), clock.now()));
    // Periods of schedules that it was to pay are told of.
    onPosted();
    return null;
  },
});

const resume = merchantRoute({
  method: 'post',
  path: `${rulePath}/resume`,
  scope: 'write',
  tag,
  summary: 'Let a suspended rule charge again',
  description: 'At once where the wallet is below its threshold: declines are counted anew.',
  params: walletParams,
  body: z.strictObject({ reason: text(1000, 1) }).meta({ examples: [{ reason: 'The bank said yes by telephone' }] }),
  response: { description: 'The rule as it stands.', schema: ruleShape },
  errors: ['TOP_UP_RULE_NOT_FOUND'],
  async handle({ services, merchantId, keyId, params, body }) {
    const { pool, clock, logger } = services;
    const key = topUpWalletOf(merchantId, params);
    const now = clock.now();
    const standing = await transaction(pool, async (tx) => {
      await resumeRule(tx, key, now);
      return standingOf(tx, key, now);
    });
    logger.info({ ...key, keyId, reason: body.reason }, 'a top-up rule was resumed');
    wakeTopUps(services);
    return ruleResponse(standing);
  },
});

export const topUpRuleRoutes: readonly Route[] = [put, get, remove, resume];
