import { execFile } from 'node:child_process';
import { access, chmod, chown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../src/db/embedded.ts';
import { serverAccount } from '../../src/db/server-account.ts';

const execute = promisify(execFile);

/** Where Debian and Fedora put the binaries of each version of Postgres. */
const FOLDERS = ['/usr/lib/postgresql', '/usr/pgsql'];

/** A Postgres of the machine's own packages, which come with pg_dump and pg_restore, as those of npm do not. */
export class SystemPostgres {
  readonly url: string;
  readonly #binaries: string;
  readonly #folder: string;

  private constructor(url: string, binaries: string, folder: string) {
    this.url = url;
    this.#binaries = binaries;
    this.#folder = folder;
  }

  /** @returns a server with an empty database; null if the machine has none installed */
  static async start(): Promise<SystemPostgres | null> {
    const binaries = await newestBinaries();
    if (binaries === null) return null;
    const folder = await mkdtemp(join(tmpdir(), 'chokin-system-postgres-'));
    await chmod(folder, 0o755);
    const account = await serverAccount();
    if (account !== null) await chown(folder, account.uid, account.gid);
    const run = (program: string, args: readonly string[]) =>
      execute(join(binaries, program), [...args], { ...account, cwd: tmpdir() });
    const data = join(folder, 'cluster');
    const port = await freePort();
    await run('initdb', [
      `--pgdata=${data}`,
      '--auth=trust',
      '--username=postgres',
      '--encoding=UTF8',
      '--locale=C',
      '-N',
    ]);
    const options = `-c port=${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off`;
    await run('pg_ctl', [
      'start',
      '--wait',
      `--pgdata=${data}`,
      `--log=${join(folder, 'log')}`,
      `--options=${options}`,
    ]);
    return new SystemPostgres(`postgres://postgres@127.0.0.1:${port}/postgres`, binaries, folder);
  }

  /** Dumps the database into `file`. */
  async dump(file: string, format: 'custom' | 'plain' = 'custom'): Promise<string> {
    await execute(join(this.#binaries, 'pg_dump'), [`--format=${format}`, `--file=${file}`, this.url]);
    return file;
  }

  async remove(): Promise<void> {
    const account = await serverAccount();
    const args = ['stop', '--mode=immediate', `--pgdata=${join(this.#folder, 'cluster')}`];
    await execute(join(this.#binaries, 'pg_ctl'), args, { ...account, cwd: tmpdir() });
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function newestBinaries(): Promise<string | null> {
  for (const folder of FOLDERS) {
    const versions = await readdir(folder).catch(() => []);
    for (const version of versions.toSorted((a, b) => Number(b) - Number(a))) {
      const binaries = join(folder, version, 'bin');
      const needed = ['initdb', 'pg_ctl', 'pg_dump', 'pg_restore'].map((program) => access(join(binaries, program)));
      if ((await Promise.allSettled(needed)).every(({ status }) => status === 'fulfilled')) return binaries;
    }
  }
  return null;
}
