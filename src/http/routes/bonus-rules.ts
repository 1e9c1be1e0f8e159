import { z } from 'zod';
import { autocommit, transaction } from '../../db/transaction.ts';
import { listBonusRules } from '../../payments/bonus-rule-store.ts';
import { getBonusRule, MOST_BONUS_RULES, putBonusRule, removeBonusRule } from '../../payments/bonus-rules.ts';
import { bonusRuleRequest, bonusRuleResponse, bonusRuleShape, ruleOf, ruleParams } from '../../views/bonus-rule.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const tag = 'Payments';
const path = '/bonus-rules/{rule_id}';

const list = merchantRoute({
  method: 'get',
  path: '/bonus-rules',
  scope: 'read',
  takesTurns: false,
  tag,
  summary: 'List what you give on top of top-ups',
  description: `In the order in which they are looked at; ${MOST_BONUS_RULES} at most.`,
  response: { description: 'All rules.', schema: z.strictObject({ items: z.array(bonusRuleShape) }) },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId }) {
    return { items: (await readers.read(merchantId, (db) => listBonusRules(db, merchantId))).map(bonusRuleResponse) };
  },
});

const get = merchantRoute({
  method: 'get',
  path,
  scope: 'read',
  tag,
  summary: 'Retrieve a bonus rule',
  description: 'As it is now: payments that were decided before keep what they were given.',
  params: ruleParams,
  response: { description: 'The rule.', schema: bonusRuleShape },
  errors: ['NOT_FOUND'],
  async handle({ services: { pool }, merchantId, params: { rule_id: ruleId } }) {
    return bonusRuleResponse(await getBonusRule(autocommit(pool), { merchantId, ruleId }));
  },
});

const put = merchantRoute({
  method: 'put',
  path,
  scope: 'write',
  tag,
  summary: 'Make or replace a bonus rule',
  description:
    "The first rule that fits a top-up gives a bonus, as an entry and a lot of its own. What the payment's metadata or token says of credit or bonus counts instead. It is decided once, when the payment first succeeds: what becomes of a rule later changes nothing of payments before. " +
    'A refund or dispute takes back the same share of the bonus as of what was paid.',
  params: ruleParams,
  body: bonusRuleRequest,
  response: { description: 'The rule.', schema: bonusRuleShape },
  errors: ['UNSUPPORTED_CURRENCY', 'CONFLICT'],
  async handle({ services: { pool, settings, config, clock }, merchantId, params, body, keyId }) {
    const rules = { currencies: settings.currencies, maxBonusRatio: config.MAX_BONUS_RATIO, now: clock.now() };
    const rule = ruleOf(body, { merchantId, ruleId: params.rule_id, actor: `key:${keyId}` });
    return bonusRuleResponse(await transaction(pool, (tx) => putBonusRule(tx, rule, rules)));
  },
});

const remove = merchantRoute({
  method: 'delete',
  path,
  scope: 'write',
  tag,
  summary: 'Delete a bonus rule',
  description: 'No payment gets a bonus by it from now on. What was given stays.',
  params: ruleParams,
  response: { status: 204, description: 'It is gone.', schema: z.null() },
  errors: ['NOT_FOUND'],
  async handle({ services: { pool }, merchantId, params: { rule_id: ruleId } }) {
    await removeBonusRule(autocommit(pool), { merchantId, ruleId });
    return null;
  },
});

export const bonusRuleRoutes: readonly Route[] = [list, get, put, remove];
