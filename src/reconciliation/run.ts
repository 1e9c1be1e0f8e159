import type { ListedKind } from '../providers/shared/api.ts';
import type { ProviderName } from '../providers/shared/names.ts';

/**
 * The phases of a run, in this order. It lists what the provider has, one kind after the other. `open`: it asks for what
 * is unfinished here and older than the window. `unlisted`: it asks for payments that are recorded here and were not
 * listed. `settling`: it waits until what was missing is applied.
 */
export type Phase = ListedKind | 'open' | 'unlisted' | 'settling';

export type RequestedBy = 'schedule' | 'api' | 'cli';

/** One comparison of one source with its provider. */
export interface Run {
  readonly merchantId: string;
  readonly runId: string;
  readonly sourceId: string;
  readonly provider: ProviderName;
  /** The window: what the provider made at this time or later. */
  readonly since: Date;
  /** The end of the window: what was made at this time or later is left out. */
  readonly until: Date;
  readonly requestedBy: RequestedBy;
  /** Only compares; nothing is stored as an event. */
  readonly isDryRun: boolean;
  readonly state: 'running' | 'finished' | 'failed';
  readonly phase: Phase;
  readonly cursor: string | null;
  /** How many objects of the provider's were compared so far. */
  readonly listed: number;
  readonly matched: number;
  /** How many items there are of each result; what matched is only counted. */
  readonly outcomes: Readonly<Record<ComparisonResult, number>>;
  /** Why it failed, or makes no progress. */
  readonly problem: string | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

export const COMPARISON_RESULTS = ['missing', 'healed', 'differing', 'unknown'] as const;

/**
 * `missing`: was not known here. It is stored as an event now and not applied yet; a dry run stores nothing.
 * `healed`: was missing, and is applied. `differing`: a person must look. `unknown`: is recorded here as paid, and the
 * provider does not know it.
 */
export type ComparisonResult = (typeof COMPARISON_RESULTS)[number];

/** An object that did not match, as a run found it. */
export interface Item {
  readonly kind: ListedKind;
  readonly objectId: string;
  readonly paymentId: string | null;
  readonly outcome: ComparisonResult;
  readonly reason: string | null;
  /** The event as which it was stored, or the parked event that explains it. */
  readonly eventId: string | null;
}
