import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { customer, WALLETS } from './fill.ts';

/** The tables of the baselines: what a posting needs, and no index, column or reference more. */

export const BASELINE_DATABASE = 'bench_baseline';
export const BASELINE_QUEUES = { strong: 'strong-event', naive: 'naive-event' } as const;

const TABLES = `
  create table wallet (
    customer_id text not null,
    currency text not null,
    balance bigint not null check (balance >= 0),
    version bigint not null,
    updated_at timestamptz not null,
    primary key (customer_id, currency)) with (fillfactor = 70);
  create table entry (
    customer_id text not null,
    currency text not null,
    seq bigint not null,
    amount bigint not null check (amount > 0),
    is_credit boolean not null,
    before_balance bigint not null,
    after_balance bigint not null,
    reason text,
    idempotency_key text not null,
    created_at timestamptz not null,
    primary key (customer_id, currency, seq),
    unique (customer_id, idempotency_key));
  create table inbox (event_id text primary key, payload jsonb not null, applied_at timestamptz);`;

export async function prepareBaseline(databaseUrl: string): Promise<void> {
  const client = new pg.Client(databaseUrl);
  await client.connect();
  await client.query(TABLES);
  await client.query("insert into wallet select id, 'USD', 1000000000000, 0, now() from unnest($1::text[]) as id", [
    Array.from({ length: WALLETS }, (_, index) => customer(index)),
  ]);
  const boss = new PgBoss({ connectionString: databaseUrl, supervise: false, schedule: false, max: 1 });
  await boss.start();
  for (const queue of Object.values(BASELINE_QUEUES)) await boss.createQueue(queue, { notify: true });
  await boss.stop({ graceful: false });
  await client.query('vacuum analyze');
  await client.end();
}
