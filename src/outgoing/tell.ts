import { Lane } from '../db/batcher.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, transaction } from '../db/transaction.ts';
import { type ClaimedWallet, markAnnounced, type Postponement, postponeUnannounced } from '../ledger/outbox.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Span, Tracing } from '../telemetry/tracing.ts';
import { type Announcement, buildMessages } from './messages.ts';
import type { OutgoingMessage } from './outgoing.ts';
import { inGroups } from './parts.ts';
import { failedUnexpectedly, type Publisher, type SendResult, secondsUntilRetry } from './publisher.ts';

export interface TellOptions {
  readonly pool: Pool;
  readonly publisher: Publisher;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  readonly tracing?: Tracing | null;
}

/** Messages of one statement: their texts are copied twice on the way to the database, and each may go to fifty endpoints. */
const MAX_RECORDED = { bytes: 2 * 1024 * 1024, count: 500 };

/** What became of one wallet's news. */
export type Told = { readonly kind: 'sent'; readonly messages: number } | Exclude<SendResult, { kind: 'sent' }>;

interface Said {
  readonly announcement: Announcement;
  readonly messages: readonly OutgoingMessage[];
}

/**
 * A transaction takes some statements and a write to the disk, and costs the same for many wallets as for one; without waiting, a
 * few wallets went into each, and Svix was sent to at two thirds of the rate it takes (`test/bench/README.md`).
 */
const GATHER_MS = 100;

/**
 * Marks wallets as told of, those of the same tenth of a second in one transaction. Whoever finds a range said records nothing.
 */
export class Marks {
  readonly #lane: Lane<Said, undefined>;
  #gathering: PromiseWithResolvers<void> | null = null;

  constructor({ pool, publisher }: TellOptions, maxBatch: number) {
    this.#lane = new Lane({
      maxBatch,
      maxWaiting: Number.POSITIVE_INFINITY,
      flush: (said) =>
        transaction(pool, async (tx) => {
          const marked = await markAnnounced(
            tx,
            said.map(({ announcement }) => announcement),
          );
          const messages = said.flatMap((one, index) => (marked[index] ? one.messages : []));
          for (const group of inGroups(messages, ({ payload }) => payload.length, MAX_RECORDED)) {
            await publisher.record(tx, group);
          }
          return said.map(() => undefined);
        }),
    });
  }

  /** Resolves once the wallet is marked. */
  async submit(said: Said): Promise<void> {
    this.#gathering ??= this.#gather();
    await this.#gathering.promise;
    await this.#lane.submit(said);
  }

  /** No other wallet is being handed over: those that wait need not wait for more. */
  hurry(): void {
    this.#gathering?.resolve();
    this.#gathering = null;
  }

  #gather(): PromiseWithResolvers<void> {
    const gathering = Promise.withResolvers<void>();
    const timer = setTimeout(() => this.hurry(), GATHER_MS);
    gathering.promise.then(() => clearTimeout(timer));
    return gathering;
  }
}

export interface Telling {
  readonly announcement: Announcement;
  /** What is leased: the announcement's claim, of which it may be a part. */
  readonly claim: ClaimedWallet;
  /** Called once the messages are handed over, or could not be: the next wallet's may go, while this one is marked. */
  readonly onHandedOver: () => void;
}

/**
 * Hands one wallet's messages over and marks it as told of; else it is tried again later.
 * @throws if the database cannot be reached
 */
export async function tellWallet(options: TellOptions, marks: Marks, telling: Telling): Promise<Told> {
  const { pool, logger, metrics, tracing = null } = options;
  const { announcement, claim } = telling;
  const span = startSpan(tracing, announcement);
  const told = await handOver(options, marks, telling, span);
  endSpan(span, announcement, told);
  metrics?.countAnnouncement(told.kind);
  if (told.kind === 'sent') return told;
  if (told.kind === 'failed') logFailure(logger, announcement, told);
  await postponeUnannounced(autocommit(pool), claim, toPostponement(told, announcement.attempts));
  return told;
}

async function handOver(
  { publisher, logger }: TellOptions,
  marks: Marks,
  { announcement, onHandedOver }: Telling,
  span: Span | null,
): Promise<Told> {
  try {
    const built = buildMessages(announcement);
    const messages = span === null ? built : built.map((one) => ({ ...one, traceParent: span.traceParent }));
    // A row may stand on the list with nothing left to say; it is only taken off.
    if (messages.length > 0) {
      const sent = await publisher.send(messages);
      if (sent.kind !== 'sent') return sent;
    }
    onHandedOver();
    await marks.submit({ announcement, messages });
    return { kind: 'sent', messages: messages.length };
  } catch (error) {
    logger.error({ err: error }, 'announcing a wallet went wrong');
    return failedUnexpectedly(announcement.attempts);
  } finally {
    onHandedOver();
  }
}

function startSpan(tracing: Tracing | null, { traceParent, attempts }: Announcement): Span | null {
  if (tracing === null) return null;
  const attributes = { 'chokin.attempt': attempts + 1 };
  return tracing.start('announce wallet', { kind: 'producer', parent: traceParent, attributes });
}

function endSpan(span: Span | null, { entries, alerts }: Announcement, told: Told): void {
  if (span === null) return;
  const messages = told.kind === 'sent' ? { 'messaging.batch.message_count': told.messages } : {};
  const counts = { 'chokin.entries': entries.length, 'chokin.alerts': alerts.length, ...messages };
  span.end({ 'chokin.outcome': told.kind, ...counts }, told.kind === 'failed' ? 'failed' : undefined);
}

function toPostponement(told: Exclude<SendResult, { kind: 'sent' }>, attempts: number): Postponement {
  return { afterSeconds: secondsUntilRetry(told, attempts), failed: told.kind === 'failed', reason: told.reason };
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
