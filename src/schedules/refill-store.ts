import { bigint, text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { WalletKey } from '../ledger/entry.ts';
import type { GrantSchedule } from './grant-schedule.ts';
import { GRANT_SCHEDULE } from './tables.ts';

/** Schedules with a period that is still to be paid. */

const { shape } = GRANT_SCHEDULE;
const KEY = { merchantId: text, customerId: text, currency: text };
const IS_OPEN = "refill_state in ('due', 'tried')";

/** Those of a wallet. */
export async function openRefills(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
): Promise<readonly GrantSchedule[]> {
  return OF_WALLET.all(db, { merchantId, customerId, currency });
}

/** The same, locked, in one order for everybody. Rules are locked before, and wallets afterwards. */
export async function lockOpenRefills(
  tx: Tx,
  { merchantId, customerId, currency }: WalletKey,
): Promise<readonly GrantSchedule[]> {
  return LOCK_OF_WALLET.all(tx, { merchantId, customerId, currency });
}

const selectOpen = (name: string, lock: '' | 'for update') =>
  statement({
    name,
    params: KEY,
    row: shape,
    text: ({ merchantId, customerId, currency }) => `
      select ${columns(shape)} from grant_schedule
      where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency} and ${IS_OPEN}
      order by schedule_id ${lock}`,
  });
const OF_WALLET = selectOpen('open-refills', '');
const LOCK_OF_WALLET = selectOpen('lock-open-refills', 'for update');

/** A page of the wallets of every merchant that have any, in the order of their keys. */
export async function walletsWithOpenRefills(
  db: Queryable,
  after: WalletKey | null,
  limit: number,
): Promise<WalletKey[]> {
  const { merchantId, customerId, currency } = after ?? { merchantId: '', customerId: '', currency: '' };
  return WALLETS.all(db, { afterMerchant: merchantId, afterCustomer: customerId, afterCurrency: currency, limit });
}

const WALLETS = statement({
  acrossMerchants: 'the scan goes through all of them',
  params: { afterMerchant: text, afterCustomer: text, afterCurrency: text, limit: bigint },
  row: KEY,
  text: (p) => `
    select distinct merchant_id, customer_id, currency from grant_schedule
    where (merchant_id, customer_id, currency) > (${p.afterMerchant}, ${p.afterCustomer}, ${p.afterCurrency}) and ${IS_OPEN}
    order by merchant_id, customer_id, currency limit ${p.limit}`,
});
