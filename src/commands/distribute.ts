import pg from 'pg';
import { loadConfig } from '../config/env.ts';
import { SPREAD } from '../db/backend.ts';
import { connectionString } from '../db/database-url.ts';
import { KEYS_LEFT_OUT, REFUSE_CHANGE_BUT_ERASURE, spreadKey } from '../db/spread.ts';
import { createLogger, type Logger } from '../telemetry/log.ts';
import { runCommand } from './command.ts';

/** Every other table lies with this one: rows of one merchant are on one node. */
const FIRST = 'customer';

/** Where foreign keys are noted between their going and their coming back; gone when all is done. */
const NOTES = 'distributed_foreign_key';

/**
 * Spreads the merchants' tables over the nodes of a Citus cluster. Each step looks at what is there, so a run that was cut short is gone on
 * with by the next one, and one that finds all done changes nothing. Nobody may use the database meanwhile: rows are moved.
 * @returns the names of the tables that were spread now
 */
export async function distribute(databaseUrl: string, logger: Logger): Promise<readonly string[]> {
  const client = new pg.Client({
    connectionString: connectionString(databaseUrl),
    application_name: 'chokin-distribute',
  });
  await client.connect();
  try {
    await requireCitus(client);
    await client.query(
      "set statement_timeout = 0; set lock_timeout = 0; set citus.multi_shard_modify_mode = 'sequential'",
    );
    await client.query('set citus.enable_unsafe_triggers = on; set client_min_messages = warning');
    const left = await notSpread(client);
    if (left.length > 0) await setForeignKeysAside(client);
    await spreadMerchants(client);
    for (const [index, table] of left.entries()) {
      logger.info({ table, left: left.length - index }, 'a table is being spread');
      const beside = table === FIRST ? 'none' : FIRST;
      await client.query("select create_distributed_table($1::regclass, 'merchant_id', colocate_with => $2)", [
        table,
        beside,
      ]);
    }
    await putForeignKeysBack(client);
    await letTriggersReadTheirNode(client);
    return left;
  } finally {
    await client.end();
  }
}

async function requireCitus(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query("select from pg_extension where extname = 'citus'");
  if (rowCount === 0)
    throw new Error(
      'the database has no Citus: an administrator has to run "create extension citus" in it, on every node',
    );
  const { rows } = await client.query<{ nodes: number }>(
    "select count(*)::int as nodes from pg_dist_node where noderole = 'primary' and shouldhaveshards",
  );
  if (rows[0]?.nodes === 0)
    throw new Error('no node holds shards. Make some workers by citus_add_node(host, port), and run this again');
  const migrated = await client.query("select from pg_class where oid = to_regclass('public.provider_event')");
  if (migrated.rowCount === 0) throw new Error('the database has no tables yet: run npm run migrate');
}

/** The tables that are still to be spread; the one that the others lie with comes first. */
async function notSpread(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select name from unnest($1::text[]) as name
     where not exists (select from pg_dist_partition where logicalrelid = to_regclass('public.' || name) and partmethod = 'h')
     order by name <> $2, name`,
    [[...SPREAD], FIRST],
  );
  return rows.map(({ name }) => name);
}

/** A table can only be spread while no key leads from it, or to it, to one that is not. */
async function setForeignKeysAside(client: pg.Client): Promise<void> {
  await client.query('begin');
  await client.query(
    `create table if not exists ${NOTES} (of_table text not null, name text primary key, definition text not null)`,
  );
  const { rows } = await client.query<{ ofTable: string; name: string }>(
    `with gone as (
       select conrelid::regclass::text as of_table, conname::text as name, pg_get_constraintdef(oid) as definition
       from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace and conparentid = 0
         and conrelid not in (select logicalrelid from pg_dist_partition)),
     noted as (
       insert into ${NOTES} select * from gone where name <> all ($1) on conflict do nothing)
     select of_table as "ofTable", name from gone where name <> 'source_secret_merchant_id_source_id_fkey'`,
    [KEYS_LEFT_OUT],
  );
  for (const { ofTable, name } of rows)
    await client.query(`alter table ${ofTable} drop constraint ${pg.escapeIdentifier(name)}`);
  await client.query('commit');
}

/** Every node has all merchants. */
async function spreadMerchants(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query(
    "select from pg_dist_partition where logicalrelid = 'public.merchant'::regclass",
  );
  if (rowCount === 0) await client.query("select create_reference_table('public.merchant')");
}

async function putForeignKeysBack(client: pg.Client): Promise<void> {
  const noted = await client.query('select from pg_class where oid = to_regclass($1)', [`public.${NOTES}`]);
  if (noted.rowCount === 0) return;
  const { rows } = await client.query<{ ofTable: string; name: string; definition: string }>(
    `select of_table as "ofTable", name, definition from ${NOTES} n
     where not exists (select from pg_constraint where conname = n.name and conrelid = to_regclass(n.of_table))
     order by of_table, name`,
  );
  for (const { ofTable, name, definition } of rows)
    await client.query(
      `alter table ${ofTable} add constraint ${pg.escapeIdentifier(name)} ${spreadKey(definition).replace(' NOT VALID', '')}`,
    );
  await client.query(`drop table ${NOTES}`);
}

async function letTriggersReadTheirNode(client: pg.Client): Promise<void> {
  await client.query(
    `create or replace function public.refuse_change_but_erasure() returns trigger language plpgsql as ${pg.escapeLiteral(REFUSE_CHANGE_BUT_ERASURE)}`,
  );
}

const HELP = `Usage: npm run distribute

Spreads the merchants' tables of the database that DATABASE_URL names, which must be the coordinator of a Citus cluster with
workers, over its nodes by merchant. Run it once after npm run migrate, while no process of the service runs; then start them with
DATABASE_BACKEND=citus. Running it again goes on where it was cut short, or does nothing. docs/operating.md says when it is worth it.

Progress is one line of the log for each table.`;

async function main(): Promise<void> {
  const config = loadConfig();
  if (config.DATABASE_URL === undefined) throw new Error('DATABASE_URL: wants the coordinator of a Citus cluster');
  const logger = createLogger(config.LOG_LEVEL, 'distribute');
  const spread = await distribute((config.DATABASE_DIRECT_URL ?? config.DATABASE_URL).reveal(), logger);
  console.log(spread.length === 0 ? 'Every table is spread already.' : `Spread ${spread.length} tables.`);
}

if (import.meta.main) runCommand({ help: HELP, run: main });
