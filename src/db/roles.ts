import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { grantStatements, RUNTIME_ROLES } from './grants.ts';

/**
 * What a session of the processes begins with; a backstop behind what the pools set themselves (pool.ts). Only what is
 * found by `search_path` can be named without its schema, and temporary tables, which anybody may make, come last in it.
 */
const DEFAULTS: Readonly<Record<string, string>> = {
  search_path: 'public, pgboss, pg_temp',
  statement_timeout: '2min',
  lock_timeout: '10s',
  idle_in_transaction_session_timeout: '30s',
  // For the statements of pg-boss, which pass a pooler one by one (boss.ts).
  enable_seqscan: 'off',
};

const INSUFFICIENT_PRIVILEGE = '42501';
/** Another process made the role at the same moment; Postgres reports that as a duplicate key. */
const ALREADY_THERE = ['42710', '23505'];
/** "tuple concurrently updated": the server has no other code for it. */
const INTERNAL_ERROR = 'XX000';

/** SQL that somebody with more rights has to run. */
export interface LeftToAdministrator {
  /** Without these the processes cannot run under the roles. */
  readonly rights: readonly string[];
  /** Without these they can, less well guarded. */
  readonly settings: readonly string[];
}

/**
 * Makes the two roles, which are the whole cluster's, and gives them their rights in this database. Safe to run again;
 * callers of one database take turns, those of several databases of a cluster need not.
 * @returns the SQL that the user of `client` has no right to run and an administrator has to; empty if all is done
 */
export async function installRoles(client: pg.ClientBase): Promise<LeftToAdministrator> {
  const leftOut: string[] = [];
  for (const role of RUNTIME_ROLES) {
    if (await isThere(client, role)) continue;
    if (!(await tryTo(client, `create role ${role} nologin`))) leftOut.push(`create role ${role} nologin`);
  }
  leftOut.push(...(await grantTables(client)));
  const closePublic = 'revoke create on schema public from public';
  if (await mayAnybodyCreate(client)) {
    await tryTo(client, closePublic);
    // Without the right to, Postgres may only warn.
    if (await mayAnybodyCreate(client)) leftOut.push(closePublic);
  }
  return { rights: leftOut, settings: await setDefaults(client) };
}

/** One transaction for each role, so that a process that runs meanwhile never sees a table without its grants. */
async function grantTables(client: pg.ClientBase): Promise<readonly string[]> {
  const leftOut: string[] = [];
  for (const role of RUNTIME_ROLES) {
    const statements = grantStatements(role);
    const isDone = (await isThere(client, role)) && (await tryTo(client, `begin; ${statements.join('; ')}; commit`));
    if (!isDone) leftOut.push(...statements);
  }
  return leftOut;
}

/**
 * Settings of a role are not inherited by its members, so every user that is in one of the roles gets them itself.
 * What is set already is left alone: roles are rows that all databases of a cluster share.
 * @returns the SQL that the user of `client` has no right to run
 */
export async function setDefaults(client: pg.ClientBase): Promise<readonly string[]> {
  const leftOut: string[] = [];
  const { rows } = await client.query<{ name: string; settings: string[] }>(USERS_AND_SETTINGS, [[...RUNTIME_ROLES]]);
  for (const { name, settings } of rows) {
    for (const [setting, value] of Object.entries(DEFAULTS)) {
      if (settings.includes(`${setting}=${value}`)) continue;
      const statement = settingStatement(name, setting, value);
      if (!(await tryTo(client, statement))) leftOut.push(statement);
    }
  }
  const missing = RUNTIME_ROLES.filter((role) => rows.every(({ name }) => name !== role));
  for (const role of missing)
    for (const [setting, value] of Object.entries(DEFAULTS)) leftOut.push(settingStatement(role, setting, value));
  return leftOut;
}

function settingStatement(name: string, setting: string, value: string): string {
  // A list of schemas is not one quoted name.
  const quoted = setting === 'search_path' ? value : `'${value}'`;
  return `alter role ${pg.escapeIdentifier(name)} set ${setting} = ${quoted}`;
}

/** The roles and who is in them, through any number of roles in between; administrators hold them without acting in them. */
const USERS_AND_SETTINGS = `
  with recursive member (oid) as (
    select oid from pg_roles where rolname = any ($1)
    union
    select m.member from pg_auth_members m join member on m.roleid = member.oid)
  select r.rolname as name, coalesce(s.setconfig, '{}') as settings
  from member join pg_roles r using (oid)
  left join pg_db_role_setting s on s.setrole = r.oid and s.setdatabase = 0
  where (r.rolname = any ($1) or r.rolcanlogin) and not r.rolsuper and not r.rolcreaterole
  order by 1`;

async function isThere(client: pg.ClientBase, role: string): Promise<boolean> {
  const { rowCount } = await client.query('select 1 from pg_roles where rolname = $1', [role]);
  return rowCount === 1;
}

async function mayAnybodyCreate(client: pg.ClientBase): Promise<boolean> {
  const { rowCount } = await client.query(
    `select 1 from pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
     where nspname = 'public' and grantee = 0 and privilege_type = 'CREATE'`,
  );
  return rowCount !== 0;
}

/** A migration of another database of the cluster may change the same role at the same moment. That takes a moment only, so trying again helps. */
const MAX_ATTEMPTS = 10;

/** @returns false where the user has no right to; any other error is thrown */
export async function tryTo(client: pg.ClientBase, statement: string): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await client.query(statement);
      return true;
    } catch (error) {
      const code = error instanceof pg.DatabaseError ? error.code : undefined;
      if (code === undefined) throw error;
      await client.query('rollback');
      if (code === INSUFFICIENT_PRIVILEGE) return false;
      if (ALREADY_THERE.includes(code)) return true;
      if (code !== INTERNAL_ERROR || attempt >= MAX_ATTEMPTS) throw error;
      await delay(Math.random() * 10 * 2 ** attempt);
    }
  }
}
