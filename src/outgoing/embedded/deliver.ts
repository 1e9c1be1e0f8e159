import type { PgBoss } from 'pg-boss';
import type { Clock } from '../../clock.ts';
import type { SecretBox } from '../../crypto/secret-box.ts';
import type { Pool } from '../../db/pool.ts';
import { ClaimLostError, completeJobs } from '../../db/queues.ts';
import { autocommit, type Tx, transaction } from '../../db/transaction.ts';
import { newId } from '../../ids.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { Span, Tracing } from '../../telemetry/tracing.ts';
import { disabledMessage } from '../endpoint-disabled.ts';
import { openHeaders } from '../header-store.ts';
import { leaveMessages } from '../unsent.ts';
import { insertAttempt, isSuccess } from './attempt-store.ts';
import { type Delivery, type DeliveryKey, type Settlement, selectDelivery, settleDelivery } from './delivery-store.ts';
import { endpointPlace, noteFailure, noteSuccess } from './endpoint-store.ts';
import { insertDeliveryJobs } from './publisher.ts';
import { nextTryInSeconds } from './retry-schedule.ts';
import type { DirectSender, PostOutcome, SignedPost } from './send.ts';

export interface DeliverOptions {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly sender: Pick<DirectSender, 'post'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly box: SecretBox;
  readonly metrics?: Metrics | undefined;
  readonly tracing?: Tracing | null | undefined;
}

/** An endpoint that has done nothing but fail for this long is disabled; as long as Svix waits. */
const DISABLE_AFTER_MS = 5 * 86_400_000;

/** The run of a job, as pg-boss handed it out. */
export interface DeliveryJob {
  readonly id: string;
  readonly retryCount: number;
}

/**
 * Tries one delivery once. How it went, the job of the next try and this job's completion are one commit, so a receiver's
 * failure is never an exception: throwing is for failures of our own, after which pg-boss tries again.
 */
export async function deliverWebhook(options: DeliverOptions, job: DeliveryJob, key: DeliveryKey): Promise<void> {
  const { pool, tracing } = options;
  const delivery = await selectDelivery(autocommit(pool), key, options.clock.now());
  // Delivered by another try, put off by a later one, or its endpoint was deleted.
  if (delivery === null || delivery.state !== 'pending' || !delivery.isDue) return;
  const span = tracing ? startSpan(tracing, key, delivery) : null;
  try {
    const result = await attempt(options, job, key, delivery, span);
    span?.end({ 'chokin.outcome': result }, result === 'delivered' ? undefined : result);
  } catch (error) {
    span?.end({}, error);
    throw error;
  }
}

function startSpan(tracing: Tracing, { messageId }: DeliveryKey, { attempts, eventType, traceParent }: Delivery): Span {
  return tracing.start('deliver webhook', {
    kind: 'client',
    parent: traceParent,
    attributes: {
      'messaging.system': 'pg-boss',
      'messaging.destination.name': 'deliver-webhook',
      'chokin.event.type': eventType,
      'chokin.message.id': messageId,
      'chokin.attempt': attempts + 1,
    },
  });
}

async function attempt(
  options: DeliverOptions,
  job: DeliveryJob,
  key: DeliveryKey,
  delivery: Delivery,
  span: Span | null,
): Promise<'delivered' | 'retried' | 'failed' | 'late'> {
  const { pool, boss, sender, logger, metrics } = options;
  const outcome = delivery.disabled ? null : await sender.post(toPost(options, key, delivery));
  if (outcome?.statusCode != null) span?.note({ 'http.response.status_code': outcome.statusCode });
  try {
    const state = await transaction(pool, async (tx) => {
      await completeJobs(boss, tx, 'deliver-webhook', [job]);
      if (outcome !== null) return record(options, tx, key, delivery, outcome);
      await settleDelivery(tx, key, { ...delivery, state: 'failed', nextInSeconds: null });
      return 'failed';
    });
    const result = state === 'pending' ? 'retried' : state;
    metrics?.countAttempt(result);
    return result;
  } catch (error) {
    if (!(error instanceof ClaimLostError)) throw error;
    logger.warn({ messageId: key.messageId, endpointId: key.endpointId }, 'a delivery outlived its job');
    return 'late';
  }
}

function toPost({ box }: DeliverOptions, key: DeliveryKey, delivery: Delivery): SignedPost {
  const { url, payload, secret, oldSecrets, headers } = delivery;
  const place = endpointPlace(key.merchantId, key.endpointId);
  return {
    url,
    messageId: key.messageId,
    payload,
    secrets: [secret, ...oldSecrets].map((one) => box.open(one, place)),
    headers: headers === null ? {} : openHeaders(box, key, headers),
  };
}

async function record(
  { boss, clock, logger }: DeliverOptions,
  tx: Tx,
  key: DeliveryKey,
  delivery: Delivery,
  outcome: PostOutcome,
): Promise<Settlement['state']> {
  const now = clock.now();
  const settlement = settle(delivery, outcome, Math.random());
  const { statusCode, error, response, durationMs } = outcome;
  const dueAt = await settleDelivery(tx, key, settlement);
  await insertAttempt(tx, key, {
    attemptId: newId('attempt'),
    statusCode,
    error,
    response,
    durationMs,
    at: now,
  });
  if (dueAt !== null) await insertDeliveryJobs(boss, tx, [key], dueAt);
  if (settlement.state === 'delivered') await noteSuccess(tx, key);
  else {
    const givenUp = await noteFailure(tx, key, now, new Date(now.getTime() - DISABLE_AFTER_MS));
    if (givenUp !== null) {
      const { merchantId, endpointId } = key;
      logger.warn({ merchantId, endpointId }, 'an endpoint that only failed was disabled');
      await leaveMessages(tx, [disabledMessage({ merchantId, endpointId, ...givenUp }, now)], now);
    }
  }
  return settlement.state;
}

/** What follows from a try. Pure. */
export function settle(
  { attempts: before }: Pick<Delivery, 'attempts'>,
  { statusCode, timedOut, retryAfterSeconds }: Pick<PostOutcome, 'statusCode' | 'timedOut' | 'retryAfterSeconds'>,
  random: number,
): Settlement {
  const attempts = before + 1;
  if (isSuccess(statusCode)) return { state: 'delivered', attempts, nextInSeconds: null };
  const overloaded = timedOut || statusCode === 429;
  const nextInSeconds = nextTryInSeconds({ attempts, overloaded, retryAfterSeconds }, random);
  return { state: nextInSeconds === null ? 'failed' : 'pending', attempts, nextInSeconds };
}
