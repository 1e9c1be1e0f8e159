import type { WalletKey } from '../ledger/entry.ts';
import { isTimeZone } from '../schedules/periods.ts';

export const TOP_UP_MODES = ['amount', 'target'] as const;

/** When a wallet is filled up, and by how much. Amounts are in minor units. */
export interface TopUpTerms {
  readonly enabled: boolean;
  /** A balance below it is filled up. */
  readonly threshold: number;
  readonly mode: (typeof TOP_UP_MODES)[number];
  /** By how much, or by a multiple of it; in the mode `amount`. */
  readonly amount: number | null;
  /** Up to which balance; in the mode `target`. */
  readonly target: number | null;
  readonly maxCharge: number;
  readonly monthlyCap: number;
  readonly maxPerDay: number;
  readonly minIntervalSeconds: number;
  /** Whose days and months count. */
  readonly timeZone: string;
  readonly payment: TopUpPayment | null;
  readonly consent: Consent | null;
}

/** By what it is paid; null where the merchant charges by itself. */
interface TopUpPayment {
  readonly sourceId: string;
  readonly providerCustomerId: string;
  /** Null: the one that the provider's customer has for such payments, as it is at each attempt. */
  readonly paymentMethodId: string | null;
}

/** That the customer agreed to be charged without being there. */
interface Consent {
  readonly acceptedAt: Date;
  readonly textVersion: string;
}

export const SUSPENSIONS = ['declined', 'too_many_declines', 'disputed'] as const;

/** Why a wallet that is to be filled up is not, of which its merchant is told once in a period. */
export type Block = 'monthly_cap' | 'below_minimum' | 'max_per_day';

/** What has become of a rule. */
export interface RuleState {
  readonly suspendedReason: (typeof SUSPENSIONS)[number] | null;
  readonly suspendedAt: Date | null;
  /** The method that was declined, by its hash: another one lifts the suspension. */
  readonly suspendedMethod: string | null;
  readonly declineCode: string | null;
  readonly failuresInARow: number;
  /** Nothing is tried before. */
  readonly retryAt: Date | null;
  /** Until when each reason for not charging was told of. */
  readonly blocks: Partial<Readonly<Record<Block, string>>>;
}

export interface TopUpRule extends WalletKey, TopUpTerms, RuleState {
  readonly createdAt: Date;
  /**
   * When somebody set its terms last, or ended it. What becomes of attempts leaves it as it is: a rule whose wallet was closed after that time ends
   * with it, and news of a payment comes from nobody who wants the rule to go on.
   */
  readonly updatedAt: Date;
  /** Since when it is deleted; null while it is there. */
  readonly endedAt: Date | null;
}

/** How a rule stands that has had no attempts. */
export const NEW_STATE: RuleState = {
  suspendedReason: null,
  suspendedAt: null,
  suspendedMethod: null,
  declineCode: null,
  failuresInARow: 0,
  retryAt: null,
  blocks: {},
};

/** What is wrong with the terms as a whole: which field, and what it wants. Null if nothing is. */
export function termsProblem(terms: TopUpTerms): { readonly field: string; readonly wants: string } | null {
  const { mode, amount, target, threshold, maxCharge, monthlyCap, timeZone } = terms;
  const problem = (field: string, wants: string) => ({ field, wants });
  if (mode === 'amount') {
    if (amount === null) return problem('amount', 'is wanted where mode is amount');
    if (target !== null) return problem('target', 'is for the mode target alone');
    if (maxCharge < amount) return problem('max_charge', 'must not be less than amount');
  } else {
    if (target === null) return problem('target', 'is wanted where mode is target');
    if (amount !== null) return problem('amount', 'is for the mode amount alone');
    if (target <= threshold) return problem('target', 'must be more than threshold');
  }
  if (monthlyCap < maxCharge) return problem('monthly_cap', 'must not be less than max_charge');
  if (!isTimeZone(timeZone)) return problem('time_zone', 'must name a time zone, such as Europe/Berlin');
  return null;
}
