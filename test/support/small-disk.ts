import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Mounts, says so, and unmounts when its standard input ends: also when the test that holds it is killed. */
const HOLD = 'mount -t tmpfs -o "size=$2" tmpfs "$1" && echo mounted && cat > /dev/null; umount -l "$1" 2> /dev/null';

/**
 * A real disk of a few megabytes in memory. Root mounts it for all processes; an ordinary user mounts it in a namespace of its
 * own, and reaches it through the process that holds this namespace.
 */
export class SmallDisk {
  readonly path: string;
  readonly #holder: ChildProcess;

  private constructor(path: string, holder: ChildProcess) {
    this.path = path;
    this.#holder = holder;
  }

  /**
   * Mounts it on a new folder, for the account `uid` to write to. Linux alone.
   * @throws {Error} if this machine lets nobody mount
   */
  static async mount(folder: string, sizeMb: number, uid: number): Promise<SmallDisk> {
    await mkdir(folder);
    const isRoot = process.getuid?.() === 0;
    const [program, ...args] = isRoot ? ['sh'] : ['unshare', '--user', '--map-root-user', '--mount', 'sh'];
    const holder = spawn(program ?? 'sh', [...args, '-c', HOLD, 'sh', folder, `${sizeMb}m`]);
    let errors = '';
    holder.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const [said] = await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit'), once(holder, 'error')]);
    if (!String(said).includes('mounted')) {
      const remedy = 'Run as root, or where unshare --user --map-root-user --mount works.';
      throw new Error(`This machine lets us mount no disk of our own: ${errors || said}. ${remedy}`);
    }
    if (isRoot) await chown(folder, uid, uid);
    return new SmallDisk(isRoot ? folder : join(`/proc/${holder.pid}/root`, folder), holder);
  }

  /** Takes all the room that is left. */
  async fill(): Promise<void> {
    const file = await open(join(this.path, 'filler'), 'w');
    try {
      for (let size = 1 << 20; size >= 1 << 12; ) {
        const { bytesWritten } = await file.write(Buffer.alloc(size)).catch(outOfRoom);
        if (bytesWritten < size) size >>= 1;
      }
    } finally {
      await file.close();
    }
  }

  async makeRoom(): Promise<void> {
    await rm(join(this.path, 'filler'));
  }

  /** Unmounts it; what is on it is gone. */
  async unmount(): Promise<void> {
    if (this.#holder.exitCode !== null) return;
    const gone = once(this.#holder, 'exit');
    this.#holder.stdin?.end();
    await gone;
  }
}

function outOfRoom(error: unknown): { bytesWritten: number } {
  if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return { bytesWritten: 0 };
  throw error;
}
