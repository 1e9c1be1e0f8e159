import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from './wait.ts';

/** A busy machine takes long to start a program. */
const DEADLINE_MS = 180_000;

/** A shell that stays, as a terminal does: folder, variables and aliases last from one command to the next. */
export class Terminal {
  readonly #name: string;
  readonly #scratch: string;
  readonly #shell: ChildProcess;
  #count = 0;
  #heard = '';
  /** The process group of the command that stays. */
  #staying: number | null = null;

  /** `scratch` is a folder for files of its own. */
  constructor(
    name: string,
    where: { readonly cwd: string; readonly env: NodeJS.ProcessEnv; readonly scratch: string },
  ) {
    this.#name = name;
    this.#scratch = where.scratch;
    this.#shell = spawn('bash', ['--norc'], { cwd: where.cwd, env: where.env, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#shell.stdout?.on('data', (chunk: Buffer) => {
      this.#heard += chunk.toString();
    });
    this.#shell.stdin?.write('shopt -s expand_aliases\n');
  }

  /** Types a command and waits for its end. @returns what it printed @throws {Error} if it fails */
  async run(command: string): Promise<string> {
    await this.stop();
    const { file, log } = await this.#written(command);
    const code = await this.#ask(`source ${file} </dev/null >${log} 2>&1; echo "DONE $?"`, /DONE (\d+)\n/);
    const output = await readFile(log, 'utf8');
    if (code !== '0') throw new Error(`${command}\nended with ${code}:\n${output}`);
    return output;
  }

  /** Types a command that goes on, and waits until what it printed `isReady`. @returns that @throws {Error} if it ends before */
  async stay(command: string, isReady: (output: string) => boolean): Promise<string> {
    await this.stop();
    const { file, log } = await this.#written(command);
    const started = `set -m; { source ${file}; } </dev/null >${log} 2>&1 & echo "GROUP $!"; set +m`;
    const group = Number(await this.#ask(started, /GROUP (\d+)\n/));
    this.#staying = group;
    let output = '';
    return eventually(
      `${command} to be ready`,
      async () => {
        output = await readFile(log, 'utf8');
        if (!isAlive(group)) throw new Error('it ended');
        return isReady(output) ? output : undefined;
      },
      DEADLINE_MS,
    ).catch((error: unknown) => {
      throw new Error(`${command} is not ready; it printed:\n${output}`, { cause: error });
    });
  }

  /** Ctrl-C for the command that stays, if there is one. */
  async stop(): Promise<void> {
    if (this.#staying === null) return;
    const group = this.#staying;
    this.#staying = null;
    process.kill(-group, 'SIGINT');
    await eventually(`the terminal ${this.#name} to stop`, () => !isAlive(group));
  }

  async close(): Promise<void> {
    await this.stop();
    const closed = once(this.#shell, 'close');
    this.#shell.stdin?.end();
    await closed;
  }

  async #written(command: string): Promise<{ file: string; log: string }> {
    this.#count += 1;
    const file = join(this.#scratch, `${this.#name}-${this.#count}.sh`);
    await writeFile(file, `${command}\n`);
    const log = `${file}.log`;
    await writeFile(log, '');
    return { file, log };
  }

  async #ask(line: string, answer: RegExp): Promise<string> {
    this.#heard = '';
    this.#shell.stdin?.write(`${line}\n`);
    return eventually(
      `the terminal ${this.#name} to answer`,
      () => {
        if (this.#shell.exitCode !== null) throw new Error(`the shell of ${this.#name} ended`);
        return answer.exec(this.#heard)?.[1];
      },
      DEADLINE_MS,
    );
  }
}

function isAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch {
    return false;
  }
}
