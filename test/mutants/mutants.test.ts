import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { MUTANTS } from './mutants.ts';

/** `npm run mutants` takes an hour; that each mistake can still be made, and its tests are there, is seen at once. */

it.each(MUTANTS)('$name: stands once in $file, and its tests are there', async ({ file, find, replace, tests }) => {
  const source = await readFile(join(ROOT, file), 'utf8');
  expect(source.split(find)).toHaveLength(2);
  expect(replace).not.toBe(find);
  for (const test of tests) await expect(readFile(join(ROOT, test), 'utf8'), test).resolves.toContain('import');
});
