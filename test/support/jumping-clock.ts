import pg from 'pg';
import { USERS } from './database-users.ts';

/** Sets how far the database's clock is ahead of the machine's, at once and for every open session. */
export type Jump = (aheadSeconds: number) => Promise<void>;

/**
 * Replaces Postgres' `now()` by one that can jump, for every session that web and worker open from now on. A test cannot come
 * nearer to a jump of the server's clock without setting the machine's. Our statements use `now()`, and those of pg-boss use a
 * function of their own; defaults of columns and the server's own time-outs keep the machine's clock.
 */
export async function jumpingClock(ownerUrl: string): Promise<Jump> {
  const database = pg.escapeIdentifier(new URL(ownerUrl).pathname.slice(1));
  const run = async (...statements: readonly string[]) => {
    const client = new pg.Client({ connectionString: ownerUrl });
    await client.connect();
    for (const statement of statements) await client.query(statement);
    await client.end();
  };
  await run(
    'create schema jumped',
    "create table jumped.clock as select interval '0' as ahead",
    `create function jumped.now() returns timestamptz stable language sql as
     'select pg_catalog.now() + ahead from jumped.clock'`,
    `create or replace function pgboss.job_now() returns timestamptz stable language sql as 'select jumped.now()'`,
    'grant usage on schema jumped to public',
    'grant select on jumped.clock to public',
    ...[USERS.web, USERS.worker].map(
      (user) =>
        `alter role ${user} in database ${database} set search_path = jumped, public, pgboss, pg_catalog, pg_temp`,
    ),
  );
  return (aheadSeconds) => run(`update jumped.clock set ahead = make_interval(secs => ${aheadSeconds})`);
}
