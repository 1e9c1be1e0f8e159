import type { AlertState, Wallet, WalletAlert } from './entry.ts';

/** When a balance counts as low and how seldom that may be said; from the configuration. */
export interface LowBalanceRule {
  /** The threshold of wallets that have none of their own, in minor units by currency. */
  readonly defaultThresholds: ReadonlyMap<string, number>;
  /** A wallet has recovered once it holds its threshold plus this many per cent of it: hovering raises no second alert. */
  readonly marginPercent: number;
  /** Between two low alerts of one wallet at least this long. */
  readonly minIntervalSeconds: number;
  /** A wallet that stays low is mentioned again after this long; 0 for never. */
  readonly reminderSeconds: number;
}

export interface RaisedAlert {
  readonly kind: 'low' | 'recovered' | 'depleted';
  readonly reminder: boolean;
  readonly threshold: number | null;
}

export interface LowBalanceDecision {
  readonly alerts: readonly RaisedAlert[];
  readonly heldCredit: boolean;
  readonly lowSince: Date | null;
  readonly depletedSince: Date | null;
  readonly lowAlertedAt: Date | null;
}

export function effectiveThreshold(rule: LowBalanceRule, currency: string, own: number | null): number | null {
  return own ?? rule.defaultThresholds.get(currency) ?? null;
}

/**
 * Decides what to say about a wallet that holds `balance` at `now`, and the alert state that follows.
 * One alert a crossing: `low` when the balance is below the threshold, again only after `recovered` (threshold plus
 * margin) and the minimum interval. `depleted` when nothing is left, once an episode. A wallet that never held credit is
 * never low. The function looks at the state alone, not at how it came about, so that the posting and the scheduled
 * scan decide alike and a missed tick is made up by the next.
 */
export function decideLowBalance(
  rule: LowBalanceRule,
  currency: string,
  state: AlertState,
  balance: number,
  now: Date,
): LowBalanceDecision {
  const heldCredit = state.heldCredit || balance > 0;
  const threshold = effectiveThreshold(rule, currency, state.lowThreshold);
  let { lowSince, depletedSince, lowAlertedAt } = state;
  const alerts: RaisedAlert[] = [];
  if (heldCredit) {
    const recoveredAt =
      threshold === null ? 1 : Math.max(threshold + Math.ceil((threshold * rule.marginPercent) / 100), 1);
    if (balance >= recoveredAt) {
      if (lowSince !== null) alerts.push({ kind: 'recovered', reminder: false, threshold });
      lowSince = null;
      depletedSince = null;
    } else if (threshold !== null && balance < threshold) {
      const sinceAlertMs = lowAlertedAt === null ? Number.POSITIVE_INFINITY : now.getTime() - lowAlertedAt.getTime();
      const isReminder = lowSince !== null;
      const waitSeconds = isReminder ? rule.reminderSeconds || Number.POSITIVE_INFINITY : rule.minIntervalSeconds;
      if (sinceAlertMs >= waitSeconds * 1000) {
        alerts.push({ kind: 'low', reminder: isReminder, threshold });
        lowSince ??= now;
        lowAlertedAt = now;
      }
    }
    if (balance <= 0 && depletedSince === null) {
      alerts.push({ kind: 'depleted', reminder: false, threshold });
      depletedSince = now;
    }
  }
  return { alerts, heldCredit, lowSince, depletedSince, lowAlertedAt };
}

/** The wallet with a decision taken into its state, and the alerts as its numbered rows. */
export function raise(
  wallet: Wallet,
  { alerts: raised, ...state }: LowBalanceDecision,
  at: Date,
): { wallet: Wallet; alerts: WalletAlert[] } {
  const { merchantId, customerId, currency, balance, version } = wallet;
  const alerts = raised.map((alert, index) => {
    const alertSeq = wallet.alertSeq + index + 1;
    return { ...alert, merchantId, customerId, currency, alertSeq, balance, version, createdAt: at };
  });
  return { wallet: { ...wallet, ...state, alertSeq: wallet.alertSeq + alerts.length }, alerts };
}
