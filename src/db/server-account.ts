import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** An account of the machine that runs the embedded Postgres where we are root. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly name: string;
}

/**
 * Postgres refuses to run as root, so root lends it an account: `postgres` if the machine has one, else `nobody`.
 * @returns null if we are not root
 * @throws {Error} that says what to do, if there is neither account
 */
export async function serverAccount(): Promise<Account | null> {
  if (process.getuid?.() !== 0) return null;
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const fields = lines.find((line) => line[0] === name);
    if (fields) return { name, uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  throw new Error(
    'Postgres cannot run as root and this machine has neither a postgres nor a nobody account. Run as an ordinary user, or set DATABASE_URL to a Postgres of your own.',
  );
}

/** Whether an account that owns nothing may pass every folder on the way to `path`. */
export async function canReach(path: string, account: Account): Promise<boolean> {
  for (let folder = path; ; folder = dirname(folder)) {
    const { mode, uid } = await stat(folder);
    if (uid !== account.uid && (mode & 0o005) !== 0o005) return false;
    if (folder === dirname(folder)) return true;
  }
}
