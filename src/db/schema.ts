import { readdirSync } from 'node:fs';
import { join, parse } from 'node:path';

export const MIGRATIONS_DIR = join(import.meta.dirname, '../../migrations');

/** The migrations of this release, oldest first, by the names that `schema_migration` has. */
export function releaseMigrations(): readonly string[] {
  return readdirSync(MIGRATIONS_DIR)
    .map((file) => parse(file).name)
    .toSorted();
}
