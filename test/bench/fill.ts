import type { Pool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import type { Posting } from '../../src/ledger/entry.ts';
import { openWallets } from '../../src/ledger/open-wallets.ts';
import { type LedgerSettings, postBatch } from '../../src/ledger/store.ts';
import type { LoadRequest } from './load.ts';

/** What most rows work with: wallets with money, and the requests of their merchant. */

export const API_KEY = 'ck_test_benchmark_key_0123456789abcdef0123456789';
const HEADERS = { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' };
export const MERCHANT = 'bus_default';
export const WALLETS = 20_000;
const FUNDS = 1_000_000_000;
const IN_A_BATCH = 500;

export const SETTINGS: LedgerSettings = {
  currencies: new Set(['USD', 'INR']),
  rule: { defaultThresholds: new Map(), marginPercent: 10, minIntervalSeconds: 3600, reminderSeconds: 0 },
  lotRule: { noticeDays: [], noticeMinimums: new Map(), paidExpiryMinDays: null },
};

export const customer = (index: number) => `cus_bench${index}`;
export const anyCustomer = () => customer(Math.floor(Math.random() * WALLETS));

let keys = 0;
/** No other request of any run has it. */
export function newKey(): string {
  keys += 1;
  return `bench-${process.pid}-${keys}`;
}

export function post(path: string, body: object): LoadRequest {
  return { method: 'POST', path, headers: HEADERS, body: JSON.stringify(body) };
}

export const get = (path: string): LoadRequest => ({ method: 'GET', path, headers: HEADERS });

export const debit = (customerId = anyCustomer(), currency = 'USD', key = newKey()) =>
  post(`/customers/${customerId}/wallets/ledger-entries`, {
    ...{ amount: 1, currency, entry_type: 'debit', reason: 'bench', idempotency_key: key },
  });

/** Customers with their wallets, which nobody is told of: news of new wallets is not what is measured. */
export async function openFor(pool: Pool, customers: readonly string[]): Promise<void> {
  for (let from = 0; from < customers.length; from += 5_000) {
    const some = customers.slice(from, from + 5_000);
    await pool.query(
      `insert into customer (merchant_id, customer_id, email, name, created_at)
       select 'bus_default', id, '', '', now() from unnest($1::text[]) as id`,
      [some],
    );
    const wallets = some.map((customerId) => ({ merchantId: MERCHANT, customerId }));
    await transaction(pool, (tx) => openWallets(tx, wallets, { ...SETTINGS, now: new Date() }));
  }
}

/** Posts without requests, and nobody is told of it. */
export async function postAll(
  pool: Pool,
  postings: readonly (Pick<Posting, 'customerId' | 'amountMinor'> & Partial<Posting>)[],
): Promise<void> {
  for (let from = 0; from < postings.length; from += IN_A_BATCH) {
    const batch = postings.slice(from, from + IN_A_BATCH).map((one) => ({
      ...{ merchantId: MERCHANT, currency: 'USD', isCredit: true, eventType: 'merchant_adjustment' as const },
      ...{ reason: null, referenceObjectId: null, metadata: null, idempotencyKey: null, ...one },
    }));
    await transaction(pool, (tx) => postBatch(tx, batch, { ...SETTINGS, now: new Date() }));
  }
  await forgetNews(pool);
}

/** Nobody is told of what happened so far. What the worker writes meanwhile stays on the list: each wallet is locked first, as it is by who writes it. */
export async function forgetNews(pool: Pool): Promise<void> {
  const isNews = 'w.announced_version <> w.version or w.announced_alert_seq <> w.alert_seq';
  const ofWallet = 'u.merchant_id = w.merchant_id and u.customer_id = w.customer_id and u.currency = w.currency';
  await transaction(pool, async (tx) => {
    await tx.query(
      `select 1 from wallet w where ${isNews} or exists (select 1 from unannounced_wallet u where ${ofWallet})
       order by merchant_id, customer_id, currency for update`,
    );
    await tx.query(`update wallet w set announced_version = version, announced_alert_seq = alert_seq where ${isNews}`);
    await tx.query(`delete from unannounced_wallet u using wallet w where ${ofWallet} and not (${isNews})`);
    await tx.query('delete from unsent_message');
  });
}

/** The wallets of most rows, with money in each. */
export async function fill(pool: Pool): Promise<void> {
  const customers = Array.from({ length: WALLETS }, (_, index) => customer(index));
  await openFor(pool, customers);
  await postAll(
    pool,
    customers.map((customerId) => ({ customerId, amountMinor: FUNDS })),
  );
  await pool.query('vacuum analyze');
  await pool.query('checkpoint');
}
