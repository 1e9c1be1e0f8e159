import { mayBeOfOneMerchant, transactionsAtOnce } from '../db/apart.ts';
import { Batcher } from '../db/batcher.ts';
import { BOUNDED_ELSEWHERE } from '../db/fair-queue.ts';
import { HeldUp } from '../db/held-up.ts';
import type { Pool } from '../db/pool.ts';
import { isOutage } from '../db/sqlstate.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import {
  type ClaimedWallet,
  type Marking,
  markAnnounced,
  type Postponement,
  postponeOutbox,
} from '../ledger/outbox.ts';
import type { Logger } from '../telemetry/log.ts';
import { type Observe, UNOBSERVED } from '../telemetry/observe.ts';
import type { Span, Tracing } from '../telemetry/tracing.ts';
import { buildMessages, type WalletNews } from './messages.ts';
import type { OutgoingMessage } from './outgoing.ts';
import { inGroups } from './parts.ts';
import { failedUnexpectedly, type Publisher, type SendResult, secondsUntilRetry } from './publisher.ts';

export interface AnnounceWalletOptions {
  readonly pool: Pool;
  readonly publisher: Publisher;
  readonly logger: Logger;
  readonly observe?: Observe;
}

/** The most messages of one statement: their texts are copied twice on the way to the database, and each may go to 50 endpoints. */
const MAX_RECORDED = { bytes: 2 * 1024 * 1024, count: 500 };

/** What became of one wallet's news. */
export type WalletResult = { readonly kind: 'sent'; readonly messages: number } | Exclude<SendResult, { kind: 'sent' }>;

interface HandedOver {
  readonly news: WalletNews;
  readonly messages: readonly OutgoingMessage[];
}

/**
 * For how long wallets are collected before they are marked. A transaction costs about the same for many wallets as for one.
 * Without this wait each took only a few, and Svix got two thirds of the messages that it can take (`docs/performance.md`).
 */
const GATHER_MS = 100;

/**
 * Marks wallets as announced, those of the same tenth of a second in one transaction. If another process has announced a range already,
 * nothing is recorded for it. A wallet that somebody holds is waited for by itself, so that no other wallet is kept locked meanwhile,
 * nor marked later.
 */
export class Marks {
  readonly #together: Batcher<HandedOver, Marking>;
  readonly #apart: Batcher<HandedOver, Marking>;
  #gathering: PromiseWithResolvers<void> | null = null;
  readonly #heldUp = new HeldUp();

  constructor({ pool, publisher }: AnnounceWalletOptions, maxBatch: number) {
    const batcher = (items: number, mark: (tx: Tx, news: readonly WalletNews[]) => Promise<readonly Marking[]>) =>
      new Batcher<HandedOver, Marking>({
        maxBatch: { items, bytes: Number.POSITIVE_INFINITY },
        // By what was claimed.
        maxWaiting: BOUNDED_ELSEWHERE,
        ownerOf: ({ news }) => news.merchantId,
        apart: transactionsAtOnce(pool, 'worker'),
        flush: async (handed) => {
          const markings = await transaction(pool, async (tx) => {
            const news = handed.map((one) => one.news);
            const markings = await mark(tx, news);
            const messages = handed.flatMap((one, index) => (markings[index] === 'marked' ? one.messages : []));
            for (const group of inGroups(messages, ({ payload }) => payload.length, MAX_RECORDED)) {
              await publisher.record(tx, group);
            }
            return markings;
          });
          publisher.committed?.();
          return markings;
        },
      });
    this.#together = batcher(maxBatch, (tx, news) => markAnnounced(tx, news, 'skip'));
    this.#apart = batcher(1, async (tx, news) => {
      const lockTimeoutMs = this.#heldUp.lockTimeoutMs(news);
      if (lockTimeoutMs !== null) await tx.setLockTimeout(lockTimeoutMs);
      return markAnnounced(tx, news, 'wait');
    });
  }

  /** Resolves once the wallet is marked. */
  async submit(handed: HandedOver): Promise<void> {
    this.#gathering ??= this.#gather();
    await this.#gathering.promise;
    if ((await this.#together.submit(handed)) !== 'held') return;
    try {
      await this.#apart.submit(handed);
    } catch (error) {
      this.#heldUp.note(error, [handed.news]);
      throw error;
    }
  }

  /** Marks the waiting wallets now, because no other wallet is being handed over that could join them. */
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

export interface Handover {
  readonly news: WalletNews;
  /** The claim that the news belongs to; the lease is on the whole claim. */
  readonly claim: ClaimedWallet;
  /** Called when the messages are handed over or have failed, so that the next wallet can be sent while this one is marked. */
  readonly onHandedOver: () => void;
}

/**
 * Hands one wallet's messages over and marks it as announced. After a failure the wallet is tried again later.
 * @throws {Error} if the database cannot be reached
 */
export async function announceWallet(
  options: AnnounceWalletOptions,
  marks: Marks,
  handover: Handover,
): Promise<WalletResult> {
  const { pool, logger, observe: { metrics, tracing } = UNOBSERVED } = options;
  const { news, claim } = handover;
  const span = startSpan(tracing, news);
  const result = await handOver(options, marks, { ...handover, span });
  endSpan(span, news, result);
  metrics.countAnnounced(result.kind);
  if (result.kind === 'sent') return result;
  if (result.kind === 'failed') logFailure(logger, news, result);
  await postponeOutbox(autocommit(pool), claim, toPostponement(result, news.attempts)).catch((error: unknown) => {
    if (isOutage(error) && !mayBeOfOneMerchant(error)) throw error;
    logger.debug({ err: error }, 'a wallet was not put off; it is tried again when its lease ends');
  });
  return result;
}

async function handOver(
  { publisher, logger }: AnnounceWalletOptions,
  marks: Marks,
  { news, onHandedOver, span }: Handover & { readonly span: Span },
): Promise<WalletResult> {
  try {
    const built = buildMessages(news);
    const { traceParent } = span;
    const messages = traceParent === null ? built : built.map((one) => ({ ...one, traceParent }));
    // A wallet may be in the outbox with nothing left to tell; it is only taken off.
    if (messages.length > 0) {
      const sent = await publisher.send(messages);
      if (sent.kind !== 'sent') return sent;
    }
    onHandedOver();
    await marks.submit({ news, messages });
    return { kind: 'sent', messages: messages.length };
  } catch (error) {
    logger.error({ err: error }, 'announcing a wallet went wrong');
    return failedUnexpectedly(error, news.attempts);
  } finally {
    onHandedOver();
  }
}

/** Puts a claim off whose news cannot even be read, so that no other waits behind it. It may be that it cannot be put off either; then its lease ends. */
export async function putOffUnread(
  { pool, logger, observe: { metrics } = UNOBSERVED }: AnnounceWalletOptions,
  claim: ClaimedWallet,
  error: unknown,
): Promise<void> {
  const { merchantId, customerId, currency, attempts } = claim;
  logger.error({ err: error, merchantId, customerId, currency }, 'announcing a wallet went wrong');
  const result = failedUnexpectedly(error, attempts);
  metrics.countAnnounced(result.kind);
  await postponeOutbox(autocommit(pool), claim, toPostponement(result, attempts)).catch(() => {});
}

function startSpan(tracing: Tracing, { traceParent, attempts }: WalletNews): Span {
  const attributes = { 'chokin.attempt': attempts + 1 };
  return tracing.start('announce wallet', { kind: 'producer', parent: traceParent, attributes });
}

function endSpan(span: Span, { entries, alerts }: WalletNews, result: WalletResult): void {
  const messages = result.kind === 'sent' ? { 'messaging.batch.message_count': result.messages } : {};
  const counts = { 'chokin.entries': entries.length, 'chokin.alerts': alerts.length, ...messages };
  span.end({ 'chokin.outcome': result.kind, ...counts }, result.kind === 'failed' ? 'failed' : undefined);
}

function toPostponement(result: Exclude<SendResult, { kind: 'sent' }>, attempts: number): Postponement {
  return { afterSeconds: secondsUntilRetry(result, attempts), failed: result.kind === 'failed', reason: result.reason };
}

function logFailure(
  logger: Logger,
  { merchantId, customerId, currency, toVersion, attempts }: WalletNews,
  { permanent, reason }: Extract<SendResult, { kind: 'failed' }>,
): void {
  const fields = { merchantId, customerId, currency, toVersion, attempts: attempts + 1, reason };
  if (permanent) logger.error(fields, 'a wallet cannot be announced: somebody must look');
  else logger.warn(fields, 'a wallet was not announced; it will be tried again');
}
