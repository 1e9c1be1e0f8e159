import { LEARNT_FROM_EVENTS } from '../providers/shared/account.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { SourceAccountKind, SourceKey } from './source.ts';

/** One account at a provider is one source's. What follows is pure; `account-store.ts` reads and writes. */

/** That a source answers for an account. */
export interface SourceAccount extends SourceAccountKind {
  readonly account: string;
  /** A further source of the account, from before accounts were known. Its payments are told apart one by one. */
  readonly isShared: boolean;
  readonly createdAt: Date;
}

export type AccountVerdict =
  | {
      readonly kind: 'own';
      /** To be noted: accounts of the source that nobody had told us of. */
      readonly learnt: readonly { readonly account: string; readonly isShared: boolean }[];
      /** Other sources of the same account: a payment that one of these posted is not posted again. */
      readonly sharedWith: readonly SourceKey[];
    }
  | { readonly kind: 'foreign'; readonly account: string; readonly owner: SourceKey | null };

export interface AccountQuestion {
  readonly source: SourceAccountKind;
  /** What the event names; none where it names none. */
  readonly named: readonly string[];
  /** All rows of the source, and all rows of its accounts and of those named. */
  readonly known: readonly SourceAccount[];
  /** Whether the source had payments before another was known to be the account's. */
  readonly wasThereBefore: (owner: SourceAccount) => boolean;
}

export function isOfSource(one: SourceKey, other: SourceKey): boolean {
  return one.merchantId === other.merchantId && one.sourceId === other.sourceId;
}

/** Whether this row says that another source than the given one answers for the account. */
export function isOwnedElsewhere(one: SourceAccount, source: SourceAccountKind): boolean {
  return isOfKind(one, source) && !one.isShared && !isOfSource(one, source);
}

/**
 * Whether an event of a source may move money there. The first account that is named is the source's; another is foreign. So
 * is the account of another source, unless both are one merchant's and this one had been there before anybody knew: then both
 * go on, and a payment belongs to the one that posted it first. Between merchants nothing is shared, or one could hold back
 * the payments of the other by telling them first.
 */
export function judgeAccounts({ source, named, known, wasThereBefore }: AccountQuestion): AccountVerdict {
  const own = known.filter((one) => isOfSource(one, source)).map((one) => one.account);
  const learnt: { account: string; isShared: boolean }[] = [];
  for (const account of named) {
    if (own.includes(account)) continue;
    const owner = known.find((one) => one.account === account && isOwnedElsewhere(one, source)) ?? null;
    const mayLearn = own.length === 0 && LEARNT_FROM_EVENTS.has(source.provider);
    const mayShare = owner === null || (owner.merchantId === source.merchantId && wasThereBefore(owner));
    if (!mayLearn || !mayShare) return { kind: 'foreign', account, owner };
    learnt.push({ account, isShared: owner !== null });
    own.push(account);
  }
  const sharedWith = known.filter(
    (one) => own.includes(one.account) && one.merchantId === source.merchantId && !isOfSource(one, source),
  );
  return { kind: 'own', learnt, sharedWith };
}

/** The rows that matter to a source: those of its provider and mode. */
export function isOfKind(one: SourceAccount, { provider, mode }: { provider: ProviderName; mode: string }): boolean {
  return one.provider === provider && one.mode === mode;
}
