import { appendFile, chmod, cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { startLine } from '../support/process.ts';
import { eventually } from '../support/wait.ts';

/** A checkout whose files may be changed. */
async function makeCheckout(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-dev-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  // The account that runs Postgres has to get in.
  await chmod(folder, 0o755);
  await mkdir(join(folder, 'test'));
  for (const name of ['src', 'jobs', 'migrations', 'package.json', 'test/dev']) {
    await cp(join(ROOT, name), join(folder, name), { recursive: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

it('npm run dev fills a new database, starts again when a file changes, and stops cleanly', async () => {
  const checkout = await makeCheckout();
  const dev = startLine(`cd '${checkout}' && exec '${process.execPath}' test/dev/dev.ts`, { PORT: '0' });
  onTestFinished(() => void dev.child.kill('SIGKILL'));
  await dev.printed('A shop to try things with', 90_000);
  const [, key = ''] = /API key {7}(\S+)/.exec(dev.output()) ?? [];

  await appendFile(join(checkout, 'src/money.ts'), '// changed\n');
  const urls = await eventually('a second start', () => {
    const all = [...dev.output().matchAll(/^Listening (\S+)/gm)].map(([, url = '']) => url);
    return dev.output().split('the worker is ready').length === 3 && all;
  });
  const answer = await fetch(`${urls[1]}/customers`, { headers: { authorization: `Bearer ${key}` } });
  expect(await answer.json()).toMatchObject({
    items: [{ name: 'Alan Turing' }, { name: 'Grace Hopper' }, { name: 'Ada Lovelace' }],
  });

  expect(await dev.end('SIGTERM')).toBe(0);
  expect(dev.output().split('"msg":"stopped"')).toHaveLength(3);
});
