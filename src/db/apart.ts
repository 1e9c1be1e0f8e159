import { onCitus } from './backend.ts';
import type { Pool } from './pool.ts';
import { isDatabaseError, isOutage } from './sqlstate.ts';

/**
 * Which work of several merchants is one transaction. On one Postgres all of it is, which costs about as much as that of one merchant. On Citus they may be on
 * several nodes, all of which would have to commit it: so there each merchant's work is a transaction by itself, which succeeds or fails by
 * itself, and several are under way beside each other (docs/decisions/0071-a-transaction-for-each-merchant.md).
 */

/** Connections of a pool that such transactions leave to requests and to whatever else a process does. */
const LEFT_FOR_OTHERS = 4;

/**
 * How many in a process have such transactions under way, each for itself. In web: two batchers of postings, that of reads and that of deliveries. In a worker: two
 * runs of each of two queues of events, the announcer's claims, two batchers of its marks, that of messages of their own, and that of webhooks' tries.
 */
const USERS = { web: 4, worker: 9 };

/** However large the pool is: each of a batcher's may hold as much memory as a batch of all merchants. */
const MOST_AT_ONCE = 8;

/**
 * How many transactions, each of one merchant, one of these users has under way at once; null where a transaction is of all merchants. Each of them holds a connection
 * and never waits for a second one, so together they have no more than the pool holds, unless it is smaller than their number, and none waits for one that only it
 * could free.
 */
export function transactionsAtOnce(pool: Pool, process: keyof typeof USERS): number | null {
  if (!onCitus()) return null;
  const share = Math.floor((pool.options.max - LEFT_FOR_OTHERS) / USERS[process]);
  return Math.min(MOST_AT_ONCE, Math.max(1, share));
}

/** The parts of some work that are a transaction each, in the order in which their first items come. */
export function inTransactions<Item>(
  items: readonly Item[],
  merchantOf: (item: Item) => string,
): readonly (readonly Item[])[] {
  return onCitus() ? [...Map.groupBy(items, merchantOf).values()] : [items];
}

/**
 * Whether what failed with this tells that no other merchant's work would fare better: nothing answers. An outage that the coordinator tells of may be that of one
 * node, and others are on another.
 */
export function isOutageOfAll(error: unknown): boolean {
  return isOutage(error) && !isDatabaseError(error);
}

/** Whether what failed with this may be of the merchant alone whose work it was. On one Postgres an outage is everybody's. */
export function mayBeOfOneMerchant(error: unknown): boolean {
  return onCitus() && !isOutageOfAll(error);
}

/**
 * Does the same with each part, so many beside each other. Once one has failed, no further one is begun.
 * @returns what came of each, in the order in which they ended
 * @throws {unknown} what the first threw that failed, when all that were begun have ended
 */
export async function sideBySide<Part, Result>(
  parts: readonly Part[],
  atOnce: number,
  work: (part: Part) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  const failures: unknown[] = [];
  const left = parts.values();
  const workOn = async () => {
    for (let next = left.next(); next.done !== true && failures.length === 0; next = left.next()) {
      try {
        results.push(await work(next.value));
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, workOn));
  if (failures.length > 0) throw failures[0];
  return results;
}

/** Does in a worker what may as well be left undone: it is done of each merchant by itself, so that one whose node is away leaves it done of the others. */
export async function whereItCan<Item extends { readonly merchantId: string }>(
  pool: Pool,
  items: readonly Item[],
  work: (own: readonly Item[]) => Promise<void>,
): Promise<void> {
  const parts = inTransactions(items, ({ merchantId }) => merchantId);
  await sideBySide(parts, transactionsAtOnce(pool, 'worker') ?? 1, (own) => work(own).catch(() => {}));
}
