import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** What became of a provider's delivery. `unavailable`: it could not be stored now, and the provider was told to come again. */
export const RECEIPTS = ['stored', 'ignored', 'duplicate', 'refused', 'unavailable'] as const;

export const FAILURES = ['retried', 'parked'] as const;

/** What became of one try to tell a merchant of a wallet. `deferred`: the other side asked us to wait. */
export const ANNOUNCEMENTS = ['sent', 'deferred', 'failed'] as const;

/** What became of one try of the embedded sender. `retried`: another is scheduled; `failed`: it was the last. */
export const ATTEMPTS = ['delivered', 'retried', 'failed'] as const;

/** Postings of one batch that went the same way. `code` is the error code of refused ones, empty for others. */
export interface PostingTally {
  readonly direction: 'credit' | 'debit';
  readonly outcome: 'created' | 'repeated' | 'refused';
  readonly code: string;
  readonly count: number;
}

/** The process's figures for Prometheus. They name routes, lanes and providers, never a merchant, a customer or an amount. */
export interface Metrics {
  /** Others may register figures of their own here. */
  readonly registry: Registry;
  /** One request answered; `route` is the path's pattern, so that ids make no new series. */
  observeRequest(route: string, method: string, status: number, seconds: number): void;
  /** One batch of a lane left with this many items, the first of which had waited this long. */
  observeBatch(lane: string, size: number, waitedSeconds: number): void;
  /** How long the database took to make a lane's transaction durable. */
  observeCommit(lane: string, seconds: number): void;
  countDelivery(provider: string, outcome: (typeof RECEIPTS)[number]): void;
  /** An event was looked at. `reason` is why it is parked, empty for other states; both from closed lists. */
  countEvent(provider: string, state: string, reason: string): void;
  /** To apply an event failed by an error of our own; it is retried, or was the last time and is parked. */
  countEventFailure(outcome: (typeof FAILURES)[number]): void;
  /** `origin`: who asked for the postings. */
  countPostings(origin: 'api' | 'event', tallies: readonly PostingTally[]): void;
  countAnnouncement(outcome: (typeof ANNOUNCEMENTS)[number]): void;
  countAttempt(outcome: (typeof ATTEMPTS)[number]): void;
  /** Reads a figure whenever Prometheus asks. */
  watch(name: string, help: string, read: () => number | Promise<number>): void;
  /** Reads a figure for each value of `label`; values that are not read any more disappear. */
  watchEach(name: string, help: string, label: string, read: () => Promise<ReadonlyMap<string, number>>): void;
}

/** @param providers by whose names deliveries are counted, so that each is there as 0 before the first */
export function createMetrics(providers: readonly string[] = []): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return { registry, ...latencies(registry), ...counts(registry, providers), ...watches(registry) };
}

type Latencies = Pick<Metrics, 'observeRequest' | 'observeBatch' | 'observeCommit'>;

function latencies(registry: Registry): Latencies {
  const registers = [registry];
  const requests = new Histogram({
    name: 'chokin_http_request_seconds',
    help: 'Time from a request to its answer, by route.',
    labelNames: ['route', 'method', 'status'],
    // From a lone posting (some milliseconds) to where providers and SDKs give up.
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15],
    registers,
  });
  const sizes = new Histogram({
    name: 'chokin_lane_batch_size',
    help: 'How many items shared one transaction, by lane.',
    labelNames: ['lane'],
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500],
    registers,
  });
  const waits = new Histogram({
    name: 'chokin_lane_wait_seconds',
    help: 'How long the first item of each batch waited for the batch before it, by lane.',
    labelNames: ['lane'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  });
  const commits = new Histogram({
    name: 'chokin_lane_commit_seconds',
    help: 'Time the database took for the COMMIT of a batch, by lane: what its disk takes, mostly.',
    labelNames: ['lane'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  return {
    observeRequest: (route, method, status, seconds) => requests.observe({ route, method, status }, seconds),
    observeBatch: (lane, size, waitedSeconds) => {
      sizes.observe({ lane }, size);
      waits.observe({ lane }, waitedSeconds);
    },
    observeCommit: (lane, seconds) => commits.observe({ lane }, seconds),
  };
}

type Counts = Pick<
  Metrics,
  'countDelivery' | 'countEvent' | 'countEventFailure' | 'countPostings' | 'countAnnouncement' | 'countAttempt'
>;

function counts(registry: Registry, providers: readonly string[]): Counts {
  const registers = [registry];
  const deliveries = new Counter({
    name: 'chokin_provider_deliveries_total',
    help: 'Deliveries of payment providers, by what became of them.',
    labelNames: ['provider', 'outcome'],
    registers,
  });
  const events = new Counter({
    name: 'chokin_provider_events_total',
    help: 'Provider events looked at by the worker, by what became of them and, where they are parked, why.',
    labelNames: ['provider', 'state', 'reason'],
    registers,
  });
  const failures = new Counter({
    name: 'chokin_event_failures_total',
    help: 'Tries to apply an event that ended in an error of our own, by what follows.',
    labelNames: ['outcome'],
    registers,
  });
  const postings = new Counter({
    name: 'chokin_postings_total',
    help: 'Postings decided, by who asked for them and what became of them; code says why one was refused.',
    labelNames: ['origin', 'direction', 'outcome', 'code'],
    registers,
  });
  const announcements = new Counter({
    name: 'chokin_announcements_total',
    help: 'Tries to hand over what a wallet has to tell its merchant.',
    labelNames: ['outcome'],
    registers,
  });
  const attempts = new Counter({
    name: 'chokin_delivery_attempts_total',
    help: "Tries of the embedded sender at merchants' endpoints.",
    labelNames: ['outcome'],
    registers,
  });
  // A counter that appears with its first event hides that event from rate(): what is known beforehand begins at zero.
  for (const provider of providers) for (const outcome of RECEIPTS) deliveries.inc({ provider, outcome }, 0);
  for (const outcome of FAILURES) failures.inc({ outcome }, 0);
  for (const outcome of ANNOUNCEMENTS) announcements.inc({ outcome }, 0);
  for (const outcome of ATTEMPTS) attempts.inc({ outcome }, 0);
  return {
    countDelivery: (provider, outcome) => deliveries.inc({ provider, outcome }),
    countEvent: (provider, state, reason) => events.inc({ provider, state, reason }),
    countEventFailure: (outcome) => failures.inc({ outcome }),
    countPostings: (origin, tallies) => {
      for (const { direction, outcome, code, count } of tallies) {
        postings.inc({ origin, direction, outcome, code }, count);
      }
    },
    countAnnouncement: (outcome) => announcements.inc({ outcome }),
    countAttempt: (outcome) => attempts.inc({ outcome }),
  };
}

function watches(registry: Registry): Pick<Metrics, 'watch' | 'watchEach'> {
  const registers = [registry];
  return {
    watch: (name, help, read) => {
      new Gauge({
        name,
        help,
        registers,
        async collect() {
          this.set(await read());
        },
      });
    },
    watchEach: (name, help, label, read) => {
      new Gauge({
        name,
        help,
        labelNames: [label],
        registers,
        async collect() {
          const values = await read();
          this.reset();
          for (const [value, figure] of values) this.set({ [label]: value }, figure);
        },
      });
    },
  };
}
