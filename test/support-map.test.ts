import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from './support/cli.ts';

/** test/support/README.md says of each double what is only believed: a list that must not rot. */

const FOLDER = join(ROOT, 'test/support');
const readme = await readFile(join(FOLDER, 'README.md'), 'utf8');
const entries = await readdir(FOLDER, { withFileTypes: true });
const [doubles = '', rest = ''] = readme.split('\n## Everything else\n');

/** The names in the first column of the tables. */
function namedIn(text: string): ReadonlySet<string> {
  const firstColumns = [...text.matchAll(/^\| ([^|]*`[^|]*) \|/gm)].map(([, cell = '']) => cell);
  return new Set(firstColumns.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)));
}

const present = entries
  .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
  .filter((name) => name !== 'README.md')
  .sort();

it('every file of test/support has its row, and every row its file', () => {
  expect([...new Set([...namedIn(doubles), ...namedIn(rest)])].sort()).toEqual(present);
});

it('whatever listens is in the table of doubles, with all that is to be said of it', async () => {
  const listening: string[] = [];
  for (const entry of entries.filter(({ name }) => name.endsWith('.ts'))) {
    const source = await readFile(join(FOLDER, entry.name), 'utf8');
    if (source.includes('createServer(')) listening.push(entry.name);
  }
  expect(listening).toContain('provider-api-server.ts');
  expect(listening.filter((name) => !namedIn(doubles).has(name))).toEqual([]);
  const rows = [...doubles.matchAll(/^\| (?!files)(.*) \|$/gm)].map(([, row = '']) => row.split('|'));
  expect(rows.filter((row) => row.length !== 5 || row.some((cell) => cell.trim() === ''))).toEqual([]);
});

it('the doubles that stand elsewhere are where it says', async () => {
  const elsewhere = [...doubles.matchAll(/`(test\/[\w/-]+\.ts)`/g)].map(([, path = '']) => path);
  expect(elsewhere).not.toEqual([]);
  for (const path of elsewhere) await expect(readFile(join(ROOT, path), 'utf8'), path).resolves.toBeTruthy();
});
