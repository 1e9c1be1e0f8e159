import { isDeepStrictEqual } from 'node:util';
import { ofEachMerchant } from '../../db/by-merchant.ts';
import { bigint, boolean, text } from '../../db/codec.ts';
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
  /** The last wallet of this part; null for the last part. */
  readonly upTo: WalletKey | null;
  readonly limit: number;
}

const AFTER = { afterMerchantId: text, afterCustomerId: text, afterCurrency: text };

function keyAfter(after: WalletKey | null) {
  const { merchantId = '', customerId = '', currency = '' } = after ?? {};
  return { afterMerchantId: merchantId, afterCustomerId: customerId, afterCurrency: currency };
}

/** The wallet by which so many have been passed after this one; null if there are not as many. Read along the primary key. */
export async function endOfPart(db: Queryable, after: WalletKey | null, count: number): Promise<WalletKey | null> {
  return END_OF_PART.first(db, { ...keyAfter(after), skipped: count - 1 });
}

const END_OF_PART = statement({
  acrossMerchants: 'the scan goes through every wallet',
  params: { ...AFTER, skipped: bigint },
  row: WALLET_KEY,
  text: (p) => `
    select ${columns(WALLET_KEY)} from wallet
    where (merchant_id, customer_id, currency) > (${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency})
    order by merchant_id, customer_id, currency
    limit 1 offset ${p.skipped}`,
});

/**
 * The next wallets in the order of their keys that may have something to be said about: those whose last word, as the
 * wallet or its last alert has it, may not be the right one, all that are low where reminders are wanted, and those that
 * have to be watched from now on. Reads state alone, so what a missed run would have found, the next one finds. There is no
 * index to help, on purpose: every posting would have to write to an index on the balance, and to all others of the wallet with it, since such
 * an update is no HOT one. So each statement reads a part of the wallets at the most: a million at once took 12 s where nothing was in memory,
 * of the 15 that a statement has. What the scan takes is W7 of docs/performance.md.
 */
export async function lowBalanceCandidates(
  db: Queryable,
  rule: LowBalanceRule,
  { after, upTo, limit }: ScanPage,
): Promise<WalletKey[]> {
  const thresholds = [...rule.defaultThresholds].map(([currency, threshold]) => ({ currency, threshold }));
  const page = {
    thresholds,
    ...keyAfter(after),
    limit,
    reminds: rule.reminderSeconds > 0,
  };
  if (upTo === null) return CANDIDATES.all(db, page);
  const end = { endMerchantId: upTo.merchantId, endCustomerId: upTo.customerId, endCurrency: upTo.currency };
  return CANDIDATES_UP_TO.all(db, { ...page, ...end });
}

/** As `lastWord` has it. */
const LAST_WORD =
  "case when w.depleted_since is not null then 'depleted' when w.low_since is not null then 'low' else 'recovered' end";

const PAGE = {
  thresholds: rowsOf({ currency: text, threshold: bigint }),
  ...AFTER,
  limit: bigint,
  reminds: boolean,
};

/** SQL for whence the candidates after a wallet come. @param bound what else is asked of their keys */
const candidates = (
  p: {
    readonly thresholds: (alias: string) => string;
    readonly [place: string]: string | ((alias: string) => string);
  },
  bound = '',
) => `
    from wallet w
    left join ${p.thresholds('d')} on d.currency = w.currency
    where (w.merchant_id, w.customer_id, w.currency) > (${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency}) ${bound}
      and case
        when not w.alerts_armed then w.balance >= greatest(coalesce(w.low_threshold, d.threshold, 1), 1)
        else (w.balance <= 0) <> (w.depleted_since is not null)
          or (w.balance < coalesce(w.low_threshold, d.threshold) and (w.low_since is null or ${p.reminds}::boolean))
          or (w.low_since is not null and w.balance >= coalesce(w.low_threshold, d.threshold, 1))
          or (w.alert_seq > 0 and ${LAST_WORD} is distinct from (
            select case when a.kind in (${OF_BALANCE}) then a.kind else ${LAST_WORD} end
            from wallet_alert a where ${matches(WALLET_KEY, 'a', 'w')} and a.alert_seq = w.alert_seq))
        end
    order by w.merchant_id, w.customer_id, w.currency
    limit ${p.limit}`;

const CANDIDATES = statement({
  acrossMerchants: 'the scan goes through every wallet',
  params: PAGE,
  row: WALLET_KEY,
  text: (p) => `select ${columns(WALLET_KEY, 'w')} ${candidates(p)}`,
});

const CANDIDATES_UP_TO = statement({
  acrossMerchants: 'the scan goes through every wallet',
  params: { ...PAGE, endMerchantId: text, endCustomerId: text, endCurrency: text },
  row: WALLET_KEY,
  text: (p) => {
    const bound = `and (w.merchant_id, w.customer_id, w.currency) <= (${p.endMerchantId}, ${p.endCustomerId}, ${p.endCurrency})`;
    return `select ${columns(WALLET_KEY, 'w')} ${candidates(p, bound)}`;
  },
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
