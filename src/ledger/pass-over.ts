import { bigint, text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, matches } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { WalletKey } from './entry.ts';
import { OWN_KEY, WALLET_KEY } from './tables.ts';

/** Wallets in the outbox that are not told of, since nobody would hear it: they are marked many at a time, without a claim. */

/** The merchants with wallets in the outbox, one after another along its key, however many wallets each has there. */
export async function merchantsInOutbox(db: Queryable): Promise<readonly string[]> {
  return (await MERCHANTS.all(db)).map(({ merchantId }) => merchantId);
}

const MERCHANTS = statement({
  name: 'merchants-in-outbox',
  acrossMerchants: 'it asks which merchants have news',
  params: {},
  row: { merchantId: text },
  text: () => `
    with recursive merchants (merchant_id) as (
      (select merchant_id from unannounced_wallet order by merchant_id limit 1)
      union all
      select (select u.merchant_id from unannounced_wallet u where u.merchant_id > m.merchant_id order by u.merchant_id limit 1)
      from merchants m where m.merchant_id is not null)
    select merchant_id from merchants where merchant_id is not null`,
  textOnCitus: () => 'select distinct merchant_id from unannounced_wallet order by merchant_id',
});

/** Locks wallets of the outbox that nobody works on, in order and without waiting for any. */
export async function lockToPassOver(tx: Tx, merchantId: string, limit: number): Promise<readonly WalletKey[]> {
  return LOCK.all(tx, { merchantId, limit });
}

const LOCK = statement({
  name: 'lock-to-pass-over',
  params: { merchantId: text, limit: bigint },
  row: WALLET_KEY,
  text: ({ merchantId, limit }) => `
    select ${columns(WALLET_KEY, 'w')}
    from unannounced_wallet u join wallet w using (merchant_id, customer_id, currency)
    where u.merchant_id = ${merchantId} and (u.claimed_until is null or u.claimed_until <= now())
    order by w.merchant_id, w.customer_id, w.currency
    limit ${limit}
    for update of w skip locked`,
});

/** Marks wallets as told up to where they are, and takes them off the list. The caller has locked them. */
export async function passOver(tx: Tx, merchantId: string, keys: readonly WalletKey[]): Promise<void> {
  await PASS_OVER.run(tx, { merchantId, keys });
}

const PASS_OVER = statement({
  name: 'pass-over',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  text: ({ merchantId, keys }) => `
    with passed as (
      update wallet w
      set announced_version = w.version, announced_alert_seq = w.alert_seq
      from ${keys('k', { merchantId })}
      where ${matches(WALLET_KEY, 'w', 'k')}
      returning ${columns(WALLET_KEY, 'w')})
    delete from unannounced_wallet u using passed p
    where ${matches(WALLET_KEY, 'u', 'p')}`,
});
