import { Failures } from '../db/failures.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, transaction } from '../db/transaction.ts';
import type { WalletKey } from '../ledger/entry.ts';
import { lockToPassOver, merchantsInOutbox, passOver } from '../ledger/pass-over.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Publisher } from './publisher.ts';

/** Wallets of one transaction, which holds their locks. */
const PAGE_SIZE = 500;
/** Nobody waits for it, so that a wallet of which much happens is marked once for all of it. */
const EVERY_MS = 1_000;
/** What is heard is claimed in between: of a merchant whom nobody hears there may be a million wallets. */
const AT_MOST_MS = 2_000;
/** What failed of a merchant is tried again after this time. Nobody hears it, and nobody waits for it. */
const FAILED_AGAIN_MS = 60_000;

/** Who is heard, and where. */
interface Hearing {
  readonly pool: Pool;
  readonly publisher: Pick<Publisher, 'unheard'>;
}

/**
 * Nothing is claimed for merchants whom nobody hears: their wallets are marked as told, many with one statement. An endpoint that is
 * added later is told of what comes after it; what was before can be made from the entries when it is asked for (`recovery`).
 */
export class PassingOver {
  readonly #hearing: Hearing & { readonly logger: Logger };
  #nextMs = 0;
  #isCutShort = false;
  #unheard: readonly string[] = [];
  /** Where the last pass was cut short, by merchant. */
  readonly #places = new Map<string, Place>();
  /** Until when merchants are left alone of whom something failed. */
  readonly #failedUntilMs = new Map<string, number>();

  constructor(hearing: Hearing & { readonly logger: Logger }) {
    this.#hearing = hearing;
  }

  /** Merchants of whom nothing is to be claimed until the next {@link pass}. */
  get unheard(): readonly string[] {
    return this.#unheard;
  }

  /** Whether there are merchants of whom something failed, so that what is due of them stays where it is for its time. */
  get leavesAlone(): boolean {
    return this.#unheard.some((merchantId) => (this.#failedUntilMs.get(merchantId) ?? 0) > performance.now());
  }

  /** Whether the last {@link pass} left wallets for the next one. */
  get isCutShort(): boolean {
    return this.#isCutShort;
  }

  /**
   * Passes over what nobody hears, for two seconds at the most, unless it did so within the last second.
   * @param goesOn false ends it between two transactions
   * @returns how many wallets were marked
   */
  async pass(goesOn: () => boolean): Promise<number> {
    const { pool, publisher } = this.#hearing;
    if (publisher.unheard === undefined || performance.now() < this.#nextMs) return 0;
    this.#unheard = await publisher.unheard(autocommit(pool), await merchantsInOutbox(autocommit(pool)));
    const endsMs = performance.now() + AT_MOST_MS;
    const isTime = () => performance.now() < endsMs;
    let passed = 0;
    const failures = new Failures(null);
    for (const merchantId of this.#unheard) {
      if ((this.#failedUntilMs.get(merchantId) ?? 0) > performance.now()) continue;
      this.#failedUntilMs.delete(merchantId);
      const tell = (err: unknown) => {
        this.#failedUntilMs.set(merchantId, performance.now() + FAILED_AGAIN_MS);
        this.#hearing.logger.warn({ err, merchantId }, 'news that nobody hears was not passed over');
      };
      passed += (await failures.outlive(() => this.#passMerchant(merchantId, () => goesOn() && isTime()), tell)) ?? 0;
    }
    this.#isCutShort = !isTime();
    this.#nextMs = performance.now() + EVERY_MS;
    return passed;
  }

  async #passMerchant(merchantId: string, goesOn: () => boolean): Promise<number> {
    const place = this.#places.get(merchantId) ?? { after: null };
    let passed = 0;
    let began: WalletKey | null;
    do {
      began = place.after;
      passed += await passOverMerchant(this.#hearing, merchantId, { goesOn, place });
      // What came before where it went on is looked at as well.
    } while (began !== null && place.after === null);
    if (place.after === null) this.#places.delete(merchantId);
    else this.#places.set(merchantId, place);
    return passed;
  }
}

/** How far a merchant's wallets were passed over. */
interface Place {
  after: WalletKey | null;
}

/** Marks every wallet of the merchant's that is in the outbox and free, as long as nobody hears. @returns how many */
export async function passOverMerchant(
  { pool, publisher }: Hearing,
  merchantId: string,
  { goesOn = () => true, place = { after: null } }: { readonly goesOn?: () => boolean; readonly place?: Place } = {},
): Promise<number> {
  let passed = 0;
  while (goesOn()) {
    const wallets = await transaction(pool, async (tx) => {
      const locked = await lockToPassOver(tx, merchantId, { after: place.after, limit: PAGE_SIZE });
      // Asked for once the wallets are locked: whoever was added before one of their entries was written is seen here.
      const isUnheard = locked.length > 0 && (await publisher.unheard?.(tx, [merchantId]))?.includes(merchantId);
      if (isUnheard !== true) return [];
      await passOver(tx, merchantId, locked);
      return locked;
    });
    passed += wallets.length;
    place.after = wallets.length < PAGE_SIZE ? null : (wallets.at(-1) ?? null);
    if (place.after === null) break;
  }
  return passed;
}
