import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** The process's figures for Prometheus. They name routes and lanes, never a merchant, a customer or an amount. */
export interface Metrics {
  /** Others may register figures of their own here. */
  readonly registry: Registry;
  /** One request answered; `route` is the path's pattern, so that ids make no new series. */
  observeRequest(route: string, method: string, status: number, seconds: number): void;
  /** One batch of a lane left with this many items. */
  observeBatch(lane: string, size: number): void;
  /** Reads a figure whenever Prometheus asks. */
  watch(name: string, help: string, read: () => number | Promise<number>): void;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: 'chokin_http_request_seconds',
    help: 'Time from a request to its answer, by route.',
    labelNames: ['route', 'method', 'status'],
    // From a lone posting (some milliseconds) to where providers and SDKs give up.
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15],
    registers: [registry],
  });
  const batches = new Histogram({
    name: 'chokin_lane_batch_size',
    help: 'How many items shared one transaction, by lane.',
    labelNames: ['lane'],
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500],
    registers: [registry],
  });
  return {
    registry,
    observeRequest: (route, method, status, seconds) => requests.observe({ route, method, status }, seconds),
    observeBatch: (lane, size) => batches.observe({ lane }, size),
    watch: (name, help, read) => {
      new Gauge({
        name,
        help,
        registers: [registry],
        async collect() {
          this.set(await read());
        },
      });
    },
  };
}
