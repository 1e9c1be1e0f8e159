import { autocommit } from '../db/transaction.ts';
import type { ClaimFailed } from '../ledger/lock-due.ts';
import { type ClaimedWallet, releaseOutbox } from '../ledger/outbox.ts';
import { outboxDueInSeconds } from '../ledger/outbox-waiting.ts';
import { type AnnounceWalletOptions, announceWallet, Marks, putOffUnread } from './announce-wallet.ts';
import { claimParts, keepClaims, RENEW_MS, type ReadPart, readParts, UNCLAIMED_SECONDS } from './claim.ts';
import type { WalletNews } from './messages.ts';
import { countFitting, type Part } from './parts.ts';
import { PassingOver } from './pass-over.ts';
import { sendUnsent } from './unsent.ts';

export interface AnnounceOptions extends AnnounceWalletOptions {
  /** Ends the work early; the wallets under way are finished. */
  readonly signal?: AbortSignal;
  /** No new wallet is begun after this long. */
  readonly maxSeconds: number;
  /** What is passed over between runs as well; the run's own unless given. */
  readonly passing?: PassingOver;
}

export interface AnnounceResult {
  /** Wallets of which everything claimed was told, or a part. A wallet with a long backlog counts once for each part. */
  wallets: number;
  /** Wallets that were marked as told without being claimed, since nobody hears their merchant. */
  passedOver: number;
  messages: number;
  deferred: number;
  failed: number;
  /** True if the list was not finished, because the time was up or the work was ended early. */
  unfinished: boolean;
  /** Seconds until something is due again, as far as is known; null if nothing waits. */
  retryAfterSeconds: number | null;
}

/** Wallets claimed at a time, unless the publisher takes more at once. Few enough to be handed over before their lease ends. */
const MIN_PAGE_SIZE = 250;
/**
 * After a claim that found few wallets, the next one waits this long. A busy ledger then causes a few batches a second instead
 * of hundreds of tiny ones, which would compete with the postings for the disk.
 */
const GATHER_MS = 150;
/** While wallets are under way, an empty list is read again this often: a wallet that hangs must not hold up new ones. */
const IDLE_MS = 250;

/**
 * Tells everything that is due: claims due wallets and publishes the messages of each in order, several wallets at a
 * time, until none is due, the time is up or the sender is paused. A wallet that fails is tried again later with
 * back-off and holds up no other.
 * @throws {Error} if the database cannot be reached
 */
export function announce(options: AnnounceOptions): Promise<AnnounceResult> {
  return new Run(options).run();
}

/**
 * One run. Each wallet is claimed and its size measured, read when there is memory for it, handed over (as many at once as the
 * publisher takes), and marked. All steps go on at the same time, so that the publisher never waits for the database.
 */
class Run {
  readonly #options: AnnounceOptions;
  readonly #deadline: number;
  readonly #pageSize: number;
  readonly #marks: Marks;
  readonly #result: AnnounceResult = {
    wallets: 0,
    passedOver: 0,
    messages: 0,
    deferred: 0,
    failed: 0,
    unfinished: false,
    retryAfterSeconds: null,
  };
  /** What is claimed and not read yet, in order; `#ready` holds what is read. */
  #unread: Part[] = [];
  #ready: ReadPart[] = [];
  /** Every part whose lease this run holds. */
  readonly #held = new Set<Part>();
  #loadedBytes = 0;
  #handingOver = 0;
  readonly #underWay = new Set<Promise<void>>();
  #fetching: Promise<void> | null = null;
  readonly #passing: PassingOver;
  /** Merchants of whom nothing could be claimed. */
  readonly #unclaimed = new Set<string>();
  #nextClaimMs = 0;
  #claimTimer: NodeJS.Timeout | undefined;
  /** True if nothing was due at the last look and no wallet was finished since. A finished wallet may have more to tell. */
  #isExhausted = false;
  readonly #errors: unknown[] = [];
  #changed = Promise.withResolvers<void>();

  constructor(options: AnnounceOptions) {
    this.#options = options;
    this.#deadline = performance.now() + options.maxSeconds * 1000;
    this.#pageSize = Math.max(MIN_PAGE_SIZE, options.publisher.concurrency);
    this.#marks = new Marks(options, this.#pageSize);
    this.#passing = options.passing ?? new PassingOver(options);
  }

  async run(): Promise<AnnounceResult> {
    const { pool, publisher } = this.#options;
    const heldClaims = () => [...this.#held].map(({ claim }) => claim);
    const renewal = setInterval(() => void keepClaims(pool, heldClaims()), RENEW_MS);
    try {
      if (publisher.pausedForSeconds() === 0) this.#track(this.#sendUnsent());
      while (this.#goesOn()) {
        this.#startAll();
        if (this.#handingOver === 0) this.#marks.hurry();
        this.#fetchIfShort();
        if (this.#isDone()) break;
        await this.#changed.promise;
        this.#changed = Promise.withResolvers();
      }
    } finally {
      await this.#fetching;
      await Promise.all(this.#underWay);
      clearInterval(renewal);
      clearTimeout(this.#claimTimer);
      await releaseOutbox(autocommit(pool), heldClaims());
    }
    if (this.#errors.length > 0) throw this.#errors[0];
    await this.#noteWhenDue();
    return this.#result;
  }

  #goesOn(): boolean {
    const { publisher, signal } = this.#options;
    if (this.#errors.length > 0 || publisher.pausedForSeconds() > 0) return false;
    if (signal?.aborted !== true && performance.now() <= this.#deadline) return true;
    this.#result.unfinished = true;
    return false;
  }

  #isDone(): boolean {
    const isIdle = this.#fetching === null && this.#underWay.size === 0;
    return isIdle && this.#isExhausted && this.#unread.length === 0 && this.#ready.length === 0;
  }

  /** Hands over as many wallets as the publisher takes; the number of those that wait to be marked is limited too. */
  #startAll(): void {
    const { concurrency } = this.#options.publisher;
    while (this.#handingOver < concurrency && this.#underWay.size < concurrency + this.#pageSize) {
      const next = this.#ready.shift();
      if (next === undefined) return;
      this.#track(this.#tell(next.part, next.news));
    }
  }

  async #tell(part: Part, news: WalletNews): Promise<void> {
    this.#handingOver += 1;
    let isHandedOver = false;
    const onHandedOver = () => {
      if (isHandedOver) return;
      isHandedOver = true;
      this.#handingOver -= 1;
      this.#changed.resolve();
    };
    try {
      const result = await announceWallet(this.#options, this.#marks, { news, claim: part.claim, onHandedOver });
      if (result.kind === 'sent') {
        this.#result.wallets += 1;
        this.#result.messages += result.messages;
      } else this.#result[result.kind] += 1;
    } finally {
      this.#letGo(part);
      // The rest of its claim is due now: to wait for others would let a long backlog grow faster than it is told.
      if (!part.isLast) this.#nextClaimMs = 0;
    }
  }

  #track(work: Promise<void>): void {
    const one: Promise<void> = work
      .catch((error: unknown) => void this.#errors.push(error))
      .finally(() => {
        this.#underWay.delete(one);
        this.#changed.resolve();
      });
    this.#underWay.add(one);
  }

  /** Reads or claims more in time, so that the publisher always has work. */
  #fetchIfShort(): void {
    if (
      this.#fetching !== null ||
      this.#ready.length >= Math.max(this.#options.publisher.concurrency, this.#pageSize / 2)
    )
      return;
    const fits = countFitting(this.#unread, this.#loadedBytes);
    if (this.#unread.length > 0 && fits === 0) return;
    if (this.#unread.length === 0 && this.#isExhausted && this.#underWay.size === 0) return;
    const paceMs = fits > 0 ? 0 : this.#nextClaimMs - performance.now();
    if (paceMs > 0) {
      clearTimeout(this.#claimTimer);
      this.#claimTimer = setTimeout(() => this.#changed.resolve(), paceMs);
      return;
    }
    this.#fetching = (fits > 0 ? this.#read(fits) : this.#claim())
      .catch((error: unknown) => void this.#errors.push(error))
      .finally(() => {
        this.#fetching = null;
        this.#changed.resolve();
      });
  }

  readonly #apart = (err: unknown): void =>
    this.#options.logger.debug({ err }, 'news of several wallets failed together and is looked at one by one');

  async #read(count: number): Promise<void> {
    const parts = this.#unread.splice(0, count);
    for (const { bytes } of parts) this.#loadedBytes += bytes;
    const unread = async (error: unknown, part: Part) => {
      this.#letGo(part);
      await this.#putOff(error, part.claim);
    };
    for (const one of await readParts(autocommit(this.#options.pool), parts, { failed: unread, apart: this.#apart }))
      this.#ready.push(one);
  }

  async #putOff(error: unknown, claim: ClaimedWallet): Promise<void> {
    this.#result.failed += 1;
    this.#isExhausted = false;
    await putOffUnread(this.#options, claim, error);
  }

  #letGo(part: Part): void {
    this.#held.delete(part);
    this.#loadedBytes -= part.bytes;
    this.#isExhausted = false;
  }

  async #claim(): Promise<void> {
    this.#isExhausted = true;
    this.#result.passedOver += await this.#passing.pass(() => this.#goesOn());
    const unheard = [...this.#passing.unheard, ...this.#unclaimed];
    const { pool } = this.#options;
    const failed: ClaimFailed = (error, whose) => this.#noteFailed(error, whose);
    const unread = (error: unknown, claim: ClaimedWallet) => this.#putOff(error, claim);
    const apart = this.#apart;
    const parts = this.#goesOn() ? await claimParts(pool, this.#pageSize, { unheard, failed, unread, apart }) : [];
    for (const part of parts) this.#held.add(part);
    this.#unread = [...parts];
    if (parts.length > 0 || this.#passing.isCutShort) this.#isExhausted = false;
    const isLong = parts.length >= this.#pageSize / 2 || parts.some(({ isLast }) => !isLast);
    const waitMs = parts.length === 0 ? IDLE_MS : isLong ? 0 : GATHER_MS;
    this.#nextClaimMs = performance.now() + waitMs;
  }

  /** Others are behind what failed, which is left out for the rest of the run, or put off. */
  #noteFailed(err: unknown, whose: Parameters<ClaimFailed>[1]): void {
    const { logger } = this.#options;
    this.#isExhausted = false;
    if (whose.customerId !== undefined) {
      this.#result.failed += 1;
      logger.error({ err, ...whose }, 'announcing a wallet went wrong');
      return;
    }
    this.#unclaimed.add(whose.merchantId);
    logger.warn({ err, ...whose }, 'the news of a merchant was not claimed and is looked for again');
  }

  async #sendUnsent(): Promise<void> {
    const { pool, publisher, logger } = this.#options;
    const unsent = await sendUnsent(pool, publisher, logger);
    this.#result.messages += unsent.messages;
    this.#result.deferred += unsent.deferred;
    this.#result.failed += unsent.failed;
    this.#result.unfinished ||= unsent.unfinished;
    this.#noteRetry(unsent.retryAfterSeconds);
  }

  async #noteWhenDue(): Promise<void> {
    const { pool, publisher } = this.#options;
    const dueInSeconds = await outboxDueInSeconds(autocommit(pool));
    const atLeast = this.#unclaimed.size > 0 || this.#passing.leavesAlone ? UNCLAIMED_SECONDS : 1;
    if (dueInSeconds !== null) this.#noteRetry(Math.max(atLeast, Math.ceil(dueInSeconds)));
    const pausedSeconds = publisher.pausedForSeconds();
    if (pausedSeconds > 0)
      this.#result.retryAfterSeconds = Math.max(this.#result.retryAfterSeconds ?? 0, pausedSeconds);
  }

  #noteRetry(seconds: number | null): void {
    const { retryAfterSeconds: known } = this.#result;
    if (seconds !== null) this.#result.retryAfterSeconds = Math.min(known ?? seconds, seconds);
  }
}
