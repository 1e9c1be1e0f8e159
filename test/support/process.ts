import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BACKEND } from './citus-cluster.ts';
import { urlOfScript } from './database-users.ts';
import { eventually } from './wait.ts';

const ROOT = join(import.meta.dirname, '../..');

/**
 * What Node compiled, kept from one process and run to the next: starting web takes it half the time then. Node looks whether a file is
 * still the same.
 */
export const NODE_COMPILE_CACHE = join(ROOT, 'node_modules/.cache/compiled');

/** Where processes run unless told otherwise: a folder without a .env or a DATA_DIR of whoever runs the tests. */
const EMPTY = mkdtempSync(join(tmpdir(), 'chokin-empty-'));
process.once('exit', () => rmSync(EMPTY, { recursive: true, force: true }));

/** One of the service's own processes, run as a deployment would run it. */
export interface ServiceProcess {
  readonly child: ChildProcess;
  /** Everything it printed so far, on both streams. */
  output(): string;
  /** What it printed to standard output alone. */
  stdout(): string;
  /** Waits until the output contains `text`. */
  printed(text: string, deadlineMs?: number): Promise<void>;
  /** Resolves with the exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** Sends a signal and waits for the exit; returns the exit code, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals>;
}

/**
 * Starts `script` (such as `jobs/worker.ts`) on this project's Node with nothing but `environment`, and no wait before it stops. Where its DATABASE_URL
 * names the operator of a test database, web and worker run as their own users instead.
 */
export function startProcess(
  script: string,
  environment: Record<string, string>,
  args: readonly string[] = [],
  cwd: string = EMPTY,
): ServiceProcess {
  const { DATABASE_URL: url } = environment;
  const database = url === undefined ? {} : { DATABASE_URL: urlOfScript(script, url) };
  const env = {
    PATH: process.env.PATH,
    NODE_COMPILE_CACHE,
    DRAIN_SECONDS: '0',
    ...BACKEND,
    ...environment,
    ...database,
  };
  return watch(script, spawn(process.execPath, [join(ROOT, script), ...args], { cwd, env }));
}

/** Runs a line as a process manager does: by a shell, in the checkout, with nothing but `environment`. */
export function startLine(line: string, environment: Record<string, string>): ServiceProcess {
  const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE, ...BACKEND, ...environment };
  return watch(line, spawn('sh', ['-c', line], { cwd: ROOT, env }));
}

function watch(name: string, child: ChildProcess): ServiceProcess {
  let text = '';
  let stdout = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (stream === child.stdout) stdout += chunk.toString();
    });
  }
  // The output is complete once the streams are closed, which may be after the exit.
  const exited = once(child, 'close').then(([code, signal]): number | NodeJS.Signals => code ?? signal);
  return {
    child,
    output: () => text,
    stdout: () => stdout,
    printed: async (wanted, deadlineMs = 120_000) => {
      await eventually(
        `${name} to print "${wanted}"`,
        () => {
          if (child.exitCode !== null) throw new Error(`${name} exited with ${child.exitCode}:\n${text}`);
          return text.includes(wanted);
        },
        deadlineMs,
      );
    },
    exited,
    end: (signal) => {
      child.kill(signal);
      return exited;
    },
  };
}
