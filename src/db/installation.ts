import { boolean, nullable, text, timestamptz } from './codec.ts';
import { statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/** The id that this database got at its first migration (`ins_` and 32 hexadecimal digits); it never changes. */
export async function readInstallationId(db: Queryable): Promise<string> {
  return (await READ_ID.one(db)).installationId;
}

const READ_ID = statement({
  params: {},
  row: { installationId: text },
  text: () => 'select installation_id from installation',
});

/**
 * Since when processes of the release before may have run beside this one: since the last of the migrations by which it reads
 * more events, or since a release was closed. Null if `once` finds that it was closed before.
 */
export async function unclosedSince(db: Queryable, when: 'again' | 'once'): Promise<Date | null> {
  return (await UNCLOSED_SINCE.one(db, { isAgain: when === 'again' })).since;
}

const UNCLOSED_SINCE = statement({
  params: { isAgain: boolean },
  row: { since: nullable(timestamptz) },
  text: ({ isAgain }) => `
    select case when ${isAgain} or release_closed_at is null then greatest(release_closed_at, m.run_on) end as since
    from installation cross join (
      select max(run_on)::timestamptz as run_on from schema_migration where name = '0024_trusted-names') m`,
});

/**
 * Notes that no process of an older release runs any more, which writes entries without hashes: from now on (`again`), or
 * (`once`) unless that was noted before.
 */
export async function closeRelease(db: Queryable, when: 'again' | 'once'): Promise<void> {
  await CLOSE_RELEASE.run(db, { isAgain: when === 'again' });
}

const CLOSE_RELEASE = statement({
  params: { isAgain: boolean },
  text: ({ isAgain }) => `
    update installation
    set release_closed_at = case when ${isAgain} then now() else coalesce(release_closed_at, now()) end`,
});
