import type { PgBoss } from 'pg-boss';
import type { Clock } from '../../clock.ts';
import type { SecretBox } from '../../crypto/secret-box.ts';
import type { Pool } from '../../db/pool.ts';
import { ClaimLostError, completeJobs } from '../../db/queues.ts';
import { autocommit, type Tx, transaction } from '../../db/transaction.ts';
import { newId } from '../../ids.ts';
import type { Logger } from '../../telemetry/log.ts';
import { type Observe, UNOBSERVED } from '../../telemetry/observe.ts';
import type { Span, Tracing } from '../../telemetry/tracing.ts';
import { disabledMessage } from '../endpoint-disabled.ts';
import { openHeaders } from '../header-store.ts';
import { leaveMessages } from '../unsent.ts';
import { insertAttempt, isSuccess } from './attempt-store.ts';
import {
  type DeliveryKey,
  type EndpointDelivery,
  type Settlement,
  selectDelivery,
  settleDelivery,
} from './delivery-store.ts';
import { endpointPlace, noteFailure, noteSuccess } from './endpoint-store.ts';
import { insertDeliveryJobs } from './publisher.ts';
import { nextTryInSeconds } from './retry-schedule.ts';
import type { AttemptResult, DirectSender, SignedPost } from './send.ts';
import { type DeliverySlots, putOffSeconds } from './slots.ts';

export interface DeliverOptions {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly sender: Pick<DirectSender, 'post'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly box: SecretBox;
  /** Of the process. */
  readonly slots: DeliverySlots;
  readonly observe?: Observe;
}

/** An endpoint is disabled if all tries failed for this long; Svix waits as long. */
const DISABLE_AFTER_MS = 5 * 86_400_000;

/** The run of a job, as pg-boss handed it out. */
export interface DeliveryJob {
  readonly id: string;
  readonly retryCount: number;
}

/**
 * Tries one delivery once. The result, the job of the next try and the completion of this job are one commit. A receiver's
 * failure is therefore a result and no exception; after an exception, which is a failure of our own, pg-boss tries again.
 */
export async function deliverWebhook(options: DeliverOptions, job: DeliveryJob, key: DeliveryKey): Promise<void> {
  const { pool, observe: { tracing } = UNOBSERVED } = options;
  const delivery = await selectDelivery(autocommit(pool), key, options.clock.now());
  // Another try has delivered it or put it off, or its endpoint was deleted.
  if (delivery === null || delivery.state !== 'pending' || !delivery.isDue) return;
  const isProbe = !delivery.disabled && (delivery.isFailing || options.slots.isSlow(key));
  if (isProbe && !options.slots.enterProbe(key)) return putOff(options, job, { key, delivery });
  const span = startSpan(tracing, key, delivery);
  try {
    const result = await attempt(options, { job, key, delivery, span });
    span.end({ 'chokin.outcome': result }, result === 'delivered' ? undefined : result);
  } catch (error) {
    span.end({}, error);
    throw error;
  } finally {
    if (isProbe) options.slots.leaveProbe(key);
  }
}

/** Frees the slot at once for somebody else's delivery. It is no try: nothing was sent. */
async function putOff(
  { pool, boss }: DeliverOptions,
  job: DeliveryJob,
  { key, delivery: { attempts } }: Pick<Attempt, 'key' | 'delivery'>,
): Promise<void> {
  const nextInSeconds = putOffSeconds(Math.random());
  await transaction(pool, async (tx) => {
    await completeJobs(boss, tx, { name: 'deliver-webhook', jobs: [job] });
    const dueAt = await settleDelivery(tx, key, { state: 'pending', attempts, nextInSeconds });
    if (dueAt !== null) await insertDeliveryJobs({ boss, tx }, [key], dueAt);
  });
}

function startSpan(
  tracing: Tracing,
  { messageId }: DeliveryKey,
  { attempts, eventType, traceParent }: EndpointDelivery,
): Span {
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

interface Attempt {
  readonly job: DeliveryJob;
  readonly key: DeliveryKey;
  readonly delivery: EndpointDelivery;
  readonly span: Span;
}

async function attempt(
  options: DeliverOptions,
  { job, key, delivery, span }: Attempt,
): Promise<'delivered' | 'retried' | 'failed' | 'late'> {
  const { pool, boss, sender, logger, observe: { metrics } = UNOBSERVED } = options;
  const outcome = delivery.disabled ? null : await sender.post(toPost(options, key, delivery));
  if (outcome !== null) options.slots.noteAnswer(key, outcome.timedOut);
  if (outcome?.statusCode != null) span.note({ 'http.response.status_code': outcome.statusCode });
  try {
    const state = await transaction(pool, async (tx) => {
      await completeJobs(boss, tx, { name: 'deliver-webhook', jobs: [job] });
      if (outcome !== null) return record(tx, options, { key, delivery, outcome });
      await settleDelivery(tx, key, { ...delivery, state: 'failed', nextInSeconds: null });
      return 'failed';
    });
    const result = state === 'pending' ? 'retried' : state;
    metrics.countAttempt(result);
    return result;
  } catch (error) {
    if (!(error instanceof ClaimLostError)) throw error;
    logger.warn({ messageId: key.messageId, endpointId: key.endpointId }, 'a delivery outlived its job');
    return 'late';
  }
}

function toPost({ box }: DeliverOptions, key: DeliveryKey, delivery: EndpointDelivery): SignedPost {
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
  tx: Tx,
  { boss, clock, logger }: DeliverOptions,
  { key, delivery, outcome }: Pick<Attempt, 'key' | 'delivery'> & { readonly outcome: AttemptResult },
): Promise<Settlement['state']> {
  const now = clock.now();
  const settlement = afterAttempt(delivery, outcome, Math.random());
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
  if (dueAt !== null) await insertDeliveryJobs({ boss, tx }, [key], dueAt);
  if (settlement.state === 'delivered') await noteSuccess(tx, key);
  else {
    const givenUp = await noteFailure(tx, key, { now, failingSinceBefore: new Date(now.getTime() - DISABLE_AFTER_MS) });
    if (givenUp !== null) {
      const { merchantId, endpointId } = key;
      logger.warn({ merchantId, endpointId }, 'an endpoint that only failed was disabled');
      await leaveMessages(tx, [disabledMessage({ merchantId, endpointId, ...givenUp }, now)], now);
    }
  }
  return settlement.state;
}

/** What follows from a try. Pure. */
export function afterAttempt(
  { attempts: before }: Pick<EndpointDelivery, 'attempts'>,
  { statusCode, timedOut, retryAfterSeconds }: Pick<AttemptResult, 'statusCode' | 'timedOut' | 'retryAfterSeconds'>,
  random: number,
): Settlement {
  const attempts = before + 1;
  if (isSuccess(statusCode)) return { state: 'delivered', attempts, nextInSeconds: null };
  const overloaded = timedOut || statusCode === 429;
  const nextInSeconds = nextTryInSeconds({ attempts, overloaded, retryAfterSeconds }, random);
  return { state: nextInSeconds === null ? 'failed' : 'pending', attempts, nextInSeconds };
}
