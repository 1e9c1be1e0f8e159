import type { Clock } from '../clock.ts';
import { Failures } from '../db/failures.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, type Tx, transaction } from '../db/transaction.ts';
import type { LedgerMoment, LedgerSettings } from '../ledger/store.ts';
import type { Logger } from '../telemetry/log.ts';

export interface DueServices {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  /** Called when something was written that its merchant is to be told of. */
  readonly onPosted: () => void;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** Rows of one merchant that are due. */
interface DueRows<Key> {
  readonly merchantId: string;
  readonly keys: readonly Key[];
}

/** A kind of row that is due at a time: how it is found, and what is done then. */
export interface DueKind<Key> {
  /** For the log. */
  readonly name: string;
  /** Rows that a transaction settles. */
  readonly pageSize: number;
  /** The merchants who have any. */
  merchants(db: Queryable, now: Date): Promise<readonly string[]>;
  /** The first of a merchant that are due, without locks. */
  page(db: Queryable, merchantId: string, due: { readonly now: Date; readonly limit: number }): Promise<readonly Key[]>;
  /**
   * Locks those that are still due and not locked by somebody else, and settles them: none of them is due then.
   * @returns what came of it, one after another; null if all were somebody else's
   */
  settle(tx: Tx, due: DueRows<Key>, moment: LedgerMoment): Promise<readonly unknown[] | null>;
  /** Makes a row that could not be settled due at a later time. */
  putOff(db: Queryable, due: DueRows<Key>, times: { readonly now: Date; readonly until: Date }): Promise<void>;
}

/** Of a row by itself, so that one whose wallet is locked delays nobody for long. */
const LOCK_TIMEOUT_MS = 250;
/** Of each kind of row: both are one job, which is given up after an hour. */
const MOST_LOST_MS = 20 * 60_000;
/** What failed by itself is tried again after this time. */
const PUT_OFF_MS = 600_000;

/**
 * Settles all that is due, a page of each merchant after another, so that none waits behind another's. Several workers share the work: what
 * one has locked, the others leave to it. A row that fails is put off, and no other waits for it. Whatever a row does, it comes to an end: a
 * merchant of whom only rows are found that were found before has had its turn, and the next run looks at them again.
 * @returns how much was done, such as postings asked for
 * @throws {unknown} at the end, what failed first of a merchant of whom not even the single rows could be put off; at once if the database is away
 */
export async function settleAllDue<Key>(services: DueServices, kind: DueKind<Key>): Promise<number> {
  const { pool, clock, signal, logger } = services;
  const now = clock.now();
  const failures = new Failures(MOST_LOST_MS);
  let postings = 0;
  let merchants = await kind.merchants(autocommit(pool), now);
  const seen = new Set<string>();
  while (merchants.length > 0) {
    const again: string[] = [];
    for (const merchantId of merchants) {
      if (signal.aborted) return postings;
      const warn = (err: unknown) =>
        logger.warn({ err, what: kind.name, merchantId }, 'what is due of a merchant was left to the next run');
      const settled = await failures.outlive(() => settleTurn(services, kind, { merchantId, now, seen }), warn);
      if (settled === null) continue;
      postings += settled;
      again.push(merchantId);
    }
    merchants = again;
  }
  failures.rethrow();
  return postings;
}

interface Turn {
  readonly merchantId: string;
  readonly now: Date;
  /** What was found in the run. */
  readonly seen: Set<string>;
}

/** A page of one merchant. @returns how many postings were asked for; null if there is nothing more to do for him */
async function settleTurn<Key>(
  services: DueServices,
  kind: DueKind<Key>,
  { merchantId, now, seen }: Turn,
): Promise<number | null> {
  const keys = await kind.page(autocommit(services.pool), merchantId, { now, limit: kind.pageSize });
  const isOther = keys.filter((key) => isFirst(seen, JSON.stringify([merchantId, key]))).length > 0;
  if (isOther) return settlePage(services, kind, { merchantId, keys, now });
  if (keys.length > 0)
    services.logger.warn({ what: kind.name, merchantId, rows: keys.length }, 'rows are due that were looked at');
  return null;
}

function isFirst(seen: Set<string>, name: string): boolean {
  const isNew = !seen.has(name);
  seen.add(name);
  return isNew;
}

interface Page<Key> extends DueRows<Key> {
  readonly now: Date;
}

/** @returns how many postings were asked for; null if nothing was done, since others do it */
async function settlePage<Key>(services: DueServices, kind: DueKind<Key>, page: Page<Key>): Promise<number | null> {
  try {
    return await settleTogether(services, kind, page);
  } catch (error) {
    const { keys, merchantId } = page;
    services.logger.warn(
      { err: error, what: kind.name, merchantId, rows: keys.length },
      'rows that are due were not settled together, so each is by itself',
    );
  }
  let postings: number | null = null;
  for (const key of page.keys) {
    if (services.signal.aborted) return postings;
    const settled = await settleAlone(services, kind, { ...page, keys: [key] });
    if (settled !== null) postings = (postings ?? 0) + settled;
  }
  return postings;
}

async function settleAlone<Key>(services: DueServices, kind: DueKind<Key>, page: Page<Key>): Promise<number | null> {
  const { pool, logger, clock } = services;
  try {
    return await settleTogether(services, kind, { ...page, lockTimeoutMs: LOCK_TIMEOUT_MS });
  } catch (error) {
    const [key] = page.keys;
    logger.error({ err: error, what: kind.name, merchantId: page.merchantId, key }, 'what is due could not be settled');
    const until = new Date(clock.now().getTime() + PUT_OFF_MS);
    await kind.putOff(autocommit(pool), page, { now: page.now, until });
    return 0;
  }
}

async function settleTogether<Key>(
  { pool, settings, onPosted }: DueServices,
  kind: DueKind<Key>,
  { now, lockTimeoutMs, ...due }: Page<Key> & { readonly lockTimeoutMs?: number },
): Promise<number | null> {
  const results = await transaction(pool, async (tx) => {
    if (lockTimeoutMs !== undefined) await tx.setLockTimeout(lockTimeoutMs);
    return kind.settle(tx, due, { ...settings, now });
  });
  if (results !== null) onPosted();
  return results?.length ?? null;
}
