import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, boolean, integer, json, nullable, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { assignments, columns, omit, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import { type BonusRule, byPriority } from './bonus-rule.ts';
import { OWN_PAYMENT_KEY } from './tables.ts';

const RULE = table('bonus_rule', {
  merchantId: text,
  ruleId: text,
  currency: text,
  minPaid: bigint,
  maxPaid: nullable(bigint),
  basisPoints: nullable(integer),
  fixed: nullable(bigint),
  maxBonus: nullable(bigint),
  expiresInDays: nullable(integer),
  firstTopUpOnly: boolean,
  perCustomerLimit: nullable(integer),
  startsAt: nullable(timestamptz),
  endsAt: nullable(timestamptz),
  sources: nullable(json<readonly string[]>()),
  priority: integer,
  actor: text,
  createdAt: timestamptz,
  updatedAt: timestamptz,
});
const OWN_RULE = omit(RULE.shape, 'merchantId');
const CHANGING = omit(OWN_RULE, 'ruleId', 'createdAt');

/** The merchant's rules, in the order in which they are looked at. */
export async function listBonusRules(db: Queryable, merchantId: string): Promise<readonly BonusRule[]> {
  return (await LIST.all(db, { merchantId })).toSorted(byPriority);
}

const LIST = statement({
  name: 'list-bonus-rules',
  params: { merchantId: text },
  row: RULE.shape,
  text: ({ merchantId }) => `
    select ${columns(RULE.shape, 'r')} from bonus_rule r where r.merchant_id = ${merchantId}`,
});

export interface RuleKey {
  readonly merchantId: string;
  readonly ruleId: string;
}

export async function findBonusRule(db: Queryable, key: RuleKey): Promise<BonusRule | null> {
  return FIND.first(db, key);
}

const FIND = statement({
  params: { merchantId: text, ruleId: text },
  row: RULE.shape,
  text: ({ merchantId, ruleId }) => `
    select ${columns(RULE.shape, 'r')} from bonus_rule r where r.merchant_id = ${merchantId} and r.rule_id = ${ruleId}`,
});

/** The ids of the merchant's rules, which nobody else changes meanwhile. */
export async function lockBonusRules(tx: Tx, merchantId: string): Promise<readonly string[]> {
  return (await LOCK.all(tx, { merchantId })).map(({ ruleId }) => ruleId);
}

const LOCK = statement({
  params: { merchantId: text },
  row: { ruleId: text },
  text: ({ merchantId }) => `
    select rule_id from bonus_rule where merchant_id = ${merchantId} order by rule_id for update`,
});

/** Stores a rule, in place of one of the same id, which keeps the time at which it was made. */
export async function saveBonusRule(tx: Tx, { merchantId, ...rule }: BonusRule): Promise<void> {
  await SAVE.run(tx, { merchantId, rules: [rule] });
}

const SAVE = statement({
  params: { merchantId: text, rules: rowsOf(OWN_RULE) },
  text: ({ merchantId, rules }) => `
    insert into bonus_rule (merchant_id, ${columns(OWN_RULE)})
    select ${merchantId}, ${columns(OWN_RULE, 'n')} from ${rules('n')}
    on conflict (merchant_id, rule_id) do update set ${assignments(CHANGING, 'excluded')}`,
});

/** @returns false if there is no such rule */
export async function deleteBonusRule(db: Queryable, key: RuleKey): Promise<boolean> {
  return (await DELETE.run(db, key)) > 0;
}

const DELETE = statement({
  params: { merchantId: text, ruleId: text },
  text: ({ merchantId, ruleId }) => `delete from bonus_rule where merchant_id = ${merchantId} and rule_id = ${ruleId}`,
});

/** Whose top-ups are asked about. */
export interface TopUpsKey {
  readonly merchantId: string;
  readonly customerId: string;
  readonly currency: string;
}

/** What the database knows of a customer's top-ups in a currency. */
export interface StoredTopUps extends TopUpsKey {
  readonly hasOther: boolean;
  /** The ids of the rules by which they got bonuses, each once for every bonus. */
  readonly ruleIds: readonly string[];
}

/** More bonuses than these of one customer are not counted: no limit of a rule is higher. */
const MOST_BONUSES = 20_000;

/** @param except payments that are decided in this transaction, which are known better there */
export async function readTopUps(
  tx: Tx,
  keys: readonly TopUpsKey[],
  except: readonly { readonly merchantId: string; readonly sourceId: string; readonly paymentId: string }[],
): Promise<readonly StoredTopUps[]> {
  return ofEachMerchant(keys, (merchantId, own) =>
    TOP_UPS.all(tx, {
      merchantId,
      keys: own,
      except: except.filter((one) => one.merchantId === merchantId),
      most: MOST_BONUSES,
    }),
  );
}

const EXCEPT = `not exists (select from excepted x where x.source_id = p.source_id and x.payment_id = p.payment_id)`;

/** By an index of each customer's top-ups, and another one of those with bonuses by rules (src/commands/build-indexes.ts). */
const TOP_UPS = statement({
  params: {
    merchantId: text,
    keys: rowsOf({ customerId: text, currency: text }),
    except: rowsOf(OWN_PAYMENT_KEY),
    most: bigint,
  },
  row: { merchantId: text, customerId: text, currency: text, hasOther: boolean, ruleIds: array(text) },
  text: ({ merchantId, keys, except, most }) => `
    with excepted as materialized (select source_id, payment_id from ${except('e')})
    select ${merchantId}::text as merchant_id, k.customer_id, k.currency, exists (
        select from payment p
        where p.merchant_id = ${merchantId} and p.customer_id = k.customer_id and p.purpose = 'topup' and p.currency = k.currency
          and p.posted_credit > coalesce((
            select sum(t.posted_take) from payment_part t
            where t.merchant_id = p.merchant_id and t.source_id = p.source_id and t.payment_id = p.payment_id), 0)
          and ${EXCEPT} offset 0) as has_other,
      array(
        select p.bonus_rule_id from payment p
        where p.merchant_id = ${merchantId} and p.customer_id = k.customer_id and p.currency = k.currency
          and p.bonus_rule_id is not null and ${EXCEPT}
        limit ${most}) as rule_ids
    from ${keys('k')}`,
});
