import type { AlertState, Wallet, WalletAlert } from '../entry.ts';

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
  readonly alertsArmed: boolean;
  readonly lowSince: Date | null;
  readonly depletedSince: Date | null;
  readonly lowAlertedAt: Date | null;
}

export function effectiveThreshold(rule: LowBalanceRule, currency: string, own: number | null): number | null {
  return own ?? rule.defaultThresholds.get(currency) ?? null;
}

/**
 * Decides what to say about a wallet that holds `balance` at `now`, and the alert state that follows.
 *
 * One alert a crossing: `low` when the balance is below the threshold, again only after `recovered` (threshold plus
 * margin) and the minimum interval. `depleted` when nothing is left, once an episode. A wallet is watched from the moment
 * it reaches its threshold or is first spent from (`isDebit`): so one that never held credit is never low, and neither is
 * one whose first credit is a small welcome gift. Apart from that the function looks at the state alone, so that the
 * posting and the scheduled scan decide alike and a missed tick is made up by the next.
 */
export function decideLowBalance(
  rule: LowBalanceRule,
  currency: string,
  state: AlertState,
  { balance, isDebit, now }: { balance: number; isDebit: boolean; now: Date },
): LowBalanceDecision {
  const threshold = effectiveThreshold(rule, currency, state.lowThreshold);
  const alertsArmed = state.alertsArmed || isDebit || balance >= Math.max(threshold ?? 1, 1);
  if (!alertsArmed) return { ...state, alerts: [], alertsArmed };
  let { lowSince, depletedSince, lowAlertedAt } = state;
  const alerts: RaisedAlert[] = [];
  if (balance >= recoveryBalance(rule, threshold)) {
    if (lowSince !== null) alerts.push({ kind: 'recovered', reminder: false, threshold });
    lowSince = null;
    depletedSince = null;
  } else if (threshold !== null && balance < threshold) {
    const reminder = lowSince !== null;
    if (isDue(rule, reminder, lowAlertedAt, now)) {
      alerts.push({ kind: 'low', reminder, threshold });
      lowSince ??= now;
      lowAlertedAt = now;
    }
  }
  if (balance <= 0 && depletedSince === null) {
    alerts.push({ kind: 'depleted', reminder: false, threshold });
    depletedSince = now;
  }
  return { alerts, alertsArmed, lowSince, depletedSince, lowAlertedAt };
}

/** Without a threshold, any credit is a recovery from having none. */
function recoveryBalance({ marginPercent }: LowBalanceRule, threshold: number | null): number {
  return threshold === null ? 1 : Math.max(threshold + Math.ceil((threshold * marginPercent) / 100), 1);
}

function isDue(rule: LowBalanceRule, reminder: boolean, lowAlertedAt: Date | null, now: Date): boolean {
  if (reminder && rule.reminderSeconds === 0) return false;
  const waitSeconds = reminder ? rule.reminderSeconds : rule.minIntervalSeconds;
  return lowAlertedAt === null || now.getTime() - lowAlertedAt.getTime() >= waitSeconds * 1000;
}

/** The wallet with a decision taken into its state, and the alerts as its numbered rows. */
export function raise(
  wallet: Wallet,
  { alerts: raised, alertsArmed, lowSince, depletedSince, lowAlertedAt }: LowBalanceDecision,
  at: Date,
): { wallet: Wallet; alerts: WalletAlert[] } {
  const { merchantId, customerId, currency, balance, version } = wallet;
  const alerts = raised.map((alert, index) => {
    const alertSeq = wallet.alertSeq + index + 1;
    return { ...alert, merchantId, customerId, currency, alertSeq, balance, version, createdAt: at };
  });
  const state = { alertsArmed, lowSince, depletedSince, lowAlertedAt, alertSeq: wallet.alertSeq + alerts.length };
  return { wallet: { ...wallet, ...state }, alerts };
}
