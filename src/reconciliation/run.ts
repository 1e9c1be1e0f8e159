import type { ListedKind } from '../providers/shared/api.ts';
import type { ProviderName } from '../providers/shared/names.ts';

/**
 * What a run does, in this order: it lists what the provider has, kind by kind; asks again for what is unfinished here,
 * however long ago it was made (`open`); asks for payments of ours that were not listed (`unlisted`); and settles, which is
 * to wait until what was missing is applied.
 */
export type Phase = ListedKind | 'open' | 'unlisted' | 'settling';

export type RequestedBy = 'schedule' | 'api' | 'cli';

/** One comparison of one source with its provider. */
export interface Run {
  readonly merchantId: string;
  readonly runId: string;
  readonly sourceId: string;
  readonly provider: ProviderName;
  /** What the provider made from here on … */
  readonly since: Date;
  /** … and before this. */
  readonly until: Date;
  readonly requestedBy: RequestedBy;
  /** Compares only, and takes nothing in. */
  readonly isDryRun: boolean;
  readonly state: 'running' | 'finished' | 'failed';
  readonly phase: Phase;
  readonly cursor: string | null;
  /** How many objects of the provider's were compared so far. */
  readonly listed: number;
  readonly matched: number;
  /** By what became of them; what matched is not kept. */
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** Why it failed, or does not get on. */
  readonly problem: string | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

export const OUTCOMES = ['missing', 'healed', 'differing', 'unknown'] as const;

/**
 * `missing`: was taken in, and is not applied yet; or would have been, were it not a dry run. `healed`: was missing, and is applied. `differing`: wants a person.
 * `unknown`: a payment of ours that the provider does not know.
 */
export type Outcome = (typeof OUTCOMES)[number];

/** Something a run found that did not simply match. */
export interface Item {
  readonly kind: ListedKind;
  readonly objectId: string;
  readonly paymentId: string | null;
  readonly outcome: Outcome;
  readonly reason: string | null;
  /** The event it was taken in as. */
  readonly eventId: string | null;
}
