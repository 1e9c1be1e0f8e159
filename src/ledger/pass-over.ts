import { bigint, text } from '../db/codec.ts';
import { merchantsIn } from '../db/merchant-walk.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, matches } from '../db/table.ts';
import type { Tx } from '../db/transaction.ts';
import type { WalletKey } from './entry.ts';
import { isInOutbox, WALLET_OF_NEWS } from './in-outbox.ts';
import { OWN_KEY, WALLET_KEY } from './tables.ts';

/** Wallets in the outbox that are not told of, since nobody would hear it: they are marked many at a time, without a claim. */

/** The merchants with wallets in the outbox. */
export const merchantsInOutbox = merchantsIn('unannounced_wallet', {
  name: 'merchants-in-outbox',
  why: 'it asks which merchants have news',
});

/**
 * Locks wallets of the outbox that nobody works on, in the order of their keys and without waiting for any.
 * @param after the last wallet of the page before; null for the first. What was taken off the list is dead in its index until it is vacuumed,
 *   and would be read again by each page that began with the first key.
 */
export async function lockToPassOver(
  tx: Tx,
  merchantId: string,
  { after, limit }: { readonly after: WalletKey | null; readonly limit: number },
): Promise<readonly WalletKey[]> {
  const { customerId, currency } = after ?? { customerId: '', currency: '' };
  return LOCK.all(tx, { merchantId, afterCustomerId: customerId, afterCurrency: currency, limit });
}

const LOCK = statement({
  name: 'lock-to-pass-over',
  params: { merchantId: text, afterCustomerId: text, afterCurrency: text, limit: bigint },
  row: WALLET_KEY,
  text: (p) => `
    select ${columns(WALLET_KEY, 'w')}
    from unannounced_wallet u join wallet w on ${WALLET_OF_NEWS}
    where u.merchant_id = ${p.merchantId} and (u.customer_id, u.currency) > (${p.afterCustomerId}, ${p.afterCurrency})
      and (u.claimed_until is null or u.claimed_until <= now())
    order by u.merchant_id, u.customer_id, u.currency
    limit ${p.limit}
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
    with ${passed(keys('k', { merchantId }))}
    delete from unannounced_wallet u
    where ${isInOutbox(merchantId, 'passed k')}`,
  textOnCitus: ({ merchantId, keys }) => `
    with ${passed(keys('k', { merchantId }))}
    delete from unannounced_wallet u using passed p
    where ${matches(WALLET_KEY, 'u', 'p')}`,
});

function passed(wallets: string): string {
  return `passed as (
      update wallet w
      set announced_version = w.version, announced_alert_seq = w.alert_seq
      from ${wallets}
      where ${matches(WALLET_KEY, 'w', 'k')}
      returning ${columns(WALLET_KEY, 'w')})`;
}
