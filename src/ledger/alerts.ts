import { eachMerchant } from '../db/by-merchant.ts';
import { text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, omit } from '../db/table.ts';
import type { Tx } from '../db/transaction.ts';
import type { WalletAlert } from './entry.ts';
import { WALLET_ALERT } from './tables.ts';

const OWN_ALERT = omit(WALLET_ALERT.shape, 'merchantId');

/** Writes alerts of wallets that are locked, whose rows have the alerts' numbers already. */
export async function insertAlerts(tx: Tx, alerts: readonly WalletAlert[]): Promise<void> {
  await eachMerchant(alerts, (merchantId, own) => INSERT_ALERTS.run(tx, { merchantId, alerts: own }));
}

const INSERT_ALERTS = statement({
  params: { merchantId: text, alerts: rowsOf(OWN_ALERT) },
  text: ({ merchantId, alerts }) => `
    insert into wallet_alert (merchant_id, ${columns(OWN_ALERT)})
    select ${merchantId}, ${columns(OWN_ALERT, 'n')} from ${alerts('n')}`,
});
