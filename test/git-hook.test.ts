import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { ROOT } from './support/cli.ts';

/** .githooks/pre-commit in a repository of its own, switched on as `npm run hooks` does it. */

const GOOD = "export const greeting = 'hello';\n";
const UGLY = 'export const   greeting = "hello"\n';
const UNUSED = "import { join } from 'node:path';\n\nexport const one = 1;\n";

const run = promisify(execFile);
let folder: string;

/** @throws {Error} with what Git printed, if it fails */
async function git(...args: string[]): Promise<string> {
  const who = { GIT_AUTHOR_NAME: 'Ada', GIT_AUTHOR_EMAIL: 'ada@example.com' };
  const committer = { GIT_COMMITTER_NAME: 'Ada', GIT_COMMITTER_EMAIL: 'ada@example.com' };
  const env = { PATH: process.env.PATH, HOME: folder, ...who, ...committer };
  const { stdout } = await run('git', args, { cwd: folder, env });
  return stdout;
}

const write = (name: string, text: string) => writeFile(join(folder, name), text);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chokin-hook-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await git('init', '--quiet');
  await cp(join(ROOT, '.githooks'), join(folder, '.githooks'), { recursive: true });
  await cp(join(ROOT, 'biome.json'), join(folder, 'biome.json'));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await mkdir(join(folder, 'src'));
  await write('.gitignore', 'node_modules\n');
  await write('src/there.ts', GOOD);
  await git('add', '--all');
  await git('commit', '--quiet', '--message', 'Begin');
  const { scripts } = z
    .object({ scripts: z.object({ hooks: z.string() }) })
    .parse(JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')));
  await git(...scripts.hooks.split(' ').slice(1));
});

describe('the hook before a commit', () => {
  it.each([
    ['badly formatted', UGLY],
    ['against a rule of the linter', UNUSED],
  ])('refuses a staged file that is %s, and leaves it as it is', async (_, text) => {
    await write('src/new.ts', text);
    await git('add', 'src/new.ts');
    await expect(git('commit', '--message', 'Try')).rejects.toThrow(/src\/new\.ts[\s\S]+npm run format/);
    expect(await readFile(join(folder, 'src/new.ts'), 'utf8')).toBe(text);
    expect(await git('status', '--porcelain')).toBe('A  src/new.ts\n');
  });

  it('lets well-formatted files pass, whatever lies beside them unstaged', async () => {
    await write('src/new.ts', GOOD);
    await write('src/other.ts', UGLY);
    await git('add', 'src/new.ts');
    await git('commit', '--message', 'Add');
    expect(await git('show', '--name-only', '--format=')).toBe('src/new.ts\n');
    expect(await readFile(join(folder, 'src/other.ts'), 'utf8')).toBe(UGLY);
  });

  it('looks at what is staged, not at what the folder has since', async () => {
    await write('src/new.ts', UGLY);
    await git('add', 'src/new.ts');
    await write('src/new.ts', GOOD);
    await expect(git('commit', '--message', 'Try')).rejects.toThrow('src/new.ts');
    await git('add', 'src/new.ts');
    await write('src/new.ts', UGLY);
    await git('commit', '--message', 'Add');
    expect(await git('show', 'HEAD:src/new.ts')).toBe(GOOD);
  });

  it('lets files be removed, and those pass that have no format', async () => {
    await write('notes.md', '#  Notes\n');
    await git('rm', '--quiet', 'src/there.ts');
    await git('add', 'notes.md');
    await git('commit', '--message', 'Note');
    expect(await git('status', '--porcelain')).toBe('');
  });
});
