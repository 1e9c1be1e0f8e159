import { ofEachMerchant } from '../db/by-merchant.ts';
import { integer, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import type { Tx } from '../db/transaction.ts';
import { type CustomerKey, type WalletKey, walletKeyText } from './entry.ts';
import { OWN_KEY } from './tables.ts';

/** In which currencies wallets are opened, and when. */
export interface WalletOpening {
  readonly currencies: ReadonlySet<string>;
  readonly now: Date;
}

/** Each of the wallets once that keys name and that there can be. */
export function namedIn(keys: readonly WalletKey[], { currencies }: WalletOpening): readonly WalletKey[] {
  const named = new Map<string, WalletKey>();
  for (const key of keys) if (currencies.has(key.currency)) named.set(walletKeyText(key), key);
  // In their order neighbours are on the same pages of an index, and the server has little to sort.
  return [...named].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, key]) => key);
}

/** A wallet exists for each currency a customer was created under; one configured later is opened at its first use. */
export async function makeMissing(tx: Tx, keys: readonly WalletKey[], now: Date): Promise<boolean> {
  const found = await ofEachMerchant(keys, (merchantId, own) => MAKE_MISSING.all(tx, { merchantId, keys: own, now }));
  return found.length > 0;
}

const MAKE_MISSING = statement({
  params: { merchantId: text, keys: rowsOf(OWN_KEY), now: timestamptz },
  row: { found: integer },
  text: ({ merchantId, keys, now }) => `
    with made as (
      insert into wallet (merchant_id, customer_id, currency, created_at, updated_at)
      select merchant_id, customer_id, k.currency, ${now}, ${now}
      from customer c join ${keys('k', { merchantId })} using (merchant_id, customer_id)
      order by 1, 2, 3
      on conflict do nothing
      returning merchant_id, customer_id, currency),
    noted as (
      insert into unannounced_wallet (merchant_id, customer_id, currency) select * from made on conflict do nothing)
    select 1 as found from customer c join ${keys('k', { merchantId })} using (merchant_id, customer_id) limit 1`,
});

/**
 * Opens the wallets of new customers, one for each currency, balance 0, in the transaction that makes the customers.
 * Opening a wallet that is open changes nothing.
 */
export async function openWallets(
  tx: Tx,
  customers: readonly CustomerKey[],
  { currencies, now }: WalletOpening,
): Promise<void> {
  const keys = customers.flatMap((customer) => [...currencies].map((currency) => ({ ...customer, currency })));
  await makeMissing(tx, keys, now);
}
