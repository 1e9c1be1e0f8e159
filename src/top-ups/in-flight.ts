import { bigint } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import type { WalletKey } from '../ledger/entry.ts';
import { WALLET_KEY } from '../ledger/tables.ts';
import { IN_FLIGHT } from './attempt.ts';

/** How many attempts of the wallet may still bring it money, those too that the customer asked for. */
export async function countInFlight(db: Queryable, { merchantId, customerId, currency }: WalletKey): Promise<number> {
  return (await COUNT.one(db, { merchantId, customerId, currency })).count;
}

const COUNT = statement({
  params: WALLET_KEY,
  row: { count: bigint },
  text: ({ merchantId, customerId, currency }) => `
    select count(*) as count from topup
    where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}
      and look_at is not null and state in (${IN_FLIGHT.map((state) => `'${state}'`).join(', ')})`,
});
