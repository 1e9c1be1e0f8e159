import { Failures } from '../db/failures.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import type { WalletKey } from '../ledger/entry.ts';
import { readWallets } from '../ledger/store.ts';
import { addTopUpDue } from '../ledger/top-up-due.ts';
import { walletsWithOpenRefills } from '../schedules/refill-store.ts';
import type { ChargeServices } from './charge.ts';
import { enabledRules } from './store.ts';

const SCAN_PAGE = 500;

/** The job, which then fills wallets up, is given up after ten minutes. */
const MOST_LOST_MS = 2 * 60_000;

/**
 * The safety net under the list: wallets that are below their threshold, or of which a period of a schedule is to be paid, and that nobody
 * has put there.
 * @returns how many were found
 * @throws {unknown} at the end, what failed first of a merchant's; at once if the database is away
 */
export async function scanForTopUps(services: ScanServices): Promise<number> {
  const failures = new Failures(MOST_LOST_MS);
  const low = await scan(services, failures, { pageAfter: enabledRules, select: lowOf });
  const ofRefills = { pageAfter: walletsWithOpenRefills, select: async (_: Queryable, { keys }: Own) => keys };
  const found = low + (await scan(services, failures, ofRefills));
  failures.rethrow();
  return found;
}

type ScanServices = Pick<ChargeServices, 'pool' | 'clock' | 'signal' | 'logger'>;

interface Own {
  readonly merchantId: string;
  readonly keys: readonly WalletKey[];
}

interface Kind {
  readonly pageAfter: (db: Queryable, after: WalletKey | null, limit: number) => Promise<WalletKey[]>;
  readonly select: (db: Queryable, own: Own) => Promise<readonly WalletKey[]>;
}

async function scan(services: ScanServices, failures: Failures, { pageAfter, select }: Kind): Promise<number> {
  const { pool, clock, signal, logger } = services;
  const db = autocommit(pool);
  let after: WalletKey | null = null;
  let found = 0;
  while (!signal.aborted) {
    const page: WalletKey[] = await pageAfter(db, after, SCAN_PAGE);
    for (const [merchantId, own] of Map.groupBy(page, (one) => one.merchantId)) {
      const look = async () => {
        const keys = await select(db, { merchantId, keys: own });
        return keys.length > 0 ? addTopUpDue(db, merchantId, { keys, now: clock.now() }) : 0;
      };
      const warn = (err: unknown) =>
        logger.warn(
          { err, merchantId, wallets: own.length },
          'wallets that may have to be filled up were not looked at',
        );
      found += (await failures.outlive(look, warn)) ?? 0;
    }
    after = page.at(-1) ?? null;
    if (page.length < SCAN_PAGE) break;
  }
  return found;
}

async function lowOf(db: Queryable, { merchantId, keys }: Own): Promise<readonly WalletKey[]> {
  const wallets = await readWallets(db, merchantId, [...new Set(keys.map(({ customerId }) => customerId))]);
  const low = wallets.filter(({ balance, topUpBelow }) => topUpBelow !== null && balance < topUpBelow);
  return low.map(({ customerId, currency }) => ({ merchantId, customerId, currency }));
}
