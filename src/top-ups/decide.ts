import type { Period } from './calendar.ts';
import type { Block, RuleState, TopUpTerms } from './rule.ts';

/** What has been tried under the rule, as far as it counts. */
export interface AttemptHistory {
  readonly isInFlight: boolean;
  /** When the newest attempt was begun. */
  readonly lastAttemptAt: Date | null;
  /** Attempts of today that count: neither faults nor what somebody else was to do and did not. */
  readonly attemptsToday: number;
  /** What this month's attempts have charged, or still may. */
  readonly usedThisMonth: number;
}

export interface DecideTopUp {
  readonly rule: TopUpTerms & Pick<RuleState, 'suspendedReason' | 'retryAt'>;
  readonly history: AttemptHistory;
  readonly wallet: { readonly balance: number; readonly isActive: boolean };
  /** What is to be charged for a period of a schedule, however much is there; null where only a balance that is low wants it. */
  readonly refill: number | null;
  /** What the provider charges at least, in this currency; 0 if it is not known. */
  readonly gatewayMinimum: number;
  /** Today and this month in the rule's time zone. */
  readonly day: Period;
  readonly month: Period;
  readonly now: Date;
}

export type TopUpDecision =
  | { readonly kind: 'charge'; readonly amount: number }
  /** Nothing now. `until`: when it may be otherwise by itself; null: only an event makes it so. */
  | {
      readonly kind: 'wait';
      readonly why: 'disabled' | 'not_active' | 'suspended' | 'in_flight' | 'above' | 'back_off' | 'interval';
      readonly until: Date | null;
    }
  | { readonly kind: 'blocked'; readonly block: Block; readonly until: Date };

/** Whether to fill a wallet up now, and by how much. Pure; the first that applies decides. */
export function decideTopUp(input: DecideTopUp): TopUpDecision {
  const { rule, history, wallet, refill, now, day } = input;
  const wait = (why: Extract<TopUpDecision, { kind: 'wait' }>['why'], until: Date | null = null): TopUpDecision => {
    return { kind: 'wait', why, until };
  };
  if (!rule.enabled) return wait('disabled');
  if (!wallet.isActive) return wait('not_active');
  if (rule.suspendedReason !== null) return wait('suspended');
  if (history.isInFlight) return wait('in_flight');
  if (refill === null && wallet.balance >= rule.threshold) return wait('above');
  if (rule.retryAt !== null && rule.retryAt > now) return wait('back_off', rule.retryAt);
  const next = nextAfterInterval(rule, history);
  if (next !== null && next > now) return wait('interval', next);
  if (history.attemptsToday >= rule.maxPerDay) return { kind: 'blocked', block: 'max_per_day', until: day.until };
  return refill === null ? withinCap(input, amountWanted(rule, wallet.balance)) : refilled(input, refill);
}

function nextAfterInterval({ minIntervalSeconds }: TopUpTerms, { lastAttemptAt }: AttemptHistory): Date | null {
  return lastAttemptAt === null ? null : new Date(lastAttemptAt.getTime() + minIntervalSeconds * 1000);
}

/** One charge that closes the gap, as far as the rule allows. */
export function amountWanted({ mode, amount, target, threshold, maxCharge }: TopUpTerms, balance: number): number {
  if (mode === 'target') return Math.min((target ?? 0) - balance, maxCharge);
  const step = amount ?? 0;
  const gap = threshold - balance;
  const times = Math.max(1, Math.ceil(gap / step));
  return Math.min(times, Math.max(1, Math.floor(maxCharge / step))) * step;
}

/** Neither less than was agreed nor more: what cannot be charged so is not charged. */
function refilled({ rule, history, gatewayMinimum, month }: DecideTopUp, amount: number): TopUpDecision {
  if (amount < gatewayMinimum) return { kind: 'blocked', block: 'below_minimum', until: month.until };
  const isWithinCap = history.usedThisMonth + amount <= rule.monthlyCap;
  return isWithinCap ? { kind: 'charge', amount } : { kind: 'blocked', block: 'monthly_cap', until: month.until };
}

function withinCap({ rule, history, gatewayMinimum, month }: DecideTopUp, wanted: number): TopUpDecision {
  const isBelow = wanted < gatewayMinimum;
  // Only another balance, or another rule, makes it enough; a month is as good a time to say it again as any.
  if (isBelow && gatewayMinimum > rule.maxCharge) {
    return { kind: 'blocked', block: 'below_minimum', until: month.until };
  }
  const amount = isBelow ? gatewayMinimum : wanted;
  const left = rule.monthlyCap - history.usedThisMonth;
  if (amount <= left) return { kind: 'charge', amount };
  const isEnough = rule.mode === 'target' && left >= Math.max(1, gatewayMinimum);
  return isEnough ? { kind: 'charge', amount: left } : { kind: 'blocked', block: 'monthly_cap', until: month.until };
}
