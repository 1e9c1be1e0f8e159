import { text, timestamptz } from './codec.ts';
import { statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/** A table whose rows wait for a time, and the column that has it; null where a row waits for none. */
export interface Waiting {
  readonly table: 'scheduled_entry' | 'grant_schedule' | 'topup' | 'topup_due' | 'checkout_due';
  readonly column: 'due_at' | 'next_at' | 'look_at' | 'retry_at';
}

/**
 * SQL for a recursive common table expression `name (merchant_id)`: the merchants of whom anything waits, one after another along the index,
 * however much each of them has there.
 */
export function waitingMerchants(name: string, { table, column }: Waiting): string {
  return `${name} (merchant_id) as (
      (select merchant_id from ${table} where ${column} is not null order by merchant_id limit 1)
      union all
      select (select s.merchant_id from ${table} s where s.${column} is not null and s.merchant_id > m.merchant_id
        order by s.merchant_id limit 1)
      from ${name} m where m.merchant_id is not null)`;
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
