import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '../crypto/secret.ts';
import { ENCRYPTION_KEY_BYTES } from '../crypto/secret-box.ts';
import type { Config } from './env.ts';

/**
 * What `npm start` keeps in DATA_DIR beside its embedded Postgres, so that a developer configures nothing and other
 * commands find the running service. The files can be read by their owner alone.
 */
const URL_FILE = 'database-url';
const KEY_FILE = 'encryption-key';

/** Leaves the embedded database's URL for other commands. @returns the file's path */
export async function writeDatabaseUrl(dataDir: string, databaseUrl: string): Promise<string> {
  const file = join(dataDir, URL_FILE);
  await writeFile(file, `${databaseUrl}\n`, { mode: 0o600 });
  return file;
}

/** The URL that {@link writeDatabaseUrl} left, or null. */
async function readDatabaseUrl(dataDir: string): Promise<string | null> {
  return (await readIfThere(join(dataDir, URL_FILE)))?.trim() ?? null;
}

/** The key that belongs to the embedded database, or null if none was made. */
async function readEncryptionKey(dataDir: string): Promise<Secret | null> {
  const text = (await readIfThere(join(dataDir, KEY_FILE)))?.trim();
  return text === undefined || text === '' ? null : new Secret(text);
}

/** The key that belongs to the embedded database; made the first time. */
export async function ensureEncryptionKey(dataDir: string): Promise<Secret> {
  const existing = await readEncryptionKey(dataDir);
  if (existing !== null) return existing;
  await mkdir(dataDir, { recursive: true });
  const key = randomBytes(ENCRYPTION_KEY_BYTES).toString('base64');
  // A crash in the middle of writing must not leave half a key.
  const temporary = join(dataDir, `${KEY_FILE}.new`);
  await writeFile(temporary, `${key}\n`, { mode: 0o600 });
  await rename(temporary, join(dataDir, KEY_FILE));
  return new Secret(key);
}

/**
 * Where a command finds its database and the key to its secrets: in the environment, or else in the DATA_DIR of a running
 * `npm start`.
 * @throws {Error} that says what to set, if neither has them
 */
export async function locateDatabase(config: Config): Promise<{ config: Config; databaseUrl: string }> {
  if (config.DATABASE_URL !== undefined) return { config, databaseUrl: config.DATABASE_URL.reveal() };
  const databaseUrl = await readDatabaseUrl(config.DATA_DIR);
  if (databaseUrl === null) {
    throw new Error(
      `DATABASE_URL: wants the database to work on (npm start would leave the URL of its own in ${join(config.DATA_DIR, URL_FILE)})`,
    );
  }
  const key = await readEncryptionKey(config.DATA_DIR);
  const keys = key === null ? config.ENCRYPTION_KEY : [...config.ENCRYPTION_KEY, key];
  return { config: { ...config, ENCRYPTION_KEY: keys }, databaseUrl };
}

/** The text of a file; null if it is not there. @throws {Error} if it is there and cannot be read */
export async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
