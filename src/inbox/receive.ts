import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import { Lane } from '../db/lane.ts';
import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Logger } from '../log.ts';
import type { Source } from '../merchants/sources.ts';
import { PROVIDERS } from '../providers/index.ts';
import type { ProviderName } from '../providers/names.ts';
import type { AnyProvider, Delivery } from '../providers/provider.ts';
import type { EventState } from './events.ts';
import { type NewEvent, storeEvents } from './store-events.ts';

/** What became of a delivery. Only `refused` (a bad signature) stores nothing. */
export type Receipt =
  | { readonly kind: 'stored'; readonly eventId: string; readonly state: EventState }
  | { readonly kind: 'duplicate' }
  | { readonly kind: 'refused' };

export interface ReceiverOptions {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The adapters, if others than those of every provider: PayPal's with certificates of a test's own. */
  readonly providers?: Readonly<Record<ProviderName, AnyProvider>>;
  readonly onFlush?: (size: number) => void;
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
    const { onFlush } = options;
    this.#lane = new Lane({
      flush: (events) => this.#store(events),
      maxBatch: MAX_BATCH,
      maxWaiting: MAX_WAITING,
      ...(onFlush === undefined ? {} : { onFlush }),
    });
  }

  /**
   * @throws LaneFullError or a database error if the event could not be stored, or SERVICE_UNAVAILABLE if its signature
   *   cannot be checked now; the provider must then be told to come again
   */
  async receive(source: Source, delivery: Delivery): Promise<Receipt> {
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
    });
  }

  /** Resolves when every delivery taken so far is stored. */
  drain(): Promise<void> {
    return this.#lane.drain();
  }

  async #store(events: readonly NewEvent[]): Promise<readonly Receipt[]> {
    const { pool, boss } = this.#options;
    const stored = await transaction(pool, (tx) => storeEvents(boss, tx, events));
    return events.map(
      ({ eventId, state }): Receipt =>
        stored.has(eventId) ? { kind: 'stored', eventId, state } : { kind: 'duplicate' },
    );
  }
}
