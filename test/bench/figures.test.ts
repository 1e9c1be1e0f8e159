import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { noTime } from './cpu.ts';
import { writeFigures } from './report.ts';
import { beside, besideBoth, type Claim, itself, judge, type Sample } from './row.ts';

/** What the benchmark makes of what it measured. */

const sample = (value: number): Sample => ({ value, requests: 1, cpu: noTime() });
const blocks = (...values: readonly Readonly<Record<string, number>>[]) =>
  values.map((block) => new Map(Object.entries(block).map(([side, value]) => [side, sample(value)])));
const judged = (claim: Claim, ...values: readonly Readonly<Record<string, number>>[]) =>
  judge(claim, '/s', blocks(...values));

it('compares within a block alone, and takes the median of those ratios', () => {
  // The machine was three times as slow in the second block, for both.
  const result = judged(
    beside('strong', 3),
    { ours: 300, strong: 100 },
    { ours: 110, strong: 33 },
    { ours: 400, strong: 100 },
  );
  expect(result).toMatchObject({ least: 3, most: 4, ours: 300, theirs: 100, reached: 'yes' });
  expect(result.ratio).toBeCloseTo(110 / 33);
});

it('calls a bar reached by the worst block, and says where only the median does', () => {
  const claim = beside('strong', 3);
  expect(
    judged(claim, { ours: 290, strong: 100 }, { ours: 350, strong: 100 }, { ours: 350, strong: 100 }).reached,
  ).toBe('median');
  expect(judged(claim, { ours: 290, strong: 100 }, { ours: 280, strong: 100 }).reached).toBe('no');
  expect(judged(beside('strong', null), { ours: 1, strong: 100 }).reached).toBe('');
});

it('takes the largest where less is better', () => {
  const claim = itself(300);
  expect(judged(claim, { ours: 290 }, { ours: 299 })).toMatchObject({ reached: 'yes', theirs: null, most: 299 });
  expect(judged(claim, { ours: 290 }, { ours: 290 }, { ours: 301 }).reached).toBe('median');
  expect(judged(claim, { ours: Number.POSITIVE_INFINITY }).reached).toBe('no');
});

it('joins two limits as what does one after the other', () => {
  const claim = besideBoth('both', ['http', 'sql'], 0.4);
  // 1 ms and 3 ms are 4 ms a request: 250 a second.
  expect(judged(claim, { ours: 125, http: 1000, sql: 1000 / 3 })).toMatchObject({
    reached: 'yes',
    theirs: expect.closeTo(250),
  });
});

it('writes figures to their place in a page, again and again, and into another file alone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-figures-'));
  const page = join(folder, 'page.md');
  const around = ['# Page\n\n<!-- figures of a -->', '<!-- end of figures of a -->\n\nThe end.\n'] as const;
  await writeFile(page, `${around[0]}\n\nNone.\n\n${around[1]}`);
  await writeFigures(page, 'a', 'first');
  await writeFigures(page, 'a', '$& second');
  expect(await readFile(page, 'utf8')).toBe(`${around[0]}\n\n$& second\n\n${around[1]}`);
  const alone = join(folder, 'alone.md');
  await writeFigures(alone, 'a', 'some');
  expect(await readFile(alone, 'utf8')).toBe('some\n');
  await rm(folder, { recursive: true });
});
