import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const NAME = process.platform === 'win32' ? 'stripe-mock.exe' : 'stripe-mock';

/** The path of Stripe's stripe-mock: on the PATH, or where `go install` puts it; null if it is in neither. */
export function findStripeMock(): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...goFolders()];
  return folders.map((folder) => join(folder, NAME)).find(isExecutable) ?? null;
}

function goFolders(): readonly string[] {
  const { stdout, error } = spawnSync('go', ['env', 'GOBIN', 'GOPATH'], { encoding: 'utf8' });
  if (error !== undefined) return [];
  const [bin = '', paths = ''] = stdout.split('\n').map((line) => line.trim());
  const ofPaths = paths.split(delimiter).map((path) => join(path, 'bin'));
  return bin === '' ? ofPaths : [bin, ...ofPaths];
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
