import type { Clock } from '../../clock.ts';
import { transactionsAtOnce } from '../../db/apart.ts';
import { Batcher } from '../../db/batcher.ts';
import { BOUNDED_ELSEWHERE } from '../../db/fair-queue.ts';
import type { Pool } from '../../db/pool.ts';
import { type Tx, transaction } from '../../db/transaction.ts';
import { newId } from '../../ids.ts';
import type { Logger } from '../../telemetry/log.ts';
import { disabledMessage } from '../endpoint-disabled.ts';
import { leaveMessages } from '../unsent.ts';
import { insertAttempts } from './attempt-store.ts';
import { type SettledDelivery, type Settlement, settleDeliveries } from './claimed-deliveries.ts';
import { type DeliveryKey, deliveryText } from './delivery-store.ts';
import { noteFailure, noteSuccess } from './endpoint-store.ts';
import type { AttemptResult } from './send.ts';

/** What is to be written of one lease. */
export interface Tried {
  readonly delivery: Pick<SettledDelivery, 'merchantId' | 'messageId' | 'endpointId' | 'leasedUntil'>;
  /** How its POST went; null if nothing was sent. */
  readonly outcome: AttemptResult | null;
  readonly settlement: Settlement;
}

export interface SettlementsOptions {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** An endpoint is disabled if all tries failed for this long; Svix waits as long. */
const DISABLE_AFTER_MS = 5 * 86_400_000;

const MAX_BATCH = { items: 256, bytes: Number.POSITIVE_INFINITY };
/** Deliveries that end at the same time are settled in one transaction, which costs about the same for many as for one. */
export class Settlements {
  readonly #options: SettlementsOptions;
  readonly #batcher: Batcher<Tried, boolean>;

  constructor(options: SettlementsOptions) {
    this.#options = options;
    this.#batcher = new Batcher({
      maxBatch: MAX_BATCH,
      // By the deliveries that are under way.
      maxWaiting: BOUNDED_ELSEWHERE,
      ownerOf: ({ delivery }) => delivery.merchantId,
      apart: transactionsAtOnce(options.pool, 'worker'),
      flush: (tried) => transaction(options.pool, (tx) => this.#settle(tx, tried)),
    });
  }

  /** Resolves once the try is durable: true if the delivery is as it says, false if another try has overtaken it. */
  settle(tried: Tried): Promise<boolean> {
    return this.#batcher.submit(tried);
  }

  async #settle(tx: Tx, tried: readonly Tried[]): Promise<readonly boolean[]> {
    const settled = new Set<string>();
    for (const round of eachOnce(tried)) {
      const changed = await settleDeliveries(
        tx,
        round.map(({ delivery, settlement }) => ({
          ...keyOf(delivery),
          leasedUntil: delivery.leasedUntil,
          settlement,
        })),
      );
      for (const key of changed) settled.add(deliveryText(key));
    }
    await this.#recordAttempts(tx, tried);
    return tried.map(({ delivery }) => settled.has(deliveryText(delivery)));
  }

  async #recordAttempts(tx: Tx, tried: readonly Tried[]): Promise<void> {
    const now = this.#options.clock.now();
    const sent = tried.flatMap(({ delivery, outcome, settlement }) =>
      outcome === null ? [] : [{ key: keyOf(delivery), outcome, settlement }],
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

function keyOf({ merchantId, messageId, endpointId }: DeliveryKey): DeliveryKey {
  return { merchantId, messageId, endpointId };
}

/** In groups that each hold a delivery once, though two tries of it may end together: the second is settled after the first. */
function eachOnce(tried: readonly Tried[]): readonly (readonly Tried[])[] {
  const rounds: Tried[][] = [];
  const seen = new Map<string, number>();
  for (const one of tried) {
    const text = deliveryText(one.delivery);
    const round = seen.get(text) ?? 0;
    seen.set(text, round + 1);
    const others = rounds[round];
    if (others === undefined) rounds[round] = [one];
    else others.push(one);
  }
  return rounds;
}
