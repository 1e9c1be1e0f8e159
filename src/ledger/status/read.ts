import { bigint } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import { columns } from '../../db/table.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { WalletKey } from '../entry.ts';
import { WALLET_KEY, WALLET_STATUS_CHANGE } from '../tables.ts';
import type { StatusChange } from './status.ts';

/** Older ones are kept, and not shown. */
const MOST_STATUS_CHANGES = 100;

/** How the status of a wallet was changed, the newest change first. */
export async function statusChangesOf(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
): Promise<readonly StatusChange[]> {
  return CHANGES.all(db, { merchantId, customerId, currency, most: MOST_STATUS_CHANGES });
}

const CHANGES = statement({
  params: { ...WALLET_KEY, most: bigint },
  row: WALLET_STATUS_CHANGE.shape,
  text: (p) => `
    select ${columns(WALLET_STATUS_CHANGE.shape, 'c')}
    from wallet_status_change c
    where c.merchant_id = ${p.merchantId} and c.customer_id = ${p.customerId} and c.currency = ${p.currency}
    order by c.change_no desc
    limit ${p.most}`,
});
