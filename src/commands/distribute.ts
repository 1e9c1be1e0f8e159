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
    if (await isWhole(client, left)) return left;
    await requireNobody(client);
    if (left.length > 0) await setForeignKeysAside(client);
    await spreadMerchants(client);
    for (const [index, table] of left.entries()) {
      logger.info({ table, left: left.length - index }, 'a table is being spread');
      await requireNobody(client);
      const beside = table === FIRST ? 'none' : FIRST;
      await client.query("select create_distributed_table($1::regclass, 'merchant_id', colocate_with => $2)", [
        table,
        beside,
      ]);
    }
    await putForeignKeysBack(client);
    await letTriggersReadTheirNode(client);
    await removeLocalRows(client, logger);
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

/** Whether all is done, so that nothing has to be locked. */
async function isWhole(client: pg.Client, left: readonly string[]): Promise<boolean> {
  if (left.length > 0 || (await withLocalRows(client)).length > 0) return false;
  const { rows } = await client.query<{ whole: boolean }>(
    `select to_regclass($1) is null
       and exists (select from pg_dist_partition where logicalrelid = 'public.merchant'::regclass)
       and exists (select from pg_proc where oid = 'public.refuse_change_but_erasure()'::regprocedure and prosrc = $2) as whole`,
    [`public.${NOTES}`, REFUSE_CHANGE_BUT_ERASURE],
  );
  return rows[0]?.whole === true;
}

/**
 * Whoever is connected writes to tables that are on their way, without the keys that are set aside meanwhile. Nothing overrides this.
 * @throws {Error} that says which processes to stop
 */
export async function requireNobody(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select distinct application_name as name from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and application_name ~ '^chokin-'
     order by 1`,
  );
  if (rows.length > 0)
    throw new Error(
      `let every process of the service stop first: ${rows.map(({ name }) => name).join(', ')} of it are connected to this database, and would write to tables while they move`,
    );
}

/** The tables that are still to be spread; the one that the others lie with comes first. */
async function notSpread(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select name from unnest($1::text[]) as name
     where to_regclass('public.' || name) is not null
       and not exists (select from pg_dist_partition where logicalrelid = to_regclass('public.' || name) and partmethod = 'h')
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

/** Tables that had rows before they were spread: those stay in the coordinator's own table, where nobody sees them any more. */
async function withLocalRows(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select c.relname::text as name from pg_dist_partition d join pg_class c on c.oid = d.logicalrelid
     where c.relnamespace = 'public'::regnamespace and c.relname = any ($1) and pg_relation_size(c.oid) > 0
     order by 1`,
    [['merchant', ...SPREAD]],
  );
  return rows.map(({ name }) => name);
}

/** Removes them in one transaction, once all is spread. Tables that are insert-only refuse it, but to whom no trigger applies. */
async function removeLocalRows(client: pg.Client, logger: Logger): Promise<void> {
  const tables = await withLocalRows(client);
  if (tables.length === 0) return;
  await client.query('begin');
  try {
    await client.query("set local session_replication_role = 'replica'");
    for (const table of tables)
      await client.query('select truncate_local_data_after_distributing_table($1::regclass)', [table]);
    await client.query('commit');
    logger.info({ tables: tables.length }, 'the rows that were there before were removed from the coordinator');
  } catch (error) {
    await client.query('rollback');
    if (!(error instanceof pg.DatabaseError) || error.code !== '42501') throw error;
    const remove = tables.map((table) => `select truncate_local_data_after_distributing_table('${table}');`);
    const sql = ['begin;', "set local session_replication_role = 'replica';", ...remove, 'commit;'].join(' ');
    logger.warn({ sql }, LOCAL_ROWS_LEFT);
  }
}

const LOCAL_ROWS_LEFT =
  'this user may not remove the rows that the coordinator had before its tables were spread; they take room and are seen by nobody. An administrator should run this SQL in the database, or npm run distribute once more';

const HELP = `Usage: npm run distribute

Spreads the merchants' tables of the database that DATABASE_URL names, which must be the coordinator of a Citus cluster with
workers, over its nodes by merchant, and removes what the coordinator had of them. Run it after npm run migrate, while no process of the
service runs (it refuses if one is connected); then start them with DATABASE_BACKEND=citus. Running it again goes on where it was cut short,
spreads what a later release added, or does nothing. docs/operating.md says when it is worth it.

Progress is one line of the log for each table.`;

async function main(): Promise<void> {
  const config = loadConfig();
  if (config.DATABASE_URL === undefined) throw new Error('DATABASE_URL: wants the coordinator of a Citus cluster');
  const logger = createLogger(config.LOG_LEVEL, 'distribute');
  const spread = await distribute((config.DATABASE_DIRECT_URL ?? config.DATABASE_URL).reveal(), logger);
  console.log(spread.length === 0 ? 'Every table is spread already.' : `Spread ${spread.length} tables.`);
}

if (import.meta.main) runCommand({ help: HELP, run: main });
