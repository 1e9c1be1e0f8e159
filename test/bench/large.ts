import type { Pool } from '../../src/db/pool.ts';

/** Large tables, filled by the server itself: constraints and triggers are left out meanwhile, so rows must be right as they are. */

/** Nothing to be said of them; with them come no customers. */
export async function fillWallets(pool: Pool, { from, to }: { from: number; to: number }): Promise<void> {
  await unchecked(
    pool,
    `insert into wallet (merchant_id, customer_id, currency, balance, version, announced_version, alerts_armed, created_at, updated_at)
     select 'bus_default', 'cus_bench' || n, 'USD', 1000000, 0, 0, true, '2025-01-01', '2025-01-01' from generate_series($1::bigint, $2::bigint - 1) n`,
    [from, to],
  );
}

/** So many credits of 1 for each of these wallets, after what they have, a second apart and in the order of time. */
export async function fillEntries(pool: Pool, each: number): Promise<void> {
  await unchecked(
    pool,
    `insert into entry (merchant_id, customer_id, currency, seq, amount, is_credit, event_type, before_balance, after_balance, reason,
       idempotency_key, fingerprint, created_at)
     select merchant_id, customer_id, currency, version + k, 1, true,
       case when (version + k) % 50000 = 40000 then 'refund' else 'merchant_adjustment' end, balance + k - 1, balance + k, 'bench',
       'fill-' || (version + k), sha256((customer_id || k)::bytea), updated_at + k * interval '1 second'
     from generate_series(1, $1::bigint) k cross join wallet where currency = 'USD'`,
    [each],
  );
  await unchecked(
    pool,
    `update wallet set balance = balance + $1::bigint, version = version + $1::bigint, announced_version = version + $1::bigint,
       updated_at = updated_at + $1::bigint * interval '1 second'
     where currency = 'USD'`,
    [each],
  );
  await pool.query('vacuum analyze entry');
  await pool.query('vacuum analyze wallet');
  await pool.query('checkpoint');
}

async function unchecked(pool: Pool, text: string, values: readonly unknown[]): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query("set session_replication_role = 'replica'");
    await client.query(text, [...values]);
  } finally {
    await client.query('reset session_replication_role');
    client.release();
  }
}
