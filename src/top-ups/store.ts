import { ofEachMerchant } from '../db/by-merchant.ts';
import { bigint, text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { assignments, columns, omit, values } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { WalletKey } from '../ledger/entry.ts';
import type { TopUpRule } from './rule.ts';
import { TOPUP_RULE, toRow, toRule } from './tables.ts';

/** Rules as they are stored. */

const KEY = { merchantId: text, customerId: text, currency: text };

/** The rule of a wallet, also one that was deleted; null if it never had one. */
export async function readRule(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
): Promise<TopUpRule | null> {
  const row = await READ_RULE.first(db, { merchantId, customerId, currency });
  return row === null ? null : toRule(row);
}

/** The same, locked. Rules are locked before attempts, and both before wallets. */
export async function lockRule(tx: Tx, { merchantId, customerId, currency }: WalletKey): Promise<TopUpRule | null> {
  const row = await LOCK_RULE.first(tx, { merchantId, customerId, currency });
  return row === null ? null : toRule(row);
}

const selectRule = (name: string, lock: '' | 'for update') =>
  statement({
    name,
    params: KEY,
    row: TOPUP_RULE.shape,
    text: ({ merchantId, customerId, currency }) => `
      select ${columns(TOPUP_RULE.shape)} from topup_rule
      where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency} ${lock}`,
  });
const READ_RULE = selectRule('read-top-up-rule', '');
const LOCK_RULE = selectRule('lock-top-up-rule', 'for update');

/** Locks the rules of these wallets, in one order for everybody; those without a rule are left out. */
export async function lockRules(tx: Tx, keys: readonly WalletKey[]): Promise<readonly TopUpRule[]> {
  const rows = await ofEachMerchant(keys, (merchantId, own) => LOCK_RULES.all(tx, { merchantId, keys: own }));
  return rows.map(toRule);
}

const LOCK_RULES = statement({
  name: 'lock-top-up-rules',
  params: { merchantId: text, keys: rowsOf({ customerId: text, currency: text }) },
  row: TOPUP_RULE.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(TOPUP_RULE.shape, 'r')}
    from topup_rule r join ${keys('k', { merchantId })} using (merchant_id, customer_id, currency)
    order by r.merchant_id, r.customer_id, r.currency
    for update of r`,
});

/** Writes a new rule, or what a locked one has become. */
export async function saveRule(tx: Tx, rule: TopUpRule): Promise<void> {
  await SAVE_RULE.run(tx, toRow(rule));
}

const CHANGEABLE = omit(TOPUP_RULE.shape, 'merchantId', 'customerId', 'currency');

const SAVE_RULE = statement({
  name: 'save-top-up-rule',
  params: TOPUP_RULE.shape,
  text: (p) => `
    insert into topup_rule (${columns(TOPUP_RULE.shape)}) select ${values(TOPUP_RULE.shape, p)}
    on conflict (merchant_id, customer_id, currency) do update set ${assignments(CHANGEABLE, 'excluded')}`,
});

/** A page of enabled rules of every merchant, in the order of their keys. */
export async function enabledRules(db: Queryable, after: WalletKey | null, limit: number): Promise<WalletKey[]> {
  const { merchantId, customerId, currency } = after ?? { merchantId: '', customerId: '', currency: '' };
  return ENABLED.all(db, { afterMerchant: merchantId, afterCustomer: customerId, afterCurrency: currency, limit });
}

const ENABLED = statement({
  acrossMerchants: 'the scan goes through all of them',
  params: { afterMerchant: text, afterCustomer: text, afterCurrency: text, limit: bigint },
  row: KEY,
  text: (p) => `
    select merchant_id, customer_id, currency from topup_rule
    where (merchant_id, customer_id, currency) > (${p.afterMerchant}, ${p.afterCustomer}, ${p.afterCurrency}) and enabled
    order by merchant_id, customer_id, currency limit ${p.limit}`,
});

/** A customer of a provider, as a source of it names him. */
export interface Payer {
  readonly sourceId: string;
  readonly providerCustomerId: string;
}

/**
 * The wallets that these are to pay for and that nothing is charged for since a charge was declined, in one order for everybody. Whoever
 * disputed a payment has nothing to do with what he pays with.
 */
export async function declinedOf(
  db: Queryable,
  merchantId: string,
  payers: readonly Payer[],
): Promise<readonly WalletKey[]> {
  return DECLINED_OF.all(db, { merchantId, payers });
}

const DECLINED_OF = statement({
  params: { merchantId: text, payers: rowsOf({ sourceId: text, providerCustomerId: text }) },
  row: KEY,
  text: ({ merchantId, payers }) => `
    select r.merchant_id, r.customer_id, r.currency
    from ${payers('p')}
    join topup_rule r on r.merchant_id = ${merchantId} and r.source_id = p.source_id
      and r.provider_customer_id = p.provider_customer_id
    where r.suspended_reason is not null and r.suspended_reason <> 'disputed' and r.enabled
    order by r.customer_id, r.currency`,
});

/** The currencies in which a customer has rules, in the order in which they are locked. */
export async function ruledCurrencies(
  db: Queryable,
  { merchantId, customerId }: Pick<WalletKey, 'merchantId' | 'customerId'>,
): Promise<readonly string[]> {
  return (await RULED_CURRENCIES.all(db, { merchantId, customerId })).map(({ currency }) => currency);
}

const RULED_CURRENCIES = statement({
  params: { merchantId: text, customerId: text },
  row: { currency: text },
  text: ({ merchantId, customerId }) => `
    select currency from topup_rule
    where merchant_id = ${merchantId} and customer_id = ${customerId} and ended_at is null
    order by currency`,
});
