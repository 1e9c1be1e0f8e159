import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '../crypto/secret.ts';
import { ENCRYPTION_KEY_BYTES } from '../crypto/secret-box.ts';
import type { Config } from './env.ts';
import { makeDataFolder } from './make-folder.ts';

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
  await makeDataFolder(dataDir);
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
      `DATABASE_URL: wants the database to work on. Run this where npm start runs, or set DATA_DIR or DATABASE_URL. (npm start leaves the URL of its own in ${join(config.DATA_DIR, URL_FILE)}.)`,
    );
  }
  const key = await readEncryptionKey(config.DATA_DIR);
  const keys = key === null ? config.ENCRYPTION_KEY : [...config.ENCRYPTION_KEY, key];
  return { config: { ...config, ENCRYPTION_KEY: keys }, databaseUrl };
}

/** A file in the place of the folder is for {@link makeDataFolder} to tell of. */
const ABSENT: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR']);

/** The text of a file; null if it is not there. @throws {Error} if it is there and cannot be read */
export async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && ABSENT.has(error.code)) return null;
    throw error;
  }
}
