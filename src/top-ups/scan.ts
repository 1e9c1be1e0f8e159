import { autocommit, type Queryable } from '../db/transaction.ts';
import type { WalletKey } from '../ledger/entry.ts';
import { readWallets } from '../ledger/store.ts';
import { addTopUpDue } from '../ledger/top-up-due.ts';
import { walletsWithOpenRefills } from '../schedules/refill-store.ts';
import type { ChargeServices } from './charge.ts';
import { enabledRules } from './store.ts';

const SCAN_PAGE = 500;

/**
 * The safety net under the list: wallets that are below their threshold, or of which a period of a schedule is to be paid, and that nobody
 * has put there. @returns how many were found
 */
export async function scanForTopUps(services: Pick<ChargeServices, 'pool' | 'clock' | 'signal'>): Promise<number> {
  const low = await scan(services, enabledRules, lowOf);
  return low + (await scan(services, walletsWithOpenRefills, async (_, { keys }) => keys));
}

interface Own {
  readonly merchantId: string;
  readonly keys: readonly WalletKey[];
}

async function scan(
  { pool, clock, signal }: Pick<ChargeServices, 'pool' | 'clock' | 'signal'>,
  pageAfter: (db: Queryable, after: WalletKey | null, limit: number) => Promise<WalletKey[]>,
  select: (db: Queryable, own: Own) => Promise<readonly WalletKey[]>,
): Promise<number> {
  const db = autocommit(pool);
  let after: WalletKey | null = null;
  let found = 0;
  while (!signal.aborted) {
    const page: WalletKey[] = await pageAfter(db, after, SCAN_PAGE);
    for (const [merchantId, own] of Map.groupBy(page, (one) => one.merchantId)) {
      const keys = await select(db, { merchantId, keys: own });
      if (keys.length > 0) found += await addTopUpDue(db, merchantId, { keys, now: clock.now() });
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
