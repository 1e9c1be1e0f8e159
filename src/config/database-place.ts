import { access, chmod, mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { canReach, serverAccount } from '../db/server-account.ts';
import { readIfThere } from './data-dir.ts';
import { makeDataFolder } from './make-folder.ts';

/** Remembers, in DATA_DIR, where the database is if it is not there. */
const PLACE_FILE = 'postgres-folder';

/** Where root's databases go that the account which runs Postgres cannot reach in their own folder. */
const SHARED_PLACE = '/var/lib/chokin';

export interface DatabasePlace {
  /** The folder above the cluster's. */
  readonly folder: string;
  /** Why it is not DATA_DIR, as a sentence for the screen; null if it is. */
  readonly reason: string | null;
}

/**
 * Where the embedded database of `dataDir` lies: there, or, if we are root and the account that runs Postgres for us cannot reach it
 * (a checkout in /root), in a folder of its own in /var/lib/chokin, which `dataDir` remembers. Makes what is missing.
 * @throws {Error} that says what to set, if there is a cluster out of reach, or nowhere to put one
 */
export async function databasePlace(dataDir: string): Promise<DatabasePlace> {
  await makeDataFolder(dataDir);
  const remembered = (await readIfThere(join(dataDir, PLACE_FILE)))?.trim();
  const elsewhere = (folder: string) => ({ folder, reason: `${resolve(dataDir)} is private to root` });
  if (remembered !== undefined && remembered !== '') return elsewhere(remembered);
  const account = await serverAccount();
  if (account === null || (await canReach(resolve(dataDir), account))) return { folder: dataDir, reason: null };
  const advice = 'Set DATA_DIR to a folder outside of private ones, run as an ordinary user, or set DATABASE_URL.';
  const whatIsWrong = `The account ${account.name}, which runs the embedded Postgres for root, cannot reach ${resolve(dataDir)}`;
  const hasCluster = await access(join(dataDir, 'postgres', 'PG_VERSION')).then(
    () => true,
    () => false,
  );
  if (hasCluster) throw new Error(`${whatIsWrong}, where there is a database already. ${advice}`);
  try {
    await mkdir(SHARED_PLACE, { recursive: true });
    const folder = await mkdtemp(join(SHARED_PLACE, 'data-'));
    for (const made of [SHARED_PLACE, folder]) await chmod(made, 0o755);
    await writeFile(join(dataDir, PLACE_FILE), `${folder}\n`);
    return elsewhere(folder);
  } catch (cause) {
    throw new Error(`${whatIsWrong}, and there is no room for it in ${SHARED_PLACE}. ${advice}`, { cause });
  }
}
