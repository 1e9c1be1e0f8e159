import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Pool } from '../../src/db/pool.ts';
import { customer, newKey, WALLETS } from './fill.ts';
import type { Measured } from './row.ts';

/**
 * What Postgres alone can do on this machine: the baseline's tables, written by set-based statements of 500, on two connections. No
 * HTTP, no check of anything but the balance.
 */

const IN_A_BATCH = 500;
const CONNECTIONS = 2;

/** Locks, decides and writes a batch in one statement. Who would fall below zero fails all of it: a limit need not be polite. */
const DEBIT_BATCH = `
  with given as materialized (
    select * from unnest($1::text[], $2::text[]) with ordinality as g (customer_id, idempotency_key, place)),
  locked as materialized (
    select customer_id, balance, version from wallet
    where customer_id = any ($1) and currency = 'USD' order by customer_id for update),
  counted as (
    select g.customer_id, g.idempotency_key, l.balance, l.version,
      row_number() over (partition by g.customer_id order by g.place) as nth
    from given g join locked l using (customer_id)),
  written as (
    insert into entry
      (customer_id, currency, seq, amount, is_credit, before_balance, after_balance, reason, idempotency_key, created_at)
    select customer_id, 'USD', version + nth, 1, $3, balance + (nth - 1) * sign, balance + nth * sign, 'bench', idempotency_key, now()
    from counted, (select case when $3 then 1 else -1 end as sign) s),
  moved as (select customer_id, max(nth) as count from counted group by customer_id)
  update wallet w
  set balance = w.balance + case when $3 then m.count else -m.count end, version = w.version + m.count, updated_at = now()
  from moved m where w.customer_id = m.customer_id and w.currency = 'USD'`;

const TAKE_EVENTS = `
  insert into inbox (event_id, payload, applied_at)
  select event_id, payload, now() from unnest($1::text[], $2::jsonb[]) as e (event_id, payload) on conflict do nothing`;

/** The name of its sessions, by which their time counts as Postgres' for the web. */
export const SQL_LIMIT = 'sql-for-web';

async function batchesFor(
  pool: Pool,
  seconds: number,
  batch: (client: pg.PoolClient) => Promise<void>,
): Promise<Measured> {
  const startedAt = performance.now();
  let count = 0;
  const work = async () => {
    const client = await pool.connect();
    while (performance.now() - startedAt < seconds * 1000) {
      await batch(client);
      count += IN_A_BATCH;
    }
    client.release();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, work));
  return { value: count / ((performance.now() - startedAt) / 1000), requests: count };
}

const keysOfABatch = () => Array.from({ length: IN_A_BATCH }, newKey);
const customersOfABatch = () => Array.from({ length: IN_A_BATCH }, () => customer(Math.floor(Math.random() * WALLETS)));

/** Debits, spread over all wallets or on one. */
export function debitBatches(pool: Pool, seconds: number, spread: 'spread' | 'hot'): Promise<Measured> {
  return batchesFor(pool, seconds, async (client) => {
    const customers = spread === 'hot' ? Array.from({ length: IN_A_BATCH }, () => customer(0)) : customersOfABatch();
    await client.query({ name: 'batch', text: DEBIT_BATCH, values: [customers, keysOfABatch(), false] });
  });
}

/** Events into an inbox and their credits onto wallets, each event once: two statements and one commit a batch. */
export function inboxBatches(pool: Pool, seconds: number, payload: string): Promise<Measured> {
  const payloads = Array.from({ length: IN_A_BATCH }, () => payload);
  return batchesFor(pool, seconds, async (client) => {
    const ids = Array.from({ length: IN_A_BATCH }, () => `evt_${randomUUID()}`);
    await client.query('begin');
    await client.query({ name: 'inbox', text: TAKE_EVENTS, values: [ids, payloads] });
    await client.query({ name: 'batch', text: DEBIT_BATCH, values: [customersOfABatch(), keysOfABatch(), true] });
    await client.query('commit');
  });
}
