import { isOutageOfAll, mayBeOfOneMerchant, sideBySide, transactionsAtOnce } from '../db/apart.ts';
import { onCitus } from '../db/backend.ts';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, float, text } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { isHeldUp, isOutage } from '../db/sqlstate.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import { autocommit, type Queryable, type Tx, transaction } from '../db/transaction.ts';
import { IS_DUE, inTurns, ofOthers } from '../db/work-list.ts';
import { invariant } from '../errors.ts';
import type { WalletKey } from './entry.ts';
import { isInOutbox } from './in-outbox.ts';
import { OWN_KEY, WALLET_KEY } from './tables.ts';

interface Asked {
  readonly limit: number;
  /** Merchants whose wallets are left out. */
  readonly unheard: readonly string[];
}

/** Told of what could not be claimed while others were: a wallet, or where that is not known all of a merchant's. */
export type ClaimFailed = (error: unknown, whose: Partial<WalletKey> & Pick<WalletKey, 'merchantId'>) => void;

/** Told why what was tried together is tried in parts. */
export type TriedApart = (error: unknown) => void;

interface AskedApart<Result> extends Asked {
  readonly failed?: ClaimFailed | undefined;
  readonly apart?: TriedApart | undefined;
  /** Told of what came of one merchant's as soon as it is kept, while that of others is under way. */
  readonly done?: ((results: readonly Result[]) => void) | undefined;
}

/**
 * Locks up to `limit` wallets whose news is due, longest waiting first, but those of merchants that are named; of what somebody else works on, none. Where more wait, a few of
 * each other merchant as well.
 */
export async function lockDue(tx: Tx, asked: Asked): Promise<readonly WalletKey[]> {
  invariant(!onCitus(), 'on Citus nothing of several merchants is locked at once');
  const { oldest, others } = await findDue(tx, asked);
  const locked = await ofEachMerchant(others, (merchantId, keys) => LOCK_OWN.all(tx, { merchantId, keys }));
  return [...oldest, ...locked];
}

/** So many of a merchant beside as many of others as there is room for: so whoever has many wallets with news keeps nobody waiting until all of them are told. */
const EACH_OF_OTHERS = 5;

/** On one Postgres the oldest are locked for the transaction. */
async function findDue(
  db: Queryable,
  { limit, unheard }: Asked,
): Promise<{ readonly oldest: readonly WalletKey[]; readonly others: readonly WalletKey[] }> {
  const oldest = await LOCK_DUE.all(db, { limit, unheard });
  if (oldest.length < limit) return { oldest, others: [] };
  const taken = [...unheard, ...new Set(oldest.map(({ merchantId }) => merchantId))];
  return {
    oldest,
    others: await dueOfOthers(db, { each: EACH_OF_OTHERS, limit, taken, maxBytes: Number.POSITIVE_INFINITY }),
  };
}

export interface WalletsOfMerchant {
  readonly merchantId: string;
  readonly keys: readonly WalletKey[];
}

/**
 * Does something with the same wallets, those of each merchant locked and worked on in a transaction of their own, beside those of others: for Citus, and
 * for what could not be done together. Where a merchant's cannot be done, each of his wallets is tried by itself; one that fails is put off, so that it does not stay the
 * first of those who wait.
 * @throws {unknown} if nothing came of any, and the database is away
 */
export async function ofDueApart<Result>(
  pool: Pool,
  asked: AskedApart<Result>,
  work: (tx: Tx, own: WalletsOfMerchant) => Promise<readonly Result[]>,
): Promise<readonly Result[]> {
  const { oldest, others } = await findDue(autocommit(pool), asked);
  const parts = [...Map.groupBy([...oldest, ...others], ({ merchantId }) => merchantId)];
  const results: Result[] = [];
  const outages: unknown[] = [];
  let heldUp = 0;
  const lockAndWork = async (merchantId: string, found: readonly WalletKey[]) => {
    const own = await transaction(pool, async (tx) => {
      const keys = await LOCK_OWN.all(tx, { merchantId, keys: found });
      return keys.length === 0 ? [] : await work(tx, { merchantId, keys });
    });
    // It is kept, whatever comes of what is done after it.
    for (const result of own) results.push(result);
    asked.done?.(own);
  };
  const oneByOne = async (merchantId: string, keys: readonly WalletKey[]) => {
    const notPutOff: unknown[] = [];
    for (const key of keys) {
      try {
        await lockAndWork(merchantId, [key]);
      } catch (error) {
        if (isOutage(error)) throw error;
        asked.failed?.(error, key);
        await putOff(pool, key).catch((another: unknown) => void notPutOff.push(another));
      }
    }
    // They are still the first of those who wait.
    if (notPutOff.length > 0) throw notPutOff[0];
  };
  await sideBySide(parts, transactionsAtOnce(pool, 'worker') ?? 1, async ([merchantId, found]) => {
    if (outages.some(isOutageOfAll) || heldUp >= MOST_HELD_UP) return;
    try {
      await lockAndWork(merchantId, found).catch((error: unknown) => {
        if (isOutage(error) || isHeldUp(error)) throw error;
        asked.apart?.(error);
        return oneByOne(merchantId, found);
      });
    } catch (error) {
      if (isOutage(error)) outages.push(error);
      if (isHeldUp(error)) heldUp += 1;
      asked.failed?.(error, { merchantId });
    }
  });
  const [first] = outages.filter((error) => !mayBeOfOneMerchant(error));
  if (results.length === 0 && first !== undefined) throw first;
  return results;
}

function putOff(pool: Pool, key: WalletKey): Promise<number> {
  return PUT_OFF.run(autocommit(pool), { ...key, afterSeconds: FAILED_AGAIN_SECONDS, reason: CLAIM_FAILED });
}

/** What cannot be claimed is a defect, or corrupt: somebody must look, and hears of it in the log meanwhile. */
const FAILED_AGAIN_SECONDS = 60;
/** What takes too long for so many merchants takes too long for all: the rest is left to the next claim. */
const MOST_HELD_UP = 3;
const CLAIM_FAILED = 'it could not be claimed; the log says why';

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

/** What there is to tell of a wallet is measured once it is claimed. */
const DUE_OF_OTHERS = ofOthers('unannounced_wallet', { key: WALLET_KEY, bytes: '0::int8' });
const dueOfOthers = inTurns(DUE_OF_OTHERS.all);

/** Those of one merchant, as on Citus, whose nodes lock the rows of one at a time. */
const LOCK_OWN = statement({
  name: 'lock-own-due',
  params: { merchantId: text, keys: rowsOf(OWN_KEY) },
  row: WALLET_KEY,
  text: ({ merchantId, keys }) => `
    select ${columns(WALLET_KEY, 'u')}
    from unannounced_wallet u
    where ${isInOutbox(merchantId, keys('k'))} and ${IS_DUE}
    for update of u skip locked`,
  textOnCitus: ({ merchantId, keys }) => `
    select ${columns(WALLET_KEY, 'u')}
    from unannounced_wallet u join ${keys('k', { merchantId })} using (merchant_id, customer_id, currency)
    where ${IS_DUE}
    for update of u skip locked`,
});

/** Unless somebody else has claimed it meanwhile. */
const PUT_OFF = statement({
  params: { ...WALLET_KEY, afterSeconds: float, reason: text },
  text: (p) => `
    update unannounced_wallet
    set retry_at = now() + make_interval(secs => ${p.afterSeconds}), attempts = attempts + 1, last_error = ${p.reason}
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency} and ${IS_DUE}`,
});
