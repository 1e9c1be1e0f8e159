import type { Clock } from '../../clock.ts';
import type { Pool } from '../../db/pool.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import type { WalletKey } from '../entry.ts';
import type { LedgerSettings } from '../store.ts';
import { lowBalanceCandidates, raiseAlerts } from './store.ts';

export interface ScanServices {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  /** Called when alerts were raised and want to be announced. */
  readonly onPosted: () => void;
}

/** Wallets a transaction locks at once: few enough that a posting to one of them does not notice. */
const PAGE_SIZE = 200;

/**
 * Looks at every wallet that may be low, and raises the alerts that are due: the safety net under the decision that each
 * posting makes. It finds what postings cannot see: changed thresholds, intervals that have passed, reminders.
 * @returns how many wallets were looked at and how many alerts were raised
 */
export async function checkLowBalances({
  pool,
  settings,
  clock,
  onPosted,
}: ScanServices): Promise<{ wallets: number; alerts: number }> {
  let after: WalletKey | null = null;
  let wallets = 0;
  let alerts = 0;
  for (;;) {
    const page: WalletKey[] = await lowBalanceCandidates(autocommit(pool), settings.rule, { after, limit: PAGE_SIZE });
    alerts += await transaction(pool, (tx) => raiseAlerts(tx, page, { ...settings, now: clock.now() }));
    wallets += page.length;
    after = page.at(-1) ?? null;
    if (page.length < PAGE_SIZE) break;
  }
  if (alerts > 0) onPosted();
  return { wallets, alerts };
}
