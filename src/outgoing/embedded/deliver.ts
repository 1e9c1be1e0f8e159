import type { SecretBox } from '../../crypto/secret-box.ts';
import { ClaimLostError } from '../../db/queues.ts';
import type { Logger } from '../../telemetry/log.ts';
import { type Observe, UNOBSERVED } from '../../telemetry/observe.ts';
import type { Span, Tracing } from '../../telemetry/tracing.ts';
import { openHeaders } from '../header-store.ts';
import { isSuccess } from './attempt-store.ts';
import type { DeliveryBatches, DeliveryJob } from './delivery-batches.ts';
import type { DeliveryKey, EndpointDelivery, Settlement } from './delivery-store.ts';
import { endpointPlace } from './endpoint-store.ts';
import { nextTryInSeconds } from './retry-schedule.ts';
import type { AttemptResult, DirectSender, SignedPost } from './send.ts';
import { type DeliverySlots, putOffSeconds } from './slots.ts';

export interface DeliverOptions {
  /** Of the process, too. */
  readonly batches: DeliveryBatches;
  readonly sender: Pick<DirectSender, 'post'>;
  readonly logger: Logger;
  readonly box: SecretBox;
  /** Of the process. */
  readonly slots: DeliverySlots;
  readonly observe?: Observe;
}

/**
 * Tries one delivery once. The result, the job of the next try and the completion of this job are one commit, which is shared with other
 * tries that end at the same time. A receiver's
 * failure is therefore a result and no exception; after an exception, which is a failure of our own, pg-boss tries again.
 */
export async function deliverWebhook(options: DeliverOptions, job: DeliveryJob, key: DeliveryKey): Promise<void> {
  const { observe: { tracing } = UNOBSERVED } = options;
  const delivery = await options.batches.lookUp(key);
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
  { batches }: DeliverOptions,
  job: DeliveryJob,
  { key, delivery: { attempts } }: Pick<Attempt, 'key' | 'delivery'>,
): Promise<void> {
  const nextInSeconds = putOffSeconds(Math.random());
  await batches.settle({ job, key, outcome: null, settlement: { state: 'pending', attempts, nextInSeconds } });
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
  const { batches, sender, logger, observe: { metrics } = UNOBSERVED } = options;
  const outcome = delivery.disabled ? null : await sender.post(toPost(options, key, delivery));
  if (outcome !== null) options.slots.noteAnswer(key, outcome.timedOut);
  if (outcome?.statusCode != null) span.note({ 'http.response.status_code': outcome.statusCode });
  const settlement: Settlement =
    outcome === null
      ? { state: 'failed', attempts: delivery.attempts, nextInSeconds: null }
      : afterAttempt(delivery, outcome, Math.random());
  try {
    await batches.settle({ job, key, outcome, settlement });
    const result = settlement.state === 'pending' ? 'retried' : settlement.state;
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
