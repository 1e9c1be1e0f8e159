import { isDeepStrictEqual } from 'node:util';
import { ofEachMerchant } from '../../db/by-merchant.ts';
import { bigint, boolean, nullable, text } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns, matches, pick } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import { OF_BALANCE, type Wallet, type WalletKey, walletKeyText } from '../entry.ts';
import { type LedgerMoment, lockWallets, write } from '../store.ts';
import { WALLET_ALERT, WALLET_KEY } from '../tables.ts';
import { believing, decideLowBalance, type LastAlert, type LowBalanceRule, raise } from './rule.ts';

/** The part of all wallets, in the order of their keys, that a scan looks at next. */
interface ScanPage {
  /** The last wallet of the page before; null for the first page. */
  readonly after: WalletKey | null;
  readonly limit: number;
}

/**
 * The next wallets in the order of their keys that may have something to be said about: those whose last word, as the
 * wallet or its last alert has it, may not be the right one, all that are low where reminders are wanted, and those that
 * have to be watched from now on. Reads state alone, so what a missed run would have found, the next one finds. There is no
 * index to help, on purpose: a scan of a million wallets takes about a second, and an index on the balance would cost
 * every posting a third of its speed.
 */
export async function lowBalanceCandidates(
  db: Queryable,
  rule: LowBalanceRule,
  { after, limit }: ScanPage,
): Promise<WalletKey[]> {
  const thresholds = [...rule.defaultThresholds].map(([currency, threshold]) => ({ currency, threshold }));
  return CANDIDATES.all(db, {
    thresholds,
    afterMerchantId: after?.merchantId ?? null,
    afterCustomerId: after?.customerId ?? null,
    afterCurrency: after?.currency ?? null,
    limit,
    reminds: rule.reminderSeconds > 0,
  });
}

/** As `lastWord` has it. */
const LAST_WORD =
  "case when w.depleted_since is not null then 'depleted' when w.low_since is not null then 'low' else 'recovered' end";

const CANDIDATES = statement({
  acrossMerchants: 'the scan goes through every wallet',
  params: {
    thresholds: rowsOf({ currency: text, threshold: bigint }),
    afterMerchantId: nullable(text),
    afterCustomerId: nullable(text),
    afterCurrency: nullable(text),
    limit: bigint,
    reminds: boolean,
  },
  row: WALLET_KEY,
  text: (p) => `
    select ${columns(WALLET_KEY, 'w')}
    from wallet w
    left join ${p.thresholds('d')} on d.currency = w.currency
    where case
        when not w.alerts_armed then w.balance >= greatest(coalesce(w.low_threshold, d.threshold, 1), 1)
        else (w.balance <= 0) <> (w.depleted_since is not null)
          or (w.balance < coalesce(w.low_threshold, d.threshold) and (w.low_since is null or ${p.reminds}::boolean))
          or (w.low_since is not null and w.balance >= coalesce(w.low_threshold, d.threshold, 1))
          or (w.alert_seq > 0 and ${LAST_WORD} is distinct from (
            select case when a.kind in (${OF_BALANCE}) then a.kind else ${LAST_WORD} end
            from wallet_alert a where ${matches(WALLET_KEY, 'a', 'w')} and a.alert_seq = w.alert_seq))
        end
      and (${p.afterMerchantId}::text is null
        or (w.merchant_id, w.customer_id, w.currency) > (${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency}))
    order by w.merchant_id, w.customer_id, w.currency
    limit ${p.limit}`,
});

/**
 * Decides anew about these wallets under their locks, and writes what there is to say.
 * @returns how many alerts were raised
 */
export async function raiseAlerts(tx: Tx, keys: readonly WalletKey[], moment: LedgerMoment): Promise<number> {
  const { rule, now } = moment;
  const locked = [...(await lockWallets(tx, keys, moment)).values()];
  const last = await lastAlerts(tx, locked);
  const decided = locked.map((before) => {
    const wallet = believing(before, last.get(walletKeyText(before)) ?? null);
    const decision = decideLowBalance(rule, wallet, { balance: wallet.balance, isDebit: false, now });
    return { before, ...raise(wallet, decision, now) };
  });
  const changed = decided.filter(({ before, wallet }) => !isDeepStrictEqual(before, wallet));
  const alerts = changed.flatMap((one) => one.alerts);
  await write(tx, {
    wallets: changed.map((one) => one.wallet),
    entries: [],
    alerts,
    holds: null,
    lots: null,
    statuses: [],
    checkouts: [],
  });
  return alerts.length;
}

/** The last alert of each locked wallet that had one. */
async function lastAlerts(tx: Tx, wallets: readonly Wallet[]): Promise<Map<string, LastAlert>> {
  const alerted = wallets.filter(({ alertSeq }) => alertSeq > 0);
  const alerts = await ofEachMerchant(alerted, (merchantId, keys) => LAST_ALERTS.all(tx, { merchantId, keys }));
  return new Map(alerts.map((alert) => [walletKeyText(alert), alert]));
}

const NUMBERED_ALERT = pick(WALLET_ALERT.shape, 'customerId', 'currency', 'alertSeq');

const LAST_ALERTS = statement({
  params: { merchantId: text, keys: rowsOf(NUMBERED_ALERT) },
  row: WALLET_ALERT.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(WALLET_ALERT.shape, 'a')}
    from ${keys('k', { merchantId })} join wallet_alert a using (merchant_id, customer_id, currency, alert_seq)`,
});
