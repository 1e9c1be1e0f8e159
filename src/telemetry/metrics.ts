import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type RareCounts, rareCounts } from './rare-counts.ts';

/** What became of a provider's delivery. `unavailable`: it could not be stored now, and the provider was asked to send it again. */
const RECEIPTS = ['stored', 'ignored', 'duplicate', 'refused', 'unavailable'] as const;

const FAILURES = ['retried', 'parked'] as const;

/** What became of one try to tell a merchant of a wallet. `deferred`: the sender asked us to wait. */
const ANNOUNCED_RESULTS = ['sent', 'deferred', 'failed'] as const;

/** What became of one try of the embedded sender. `retried`: another is scheduled; `failed`: it was the last. */
const ATTEMPTS = ['delivered', 'retried', 'failed', 'broken'] as const;

/** Postings of one batch with the same result. `code` is the error code of refused postings, and empty for others. */
export interface PostingCount {
  readonly direction: 'credit' | 'debit';
  readonly outcome: 'created' | 'repeated' | 'refused';
  readonly code: string;
  readonly count: number;
  /** How many of them left their wallet with more open lots than the API gives one. */
  readonly beyondLots: number;
}

/**
 * Whom a limit met, and which. `bodies`: bytes of requests under way; `answers`: bytes that are not read yet; `connections`:
 * their number; `slow`: less than the lowest rate of a request; `pipelined`: requests of one connection that wait; `wrong keys`,
 * `unknown sources`: more than an address may guess; `requests`: more than a key has in a minute; `waiting`: more than may wait to
 * be written; `certificates`: unknown ones of PayPal's; `pages`: of the documentation; `reads`: searches and lists that wait;
 * `slow reads`: one that took too long.
 */
export interface Limited {
  readonly who: 'address' | 'source' | 'merchant' | 'operator' | 'process';
  readonly limit:
    | 'bodies'
    | 'answers'
    | 'connections'
    | 'slow'
    | 'pipelined'
    | 'wrong keys'
    | 'pages'
    | 'unknown sources'
    | 'requests'
    | 'waiting'
    | 'certificates'
    | 'reads'
    | 'slow reads';
}

/** Every pair of labels there is, so that each counter begins at zero. */
const LIMITED: readonly Limited[] = [
  { who: 'address', limit: 'bodies' },
  { who: 'source', limit: 'bodies' },
  { who: 'merchant', limit: 'bodies' },
  { who: 'operator', limit: 'bodies' },
  { who: 'process', limit: 'bodies' },
  { who: 'address', limit: 'answers' },
  { who: 'merchant', limit: 'answers' },
  { who: 'operator', limit: 'answers' },
  { who: 'process', limit: 'answers' },
  { who: 'address', limit: 'connections' },
  { who: 'process', limit: 'connections' },
  { who: 'address', limit: 'slow' },
  { who: 'address', limit: 'pipelined' },
  { who: 'address', limit: 'wrong keys' },
  { who: 'address', limit: 'pages' },
  { who: 'address', limit: 'unknown sources' },
  { who: 'merchant', limit: 'requests' },
  { who: 'merchant', limit: 'waiting' },
  { who: 'source', limit: 'waiting' },
  { who: 'address', limit: 'certificates' },
  { who: 'merchant', limit: 'reads' },
  { who: 'merchant', limit: 'slow reads' },
  { who: 'operator', limit: 'reads' },
  { who: 'operator', limit: 'slow reads' },
];

/** What is behind a request's status: our failure, a limit, the client's doing, or nothing. */
export type RequestFault = 'none' | 'client' | 'limit' | 'server';

/** `route` is the pattern of the path, so that ids make no new series. */
interface AnsweredRequest {
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly fault: RequestFault;
}

/** A figure with one value for each value of a label. */
interface LabelledFigure {
  readonly name: string;
  readonly help: string;
  readonly label: string;
}

/** The process's figures for Prometheus. They name routes, batchers and providers, never a merchant, a customer or an amount. */
export interface Metrics extends RareCounts {
  /** Others may register figures of their own here. */
  readonly registry: Registry;
  /** One request was answered, after this many seconds. */
  observeRequest(request: AnsweredRequest, seconds: number): void;
  /** A batcher began a batch of this many items, of which the first had waited this long. */
  observeBatch(batcher: string, size: number, waitedSeconds: number): void;
  /** How long the database took to make a batcher's transaction durable. */
  observeCommit(batcher: string, seconds: number): void;
  countDelivery(provider: string, outcome: (typeof RECEIPTS)[number]): void;
  /** An event was handled and is in this state now. `reason` says why it is parked, and is empty for other states. */
  countEvent(provider: string, state: string, reason: string): void;
  /** An event could not be applied because of an error of our own. It is retried, or parked after the last try. */
  countEventFailure(outcome: (typeof FAILURES)[number]): void;
  /** Counts postings by who asked for them. */
  countPostings(origin: 'api' | 'event', counts: readonly PostingCount[]): void;
  countAnnounced(outcome: (typeof ANNOUNCED_RESULTS)[number]): void;
  countAttempt(outcome: (typeof ATTEMPTS)[number]): void;
  countLimited(limited: Limited): void;
  /** Reads a figure whenever Prometheus asks. */
  watch(name: string, help: string, read: () => number | Promise<number>): void;
  /** Reads a figure for each value of `label`; a value that is missing from the next reading disappears. */
  watchEach(figure: LabelledFigure, read: () => Promise<ReadonlyMap<string, number>>): void;
}

/** @param providers names of all providers, so that the counters of each exist as 0 before their first delivery */
export function createMetrics(providers: readonly string[] = []): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return {
    registry,
    ...latencies(registry),
    ...counts(registry, providers),
    ...rareCounts(registry),
    ...watches(registry),
  };
}

type Latencies = Pick<Metrics, 'observeRequest' | 'observeBatch' | 'observeCommit'>;

function latencies(registry: Registry): Latencies {
  const registers = [registry];
  const requests = new Histogram({
    name: 'chokin_http_request_seconds',
    help: 'Time from a request to its answer, by route, status (499: the client hung up) and whose doing that is.',
    labelNames: ['route', 'method', 'status', 'fault'],
    // From a single posting (a few milliseconds) to the time after which providers and SDKs give up.
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15],
    registers,
  });
  // Dashboards use these names, so they keep `lane`, the older word for a batcher.
  const sizes = new Histogram({
    name: 'chokin_lane_batch_size',
    help: 'How many items shared one transaction, by batcher.',
    labelNames: ['lane'],
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500],
    registers,
  });
  const waits = new Histogram({
    name: 'chokin_lane_wait_seconds',
    help: 'How long the first item of each batch waited for the batch before it, by batcher.',
    labelNames: ['lane'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  });
  const commits = new Histogram({
    name: 'chokin_lane_commit_seconds',
    help: 'Time the database took for the COMMIT of a batch, by batcher: what its disk takes, mostly.',
    labelNames: ['lane'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  return {
    observeRequest: ({ route, method, status, fault }, seconds) =>
      requests.observe({ route, method, status, fault }, seconds),
    observeBatch: (batcher, size, waitedSeconds) => {
      sizes.observe({ lane: batcher }, size);
      waits.observe({ lane: batcher }, waitedSeconds);
    },
    observeCommit: (batcher, seconds) => commits.observe({ lane: batcher }, seconds),
  };
}

type Counts = Pick<
  Metrics,
  | 'countDelivery'
  | 'countEvent'
  | 'countEventFailure'
  | 'countPostings'
  | 'countAnnounced'
  | 'countAttempt'
  | 'countLimited'
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
  const beyondLots = new Counter({
    name: 'chokin_lots_beyond_limit_total',
    help: 'Credits of payments that left a wallet with more open lots than the API gives one; debits of it read all of them.',
    registers,
  });
  const announced = new Counter({
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
  const limited = new Counter({
    name: 'chokin_limited_total',
    help: 'Requests and connections that a limit met, by whose share was used up and which limit it was.',
    labelNames: ['who', 'limit'],
    registers,
  });
  // Prometheus' rate() does not see the first event of a counter that appears with it, so known counters begin at zero.
  for (const provider of providers) for (const outcome of RECEIPTS) deliveries.inc({ provider, outcome }, 0);
  for (const outcome of FAILURES) failures.inc({ outcome }, 0);
  for (const outcome of ANNOUNCED_RESULTS) announced.inc({ outcome }, 0);
  for (const outcome of ATTEMPTS) attempts.inc({ outcome }, 0);
  for (const { who, limit } of LIMITED) limited.inc({ who, limit }, 0);
  return {
    countLimited: ({ who, limit }) => limited.inc({ who, limit }),
    countDelivery: (provider, outcome) => deliveries.inc({ provider, outcome }),
    countEvent: (provider, state, reason) => events.inc({ provider, state, reason }),
    countEventFailure: (outcome) => failures.inc({ outcome }),
    countPostings: (origin, counted) => {
      for (const { direction, outcome, code, count, beyondLots: lots } of counted) {
        postings.inc({ origin, direction, outcome, code }, count);
        beyondLots.inc(lots);
      }
    },
    countAnnounced: (outcome) => announced.inc({ outcome }),
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
    watchEach: ({ name, help, label }, read) => {
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
