import { onCitus } from '../../src/db/backend.ts';
import type { Pool } from '../../src/db/pool.ts';

const ON_ONE = `
  select 1 from pg_stat_activity
  where datname = current_database() and wait_event_type = 'Lock' and query like $1 and application_name like $2`;

/** The statement is known on the coordinator, and the wait on the node. */
const ON_NODES = `
  select 1 from citus_stat_activity where datname = current_database() group by global_pid
  having bool_or(wait_event_type = 'Lock') and bool_or(not is_worker_query and query like $1 and application_name like $2)`;

interface Asking {
  query(text: string, values: unknown[]): Promise<{ rowCount: number | null }>;
}

/**
 * How many statements wait for a lock of somebody else's at this moment, on whichever node. Call it outside of a transaction, since inside one
 * Postgres always shows the same picture of its activity.
 * @param like what their text is like
 * @param application what the name of the application is like that waits
 */
export async function waitingForLocks(db: Asking, like = '%', application = '%'): Promise<number> {
  const { rowCount } = await db.query(onCitus() ? ON_NODES : ON_ONE, [like, application]);
  return rowCount ?? 0;
}

/** Holds the row of a customer's wallets in another transaction, for as long as it takes. @returns what lets go of it */
export async function holdWallets(
  pool: Pool,
  { merchantId, customerId }: { readonly merchantId: string; readonly customerId: string },
): Promise<() => Promise<void>> {
  const holder = await pool.connect();
  await holder.query('begin; set local idle_in_transaction_session_timeout = 0');
  await holder.query('select 1 from wallet where merchant_id = $1 and customer_id = $2 for update', [
    merchantId,
    customerId,
  ]);
  return async () => {
    await holder.query('rollback');
    holder.release();
  };
}
