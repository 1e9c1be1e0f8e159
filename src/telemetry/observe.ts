import type { Metrics } from './metrics.ts';
import { NO_TRACING, type Tracing } from './tracing.ts';

/** Where code reports its metrics and spans. The default is {@link UNOBSERVED}. */
export interface Observe {
  readonly metrics: Omit<Metrics, 'registry' | 'watch' | 'watchEach'>;
  readonly tracing: Tracing;
}

const ignore = () => {};

/** Discards everything, at almost no cost. */
export const UNOBSERVED: Observe = {
  metrics: {
    observeRequest: ignore,
    observeBatch: ignore,
    observeCommit: ignore,
    countDelivery: ignore,
    countEvent: ignore,
    countEventFailure: ignore,
    countPostings: ignore,
    countAnnounced: ignore,
    countAttempt: ignore,
    countKeyWarning: () => {},
    countLimited: ignore,
    countForgotten: ignore,
  },
  tracing: NO_TRACING,
};
