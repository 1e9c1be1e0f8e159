import type { Clock } from '../../clock.ts';
import { inTransactions } from '../../db/apart.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import type { WalletKey } from '../entry.ts';
import type { LedgerSettings } from '../store.ts';
import { endOfPart, lowBalanceCandidates, raiseAlerts } from './store.ts';

export interface ScanServices {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  /** Called when alerts were raised and want to be announced. */
  readonly onPosted: () => void;
  /** For tests: how many wallets a statement looks through. */
  readonly partSize?: number;
}

/** Wallets a transaction locks at once: few enough that a posting to one of them does not notice. */
const PAGE_SIZE = 200;
/** Wallets that one statement looks through: a quarter of a second where none of them is in memory. */
const PART_SIZE = 20_000;

/** How far a process has come. A run that broke off, such as by an outage, is gone on with by the next. */
export interface ScanPlace {
  after: WalletKey | null;
}

/**
 * Looks at every wallet that may be low, and raises the alerts that are due: the safety net under the decision that each
 * posting makes. It finds what postings cannot see: changed thresholds, intervals that have passed, reminders.
 * @returns how many wallets were looked at and how many alerts were raised
 */
export async function checkLowBalances(
  { pool, settings, clock, onPosted, partSize = PART_SIZE }: ScanServices,
  place: ScanPlace = { after: null },
): Promise<{ wallets: number; alerts: number }> {
  const db = autocommit(pool);
  let wallets = 0;
  let alerts = 0;
  let upTo: WalletKey | null = null;
  let isPartDone = true;
  do {
    if (isPartDone) upTo = await endOfPart(db, place.after, partSize);
    const page = await lowBalanceCandidates(db, settings.rule, { after: place.after, upTo, limit: PAGE_SIZE });
    for (const own of inTransactions(page, ({ merchantId }) => merchantId))
      alerts += await transaction(pool, (tx) => raiseAlerts(tx, own, { ...settings, now: clock.now() }));
    wallets += page.length;
    isPartDone = page.length < PAGE_SIZE;
    place.after = isPartDone ? upTo : (page.at(-1) ?? null);
  } while (place.after !== null);
  if (alerts > 0) onPosted();
  return { wallets, alerts };
}
