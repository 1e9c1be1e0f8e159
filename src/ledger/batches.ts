import type { Clock } from '../clock.ts';
import { Lane } from '../db/batcher.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { tallyOutcomes } from './count-outcomes.ts';
import { type Posting, type Wallet, walletKeyText } from './entry.ts';
import type { Outcome } from './post.ts';
import { PostingTraces } from './posting-traces.ts';
import { type LedgerSettings, postBatch, readWallets } from './store.ts';

export interface LedgerLanesOptions {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  /** Called after a commit that left something to announce. */
  readonly onPosted: () => void;
  readonly metrics?: Metrics;
  readonly tracing?: Tracing | null;
}

/** Postings of one transaction: past about 500, a batch gets slower faster than it gets larger. */
const MAX_BATCH = 500;
/** At some thousands of postings a second this is seconds of waiting, which is when a caller should be told to come back. */
const MAX_WAITING = 10_000;
/** Two, so that one batch is decided while the other commits; in one run each, four reached 2.1× of the baseline, two 2.9×. */
const POSTING_LANES = 2;
/** A wallet that was not free in 3 s (db/pool.ts) is held by somebody who does not commit; everybody else of the batch waits. */
const HURRIED_LOCK_TIMEOUT_MS = 250;

/**
 * The ledger for concurrent callers. Postings of one customer always take the same lane, so lanes do not wait for each
 * other's locks; reads of balances are coalesced in a lane of their own.
 */
export class LedgerLanes {
  readonly #postings: readonly Lane<Posting, Outcome>[];
  readonly #reads: Lane<{ merchantId: string; customerId: string }, readonly Wallet[]>;
  readonly #traces: PostingTraces | null;

  constructor({ pool, settings, clock, onPosted, metrics, tracing = null }: LedgerLanesOptions) {
    const traces = tracing === null ? null : new PostingTraces(tracing);
    this.#traces = traces;
    const onCommit = (seconds: number) => metrics?.observeCommit('ledger', seconds);
    const flush = async (postings: readonly Posting[], isHurried: boolean) => {
      const post = async (tx: Tx) => {
        if (isHurried) await tx.query(`set local lock_timeout = ${HURRIED_LOCK_TIMEOUT_MS}`);
        const outcomes = await postBatch(tx, postings, settings, clock.now());
        await traces?.note(tx, postings, outcomes);
        return outcomes;
      };
      const outcomes = await transaction(pool, post, onCommit);
      if (outcomes.some((outcome) => outcome.kind === 'created')) onPosted();
      metrics?.countPostings('api', tallyOutcomes(postings, outcomes));
      return outcomes;
    };
    const limits = { maxBatch: MAX_BATCH, maxWaiting: MAX_WAITING };
    const onFlush = (size: number, waitedSeconds: number) => metrics?.observeBatch('ledger', size, waitedSeconds);
    const lane = () => new Lane({ ...limits, flush, onFlush, rowOf: walletKeyText });
    this.#postings = Array.from({ length: POSTING_LANES }, lane);
    this.#reads = new Lane<{ merchantId: string; customerId: string }, readonly Wallet[]>({
      ...limits,
      flush: (keys) => readCoalesced(pool, keys),
    });
  }

  /**
   * Posts one entry and resolves with its outcome once it is durable.
   * @param traceParent the caller's W3C `traceparent`, if it sent one
   */
  post(posting: Posting, traceParent?: string | string[]): Promise<Outcome> {
    if (this.#traces === null) return this.#submit(posting);
    return this.#traces.follow(posting, traceParent, (one) => this.#submit(one));
  }

  /** The wallets of a customer by currency; empty if there is no such customer. */
  wallets(merchantId: string, customerId: string): Promise<readonly Wallet[]> {
    return this.#reads.submit({ merchantId, customerId });
  }

  #submit(posting: Posting): Promise<Outcome> {
    const lane = this.#postings[laneOf(posting.customerId)];
    invariant(lane !== undefined, 'a customer without a lane');
    return lane.submit(posting);
  }

  /** How many postings wait for a transaction. */
  get depth(): number {
    return this.#postings.reduce((sum, lane) => sum + lane.depth, 0);
  }

  /** Resolves when every posting submitted so far is settled. */
  async drain(): Promise<void> {
    await Promise.all([...this.#postings.map((lane) => lane.drain()), this.#reads.drain()]);
  }
}

/** Which lane a customer's postings take: 0 or 1, the same in every process. */
export function laneOf(customerId: string): number {
  let hash = 0;
  for (let index = 0; index < customerId.length; index += 1) hash = (hash * 31 + customerId.charCodeAt(index)) >>> 0;
  return hash % POSTING_LANES;
}

async function readCoalesced(
  pool: Pool,
  keys: readonly { merchantId: string; customerId: string }[],
): Promise<readonly (readonly Wallet[])[]> {
  const unique = new Map(keys.map((key) => [`${key.merchantId}\0${key.customerId}`, key]));
  const wanted = [...unique.values()];
  const wallets = await readWallets(
    autocommit(pool),
    wanted.map((key) => key.merchantId),
    wanted.map((key) => key.customerId),
  );
  const byCustomer = Map.groupBy(wallets, (wallet) => `${wallet.merchantId}\0${wallet.customerId}`);
  return keys.map((key) => byCustomer.get(`${key.merchantId}\0${key.customerId}`) ?? []);
}
