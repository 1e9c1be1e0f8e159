import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startProcess } from '../support/process.ts';
import { eventually } from '../support/wait.ts';

/** The demo, in a folder for temporary files of its own. */
async function startDemo() {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-stopped-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  const demo = startProcess('test/demo/demo.ts', { TMPDIR: folder });
  onTestFinished(() => void demo.child.kill('SIGKILL'));
  const left = async () => (await readdir(folder)).filter((name) => name.startsWith('chokin-'));
  return { demo, left };
}

describe('Ctrl-C in the demo', { timeout: 90_000 }, () => {
  it.each([
    ['while it plays', (output: string) => output.includes('WHO')],
    ['while the database starts', () => true],
  ])('%s: stops the database and removes its folder', async (_name, isTime) => {
    const { demo, left } = await startDemo();
    const [folder] = await eventually('the folder of its database', async () => {
      const names = await left();
      return names.length > 0 && isTime(demo.output()) ? names : undefined;
    });
    expect(folder).toBeDefined();
    expect(await demo.end('SIGINT')).toBe(130);
    expect(demo.output()).toContain('The demo was stopped; its database is gone.');
    expect(await left()).toEqual([]);
  });
});
