import type { Clock } from '../../clock.ts';
import { inTransactions } from '../../db/apart.ts';
import { bigint, nullable, text, timestamptz } from '../../db/codec.ts';
import type { Pool } from '../../db/pool.ts';
import { statement } from '../../db/statement.ts';
import { columns, pick, type Row } from '../../db/table.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import type { Logger } from '../../telemetry/log.ts';
import { type LedgerSettings, postBatch } from '../store.ts';
import { WALLET, WALLET_DUE } from '../tables.ts';
import { countWithin } from './parts.ts';

export interface SweepServices {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  /** Called when something ended that its merchant is to be told of. */
  readonly onPosted: () => void;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** Wallets a transaction locks at once: few enough that a posting to one of them does not notice. */
const PAGE_SIZE = 200;
/** Open holds and lots a transaction reads at once, unless one wallet has more. */
const PAGE_ROWS = 5_000;
/** Of a wallet by itself, so that a page of locked ones does not last. */
const LOCK_TIMEOUT_MS = 250;

/**
 * Ends the holds and lots that are over, and tells of lots that soon will be, in wallets that nobody has asked since. Everywhere else
 * they have ended already, so a run that was missed only delays what merchants are told. It reads the work list without locks, and
 * decides under those of the wallets. A wallet that fails is left to the next run, and no other waits for it.
 * @returns how many wallets were looked at
 */
export async function sweepDueWallets(services: SweepServices): Promise<number> {
  const { pool, clock, onPosted, signal } = services;
  const now = clock.now();
  let after: Due | null = null;
  let wallets = 0;
  while (!signal.aborted) {
    const found: Due[] = await dueWallets(pool, now, after);
    const page = found.slice(0, countWithin(found, PAGE_ROWS));
    for (const own of inTransactions(page, ({ merchantId }) => merchantId)) await sweepPage(services, own, now);
    wallets += page.length;
    // Not from the beginning again: a wallet that was not settled stays on the list.
    after = page.at(-1) ?? null;
    if (found.length < PAGE_SIZE && page.length === found.length) break;
  }
  if (wallets > 0) onPosted();
  return wallets;
}

const DUE = { ...WALLET_DUE.shape, ...pick(WALLET.shape, 'openHolds', 'openLots') };
type Due = Row<typeof DUE>;

async function sweepPage(services: SweepServices, page: readonly Due[], now: Date): Promise<void> {
  try {
    await sweep(services, { wallets: page, now });
  } catch (error) {
    services.logger.warn(
      { err: error, wallets: page.length },
      'wallets were not settled together, so each is by itself',
    );
    for (const one of page) {
      if (services.signal.aborted) return;
      await sweepAlone(services, one, now);
    }
  }
}

async function sweepAlone(services: SweepServices, wallet: Due, now: Date): Promise<void> {
  try {
    await sweep(services, { wallets: [wallet], now, lockTimeoutMs: LOCK_TIMEOUT_MS });
  } catch (error) {
    const { merchantId, customerId, currency } = wallet;
    services.logger.error(
      { err: error, merchantId, customerId, currency },
      'a wallet in which something ended was not settled',
    );
  }
}

interface Sweeping {
  readonly wallets: readonly Due[];
  readonly now: Date;
  readonly lockTimeoutMs?: number;
}

async function sweep({ pool, settings }: SweepServices, { wallets, now, lockTimeoutMs }: Sweeping): Promise<void> {
  const sweeps = wallets.map(({ merchantId, customerId, currency }) => ({
    ...{ op: 'sweep' as const, merchantId, customerId, currency },
  }));
  // What is over ends also in a currency that is not configured any more.
  const currencies = new Set(wallets.map(({ currency }) => currency));
  await transaction(pool, async (tx) => {
    if (lockTimeoutMs !== undefined) await tx.setLockTimeout(lockTimeoutMs);
    await postBatch(tx, sweeps, { ...settings, currencies, now });
  });
}

function dueWallets(pool: Pool, now: Date, after: Due | null): Promise<Due[]> {
  return DUE_WALLETS.all(autocommit(pool), {
    ...{ now, limit: PAGE_SIZE, afterDueAt: after?.dueAt ?? null, afterMerchantId: after?.merchantId ?? null },
    ...{ afterCustomerId: after?.customerId ?? null, afterCurrency: after?.currency ?? null },
  });
}

const DUE_WALLETS = statement({
  acrossMerchants: 'the sweep goes through every wallet in which something ends',
  params: {
    now: timestamptz,
    limit: bigint,
    afterDueAt: nullable(timestamptz),
    afterMerchantId: nullable(text),
    afterCustomerId: nullable(text),
    afterCurrency: nullable(text),
  },
  row: DUE,
  text: (p) => `
    select ${columns(WALLET_DUE.shape, 'd')}, w.open_holds, w.open_lots
    from (
      select * from wallet_due
      where due_at <= ${p.now} and (${p.afterDueAt}::timestamptz is null
        or (due_at, merchant_id, customer_id, currency) > (${p.afterDueAt}, ${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency}))
      order by due_at, merchant_id, customer_id, currency
      limit ${p.limit}) d
    join wallet w using (merchant_id, customer_id, currency)
    order by d.due_at, d.merchant_id, d.customer_id, d.currency`,
});
