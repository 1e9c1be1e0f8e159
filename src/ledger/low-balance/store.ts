import type { Queryable, Tx } from '../../db/transaction.ts';
import type { WalletKey } from '../entry.ts';
import { type LedgerSettings, lockWallets, write } from '../store.ts';
import { decideLowBalance, raise } from './rule.ts';

/**
 * The next wallets in the order of their keys that may have something to be said about: below their threshold or empty
 * without an alert, alerted and perhaps recovered, and all that are low where reminders are wanted. Reads state alone, so what a missed run would have found, the next one finds. There is
 * no index to help, on purpose: a scan of a million wallets takes less than a tenth of a second, and an index on the
 * balance would cost every posting a third of its speed.
 */
export async function lowBalanceCandidates(
  db: Queryable,
  settings: LedgerSettings,
  after: WalletKey | null,
  limit: number,
): Promise<WalletKey[]> {
  const thresholds = [...settings.rule.defaultThresholds];
  const { rows } = await db.query<{ merchant_id: string; customer_id: string; currency: string }>(
    `select w.merchant_id, w.customer_id, w.currency
     from wallet w
     left join unnest($1::text[], $2::bigint[]) as d (currency, threshold) on d.currency = w.currency
     where w.alerts_armed
       and (
         (w.balance < coalesce(w.low_threshold, d.threshold) and (w.low_since is null or $7::boolean))
         or (w.balance <= 0 and w.depleted_since is null)
         or (coalesce(w.low_since, w.depleted_since) is not null and w.balance >= coalesce(w.low_threshold, d.threshold, 1)))
       and ($3::text is null or (w.merchant_id, w.customer_id, w.currency) > ($3, $4, $5))
     order by w.merchant_id, w.customer_id, w.currency
     limit $6`,
    [
      thresholds.map(([currency]) => currency),
      thresholds.map(([, threshold]) => threshold),
      after?.merchantId ?? null,
      after?.customerId ?? null,
      after?.currency ?? null,
      limit,
      settings.rule.reminderSeconds > 0,
    ],
  );
  return rows.map((row) => ({ merchantId: row.merchant_id, customerId: row.customer_id, currency: row.currency }));
}

/**
 * Decides anew about these wallets under their locks, and writes what there is to say.
 * @returns how many alerts were raised
 */
export async function raiseAlerts(
  tx: Tx,
  keys: readonly WalletKey[],
  settings: LedgerSettings,
  now: Date,
): Promise<number> {
  const locked = await lockWallets(tx, keys, settings, now);
  const decided = [...locked.values()].map((wallet) => {
    const { balance } = wallet;
    const decision = decideLowBalance(settings.rule, wallet.currency, wallet, { balance, isDebit: false, now });
    return { before: wallet, ...raise(wallet, decision, now) };
  });
  const changed = decided.filter(
    ({ before, wallet, alerts }) =>
      alerts.length > 0 || before.lowSince !== wallet.lowSince || before.depletedSince !== wallet.depletedSince,
  );
  const alerts = changed.flatMap((one) => one.alerts);
  await write(tx, { wallets: changed.map((one) => one.wallet), entries: [], alerts });
  return alerts.length;
}
