import { execFile } from 'node:child_process';
import { access, chmod, constants, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { audit } from '../audit/checks.ts';
import { newestEntryAt } from '../audit/newest-entry.ts';
import { renderAudit } from '../audit/report.ts';
import { systemClock } from '../clock.ts';
import { type Config, loadConfig } from '../config/env.ts';
import { startEmbeddedPostgres } from '../db/embedded.ts';
import { autocommit } from '../db/transaction.ts';
import { Runtime } from '../runtime.ts';
import { createLogger } from '../telemetry/log.ts';
import { sayMissingKeys } from '../views/readiness.ts';
import { runCommand } from './command.ts';
import { migrate } from './migrate.ts';
import { onStopSignal } from './shutdown.ts';

const execute = promisify(execFile);

export interface Rehearsal {
  /** Whether the backup could take over: its books agree, and its secrets open. */
  readonly isGood: boolean;
  readonly report: string;
}

export interface RehearsalOptions {
  /** A file or folder of pg_dump, in any format but plain SQL. */
  readonly dump: string;
  readonly config: Config;
  /** Told of each step as it begins. */
  readonly onStep: (step: string) => void;
  /** Ends it early: the Postgres and its data are removed all the same. */
  readonly signal?: AbortSignal;
}

/**
 * Restores a backup into a Postgres of its own, brings it to this release's schema, audits it, and throws the Postgres away. Nothing else is
 * touched, and nothing is sent, since no process runs on it.
 * @throws {Error} that says what to do, if the dump cannot be restored
 */
export async function rehearseRestore(options: RehearsalOptions): Promise<Rehearsal> {
  const { dump, onStep, signal } = options;
  await access(dump, constants.R_OK).catch((error: unknown) => {
    throw new Error(`${dump} cannot be read. Give the file or folder that pg_dump made.`, { cause: error });
  });
  await requirePgRestore();
  const folder = await mkdtemp(join(tmpdir(), 'chokin-rehearsal-'));
  await chmod(folder, 0o755);
  onStep(`Starting a Postgres of its own in ${folder} (TMPDIR chooses another disk)`);
  try {
    const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'cluster'), settings: ['fsync=off'] });
    try {
      return await Promise.race([rehearseIn(postgres.databaseUrl, folder, options), stopped(signal)]);
    } finally {
      await postgres.stop('immediate');
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function stopped(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(new Error('Stopped. The Postgres and its data are removed.'));
    if (signal?.aborted === true) stop();
    signal?.addEventListener('abort', stop);
  });
}

async function rehearseIn(
  databaseUrl: string,
  folder: string,
  { dump, config, onStep }: RehearsalOptions,
): Promise<Rehearsal> {
  const logger = createLogger('warn', 'rehearsal');
  onStep(`Restoring ${dump}`);
  await restore(dump, databaseUrl, folder);
  onStep('Bringing it to the schema of this release');
  const migrated = await migrate(databaseUrl, logger);
  onStep('Auditing it');
  const process = { name: 'chokin-rehearsal', maxConnections: 1 };
  const runtime = new Runtime({ config, databaseUrl, logger, clock: systemClock, ...process });
  try {
    const db = autocommit(runtime.scanPool());
    // Without the time of now: what the backup was to end since then is late in it, and right.
    const books = await audit(db, runtime.settings);
    const missingKeys = await runtime.missingKeys();
    const isGood = books.disagreements.length === 0 && missingKeys.length === 0;
    const newest = sayNewest(await newestEntryAt(db), runtime.clock.now());
    const schema =
      migrated.length === 0 ? 'It has the schema of this release.' : `It was migrated by ${migrated.join(', ')}.`;
    const secrets = missingKeys.length === 0 ? 'Its stored secrets open.' : sayMissingKeys(missingKeys);
    return {
      isGood,
      report: [renderAudit(books), '', newest, schema, secrets, '', isGood ? NEXT : NOT_GOOD].join('\n'),
    };
  } finally {
    await runtime.close();
  }
}

async function requirePgRestore(): Promise<void> {
  await execute('pg_restore', ['--version']).catch((error: unknown) => {
    throw new Error(
      'pg_restore is not installed here: install the clients of Postgres (Debian: postgresql-client), in the version that made the dump or a later one.',
      { cause: error },
    );
  });
}

async function restore(dump: string, databaseUrl: string, folder: string): Promise<void> {
  const url = new URL(databaseUrl);
  // In a file, since everybody on the machine may read arguments.
  const passwordFile = join(folder, 'restore-password');
  await writeFile(passwordFile, `*:*:*:*:${url.password}\n`, { mode: 0o600 });
  url.password = '';
  url.searchParams.set('passfile', passwordFile);
  const args = ['--no-owner', '--no-privileges', '--exit-on-error', `--dbname=${url.href}`, dump];
  await execute('pg_restore', args, { maxBuffer: 64 * 1024 * 1024 }).catch((error: unknown) => {
    const complaint = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    throw new Error(
      `pg_restore could not restore ${dump}: ${complaint}\nMake dumps by pg_dump --format=custom, and restore them by the same version of its tools or a later one.`,
    );
  });
}

/** What came after the newest entry is lost with this backup. */
function sayNewest(newestAt: Date | null, now: Date): string {
  if (newestAt === null) return 'It has no entry.';
  const minutes = Math.floor((now.getTime() - newestAt.getTime()) / 60_000);
  return `Its newest entry is of ${newestAt.toISOString()}, ${minutes} minutes ago: what came later is not in this backup.`;
}

const NEXT = `The backup is good. To let it take over:
  1. Make the roles first, then the database: create role chokin_web; create role chokin_worker; create database chokin;
  2. pg_restore --no-owner --exit-on-error --dbname=<its URL> <dump>
  3. DATABASE_URL=<its URL, as the owner> npm run migrate
  4. Start one worker with SENDING=on: a database that was restored elsewhere sends no webhooks until then. On a copy that must not send, set SENDING=off.
  5. docs/operating.md, "Backups": who has to send what again.`;
const NOT_GOOD =
  'The backup is NOT good: see what disagrees above. Nothing was changed; try an older one, or mend the cause.';

const HELP = `Usage: npm run rehearse-restore -- <dump>

Restores a backup (pg_dump --format=custom, directory or tar) into a Postgres of its own that is thrown away, brings it to the schema of this
release, audits its books, tries whether ENCRYPTION_KEY opens its secrets, and says how to let it take over. Exits 1 if it is not good.
Wants pg_restore in PATH, and room for the database in TMPDIR.`;

async function main(_switches: ReadonlySet<string>, dump: string): Promise<void> {
  const stopping = new AbortController();
  onStopSignal(() => stopping.abort());
  const onStep = (step: string) => console.error(`${step} …`);
  const { isGood, report } = await rehearseRestore({ dump, config: loadConfig(), onStep, signal: stopping.signal });
  console.log(report);
  if (!isGood) process.exitCode = 1;
}

if (import.meta.main) runCommand({ help: HELP, argument: 'dump', run: main });
