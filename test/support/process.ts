import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { eventually } from './wait.ts';

const ROOT = join(import.meta.dirname, '../..');

/** One of the service's own processes, run as a deployment would run it. */
export interface ServiceProcess {
  readonly child: ChildProcess;
  /** Everything it printed so far, on both streams. */
  output(): string;
  /** Waits until the output contains `text`. */
  printed(text: string, deadlineMs?: number): Promise<void>;
  /** Sends a signal and waits for the exit; returns the exit code, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals>;
}

/** Starts `script` (such as `jobs/worker.ts`) on this project's Node with nothing but `environment`. */
export function startProcess(script: string, environment: Record<string, string>): ServiceProcess {
  const child = spawn(process.execPath, [join(ROOT, script)], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, ...environment },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  const exited = once(child, 'exit');
  return {
    child,
    output: () => text,
    printed: async (wanted, deadlineMs = 30_000) => {
      await eventually(
        `${script} to print "${wanted}"`,
        () => {
          if (child.exitCode !== null) throw new Error(`${script} exited with ${child.exitCode}:\n${text}`);
          return text.includes(wanted);
        },
        deadlineMs,
      );
    },
    end: async (signal) => {
      child.kill(signal);
      const [code, by] = await exited;
      return code ?? by;
    },
  };
}
