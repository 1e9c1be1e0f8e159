import { setTimeout as delay } from 'node:timers/promises';
import { Lane } from '../db/lane.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, transaction } from '../db/transaction.ts';
import {
  leaseLapsesInSeconds,
  markAnnounced,
  type Postponement,
  postponeUnannounced,
  releaseUnannounced,
  renewUnannounced,
} from '../ledger/unannounced.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Span, Tracing } from '../tracing.ts';
import { claimAnnouncements, LEASE_SECONDS } from './claim.ts';
import { type Announcement, buildMessages } from './messages.ts';
import type { OutgoingMessage } from './outgoing.ts';
import { failedUnexpectedly, type Publisher, type SendResult, secondsUntilRetry } from './publisher.ts';
import { sendUnsent, type UnsentResult } from './unsent.ts';

export interface AnnounceOptions {
  readonly pool: Pool;
  readonly publisher: Publisher;
  readonly logger: Logger;
  /** Ends the work early, after the wallets under way. */
  readonly signal?: AbortSignal;
  /** No new wallet is begun after this long. */
  readonly maxSeconds: number;
  readonly metrics?: Metrics;
  readonly tracing?: Tracing | null;
}

export interface AnnounceResult {
  /** Wallets of which everything claimed was said. A wallet with a long backlog counts once a claim. */
  wallets: number;
  messages: number;
  deferred: number;
  failed: number;
  /** True if the time was up, or the work was ended early, before the list was. */
  unfinished: boolean;
  /** When the soonest of what was postponed is due again; null if nothing was. */
  retryAfterSeconds: number | null;
}

/** Wallets claimed at a time, unless the publisher takes more at once: few enough to be tried within their lease. */
const MIN_PAGE_SIZE = 100;
/** While wallets are under way, the list is looked at again this often: one that hangs must not hold up new ones. */
const IDLE_MS = 250;
const RENEW_MS = (LEASE_SECONDS * 1000) / 3;
/**
 * After a claim that found few, the next waits this long: a busy ledger is then told of in some batches a second, instead
 * of in hundreds of tiny ones that compete with the postings for the disk.
 */
const GATHER_MS = 150;

/**
 * Says everything there is to say: claims due wallets and publishes the messages of each in order, several wallets at a
 * time, until none is due, the time is up or the sender is paused. A wallet that fails is tried again later with
 * back-off and holds up no other.
 * @throws if the database cannot be reached
 */
export async function announce(options: AnnounceOptions): Promise<AnnounceResult> {
  const { pool, publisher, signal, maxSeconds } = options;
  const deadline = performance.now() + maxSeconds * 1000;
  const result: AnnounceResult = {
    wallets: 0,
    messages: 0,
    deferred: 0,
    failed: 0,
    unfinished: false,
    retryAfterSeconds: null,
  };
  const marks = createMarks(options);
  const pageSize = Math.max(MIN_PAGE_SIZE, publisher.concurrency);
  let gathers = false;
  const ready: Announcement[] = [];
  const underWay = new Set<Promise<void>>();
  const held = new Set<Announcement>();
  const errors: unknown[] = [];
  if (publisher.pausedForSeconds() === 0) addUnsent(result, await sendUnsent(pool, publisher));
  const renewal = setInterval(() => {
    // One that fails costs nothing: a wallet that another claims as well is told of under the same ids.
    renewUnannounced(autocommit(pool), [...held], LEASE_SECONDS).catch(() => {});
  }, RENEW_MS);
  try {
    while (errors.length === 0 && publisher.pausedForSeconds() === 0) {
      if (signal?.aborted || performance.now() > deadline) {
        result.unfinished = true;
        break;
      }
      if (ready.length === 0) {
        if (gathers) await delay(GATHER_MS);
        ready.push(...(await claimAnnouncements(pool, pageSize)));
        for (const claimed of ready) held.add(claimed);
        gathers = ready.length < pageSize / 2;
      }
      const next = ready.shift();
      if (next === undefined && underWay.size === 0) break;
      if (next === undefined) await Promise.race([...underWay, delay(IDLE_MS)]);
      else {
        const one: Promise<void> = announceOne(options, marks, next, result)
          .catch((error: unknown) => void errors.push(error))
          .finally(() => {
            underWay.delete(one);
            held.delete(next);
          });
        underWay.add(one);
        if (underWay.size >= publisher.concurrency) await Promise.race(underWay);
      }
    }
  } finally {
    await Promise.all(underWay);
    clearInterval(renewal);
    await releaseUnannounced(autocommit(pool), ready);
  }
  if (errors.length > 0) throw errors[0];
  // Whoever leased the rest may be dead.
  const lapsesInSeconds = await leaseLapsesInSeconds(autocommit(pool));
  if (lapsesInSeconds !== null) noteRetry(result, lapsesInSeconds);
  const pausedSeconds = publisher.pausedForSeconds();
  if (pausedSeconds > 0) noteRetry(result, pausedSeconds);
  return result;
}

function addUnsent(result: AnnounceResult, unsent: UnsentResult): void {
  result.messages += unsent.messages;
  result.deferred += unsent.deferred;
  result.failed += unsent.failed;
  result.unfinished ||= unsent.unfinished;
  if (unsent.retryAfterSeconds !== null) noteRetry(result, unsent.retryAfterSeconds);
}

async function announceOne(
  options: AnnounceOptions,
  marks: Lane<Said, undefined>,
  announcement: Announcement,
  result: AnnounceResult,
): Promise<void> {
  const span = startSpan(options.tracing ?? null, announcement);
  const sent = await publish(options, marks, announcement, span);
  endSpan(span, announcement, sent);
  options.metrics?.countAnnouncement(sent.kind);
  if (sent.kind === 'sent') {
    result.wallets += 1;
    result.messages += sent.messages;
    return;
  }
  const postponement = toPostponement(sent, announcement.attempts);
  if (sent.kind === 'failed') {
    result.failed += 1;
    logFailure(options.logger, announcement, sent);
  } else result.deferred += 1;
  noteRetry(result, postponement.afterSeconds);
  await postponeUnannounced(autocommit(options.pool), announcement, postponement);
}

type Published = { readonly kind: 'sent'; readonly messages: number } | Exclude<SendResult, { kind: 'sent' }>;

async function publish(
  { publisher, logger }: AnnounceOptions,
  marks: Lane<Said, undefined>,
  announcement: Announcement,
  span: Span | null,
): Promise<Published> {
  try {
    const built = buildMessages(announcement);
    const messages = span === null ? built : built.map((one) => ({ ...one, traceParent: span.traceParent }));
    // A row may stand on the list with nothing left to say; it is only taken off.
    if (messages.length > 0) {
      const sent = await publisher.send(messages);
      if (sent.kind !== 'sent') return sent;
    }
    await marks.submit({ announcement, messages });
    return { kind: 'sent', messages: messages.length };
  } catch (error) {
    logger.error({ err: error }, 'announcing a wallet went wrong');
    return failedUnexpectedly(announcement.attempts);
  }
}

function startSpan(tracing: Tracing | null, { traceParent, attempts }: Announcement): Span | null {
  if (tracing === null) return null;
  const attributes = { 'chokin.attempt': attempts + 1 };
  return tracing.start('announce wallet', { kind: 'producer', parent: traceParent, attributes });
}

function endSpan(span: Span | null, { entries, alerts }: Announcement, sent: Published): void {
  if (span === null) return;
  const messages = sent.kind === 'sent' ? { 'messaging.batch.message_count': sent.messages } : {};
  const counts = { 'chokin.entries': entries.length, 'chokin.alerts': alerts.length, ...messages };
  span.end({ 'chokin.outcome': sent.kind, ...counts }, sent.kind === 'failed' ? 'failed' : undefined);
}

interface Said {
  readonly announcement: Announcement;
  readonly messages: readonly OutgoingMessage[];
}

/** Wallets that were told of at the same time are marked in one transaction. Whoever finds a range said records nothing. */
function createMarks({ pool, publisher }: AnnounceOptions): Lane<Said, undefined> {
  return new Lane({
    maxBatch: Math.max(MIN_PAGE_SIZE, publisher.concurrency),
    maxWaiting: Number.POSITIVE_INFINITY,
    flush: (said) =>
      transaction(pool, async (tx) => {
        const marked = await markAnnounced(
          tx,
          said.map(({ announcement }) => announcement),
        );
        const messages = said.flatMap((one, index) => (marked[index] ? one.messages : []));
        if (messages.length > 0) await publisher.record(tx, messages);
        return said.map(() => undefined);
      }),
  });
}

function toPostponement(sent: Exclude<SendResult, { kind: 'sent' }>, attempts: number): Postponement {
  return { afterSeconds: secondsUntilRetry(sent, attempts), failed: sent.kind === 'failed', reason: sent.reason };
}

function logFailure(
  logger: Logger,
  { merchantId, customerId, currency, toVersion, attempts }: Announcement,
  { permanent, reason }: Extract<SendResult, { kind: 'failed' }>,
): void {
  const fields = { merchantId, customerId, currency, toVersion, attempts: attempts + 1, reason };
  if (permanent) logger.error(fields, 'a wallet cannot be announced: somebody must look');
  else logger.warn(fields, 'a wallet was not announced; it will be tried again');
}

function noteRetry(result: AnnounceResult, afterSeconds: number): void {
  result.retryAfterSeconds = Math.min(result.retryAfterSeconds ?? afterSeconds, afterSeconds);
}
