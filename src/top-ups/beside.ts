import { setTimeout as delay } from 'node:timers/promises';
import { Failures } from '../db/failures.ts';

/** So much is under way at once of one merchant, and of all of them: who waits for a provider that answers slowly keeps no other waiting. */
const AT_ONCE_EACH = 8;
const AT_ONCE = 64;
/** So long a run begins anything; what is left is for the next, which comes within a minute. Well before the job is given up. */
const RUN_MS = 5 * 60_000;
/** So often it is asked who has something due, while others are worked for. */
const ASK_EVERY_MS = 1_000;

export interface Work {
  readonly signal: AbortSignal;
  /** Who has something due now. */
  merchants(): Promise<readonly string[]>;
  /** Works on a page of a merchant's. @returns whether there is more */
  page(merchantId: string, slots: Slots): Promise<boolean>;
  /** Told of a page that failed. Nothing more is begun of that merchant's in this run, and others go on. */
  failed(merchantId: string, error: unknown): void;
}

/**
 * Works for every merchant who has something due, each beside the others, a page after another. Whoever comes while others are worked for is
 * begun with within a second.
 * @throws {unknown} at the end, what failed first; as soon as what is under way is done if the database is away
 */
export async function besideEachOther({ signal, merchants, page, failed }: Work): Promise<void> {
  const untilMs = performance.now() + RUN_MS;
  const slots = new Slots(AT_ONCE, AT_ONCE_EACH);
  const active = new Map<string, Promise<void>>();
  /** When each merchant had his turn; he has another in this run only after a while, since what is due may be due again at once. */
  const doneAtMs = new Map<string, number>();
  const broken = new Set<string>();
  const failures = new Failures(null);
  const outages: unknown[] = [];
  const isOver = () => signal.aborted || performance.now() >= untilMs || outages.length > 0;
  const work = async (merchantId: string) => {
    try {
      const tell = (error: unknown) => {
        broken.add(merchantId);
        failed(merchantId, error);
      };
      while (!isOver() && (await failures.outlive(() => page(merchantId, slots), tell)));
    } catch (error) {
      outages.push(error);
    } finally {
      active.delete(merchantId);
      doneAtMs.set(merchantId, performance.now());
    }
  };
  while (!isOver()) {
    const now = performance.now();
    const mayBegin = (id: string) =>
      !active.has(id) && !broken.has(id) && now - (doneAtMs.get(id) ?? Number.NEGATIVE_INFINITY) >= ASK_EVERY_MS;
    const due = await merchants().catch((error: unknown) => {
      outages.push(error);
      return [];
    });
    for (const merchantId of due.filter(mayBegin)) active.set(merchantId, work(merchantId));
    if (active.size === 0) break;
    const over = new AbortController();
    await Promise.race([...active.values(), delay(ASK_EVERY_MS, undefined, { signal: over.signal }).catch(() => {})]);
    over.abort();
  }
  await Promise.all(active.values());
  if (outages.length > 0) throw outages[0];
  failures.rethrow();
}

/** Bounds how much is under way at once. */
export class Slots {
  #free: number;
  readonly #each: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number, each: number) {
    this.#free = atOnce;
    this.#each = each;
  }

  /** Does something for each item, in their order, so many at once as one may have. It must not reject. */
  async forEach<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
    const left = [...items];
    const one = async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) {
        await this.#take();
        await work(item).finally(() => this.#giveBack());
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.#each, items.length) }, one));
  }

  async #take(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #giveBack(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
