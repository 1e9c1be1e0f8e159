import type { PgBoss } from 'pg-boss';
import type { Clock } from '../../clock.ts';
import { Batcher } from '../../db/batcher.ts';
import type { Pool } from '../../db/pool.ts';
import { completeJobs } from '../../db/queues.ts';
import { autocommit, type Tx, transaction } from '../../db/transaction.ts';
import { newId } from '../../ids.ts';
import type { Logger } from '../../telemetry/log.ts';
import { disabledMessage } from '../endpoint-disabled.ts';
import { leaveMessages } from '../unsent.ts';
import { insertAttempts } from './attempt-store.ts';
import {
  type DeliveryKey,
  deliveryText,
  type EndpointDelivery,
  type Settlement,
  selectDeliveries,
  settleDeliveries,
} from './delivery-store.ts';
import { noteFailure, noteSuccess } from './endpoint-store.ts';
import { insertDeliveryJobs } from './publisher.ts';
import type { AttemptResult } from './send.ts';

/** The run of a job, as pg-boss handed it out. */
export interface DeliveryJob {
  readonly id: string;
  readonly retryCount: number;
}

/** What is to be written of one run of a job. */
export interface Tried {
  readonly job: DeliveryJob;
  readonly key: DeliveryKey;
  /** How its POST went; null if nothing was sent. */
  readonly outcome: AttemptResult | null;
  readonly settlement: Settlement;
}

export interface DeliveryBatchesOptions {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** An endpoint is disabled if all tries failed for this long; Svix waits as long. */
const DISABLE_AFTER_MS = 5 * 86_400_000;

/** Payloads are looked up with it, of up to 256 KiB each. */
const MAX_LOOKED_UP = 32;
const MAX_SETTLED = 128;
const UNBOUNDED = { items: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

/**
 * Deliveries that begin at the same time are looked up by one statement, and those that end at the same time are settled in one
 * transaction. Each by itself took eight round trips and a commit, which cost more than the request to the endpoint.
 */
export class DeliveryBatches {
  readonly #options: DeliveryBatchesOptions;
  readonly #lookUps: Batcher<DeliveryKey, EndpointDelivery | null>;
  readonly #settlements: Batcher<Tried, null>;

  constructor(options: DeliveryBatchesOptions) {
    this.#options = options;
    const { pool, clock } = options;
    // What waits is bounded by the jobs that are worked on.
    const maxWaiting = { total: UNBOUNDED, each: UNBOUNDED };
    this.#lookUps = new Batcher({
      maxBatch: { items: MAX_LOOKED_UP, bytes: Number.POSITIVE_INFINITY },
      maxWaiting,
      ownerOf: ({ merchantId }) => merchantId,
      flush: (keys) => selectDeliveries(autocommit(pool), keys, clock.now()),
    });
    this.#settlements = new Batcher({
      maxBatch: { items: MAX_SETTLED, bytes: Number.POSITIVE_INFINITY },
      maxWaiting,
      ownerOf: ({ key }) => key.merchantId,
      flush: (tried) => transaction(pool, (tx) => this.#settle(tx, tried)),
    });
  }

  /** What a try needs to know; null if there is no such delivery. */
  lookUp(key: DeliveryKey): Promise<EndpointDelivery | null> {
    return this.#lookUps.submit(key);
  }

  /**
   * Resolves once the try, the completion of its job and the job of the next try are durable.
   * @throws {ClaimLostError} if the job was given to another worker meanwhile
   */
  async settle(tried: Tried): Promise<void> {
    await this.#settlements.submit(tried);
  }

  async #settle(tx: Tx, tried: readonly Tried[]): Promise<null[]> {
    const { boss } = this.#options;
    await completeJobs(boss, tx, { name: 'deliver-webhook', jobs: tried.map(({ job }) => job) });
    for (const round of eachOnce(tried)) {
      const due = await settleDeliveries(
        tx,
        round.map(({ key, settlement }) => ({ ...key, settlement })),
      );
      await insertDeliveryJobs({ boss, tx }, due);
    }
    await this.#recordAttempts(tx, tried);
    return tried.map(() => null);
  }

  async #recordAttempts(tx: Tx, tried: readonly Tried[]): Promise<void> {
    const now = this.#options.clock.now();
    const sent = tried.flatMap(({ key, outcome, settlement }) =>
      outcome === null ? [] : [{ key, outcome, settlement }],
    );
    await insertAttempts(
      tx,
      sent.map(({ key, outcome: { statusCode, error, response, durationMs } }) => {
        return { ...key, attemptId: newId('attempt'), statusCode, error, response, durationMs, at: now };
      }),
    );
    const byEndpoint = Map.groupBy(sent, ({ key }) => `${key.merchantId} ${key.endpointId}`);
    // In one order, since transactions lock several endpoints.
    for (const [, own] of [...byEndpoint].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const answered = own.find(({ settlement }) => settlement.state === 'delivered');
      if (answered !== undefined) await noteSuccess(tx, answered.key);
      else for (const { key } of own.slice(0, 1)) await this.#noteFailure(tx, key, now);
    }
  }

  async #noteFailure(tx: Tx, key: DeliveryKey, now: Date): Promise<void> {
    const givenUp = await noteFailure(tx, key, { now, failingSinceBefore: new Date(now.getTime() - DISABLE_AFTER_MS) });
    if (givenUp === null) return;
    const { merchantId, endpointId } = key;
    this.#options.logger.warn({ merchantId, endpointId }, 'an endpoint that only failed was disabled');
    await leaveMessages(tx, [disabledMessage({ merchantId, endpointId, ...givenUp }, now)], now);
  }
}

/** In groups that each hold a delivery once: a second job of the same one is settled after the first. */
function eachOnce(tried: readonly Tried[]): readonly (readonly Tried[])[] {
  const rounds: Tried[][] = [];
  const seen = new Map<string, number>();
  for (const one of tried) {
    const text = deliveryText(one.key);
    const round = seen.get(text) ?? 0;
    seen.set(text, round + 1);
    rounds[round] = [...(rounds[round] ?? []), one];
  }
  return rounds;
}
