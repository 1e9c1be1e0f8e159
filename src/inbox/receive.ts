import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import { Lane } from '../db/batcher.ts';
import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Source } from '../merchants/source.ts';
import { PROVIDERS } from '../providers/index.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { AnyProvider, Delivery } from '../providers/shared/provider.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Span, Tracing } from '../telemetry/tracing.ts';
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
  readonly metrics?: Metrics;
  readonly tracing?: Tracing | null;
}

/** Bodies are up to 1 MB, so this bounds a batch by its bytes as well as by its time. */
const MAX_BATCH = 100;
const MAX_WAITING = 2_000;

/**
 * Takes deliveries in: verifies the raw bytes, stores them and enqueues their application in one transaction, and only
 * then reports success, so that a 2xx to the provider means the event is ours. Concurrent deliveries share a commit.
 * No network and no other work happen here, but for a certificate of PayPal's seen for the first time: providers wait
 * 5 seconds at most.
 */
export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #lane: Lane<NewEvent, Receipt>;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    const { metrics } = options;
    this.#lane = new Lane({
      flush: (events) => this.#store(events),
      maxBatch: MAX_BATCH,
      maxWaiting: MAX_WAITING,
      onFlush: (size, waitedSeconds) => metrics?.observeBatch('inbox', size, waitedSeconds),
    });
  }

  /**
   * @throws LaneFullError or a database error if the event could not be stored, or SERVICE_UNAVAILABLE if its signature
   *   cannot be checked now; the provider must then be told to come again
   */
  async receive(source: Source, delivery: Delivery): Promise<Receipt> {
    const { metrics, tracing } = this.#options;
    // A trace begins here: whom a stranger's header names is not asked.
    const span =
      tracing?.start('receive delivery', { kind: 'server', attributes: { 'chokin.provider': source.provider } }) ??
      null;
    try {
      const receipt = await this.#receive(source, delivery, span);
      const outcome = receipt.kind === 'stored' && receipt.state === 'ignored' ? 'ignored' : receipt.kind;
      metrics?.countDelivery(source.provider, outcome);
      const eventId = receipt.kind === 'stored' ? { 'chokin.event.id': receipt.eventId } : {};
      span?.end({ 'chokin.outcome': outcome, ...eventId });
      return receipt;
    } catch (error) {
      metrics?.countDelivery(source.provider, 'unavailable');
      span?.end({ 'chokin.outcome': 'unavailable' }, error);
      throw error;
    }
  }

  async #receive(source: Source, delivery: Delivery, span: Span | null): Promise<Receipt> {
    const provider = (this.#options.providers ?? PROVIDERS)[source.provider];
    const receivedAt = this.#options.clock.now();
    const secrets = source.secrets.map((secret) => secret.reveal());
    const verification = await provider.verify(delivery, secrets, receivedAt);
    const log = { source: source.sourceId };
    if (!verification.ok) {
      if (verification.unavailable) {
        this.#options.logger.warn({ ...log, reason: verification.reason }, 'a delivery could not be checked');
        return refuse('SERVICE_UNAVAILABLE', 'The signature cannot be checked now. Send the event again.');
      }
      this.#options.logger.warn({ ...log, reason: verification.reason }, 'a delivery was refused');
      return { kind: 'refused' };
    }
    if (verification.secretIndex > 0)
      this.#options.logger.info(
        { ...log, secretIndex: verification.secretIndex },
        'a delivery was signed with an older secret',
      );
    const interpretation = provider.interpret(delivery.rawBody);
    span?.note({ 'chokin.event.type': interpretation.eventType.slice(0, 200) });
    return this.#lane.submit({
      eventId: newId('event'),
      merchantId: source.merchantId,
      sourceId: source.sourceId,
      provider: source.provider,
      deliveryKey: provider.deliveryKey(delivery),
      eventType: interpretation.eventType,
      body: delivery.rawBody,
      state: interpretation.kind === 'ignored' ? 'ignored' : 'pending',
      detail: interpretation.kind === 'ignored' ? interpretation.reason : null,
      receivedAt,
      origin: 'webhook',
      traceParent: span?.traceParent ?? null,
    });
  }

  /** Resolves when every delivery taken so far is stored. */
  drain(): Promise<void> {
    return this.#lane.drain();
  }

  async #store(events: readonly NewEvent[]): Promise<readonly Receipt[]> {
    const { pool, boss, metrics } = this.#options;
    const onCommit = (seconds: number) => metrics?.observeCommit('inbox', seconds);
    const stored = await transaction(pool, (tx) => storeEvents(boss, tx, events), onCommit);
    return events.map(
      ({ eventId, state }): Receipt =>
        stored.has(eventId) ? { kind: 'stored', eventId, state } : { kind: 'duplicate' },
    );
  }
}
