import type { SecretBox } from '../../crypto/secret-box.ts';
import { isUnavailable } from '../../db/sqlstate.ts';
import type { Logger } from '../../telemetry/log.ts';
import { type Observe, UNOBSERVED } from '../../telemetry/observe.ts';
import type { Span, Tracing } from '../../telemetry/tracing.ts';
import { openHeaders } from '../header-store.ts';
import { isSuccess } from './attempt-store.ts';
import type { ClaimedDelivery, Settlement } from './claimed-deliveries.ts';
import { endpointPlace } from './endpoint-store.ts';
import { nextTryInSeconds } from './retry-schedule.ts';
import type { AttemptResult, DirectSender, SignedPost } from './send.ts';
import type { Settlements } from './settlements.ts';
import { type DeliverySlots, putOffSeconds } from './slots.ts';

export interface DeliverOptions {
  /** Of the process, too. */
  readonly settlements: Pick<Settlements, 'settle'>;
  readonly sender: Pick<DirectSender, 'post'>;
  readonly logger: Logger;
  readonly box: SecretBox;
  /** Of the process. */
  readonly slots: DeliverySlots;
  readonly observe?: Observe;
}

/** After a failure of our own. If it is one of this delivery, such as a secret that does not open, trying more often helps nobody. */
const BROKEN_SECONDS = 300;

/**
 * Tries one delivery once. What came of it is one commit, which is shared with other tries that end at the same time. A receiver's
 * failure is a result; a failure of our own puts the delivery off without counting as a try. Never throws.
 */
export async function deliver(options: DeliverOptions, delivery: ClaimedDelivery): Promise<void> {
  const { observe: { tracing } = UNOBSERVED, slots } = options;
  const isProbe = !delivery.disabled && (delivery.isFailing || slots.isSlow(delivery));
  if (isProbe && !slots.enterProbe(delivery)) return putOff(options, delivery, putOffSeconds(Math.random()));
  const span = startSpan(tracing, delivery);
  try {
    const result = await attempt(options, delivery, span);
    span.end({ 'chokin.outcome': result }, result === 'delivered' ? undefined : result);
  } catch (error) {
    span.end({}, error);
    await setAside(options, delivery, error);
  } finally {
    if (isProbe) slots.leaveProbe(delivery);
  }
}

/** Frees the slot at once for somebody else's delivery. It is no try: nothing was sent. If it cannot be written, its lease ends by itself. */
async function putOff(
  { settlements, logger }: DeliverOptions,
  delivery: ClaimedDelivery,
  nextInSeconds: number,
): Promise<void> {
  const settlement: Settlement = { state: 'pending', isTry: false, nextInSeconds };
  await settlements.settle({ delivery, outcome: null, settlement }).catch((error: unknown) => {
    logger.debug({ err: error }, 'a delivery was not put off; it is tried again when its lease ends');
  });
}

async function setAside(options: DeliverOptions, delivery: ClaimedDelivery, error: unknown): Promise<void> {
  const { logger, observe: { metrics } = UNOBSERVED } = options;
  const { merchantId, messageId, endpointId } = delivery;
  metrics.countAttempt('broken');
  const fields = { err: error, merchantId, messageId, endpointId };
  // The lease ends by itself, and by then the database may be back.
  if (isUnavailable(error)) return logger.warn(fields, 'what came of a delivery was not written down');
  logger.error(fields, 'a delivery failed by an error of our own');
  await putOff(options, delivery, BROKEN_SECONDS * (1 + Math.random()));
}

function startSpan(tracing: Tracing, { attempts, eventType, messageId, traceParent }: ClaimedDelivery): Span {
  return tracing.start('deliver webhook', {
    kind: 'client',
    parent: traceParent,
    attributes: {
      'chokin.event.type': eventType,
      'chokin.message.id': messageId,
      'chokin.attempt': attempts + 1,
    },
  });
}

async function attempt(
  options: DeliverOptions,
  delivery: ClaimedDelivery,
  span: Span,
): Promise<'delivered' | 'retried' | 'failed' | 'late'> {
  const { settlements, sender, logger, slots, observe: { metrics } = UNOBSERVED } = options;
  const outcome = delivery.disabled ? null : await sender.post(toPost(options, delivery));
  if (outcome !== null) slots.noteAnswer(delivery, outcome.timedOut);
  if (outcome?.statusCode != null) span.note({ 'http.response.status_code': outcome.statusCode });
  const settlement: Settlement =
    outcome === null
      ? { state: 'failed', isTry: false, nextInSeconds: null }
      : afterAttempt(delivery, outcome, Math.random());
  const result = settlement.state === 'pending' ? 'retried' : settlement.state;
  if (await settlements.settle({ delivery, outcome, settlement })) {
    metrics.countAttempt(result);
    return result;
  }
  const { messageId, endpointId } = delivery;
  logger.warn({ messageId, endpointId }, 'a delivery outlived its lease, or its endpoint was deleted');
  return 'late';
}

function toPost({ box }: DeliverOptions, delivery: ClaimedDelivery): SignedPost {
  const { url, messageId, payload, secret, oldSecrets, headers } = delivery;
  const place = endpointPlace(delivery.merchantId, delivery.endpointId);
  return {
    url,
    messageId,
    payload,
    secrets: [secret, ...oldSecrets].map((one) => box.open(one, place)),
    headers: headers === null ? {} : openHeaders(box, delivery, headers),
  };
}

/** What follows from a try. Pure. */
export function afterAttempt(
  { attempts: before }: Pick<ClaimedDelivery, 'attempts'>,
  { statusCode, timedOut, retryAfterSeconds }: Pick<AttemptResult, 'statusCode' | 'timedOut' | 'retryAfterSeconds'>,
  random: number,
): Settlement {
  if (isSuccess(statusCode)) return { state: 'delivered', isTry: true, nextInSeconds: null };
  const overloaded = timedOut || statusCode === 429;
  const nextInSeconds = nextTryInSeconds({ attempts: before + 1, overloaded, retryAfterSeconds }, random);
  return { state: nextInSeconds === null ? 'failed' : 'pending', isTry: true, nextInSeconds };
}
