import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/cli.ts';

/** The table of docs/faults.md is the list of what is tested: it must not promise a test that is not there. */

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => `F${from + index}`);
const FAULTS = numbers(1, 51);

it('every fault of the list has files named after it, or names others that exist', async () => {
  const page = await readFile(join(ROOT, 'docs/faults.md'), 'utf8');
  const files = (await readdir(join(ROOT, 'test'), { recursive: true })).filter((file) => file.endsWith('.test.ts'));
  const rows = new Map(page.matchAll(/^\| (F\d+) \|(.*)$/gm).map(([, fault = '', row = '']) => [fault, row]));
  expect([...rows.keys()]).toEqual(FAULTS);
  for (const [fault, row] of rows) {
    const own = new RegExp(`^faults/(slow/)?(f\\d\\d-)*f${fault.slice(1).padStart(2, '0')}-`);
    const directory = /`(test\/\w+)\//.exec(row)?.[1];
    const named = [...row.matchAll(/`(?:test\/\w+\/)?([\w-]+)\*?`/g)].map(([, name]) => `${directory}/${name}`);
    const isThere = (start: string) => files.some((file) => `test/${file}`.startsWith(start));
    expect(directory === undefined ? files.some((file) => own.test(file)) : named.every(isThere), fault).toBe(true);
  }
});
