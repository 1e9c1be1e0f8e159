import type { Clock } from '../../clock.ts';
import { bigint, nullable, text, timestamptz } from '../../db/codec.ts';
import type { Pool } from '../../db/pool.ts';
import { statement } from '../../db/statement.ts';
import { columns, type Row } from '../../db/table.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import { type LedgerSettings, postBatch } from '../store.ts';
import { WALLET_DUE } from '../tables.ts';

export interface SweepServices {
  readonly pool: Pool;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  /** Called when holds ended that their merchant is to be told of. */
  readonly onPosted: () => void;
  readonly signal: AbortSignal;
}

/** Wallets a transaction locks at once: few enough that a posting to one of them does not notice. */
const PAGE_SIZE = 200;

/**
 * Ends the holds that are over, in wallets that nobody has asked since. Everywhere else they have ended already, so a run that was
 * missed only delays what merchants are told. It reads the work list without locks, and decides under those of the wallets.
 * @returns how many wallets were looked at
 */
export async function sweepDueWallets({ pool, settings, clock, onPosted, signal }: SweepServices): Promise<number> {
  const now = clock.now();
  let after: Due | null = null;
  let wallets = 0;
  while (!signal.aborted) {
    const page: Due[] = await dueWallets(pool, now, after);
    const sweeps = page.map(({ dueAt: _, ...key }) => ({ ...key, op: 'sweep' as const }));
    await transaction(pool, (tx) => postBatch(tx, sweeps, { ...settings, now }));
    wallets += page.length;
    // Not from the beginning again: a wallet of a currency that is not configured any more stays on the list.
    after = page.at(-1) ?? null;
    if (page.length < PAGE_SIZE) break;
  }
  if (wallets > 0) onPosted();
  return wallets;
}

type Due = Row<typeof WALLET_DUE.shape>;

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
  row: WALLET_DUE.shape,
  text: (p) => `
    select ${columns(WALLET_DUE.shape)} from wallet_due
    where due_at <= ${p.now} and (${p.afterDueAt}::timestamptz is null
      or (due_at, merchant_id, customer_id, currency) > (${p.afterDueAt}, ${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency}))
    order by due_at, merchant_id, customer_id, currency
    limit ${p.limit}`,
});
