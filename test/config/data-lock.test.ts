import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { AlreadyRunningError, type DataLock, lockData } from '../../src/config/data-lock.ts';

/** A socket as a process leaves it that had no time to remove it. */
async function leaveSocket(path: string): Promise<void> {
  const code = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', code]), 'exit');
  expect((await stat(path)).isSocket()).toBe(true);
}

describe('the lock of a data folder', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'chokin-lock-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** The one who gets it; whoever does not must be told that it is taken. */
  async function take(count: number, place = folder): Promise<DataLock[]> {
    const tries = await Promise.allSettled(Array.from({ length: count }, () => lockData(place)));
    for (const one of tries) {
      if (one.status === 'rejected') expect(one.reason).toBeInstanceOf(AlreadyRunningError);
    }
    return tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  }

  it('has one holder, whose address and process the others are told, until it is released', async () => {
    const [lock] = await take(1);
    await expect(lockData(folder)).rejects.toThrow(
      `Chokin is already running, process ${process.pid}, with its database in ${folder}.`,
    );
    lock?.announce('http://127.0.0.1:3000');
    await expect(lockData(folder)).rejects.toThrow(
      `Chokin is already running at http://127.0.0.1:3000, process ${process.pid}, with its database in ${folder}.`,
    );
    await lock?.release();
    expect(await take(1)).toHaveLength(1);
  });

  it('goes to one of many that try at once', async () => {
    expect(await take(20)).toHaveLength(1);
  });

  it('is taken over from a process that was killed, whose socket stays behind', async () => {
    await leaveSocket(join(folder, 'running'));
    const [lock] = await take(1);
    await lock?.release();
  });

  it('goes to one of many that find such a socket at once', async () => {
    await leaveSocket(join(folder, 'running'));
    expect(await take(20)).toHaveLength(1);
  });

  it('is held by a process that does not answer', async () => {
    const silent = createServer(() => {}).listen(join(folder, 'running'));
    await once(silent, 'listening');
    onTestFinished(() => void silent.close());
    await expect(lockData(folder)).rejects.toThrow(`Chokin is already running, with its database in ${folder}.`);
  });

  it('works in a folder whose path is too long for a socket', async () => {
    const deep = join(folder, 'a-folder-with-a-long-name'.repeat(5));
    await mkdir(deep);
    const [lock, ...others] = [...(await take(1, deep)), ...(await take(1, deep))];
    expect([lock === undefined, others]).toEqual([false, []]);
    await lock?.release();
  });
});
