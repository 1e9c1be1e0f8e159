import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import type { RequestHeaders } from '../crypto/signature.ts';
import { transactionsAtOnce } from '../db/apart.ts';
import { Batcher } from '../db/batcher.ts';
import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Source } from '../merchants/source.ts';
import { PROVIDERS } from '../providers/index.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { AnyProvider, Delivery } from '../providers/shared/provider.ts';
import type { Logger } from '../telemetry/log.ts';
import { type Observe, UNOBSERVED } from '../telemetry/observe.ts';
import { createSeldom } from '../telemetry/seldom.ts';
import type { Span } from '../telemetry/tracing.ts';
import { namesPayer } from './payers.ts';
import { type NewEvent, storeEvents } from './store-events.ts';

/** What became of a delivery. Only `refused` (a bad signature) stores nothing. */
export type Receipt =
  | { readonly kind: 'stored'; readonly eventId: string; readonly state: NewEvent['state'] }
  | { readonly kind: 'duplicate' }
  | { readonly kind: 'refused' };

export interface ReceiverOptions {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The adapters, if others than those of every provider: PayPal's with certificates of a test's own. */
  readonly providers?: Readonly<Record<ProviderName, AnyProvider>>;
  readonly observe?: Observe;
}

const MB = 1024 * 1024;
/** Bodies are up to 1 MB. */
const MAX_BATCH = { items: 100, bytes: 8 * MB };
/** A source beyond its share is told to come again, which providers do; the deliveries of other sources are taken meanwhile. */
const MAX_WAITING = { total: { items: 2_000, bytes: 64 * MB }, each: { items: 1_000, bytes: 16 * MB } };
/** What an event takes besides its body. */
const EVENT_BYTES = 1_000;

/**
 * Takes deliveries in: verifies the raw bytes, stores them and enqueues their application in one transaction, and only
 * then reports success, so that a 2xx to the provider means the event is ours. Concurrent deliveries share a commit.
 * No network and no other work happen here, but for a certificate of PayPal's seen for the first time: providers wait
 * 5 seconds at most.
 */
export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #observe: Observe;
  readonly #batcher: Batcher<NewEvent, Receipt>;
  readonly #seldom = createSeldom();

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#observe = options.observe ?? UNOBSERVED;
    const { metrics } = this.#observe;
    this.#batcher = new Batcher({
      flush: (events) => this.#store(events),
      maxBatch: MAX_BATCH,
      maxWaiting: MAX_WAITING,
      // A source is of one merchant, so where owners are kept apart, merchants are.
      ownerOf: ({ sourceId }) => sourceId,
      apart: transactionsAtOnce(options.pool, 'web'),
      bytesOf: ({ body }) => EVENT_BYTES + body.length,
      sharedBy: 'source',
      onFlush: (size, waitedSeconds) => metrics.observeBatch('inbox', size, waitedSeconds),
    });
  }

  /** Whether the headers alone leave it open that the provider signed the delivery; if not, it is counted as refused. */
  mayBeSigned({ provider, sourceId }: Source, headers: RequestHeaders): boolean {
    const reason = this.#provider(provider).headersProblem(headers, this.#options.clock.now());
    if (reason === null) return true;
    this.#observe.metrics.countDelivery(provider, 'refused');
    this.#logRefused(sourceId, reason);
    return false;
  }

  /** Once in ten seconds for each source and reason, since anybody can have deliveries refused. */
  #logRefused(source: string, reason: string): void {
    const count = this.#seldom(`${source} ${reason}`);
    if (count !== null) this.#options.logger.warn({ source, reason, count }, 'a delivery was refused');
  }

  /**
   * @throws {RefusalError} SIGNATURE_UNCHECKABLE if its signature cannot be checked now
   * @throws {BatcherFullError} if too many wait already
   * @throws {DatabaseError} if the event could not be stored. Whatever is thrown, the provider must be told to come again
   */
  async receive(source: Source, delivery: Delivery): Promise<Receipt> {
    const { metrics, tracing } = this.#observe;
    // A new trace begins here: a trace that a header from outside names is not trusted.
    const attributes = { 'chokin.provider': source.provider };
    const span = tracing.start('receive delivery', { kind: 'server', attributes });
    try {
      const receipt = await this.#receive(source, delivery, span);
      const outcome = receipt.kind === 'stored' && receipt.state === 'ignored' ? 'ignored' : receipt.kind;
      metrics.countDelivery(source.provider, outcome);
      const eventId = receipt.kind === 'stored' ? { 'chokin.event.id': receipt.eventId } : {};
      span.end({ 'chokin.outcome': outcome, ...eventId });
      return receipt;
    } catch (error) {
      metrics.countDelivery(source.provider, 'unavailable');
      span.end({ 'chokin.outcome': 'unavailable' }, error);
      throw error;
    }
  }

  async #receive(source: Source, delivery: Delivery, span: Span): Promise<Receipt> {
    const provider = this.#provider(source.provider);
    const receivedAt = this.#options.clock.now();
    const secrets = source.secrets.map((secret) => secret.reveal());
    const verification = await provider.verify(delivery, secrets, receivedAt);
    const log = { source: source.sourceId };
    if (!verification.ok) {
      if (verification.isLimited) this.#observe.metrics.countLimited({ who: 'address', limit: 'certificates' });
      const { unreadableSecrets } = source;
      if (verification.unavailable || unreadableSecrets > 0) {
        // It may be signed with a secret that cannot be read now: as long as the provider comes again, nothing is lost.
        const details = { ...log, reason: verification.reason, unreadableSecrets };
        this.#options.logger.warn(details, 'a delivery could not be checked');
        return refuse({ code: 'SIGNATURE_UNCHECKABLE' });
      }
      this.#logRefused(source.sourceId, verification.reason);
      return { kind: 'refused' };
    }
    if (verification.secretIndex > 0)
      this.#options.logger.info(
        { ...log, secretIndex: verification.secretIndex },
        'a delivery was signed with an older secret',
      );
    const interpretation = provider.interpret(delivery.rawBody);
    const isIgnored = interpretation.kind === 'ignored' && !namesPayer(source, interpretation);
    span.note({ 'chokin.event.type': interpretation.eventType.slice(0, 200) });
    return this.#batcher.submit({
      eventId: newId('event'),
      merchantId: source.merchantId,
      sourceId: source.sourceId,
      provider: source.provider,
      deliveryKey: provider.deliveryKey(delivery),
      eventType: interpretation.eventType,
      body: delivery.rawBody,
      state: isIgnored ? 'ignored' : 'pending',
      detail: isIgnored ? interpretation.reason : null,
      receivedAt,
      origin: 'webhook',
      traceParent: span.traceParent,
    });
  }

  #provider(name: ProviderName): AnyProvider {
    return (this.#options.providers ?? PROVIDERS)[name];
  }

  /** Resolves when every delivery taken so far is stored. */
  drain(): Promise<void> {
    return this.#batcher.drain();
  }

  async #store(events: readonly NewEvent[]): Promise<readonly Receipt[]> {
    const { pool, boss } = this.#options;
    const { metrics } = this.#observe;
    const onCommit = (seconds: number) => metrics.observeCommit('inbox', seconds);
    const stored = await transaction(pool, (tx) => storeEvents(boss, tx, events), { onCommit });
    return events.map(
      ({ eventId, state }): Receipt =>
        stored.has(eventId) ? { kind: 'stored', eventId, state } : { kind: 'duplicate' },
    );
  }
}
