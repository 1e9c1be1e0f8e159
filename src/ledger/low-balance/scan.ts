import type { Clock } from '../../clock.ts';
import { inTransactions } from '../../db/apart.ts';
import { Failures, HeldUpTooLongError } from '../../db/failures.ts';
import { HeldUp } from '../../db/held-up.ts';
import type { Pool } from '../../db/pool.ts';
import { isOutage } from '../../db/sqlstate.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { WalletKey } from '../entry.ts';
import type { LedgerSettings } from '../store.ts';
import { endOfPart, lowBalanceCandidates, raiseAlerts } from './store.ts';

export interface ScanServices {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  /** Called when alerts were raised and want to be announced. */
  readonly onPosted: () => void;
  readonly logger: Logger;
  /** For tests: how many wallets a statement looks through. */
  readonly partSize?: number;
}

/** Wallets a transaction locks at once: few enough that a posting to one of them does not notice. */
const PAGE_SIZE = 200;
/** Wallets that one statement looks through: a quarter of a second where none of them is in memory. */
const PART_SIZE = 20_000;
/** Of a wallet by itself, so that a page of locked ones does not last. */
const LOCK_TIMEOUT_MS = 250;

/** The job is given up after ten minutes. */
const MOST_LOST_MS = 5 * 60_000;

/** How far a process has come. A run that broke off, such as by an outage, is gone on with by the next. */
export interface ScanPlace {
  after: WalletKey | null;
}

/**
 * Looks at every wallet that may be low, and raises the alerts that are due: the safety net under the decision that each
 * posting makes. It finds what postings cannot see: changed thresholds, intervals that have passed, reminders. No wallet waits for
 * another that fails.
 * @returns how many wallets were looked at and how many alerts were raised
 * @throws {unknown} at the end, what failed first; at once if the database is away
 */
export async function checkLowBalances(
  services: ScanServices,
  place: ScanPlace = { after: null },
): Promise<{ wallets: number; alerts: number }> {
  const { pool, settings, onPosted, partSize = PART_SIZE } = services;
  const db = autocommit(pool);
  const met = { failures: new Failures(MOST_LOST_MS), heldUp: new HeldUp() };
  let wallets = 0;
  let alerts = 0;
  let upTo: WalletKey | null = null;
  let next: WalletKey | null = null;
  let isPartDone = true;
  try {
    do {
      if (isPartDone) upTo = await endOfPart(db, place.after, partSize);
      const page = await lowBalanceCandidates(db, settings.rule, { after: place.after, upTo, limit: PAGE_SIZE });
      isPartDone = page.length < PAGE_SIZE;
      next = isPartDone ? upTo : (page.at(-1) ?? null);
      for (const own of inTransactions(page, ({ merchantId }) => merchantId)) alerts += await raise(services, own, met);
      wallets += page.length;
      place.after = next;
    } while (place.after !== null);
  } catch (error) {
    // The next run would be held up by the same wallets, and never come to those behind them.
    if (error instanceof HeldUpTooLongError) place.after = next;
    throw error;
  } finally {
    if (alerts > 0) onPosted();
  }
  met.failures.rethrow();
  return { wallets, alerts };
}

/** What went wrong in a run so far. */
interface Met {
  readonly failures: Failures;
  readonly heldUp: HeldUp;
}

/** Together, and if that fails each by itself. @returns how many alerts were raised */
async function raise(services: ScanServices, keys: readonly WalletKey[], met: Met): Promise<number> {
  const { logger } = services;
  const { failures, heldUp } = met;
  try {
    return await raiseIn(services, keys, heldUp.lockTimeoutMs(keys));
  } catch (error) {
    const warn = (err: unknown) =>
      logger.warn(
        { err, merchantId: keys[0]?.merchantId, wallets: keys.length },
        'wallets that may be low were not looked at',
      );
    // Of a merchant whose node is away, no wallet fares better than the others.
    if (isOutage(error)) return (await failures.outlive(() => Promise.reject(error), warn)) ?? 0;
  }
  let alerts = 0;
  for (const key of keys) {
    const warn = (err: unknown) => {
      heldUp.note(err, [key]);
      logger.warn({ err, ...key }, 'a wallet that may be low was not looked at');
    };
    const alone = () => raiseIn(services, [key], heldUp.lockTimeoutMs([key]) ?? LOCK_TIMEOUT_MS);
    alerts += (await failures.outlive(alone, warn)) ?? 0;
  }
  return alerts;
}

function raiseIn(
  { pool, settings, clock }: ScanServices,
  keys: readonly WalletKey[],
  lockTimeoutMs: number | null,
): Promise<number> {
  return transaction(pool, async (tx) => {
    if (lockTimeoutMs !== null) await tx.setLockTimeout(lockTimeoutMs);
    return raiseAlerts(tx, keys, { ...settings, now: clock.now() });
  });
}
