import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/**
 * Makes DATA_DIR, or a folder in its place, with those above it that are missing. Node's own way of making several goes on for ever where the system
 * answers that a folder cannot be there, as in /proc.
 * @throws {Error} that says what to set, if it cannot be made
 */
export async function makeDataFolder(folder: string): Promise<void> {
  try {
    await makeWithParents(resolve(folder));
  } catch (cause) {
    const code = codeOf(cause);
    const why = code === 'ENOTDIR' || code === 'EEXIST' ? 'there is a file in its place' : code;
    throw new Error(
      `DATA_DIR: the folder ${folder} cannot be made (${why}). Set DATA_DIR to a folder that this account may write to.`,
      { cause },
    );
  }
}

async function makeWithParents(folder: string): Promise<void> {
  const there = await stat(folder).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  });
  if (there?.isDirectory() === true) return;
  if (there === null && dirname(folder) !== folder) await makeWithParents(dirname(folder));
  await mkdir(folder).catch(async (error: unknown) => {
    // Another process has made it at the same moment.
    if (codeOf(error) !== 'EEXIST' || !(await stat(folder)).isDirectory()) throw error;
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}
