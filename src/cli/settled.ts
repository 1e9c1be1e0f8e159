import type { CustomerKey, Wallet } from '../ledger/entry.ts';
import type { CliContext } from './context.ts';

/** The wallets of a customer, none if there is no such customer. Holds and lots that are over by now have ended then. */
export async function settledWallets(
  context: CliContext,
  { merchantId, customerId }: CustomerKey,
): Promise<readonly Wallet[]> {
  const ledger = await context.ledger();
  return ledger.wallets(merchantId, customerId);
}
