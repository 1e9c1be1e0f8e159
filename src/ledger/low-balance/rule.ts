import { type AlertState, BALANCE_WORDS, type BalanceWord, type Wallet, type WalletAlert } from '../entry.ts';

/** When a balance counts as low and how seldom that may be said; from the configuration. */
export interface LowBalanceRule {
  /** The threshold of wallets that have none of their own, in minor units by currency. */
  readonly defaultThresholds: ReadonlyMap<string, number>;
  /** A wallet has recovered once it holds its threshold plus this many per cent of it: hovering raises no second alert. */
  readonly marginPercent: number;
  /** Between two alerts of a wallet that say `low` at least this long, and between two that say `depleted` likewise. */
  readonly minIntervalSeconds: number;
  /** A wallet that stays low or empty is mentioned again after this long, or after the interval where that is longer; 0 for never. */
  readonly reminderSeconds: number;
}

interface RaisedAlert {
  readonly kind: BalanceWord;
  readonly reminder: boolean;
  readonly threshold: number | null;
}

/** An alert that was raised, as much of it as tells what its merchant believes. */
export type LastAlert = Pick<WalletAlert, 'kind' | 'createdAt'>;

type AlertTimes = Pick<AlertState, 'lowSince' | 'depletedSince' | 'lowAlertedAt' | 'depletedAlertedAt'>;

interface LowBalanceDecision extends AlertTimes {
  readonly alerts: readonly RaisedAlert[];
  readonly alertsArmed: boolean;
}

export function effectiveThreshold(rule: LowBalanceRule, currency: string, own: number | null): number | null {
  return own ?? rule.defaultThresholds.get(currency) ?? null;
}

/** A wallet is watched from the moment it holds its threshold; where there is none, any credit. */
export function reachesThreshold(balance: number, threshold: number | null): boolean {
  return balance >= Math.max(threshold ?? 1, 1);
}

/**
 * Decides what to say about a wallet that holds `balance` at `now`, and the alert state that follows.
 *
 * The right word is `depleted` where nothing is left, `low` below the threshold, `recovered` from the threshold plus the
 * margin on; in between, `low` and `recovered` both stay right. Whenever the last word is not the right one, the right one
 * is said: `recovered` at once, `low` and `depleted` no sooner than the minimum interval after the last alert of the same
 * kind. What is held back is said by the first posting or scan after the interval, if it is still right then; so a
 * balance that flaps is spoken of a bounded number of times, and the last word is right in the end.
 *
 * A wallet is watched from the moment it reaches its threshold or is first spent from (`isDebit`): so one that never held
 * credit is never low, and neither is one whose first credit is a small welcome gift. Apart from that the function looks
 * at the state alone, so that the posting and the scheduled scan decide alike and a missed tick is made up by the next.
 */
export function decideLowBalance(
  rule: LowBalanceRule,
  state: AlertState & Pick<Wallet, 'currency'>,
  { balance, isDebit, now }: { balance: number; isDebit: boolean; now: Date },
): LowBalanceDecision {
  const threshold = effectiveThreshold(rule, state.currency, state.lowThreshold);
  const alertsArmed = state.alertsArmed || isDebit || reachesThreshold(balance, threshold);
  const { lowSince, depletedSince, lowAlertedAt, depletedAlertedAt } = state;
  const unchanged = { alertsArmed, lowSince, depletedSince, lowAlertedAt, depletedAlertedAt };
  if (!alertsArmed) return { ...unchanged, alerts: [] };
  const words = wordsToSay(rule, state, { balance, threshold, now });
  return {
    ...unchanged,
    ...words.reduce<AlertTimes>((times, { kind }) => timesAfter(times, kind, now), unchanged),
    alerts: words.map((word) => ({ ...word, threshold })),
  };
}

interface Moment {
  readonly balance: number;
  readonly threshold: number | null;
  readonly now: Date;
}

type Word = Pick<RaisedAlert, 'kind' | 'reminder'>;

function wordsToSay(rule: LowBalanceRule, state: AlertState, { balance, threshold, now }: Moment): readonly Word[] {
  const last = lastWord(state);
  if (balance >= recoveryBalance(rule, threshold))
    return last === 'recovered' ? [] : [{ kind: 'recovered', reminder: false }];
  const isLow = threshold !== null && balance < threshold;
  const right = balance <= 0 ? 'depleted' : isLow || last === 'depleted' ? 'low' : null;
  if (right === null) return [];
  if (right === last) {
    const reminds = isLow && rule.reminderSeconds > 0;
    const waitSeconds = Math.max(rule.reminderSeconds, rule.minIntervalSeconds);
    return reminds && hasPassed(waitSeconds, lastAlertAt(state, right), now) ? [{ kind: right, reminder: true }] : [];
  }
  // A wallet that was emptied at once is low too; once it was called empty, `low` would sound like more than is there.
  const kinds: readonly ('low' | 'depleted')[] =
    right === 'depleted' && isLow && last === 'recovered' ? ['low', right] : [right];
  return kinds
    .filter((kind) => hasPassed(rule.minIntervalSeconds, lastAlertAt(state, kind), now))
    .map((kind) => ({ kind, reminder: false }));
}

/** What the merchant heard last of the wallet, as far as the state knows; `recovered` also where nothing was ever said. */
export function lastWord(state: Pick<AlertState, 'lowSince' | 'depletedSince'>): BalanceWord {
  if (state.depletedSince !== null) return 'depleted';
  return state.lowSince === null ? 'recovered' : 'low';
}

/**
 * The state of a wallet whose last alert was `last` (null: there was none): as it is where it says so, and else mended.
 * The release before this one forgot alerts that it had told, and its processes may still run beside ours. An alert of a hold
 * says nothing of the balance, and that release raises none.
 */
export function believing<State extends AlertState>(state: State, last: LastAlert | null): State {
  if (last === null) return lastWord(state) === 'recovered' ? state : { ...state, lowSince: null, depletedSince: null };
  const { kind, createdAt } = last;
  if (!isOfBalance(kind) || kind === lastWord(state)) return state;
  return { ...state, ...timesAfter(state, kind, createdAt) };
}

function isOfBalance(kind: WalletAlert['kind']): kind is BalanceWord {
  return BALANCE_WORDS.some((word) => word === kind);
}

function timesAfter(times: AlertTimes, kind: BalanceWord, at: Date): AlertTimes {
  const { lowSince, depletedSince, lowAlertedAt, depletedAlertedAt } = times;
  if (kind === 'recovered') return { lowSince: null, depletedSince: null, lowAlertedAt, depletedAlertedAt };
  if (kind === 'low') return { lowSince: lowSince ?? at, depletedSince: null, lowAlertedAt: at, depletedAlertedAt };
  return { lowSince, depletedSince: depletedSince ?? at, lowAlertedAt, depletedAlertedAt: at };
}

/** Without a threshold, any credit is a recovery from having none. */
function recoveryBalance({ marginPercent }: LowBalanceRule, threshold: number | null): number {
  return threshold === null ? 1 : Math.max(threshold + Math.ceil((threshold * marginPercent) / 100), 1);
}

/** `depletedSince` counts as well: the release before this one noted no other time. */
function lastAlertAt(state: AlertTimes, kind: 'low' | 'depleted'): Date | null {
  if (kind === 'low') return state.lowAlertedAt;
  const { depletedSince, depletedAlertedAt } = state;
  if (depletedSince === null || depletedAlertedAt === null) return depletedAlertedAt ?? depletedSince;
  return depletedSince > depletedAlertedAt ? depletedSince : depletedAlertedAt;
}

function hasPassed(seconds: number, since: Date | null, now: Date): boolean {
  return since === null || now.getTime() - since.getTime() >= seconds * 1000;
}

/** The wallet with a decision taken into its state, and the alerts as its numbered rows. */
export function raise(
  wallet: Wallet,
  { alerts: raised, ...decided }: LowBalanceDecision,
  at: Date,
): { wallet: Wallet; alerts: WalletAlert[] } {
  const { merchantId, customerId, currency, balance, version } = wallet;
  const alerts = raised.map((alert, index) => {
    const alertSeq = wallet.alertSeq + index + 1;
    return { ...alert, merchantId, customerId, currency, alertSeq, balance, version, createdAt: at, details: null };
  });
  return { wallet: { ...wallet, ...decided, alertSeq: wallet.alertSeq + alerts.length }, alerts };
}
