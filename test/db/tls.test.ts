import { chmod, chown, copyFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { explain } from '../../src/commands/explain.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { createPool } from '../../src/db/pool.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { OwnCluster } from '../support/own-cluster.ts';

/** A Postgres that takes encrypted connections alone, by a certificate of a private authority, as managed ones do. */

const FIXTURES = join(import.meta.dirname, '../fixtures/tls');
const AUTHORITY = encodeURIComponent(join(FIXTURES, 'authority.pem'));
const logger = createLogger('silent', 'test');

let cluster: OwnCluster;
beforeAll(async () => {
  cluster = await OwnCluster.start();
  const { uid, gid } = await stat(cluster.dataDir);
  const file = (name: string) => join(cluster.dataDir, name);
  await copyFile(join(FIXTURES, 'server.pem'), file('server.crt'));
  await copyFile(join(FIXTURES, 'server.key'), file('server.key'));
  await chmod(file('server.key'), 0o600);
  await writeFile(file('pg_hba.conf'), 'hostssl all all 127.0.0.1/32 scram-sha-256\n');
  for (const name of ['server.crt', 'server.key']) await chown(file(name), uid, gid);
  await cluster.stop();
  await writeFile(file('postgresql.auto.conf'), 'ssl = on\n');
  // Its database is there already, so nothing has to be asked of it without encryption.
  await cluster.start().catch(() => {});
});
afterAll(() => cluster.remove());

/** The database's URL with these parameters, by the name of the certificate unless another is given. */
function urlWith(parameters: string, host = 'localhost'): string {
  const url = new URL(cluster.url);
  url.hostname = host;
  url.search = parameters;
  return url.href;
}

async function encryption(parameters: string, host?: string): Promise<unknown> {
  const databaseUrl = urlWith(parameters, host);
  const pool = createPool({ databaseUrl, applicationName: 'tls-test', maxConnections: 1, logger });
  onTestFinished(() => pool.end());
  const { rows } = await pool.query<{ ssl: boolean }>('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
  return rows[0]?.ssl;
}

it.each([
  ['its authority', `sslmode=verify-full&sslrootcert=${AUTHORITY}`, 'localhost'],
  ['its authority, in the words of libpq that ask for less', `sslmode=require&sslrootcert=${AUTHORITY}`, 'localhost'],
  ['its authority, under another name', `sslmode=verify-ca&uselibpqcompat=true&sslrootcert=${AUTHORITY}`, '127.0.0.1'],
  ['no proof of who it is', 'sslmode=no-verify', '127.0.0.1'],
  ['no proof, in the words of libpq', 'sslmode=require&uselibpqcompat=true', '127.0.0.1'],
])('is spoken to with encryption where the URL wants %s', async (_, parameters, host) => {
  expect(await encryption(parameters, host)).toBe(true);
});

it.each([
  ['no encryption', '', 'localhost', 'add sslmode=verify-full to DATABASE_URL'],
  ['no encryption, and says so', 'sslmode=disable', 'localhost', 'add sslmode=verify-full to DATABASE_URL'],
  ['proof, but no authority', 'sslmode=require', 'localhost', 'add sslmode=verify-full&sslrootcert=FILE'],
  ['proof under another name', `sslmode=verify-full&sslrootcert=${AUTHORITY}`, '127.0.0.1', 'is for another name'],
  [
    'an authority whose file is not there',
    'sslmode=verify-full&sslrootcert=/nowhere/ca.pem',
    'localhost',
    'that file is not there',
  ],
])('says what to do where the URL has %s', async (_, parameters, host, cure) => {
  const error = await migrate(urlWith(parameters, host), logger).then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(explain(error)).toContain(cure);
});
