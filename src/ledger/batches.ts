import type { Clock } from '../clock.ts';
import { transactionsAtOnce } from '../db/apart.ts';
import { Batcher, ManyAnswers } from '../db/batcher.ts';
import { eachMerchant } from '../db/by-merchant.ts';
import { mayChangeStatus, mayOpenCheckouts, mayOpenLots, mayPlaceHolds } from '../db/installation.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { type Observe, UNOBSERVED } from '../telemetry/observe.ts';
import type { Checkout } from './checkouts/checkout.ts';
import type { CheckoutResult, OpenCheckout } from './checkouts/open-checkout.ts';
import { countPostings } from './count-postings.ts';
import { type CustomerKey, type Posting, type Wallet, walletKeyText } from './entry.ts';
import type { CaptureHold, ChangeHold, HoldCommand, PlaceHold, ReleaseHold } from './holds/hold.ts';
import type { CaptureResult, ChangeResult, HoldResult, PlaceResult } from './holds/results.ts';
import type { ChangeLot, LotCommand, VoidLot } from './lots/lot.ts';
import { LotOwners } from './lots/owners.ts';
import type { ChangeLotResult, LotResult, VoidResult } from './lots/results.ts';
import type { CommandResult, LedgerCommand, PostingResult } from './post.ts';
import { PostingTraces } from './posting-traces.ts';
import type { ChangeStatus, StatusResult } from './status/status.ts';
import { type LedgerSettings, postCommands, readWallets } from './store.ts';
import { isDue } from './working-books.ts';

export interface LedgerBatchesOptions {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  /** Called after a commit that left something to announce. */
  readonly onPosted: () => void;
  /** Called after a commit that left a wallet below what its top-up rule wants. */
  readonly onTopUpDue?: () => void;
  /** Called before the commit, for the checkouts that the wallet pays alone. */
  readonly tellOfPaid?: (tx: Tx, checkouts: readonly Checkout[], now: Date) => Promise<void>;
  readonly observe?: Observe;
}

/** What may be asked for together. */
type ManyCommand = Posting | PlaceHold | CaptureHold | ReleaseHold | ChangeHold;
type Settled = readonly PromiseSettledResult<CommandResult>[];

const MB = 1024 * 1024;
/** Postings of one transaction: past about 500, a batch gets slower faster than it gets larger. Metadata may be 75 kB each. */
const MAX_BATCH = { items: 500, bytes: 4 * MB };
/**
 * Of each batcher. At some thousands of postings a second a merchant's share is a second or two of waiting, which is when it should
 * be told to come back; what others have waiting delays nobody.
 */
const MAX_WAITING = { total: { items: 20_000, bytes: 32 * MB }, each: { items: 5_000, bytes: 8 * MB } };
/** What an entry without metadata takes while it waits, with its promise. */
const POSTING_BYTES = 500;
/** Two, so that one batch is decided while the other commits. Four were slower, since each batch was smaller (docs/performance.md). */
const POSTING_BATCHERS = 2;
/** A wallet that was not free in 3 s (db/pool.ts) is held by somebody who does not commit; everybody else of the batch waits. */
const HURRIED_LOCK_TIMEOUT_MS = 250;

/**
 * The ledger for concurrent callers. Postings of one customer always take the same batcher, so batchers do not wait for each
 * other's locks; reads of balances are coalesced in a batcher of their own.
 */
export class LedgerBatches {
  readonly #commands: readonly Batcher<LedgerCommand, CommandResult>[];
  readonly #clock: Clock;
  readonly #pool: Pool;
  readonly #currencies: ReadonlySet<string>;
  #isPlacing = false;
  #isOpening = false;
  #isCheckingOut = false;
  readonly #reads: Batcher<CustomerKey, readonly Wallet[]>;
  readonly #traces: PostingTraces;

  constructor({ pool, settings, clock, onPosted, onTopUpDue, tellOfPaid, observe = UNOBSERVED }: LedgerBatchesOptions) {
    const { metrics } = observe;
    const traces = new PostingTraces(observe.tracing);
    this.#traces = traces;
    this.#clock = clock;
    this.#pool = pool;
    this.#currencies = settings.currencies;
    const lotOwners = new LotOwners();
    const onCommit = (seconds: number) => metrics.observeCommit('ledger', seconds);
    const flush = async (commands: readonly LedgerCommand[], isHurried: boolean) => {
      const post = async (tx: Tx) => {
        if (isHurried) await tx.setLockTimeout(HURRIED_LOCK_TIMEOUT_MS);
        const now = clock.now();
        const posted = await postCommands(tx, commands, { ...settings, lotOwners, now });
        const paid = posted.outcomes.flatMap(paidAtOnce);
        if (paid.length > 0) await tellOfPaid?.(tx, paid, now);
        await traces.note(tx, commands, posted.outcomes);
        return posted;
      };
      const { outcomes, isNews, isTopUpDue } = await transaction(pool, post, { onCommit, keepsPlans: true });
      if (isNews) onPosted();
      if (isTopUpDue) onTopUpDue?.();
      metrics.countPostings('api', countPostings(commands, outcomes));
      return outcomes;
    };
    const apart = transactionsAtOnce(pool, 'web');
    const limits = { maxBatch: MAX_BATCH, maxWaiting: MAX_WAITING, ownerOf: merchantOf, apart };
    const onFlush = (size: number, waitedSeconds: number) => metrics.observeBatch('ledger', size, waitedSeconds);
    const batcher = () => new Batcher({ ...limits, flush, onFlush, rowOf: walletKeyText, bytesOf: bytesOfCommand });
    this.#commands = Array.from({ length: POSTING_BATCHERS }, batcher);
    this.#reads = new Batcher<CustomerKey, readonly Wallet[]>({
      ...limits,
      flush: (keys) => readCoalesced(pool, keys),
    });
  }

  /**
   * Posts one entry and resolves with its outcome once it is durable.
   * @param traceParent the caller's W3C `traceparent`, if it sent one
   * @throws {BatcherFullError} if too many wait already
   * @throws {unknown} what the database throws, after which only the posting's idempotency key
   *   tells whether the entry was written
   */
  post(posting: Posting, traceParent?: string | string[]): Promise<PostingResult> {
    const isSure = posting.terms === undefined || this.#isOpening;
    return this.#traces.follow(posting, traceParent, (one) => (isSure ? this.#submit(one) : this.#giveFirst(one)));
  }

  async #giveFirst(posting: Posting): Promise<PostingResult> {
    this.#isOpening ||= await transaction(this.#pool, (tx) => mayOpenLots(tx));
    return this.#isOpening ? this.#submit(posting) : { kind: 'refused', refusal: { code: 'LOTS_NOT_YET' } };
  }

  /**
   * Carries a command about lots out, and resolves with what became of it once it is durable.
   * @throws {BatcherFullError} if too many wait already
   * @throws {unknown} what the database throws
   */
  lot(command: VoidLot): Promise<VoidResult>;
  lot(command: ChangeLot): Promise<ChangeLotResult>;
  lot(command: LotCommand): Promise<LotResult> {
    return this.#submit(command);
  }

  /**
   * Carries a command about holds out, and resolves with what became of it once it is durable.
   * @throws {BatcherFullError} if too many wait already
   * @throws {unknown} what the database throws
   */
  hold(command: PlaceHold): Promise<PlaceResult>;
  hold(command: CaptureHold): Promise<CaptureResult>;
  hold(command: ReleaseHold | ChangeHold): Promise<ChangeResult>;
  hold(command: HoldCommand): Promise<HoldResult> {
    return this.#hold(command);
  }

  #hold(command: HoldCommand): Promise<HoldResult> {
    return command.op === 'place' && !this.#isPlacing ? this.#placeFirst(command) : this.#submit(command);
  }

  async #placeFirst(command: PlaceHold): Promise<HoldResult> {
    if (await this.mayPlace()) return this.#submit(command);
    return { kind: 'refused', refusal: { code: 'HOLDS_NOT_YET' } };
  }

  /**
   * Carries many commands out, those of one wallet in their order, and resolves with what became of each once all are settled: as
   * {@link post} and {@link hold} do, which throw what stands here as a reason.
   */
  all(commands: readonly ManyCommand[], traceParent?: string | string[]): Promise<Settled> {
    const areSure = !this.#traces.isOn && this.#isPlacing && commands.every((one) => 'op' in one || !one.terms);
    return areSure && commands.length > 0 ? this.#submitAll(commands) : this.#eachAlone(commands, traceParent);
  }

  #eachAlone(commands: readonly ManyCommand[], traceParent: string | string[] | undefined): Promise<Settled> {
    const carryOut = (command: ManyCommand): Promise<CommandResult> =>
      'op' in command ? this.#hold(command) : this.post(command, traceParent);
    return Promise.allSettled(commands.map(carryOut));
  }

  #submitAll(commands: readonly ManyCommand[]): Promise<Settled> {
    const answers = new ManyAnswers<CommandResult>(commands.length);
    for (const [place, command] of commands.entries()) this.#batcherOf(command).submitFor(command, answers, place);
    return answers.all;
  }

  /**
   * Whether holds are placed yet: asked until it is so, which it then stays. Whoever wants commands carried out in their order asks
   * before the first, since a hold that has to ask is behind the command after it.
   */
  async mayPlace(): Promise<boolean> {
    this.#isPlacing ||= await transaction(this.#pool, (tx) => mayPlaceHolds(tx));
    return this.#isPlacing;
  }

  /**
   * Opens a checkout, and resolves with what became of it once it is durable.
   * @throws {BatcherFullError} if too many wait already
   * @throws {unknown} what the database throws
   */
  async checkout(command: OpenCheckout): Promise<CheckoutResult> {
    this.#isCheckingOut ||= await transaction(this.#pool, (tx) => mayOpenCheckouts(tx));
    if (this.#isCheckingOut) return this.#submit(command);
    return { kind: 'refused', refusal: { code: 'CHECKOUTS_NOT_YET' } };
  }

  /**
   * Changes what may happen in a wallet, and resolves once that is durable.
   * @throws {BatcherFullError} if too many wait already
   * @throws {unknown} what the database throws
   */
  async setStatus(command: ChangeStatus): Promise<StatusResult> {
    const mayChange = await transaction(this.#pool, (tx) => mayChangeStatus(tx));
    return mayChange ? this.#submit(command) : { kind: 'refused', refusal: { code: 'STATUSES_NOT_YET' } };
  }

  /**
   * The wallets of a customer by currency; empty if there is no such customer. What has ended in them by now is not held any more.
   * @throws {BatcherFullError} if too many wait
   */
  async wallets(merchantId: string, customerId: string): Promise<readonly Wallet[]> {
    const wallets = await this.#reads.submit({ merchantId, customerId });
    const now = this.#clock.now();
    // Those of a currency that is not configured any more are left to the sweep.
    const isOver = (wallet: Wallet) => isDue(wallet, now) && this.#currencies.has(wallet.currency);
    return wallets.some(isOver)
      ? Promise.all(wallets.map((wallet) => (isOver(wallet) ? this.#sweep(wallet) : wallet)))
      : wallets;
  }

  async #sweep(wallet: Wallet): Promise<Wallet> {
    const { merchantId, customerId, currency } = wallet;
    try {
      const swept = await this.#submit({ op: 'sweep', merchantId, customerId, currency });
      return swept.kind === 'swept' ? (swept.wallet ?? wallet) : wallet;
    } catch {
      // Somebody has the wallet, or too many wait. It was read, and says too little is available rather than too much.
      return wallet;
    }
  }

  #submit(command: Posting): Promise<PostingResult>;
  #submit(command: HoldCommand): Promise<HoldResult>;
  #submit(command: LotCommand): Promise<LotResult>;
  #submit(command: ChangeStatus): Promise<StatusResult>;
  #submit(command: OpenCheckout): Promise<CheckoutResult>;
  #submit(command: LedgerCommand): Promise<CommandResult> {
    return this.#batcherOf(command).submit(command);
  }

  #batcherOf({ customerId }: LedgerCommand): Batcher<LedgerCommand, CommandResult> {
    const batcher = this.#commands[batcherOf(customerId)];
    invariant(batcher !== undefined, 'a customer without a batcher');
    return batcher;
  }

  /** Whether a merchant may have more postings waiting: else each would be answered with BatcherFullError. */
  hasRoom(merchantId: string): boolean {
    return this.#commands.every((batcher) => batcher.hasRoom(merchantId));
  }

  /** How many commands wait for a transaction. */
  get depth(): number {
    return this.#commands.reduce((sum, batcher) => sum + batcher.depth, 0);
  }

  /** Resolves when every command submitted so far is settled. */
  async drain(): Promise<void> {
    await Promise.all([...this.#commands.map((batcher) => batcher.drain()), this.#reads.drain()]);
  }
}

/** Which batcher a customer's postings take: 0 or 1, the same in every process. */
export function batcherOf(customerId: string): number {
  let hash = 0;
  for (let index = 0; index < customerId.length; index += 1) hash = (hash * 31 + customerId.charCodeAt(index)) >>> 0;
  return hash % POSTING_BATCHERS;
}

function paidAtOnce(result: CommandResult): readonly Checkout[] {
  return result.kind === 'checkout_opened' && result.checkout.state === 'completed' ? [result.checkout] : [];
}

const merchantOf = ({ merchantId }: { readonly merchantId: string }): string => merchantId;

/** About what a command holds while it waits: texts take up to two bytes a character. */
function bytesOfCommand(command: LedgerCommand): number {
  const reason = 'reason' in command ? command.reason : null;
  const metadata = 'metadata' in command ? command.metadata : null;
  let characters = reason?.length ?? 0;
  for (const name in metadata) {
    const value = metadata[name];
    characters += name.length + (typeof value === 'string' ? value.length : 8);
  }
  return POSTING_BYTES + 2 * characters;
}

async function readCoalesced(pool: Pool, keys: readonly CustomerKey[]): Promise<readonly (readonly Wallet[])[]> {
  const found = new Map<string, ReadonlyMap<string, readonly Wallet[]>>();
  await eachMerchant(keys, async (merchantId, own) => {
    const customers = [...new Set(own.map(({ customerId }) => customerId))];
    const wallets = await readWallets(autocommit(pool), merchantId, customers);
    found.set(
      merchantId,
      Map.groupBy(wallets, ({ customerId }) => customerId),
    );
  });
  return keys.map(({ merchantId, customerId }) => found.get(merchantId)?.get(customerId) ?? []);
}
