import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

/**
 * A database that has run a migration never runs it again, so one that is edited afterwards makes two kinds of databases. Lines of
 * `sha256sum migrations/*.sql` are in the file; a new migration adds its own, and no other line ever changes.
 */
const LANDED = new URL('../fixtures/migrations.sha256', import.meta.url);
const MIGRATIONS = new URL('../../migrations/', import.meta.url);

const lines = readdirSync(MIGRATIONS)
  .filter((name) => name.endsWith('.sql'))
  .sort()
  .map((name) => `${hash('sha256', readFileSync(new URL(name, MIGRATIONS)))}  ${name}`);

it('every migration is as it landed, and a new one is noted in test/fixtures/migrations.sha256', () => {
  expect(lines).toEqual(readFileSync(LANDED, 'utf8').trimEnd().split('\n'));
});
