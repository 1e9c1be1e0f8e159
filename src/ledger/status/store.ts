import { eachMerchant, ofEachMerchant } from '../../db/by-merchant.ts';
import { boolean, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns, omit } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import { countOpenCheckouts } from '../checkouts/store.ts';
import { type Wallet, type WalletKey, walletKeyText } from '../entry.ts';
import type { LedgerCommand } from '../post.ts';
import { OWN_KEY, WALLET_KEY, WALLET_STATUS_CHANGE } from '../tables.ts';
import { hurryTopUpDue } from '../top-up-due.ts';
import type { InFlight, StatusChange } from './status.ts';

/** How many top-ups of the wallet are under way: the ledger knows of none, so whoever does says it. */
export type TopUpsInFlight = (tx: Tx, wallet: WalletKey) => Promise<number>;

/**
 * The newest change of the status of each wallet that is not active, or whose status a command changes, by {@link walletKeyText}. For
 * all others no statement is made.
 */
export async function findStatuses(
  tx: Tx,
  commands: readonly LedgerCommand[],
  wallets: ReadonlyMap<string, Wallet>,
): Promise<ReadonlyMap<string, StatusChange>> {
  const changing = commands.filter((command) => 'op' in command && command.op === 'change_status');
  const named = new Set(changing.map(walletKeyText));
  const wanted = [...wallets.values()].filter(
    (one) => one.status !== 'active' || (named.size > 0 && named.has(walletKeyText(one))),
  );
  const found = await ofEachMerchant(wanted, (merchantId, keys) => LAST_CHANGES.all(tx, { merchantId, keys }));
  return new Map(found.map((change) => [walletKeyText(change), change]));
}

/** What is under way for wallets that commands close, which are locked, by {@link walletKeyText}. No statement is made for none. */
export async function findInFlight(
  tx: Tx,
  commands: readonly LedgerCommand[],
  topUpsInFlight: TopUpsInFlight | undefined,
): Promise<ReadonlyMap<string, InFlight>> {
  const found = new Map<string, InFlight>();
  for (const command of commands) {
    if (!('op' in command) || command.op !== 'change_status' || command.status !== 'closed') continue;
    const topUps = (await topUpsInFlight?.(tx, command)) ?? 0;
    found.set(walletKeyText(command), { checkouts: await countOpenCheckouts(tx, command), topUps });
  }
  return found;
}

const LAST_CHANGES = statement({
  name: 'find-last-status-changes',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  row: WALLET_STATUS_CHANGE.shape,
  text: ({ merchantId, keys }) => `
    select h.*
    from ${keys('k')}
    cross join lateral (
      select ${columns(WALLET_STATUS_CHANGE.shape, 'x')} from wallet_status_change x
      where x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.currency = k.currency
      order by x.change_no desc limit 1) h`,
});

/** Whether the wallet was closed after that time, though it may be open again. */
export async function wasClosedAfter(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
  after: Date,
): Promise<boolean> {
  return (await CLOSED_AFTER.one(db, { merchantId, customerId, currency, after })).wasClosed;
}

const CLOSED_AFTER = statement({
  name: 'was-closed-after',
  params: { ...WALLET_KEY, after: timestamptz },
  row: { wasClosed: boolean },
  text: (p) => `
    select exists (
      select from wallet_status_change
      where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency}
        and new_status = 'closed' and created_at > ${p.after}) as was_closed`,
});

const OWN_CHANGE = omit(WALLET_STATUS_CHANGE.shape, 'merchantId');

/** Notes changes of wallets that are locked, and written already. */
export async function writeStatuses(tx: Tx, changes: readonly StatusChange[]): Promise<void> {
  await eachMerchant(changes, (merchantId, own) => WRITE_CHANGES.run(tx, { merchantId, changes: own }));
  const closed = changes.filter(({ newStatus }) => newStatus === 'closed');
  // What is written with the wallet puts it on the list, but hurries nothing that stands there: a blocked rule is looked at next month.
  await eachMerchant(closed, (merchantId, own) => hurryTopUpDue(tx, merchantId, own));
}

const WRITE_CHANGES = statement({
  params: { merchantId: text, changes: rowsOf(OWN_CHANGE) },
  text: ({ merchantId, changes }) => `
    insert into wallet_status_change (merchant_id, ${columns(OWN_CHANGE)})
    select ${merchantId}, ${columns(OWN_CHANGE, 'n')} from ${changes('n')}`,
});
