import type { Pool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import type { Metadata } from '../../src/ledger/entry.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { makeCustomers, posting, SETTINGS } from './ledger.ts';

/** What one write key may leave behind: entries with as much metadata as the API takes, 75 kB in UTF-8. */
const BULKY_METADATA: Metadata = Object.fromEntries(
  Array.from({ length: 50 }, (_, index) => [`key${index}`, '字'.repeat(500)]),
);

/** Makes customers `cus_<name>0`, `cus_<name>1` … whose dollar wallets each have so many such entries to be told of. */
export async function makeBulkyWallets(
  pool: Pool,
  name: string,
  wallets: number,
  entries: number,
): Promise<readonly string[]> {
  const names = Array.from({ length: wallets }, (_, index) => `${name}${index}`);
  const customers = await makeCustomers(pool, names);
  for (const customerId of customers) {
    const one = posting({ customerId, amountMinor: 10, metadata: BULKY_METADATA });
    const postings = Array.from({ length: entries }, () => one);
    await transaction(pool, (tx) => postBatch(tx, postings, { ...SETTINGS, now: new Date() }));
  }
  return customers;
}
