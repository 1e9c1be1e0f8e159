import { isOutageOfAll, sideBySide, transactionsAtOnce } from '../db/apart.ts';
import { onCitus } from '../db/backend.ts';
import { array, bigint, text } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import { IS_DUE } from '../db/work-list.ts';
import { invariant } from '../errors.ts';
import type { WalletKey } from './entry.ts';
import { OWN_KEY, WALLET_KEY } from './tables.ts';

interface Asked {
  readonly limit: number;
  /** Merchants whose wallets are left out. */
  readonly unheard: readonly string[];
}

/** Told of what could not be claimed of one merchant, while others were. */
export type ClaimFailed = (error: unknown, merchantId: string) => void;

interface AskedApart<Result> extends Asked {
  readonly failed?: ClaimFailed | undefined;
  /** Told of what came of one merchant's as soon as it is kept, while that of others is under way. */
  readonly done?: ((results: readonly Result[]) => void) | undefined;
}

/** Locks up to `limit` wallets whose news is due, longest waiting first, but those of merchants that are named; of what somebody else works on, none. */
export async function lockDue(tx: Tx, asked: Asked): Promise<readonly WalletKey[]> {
  invariant(!onCitus(), 'on Citus nothing of several merchants is locked at once');
  return LOCK_DUE.all(tx, asked);
}

export interface WalletsOfMerchant {
  readonly merchantId: string;
  readonly keys: readonly WalletKey[];
}

/**
 * Does something with the same wallets, those of each merchant locked and worked on in a transaction of their own, beside those of others: for Citus. What came of some
 * counts although others failed, which are found again.
 * @throws {unknown} what failed first, if nothing came of any
 */
export async function ofDueApart<Result>(
  pool: Pool,
  asked: AskedApart<Result>,
  work: (tx: Tx, own: WalletsOfMerchant) => Promise<readonly Result[]>,
): Promise<readonly Result[]> {
  const due = await LOCK_DUE.all(autocommit(pool), asked);
  const parts = [...Map.groupBy(due, ({ merchantId }) => merchantId)];
  const failures: unknown[] = [];
  const results = await sideBySide(parts, transactionsAtOnce(pool, 'worker') ?? 1, async ([merchantId, found]) => {
    if (failures.some(isOutageOfAll)) return [];
    try {
      const results = await transaction(pool, async (tx) => {
        const keys = await LOCK_OWN.all(tx, { merchantId, keys: found });
        return keys.length === 0 ? [] : await work(tx, { merchantId, keys });
      });
      asked.done?.(results);
      return results;
    } catch (error) {
      failures.push(error);
      asked.failed?.(error, merchantId);
      return [];
    }
  });
  const all = results.flat();
  if (all.length === 0 && failures.length > 0) throw failures[0];
  return all;
}

const LOCK_DUE = statement({
  name: 'lock-due',
  acrossMerchants: 'whoever has waited longest is next',
  params: { limit: bigint, unheard: array(text) },
  row: WALLET_KEY,
  text: ({ limit, unheard }) => `
    select ${columns(WALLET_KEY)}
    from unannounced_wallet
    where merchant_id <> all (${unheard}::text[]) and ${IS_DUE}
    order by since
    limit ${limit}
    for update skip locked`,
  textOnCitus: ({ limit, unheard }) => `
    select ${columns(WALLET_KEY)} from unannounced_wallet
    where merchant_id <> all (${unheard}::text[]) and ${IS_DUE}
    order by since limit ${limit}`,
});

/** On Citus, whose nodes lock the rows of one merchant at a time. */
const LOCK_OWN = statement({
  name: 'lock-own-due',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  row: WALLET_KEY,
  text: ({ merchantId, keys }) => `
    select ${columns(WALLET_KEY, 'u')}
    from unannounced_wallet u join ${keys('k', { merchantId })} using (merchant_id, customer_id, currency)
    where ${IS_DUE}
    for update of u skip locked`,
});
