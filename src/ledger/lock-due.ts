import { onCitus } from '../db/backend.ts';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Tx } from '../db/transaction.ts';
import { IS_DUE } from '../db/work-list.ts';
import type { WalletKey } from './entry.ts';
import { OWN_KEY, WALLET_KEY } from './tables.ts';

/** Locks up to `limit` wallets whose news is due, longest waiting first, but those of merchants that are named; of what somebody else works on, none. */
export async function lockDue(
  tx: Tx,
  asked: { readonly limit: number; readonly unheard: readonly string[] },
): Promise<readonly WalletKey[]> {
  const due = await LOCK_DUE.all(tx, asked);
  return onCitus() ? ofEachMerchant(due, (merchantId, keys) => LOCK_OWN.all(tx, { merchantId, keys })) : due;
}

const LOCK_DUE = statement({
  name: 'lock-due',
  acrossMerchants: 'whoever has waited longest is next',
  params: { limit: bigint, unheard: array(text) },
  row: WALLET_KEY,
  text: ({ limit, unheard }) => `
    select ${columns(WALLET_KEY)}
    from unannounced_wallet
    where merchant_id <> all (${unheard}::text[]) and ${IS_DUE}
    order by since
    limit ${limit}
    for update skip locked`,
  textOnCitus: ({ limit, unheard }) => `
    select ${columns(WALLET_KEY)} from unannounced_wallet
    where merchant_id <> all (${unheard}::text[]) and ${IS_DUE}
    order by since limit ${limit}`,
});

/** On Citus, whose nodes lock the rows of one merchant at a time. */
const LOCK_OWN = statement({
  name: 'lock-own-due',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  row: WALLET_KEY,
  text: ({ merchantId, keys }) => `
    select ${columns(WALLET_KEY, 'u')}
    from unannounced_wallet u join ${keys('k', { merchantId })} using (merchant_id, customer_id, currency)
    where ${IS_DUE}
    for update of u skip locked`,
});
