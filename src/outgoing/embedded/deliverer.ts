import type { Clock } from '../../clock.ts';
import { mayBeOfOneMerchant } from '../../db/apart.ts';
import type { Pool } from '../../db/pool.ts';
import { isOutage } from '../../db/sqlstate.ts';
import { autocommit } from '../../db/transaction.ts';
import type { Logger } from '../../telemetry/log.ts';
import { type ClaimedDelivery, claimDeliveries, merchantsPending } from './claimed-deliveries.ts';
import { type DeliverOptions, deliver } from './deliver.ts';

export interface DelivererOptions extends DeliverOptions {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * How many deliveries a process has under way at once, and about how much their payloads hold. One merchant has a part of it, so that endpoints of
 * his that answer slowly, of which nothing is known yet, leave room for everybody else's.
 */
const MOST = { deliveries: 1024, bytes: 64 * 1024 * 1024 };
const MOST_OF_MERCHANT = { deliveries: 128, bytes: 8 * 1024 * 1024 };
/** When this much is left of a merchant's deliveries under way, or of all, more are claimed: many with a statement. */
const REFILL = 0.5;
/** A try takes 15 s at most; what is left is for writing down what came of it. Another worker takes over from one that died after this time. */
const LEASE_SECONDS = 25;
/** Merchants that are looked at with one statement. */
const MERCHANTS_AT_A_TIME = 200;
/** Retries become due, and what other processes made may be due without a word. */
const LOOK_EVERY_MS = 2_000;

interface UnderWay {
  deliveries: number;
  bytes: number;
}

/**
 * The embedded sender of a process: it leases deliveries that are due, those of each merchant in turn, and tries each of them once. It looks
 * whenever it is woken, when half of what it had is done, and every two seconds.
 */
export class Deliverer {
  readonly #options: DelivererOptions;
  readonly #all: UnderWay = { deliveries: 0, bytes: 0 };
  readonly #byMerchant = new Map<string, UnderWay>();
  readonly #tries = new Set<Promise<void>>();
  /** More is due of them than they have room for. */
  readonly #heldBack = new Set<string>();
  /** More may be due of others, for which there was no room at all. */
  #isFull = false;
  /** The last merchant who had a turn, while there are more to look at. */
  #after = '';
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | null = null;
  #isWanted = false;
  #isClosed = false;

  constructor(options: DelivererOptions) {
    this.#options = options;
  }

  /** Begins to look for what is due. */
  start(): void {
    if (this.#isClosed) return;
    this.#timer ??= setInterval(() => this.wake(), LOOK_EVERY_MS);
    this.wake();
  }

  /** Looks now; if it is looking already, once more afterwards. Nothing happens before it is started. */
  wake(): void {
    if (this.#timer === undefined || this.#isClosed) return;
    this.#isWanted = true;
    this.#running ??= this.#run();
  }

  /** Tries what is due now, and waits for it. @returns how many deliveries were tried */
  async deliverDue(): Promise<number> {
    const started = await this.#look();
    await this.#idle();
    return started;
  }

  /** Leases nothing more, and waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#running;
    await this.#idle();
  }

  async #idle(): Promise<void> {
    while (this.#tries.size > 0) await Promise.all(this.#tries);
  }

  async #run(): Promise<void> {
    while (this.#isWanted && !this.#isClosed) {
      this.#isWanted = false;
      try {
        await this.#look();
      } catch (error) {
        this.#options.logger.warn({ err: error }, 'deliveries that are due could not be claimed');
      }
    }
    this.#running = null;
  }

  /** Claims from every merchant in turn, going on where it stopped, until a whole circle has found nothing for which there is room. */
  async #look(): Promise<number> {
    this.#heldBack.clear();
    this.#isFull = false;
    let started = 0;
    const broken = new Set<string>();
    let circle = { isWhole: this.#after === '', started: 0 };
    while (!this.#isClosed && roomIn(this.#all, MOST) > 0) {
      const asked = { after: this.#after, most: MERCHANTS_AT_A_TIME };
      const merchants = await merchantsPending(autocommit(this.#options.pool), asked);
      for (const { merchantId, isDue } of merchants) {
        // Whoever finds no room is the first to have a turn when there is some.
        if (isDue && roomIn(this.#all, MOST) === 0) break;
        this.#after = merchantId;
        if (isDue && !broken.has(merchantId)) circle.started += await this.#claimUnless(broken, merchantId);
      }
      if (roomIn(this.#all, MOST) === 0 || merchants.length === MERCHANTS_AT_A_TIME) continue;
      this.#after = '';
      started += circle.started;
      if (circle.isWhole && circle.started === 0) return started;
      circle = { isWhole: true, started: 0 };
    }
    this.#isFull = true;
    return started + circle.started;
  }

  /** What cannot be claimed of one merchant is looked for again by the next look, and nobody behind him waits for it. */
  async #claimUnless(broken: Set<string>, merchantId: string): Promise<number> {
    try {
      return await this.#claim(merchantId);
    } catch (error) {
      if (isOutage(error) && !mayBeOfOneMerchant(error)) throw error;
      broken.add(merchantId);
      this.#options.logger.warn({ err: error, merchantId }, 'deliveries that are due could not be claimed');
      return 0;
    }
  }

  async #claim(merchantId: string): Promise<number> {
    const { pool, clock } = this.#options;
    const own = this.#byMerchant.get(merchantId) ?? { deliveries: 0, bytes: 0 };
    const limit = Math.min(roomIn(own, MOST_OF_MERCHANT), roomIn(this.#all, MOST));
    if (this.#isClosed || limit === 0) {
      this.#heldBack.add(merchantId);
      return 0;
    }
    const maxBytes = Math.min(MOST_OF_MERCHANT.bytes - own.bytes, MOST.bytes - this.#all.bytes);
    const claim = { merchantId, limit, maxBytes, leaseSeconds: LEASE_SECONDS, now: clock.now() };
    const claimed = await claimDeliveries(autocommit(pool), claim);
    if (claimed.length > 0) this.#byMerchant.set(merchantId, own);
    for (const delivery of claimed) this.#begin(delivery, own);
    return claimed.length;
  }

  #begin(delivery: ClaimedDelivery, own: UnderWay): void {
    const bytes = Buffer.byteLength(delivery.payload);
    for (const one of [own, this.#all]) {
      one.deliveries += 1;
      one.bytes += bytes;
    }
    const trying: Promise<void> = deliver(this.#options, delivery).finally(() => {
      for (const one of [own, this.#all]) {
        one.deliveries -= 1;
        one.bytes -= bytes;
      }
      this.#tries.delete(trying);
      if (own.deliveries === 0) this.#byMerchant.delete(delivery.merchantId);
      if (this.#isRefilled(delivery.merchantId, own)) this.wake();
    });
    this.#tries.add(trying);
  }

  /** Whether there is room again for what was held back. */
  #isRefilled(merchantId: string, own: UnderWay): boolean {
    // Others whose receivers are slow may have more than half of all for long.
    if (this.#heldBack.has(merchantId) && isHalfEmpty(own, MOST_OF_MERCHANT)) return roomIn(this.#all, MOST) > 0;
    return this.#isFull && isHalfEmpty(this.#all, MOST);
  }
}

/** For how many more deliveries there is room. */
function roomIn({ deliveries, bytes }: UnderWay, most: UnderWay): number {
  return bytes >= most.bytes ? 0 : Math.max(0, most.deliveries - deliveries);
}

function isHalfEmpty({ deliveries, bytes }: UnderWay, most: UnderWay): boolean {
  return deliveries <= most.deliveries * REFILL && bytes <= most.bytes * REFILL;
}
