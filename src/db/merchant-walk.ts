import { text, timestamptz } from './codec.ts';
import { statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/** A table whose rows wait for a time, and the column that has it; null where a row waits for none. */
export interface Waiting {
  readonly table: 'scheduled_entry' | 'grant_schedule' | 'topup' | 'topup_due' | 'checkout_due';
  readonly column: 'due_at' | 'next_at' | 'look_at' | 'retry_at';
}

/** A table with an index that begins with the merchant, of whom it may have very many rows or none. */
type OfMerchants = 'provider_event' | 'unannounced_wallet' | 'unsent_message';

/**
 * SQL for a recursive common table expression `name (merchant_id)`: the merchants with rows in a table, one after another along its index,
 * however many rows each of them has there.
 * @param condition of the rows, by the names of their columns alone
 */
export function merchantWalk(name: string, table: OfMerchants | Waiting['table'], condition = 'true'): string {
  return `${name} (merchant_id) as (
      (select merchant_id from ${table} where ${condition} order by merchant_id limit 1)
      union all
      select (select s.merchant_id from ${table} s where ${condition} and s.merchant_id > m.merchant_id order by s.merchant_id limit 1)
      from ${name} m where m.merchant_id is not null)`;
}

/** The same for a table whose rows wait for a time: the merchants of whom anything waits. */
export function waitingMerchants(name: string, { table, column }: Waiting): string {
  return merchantWalk(name, table, `${column} is not null`);
}

/** A question for the merchants who have rows in a table. */
export function merchantsIn(
  table: OfMerchants,
  { name, why }: { readonly name: string; readonly why: string },
): (db: Queryable) => Promise<readonly string[]> {
  const merchants = statement({
    name,
    acrossMerchants: why,
    params: {},
    row: { merchantId: text },
    text: () => `
      with recursive ${merchantWalk('merchants', table)}
      select merchant_id from merchants where merchant_id is not null`,
    textOnCitus: () => `select distinct merchant_id from ${table} order by merchant_id`,
  });
  return async (db) => (await merchants.all(db)).map(({ merchantId }) => merchantId);
}

/** A question for the merchants of whom something of a table is due by then. */
export function merchantsDue(waiting: Waiting): (db: Queryable, now: Date) => Promise<readonly string[]> {
  const { table, column } = waiting;
  const due = statement({
    acrossMerchants: 'a job looks for merchants who have something due, so that each has a turn',
    params: { now: timestamptz },
    row: { merchantId: text },
    text: ({ now }) => `
      with recursive ${waitingMerchants('merchants', waiting)}
      select m.merchant_id from merchants m
      where m.merchant_id is not null
        and exists (select from ${table} s where s.merchant_id = m.merchant_id and s.${column} <= ${now})`,
    textOnCitus: ({ now }) =>
      `select distinct merchant_id from ${table} where ${column} <= ${now} order by merchant_id`,
  });
  return async (db, now) => (await due.all(db, { now })).map(({ merchantId }) => merchantId);
}
