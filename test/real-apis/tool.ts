import { spawn } from 'node:child_process';
import { eventually } from '../support/wait.ts';

export interface Tool {
  /** What the first group of the pattern found in its output. */
  readonly found: string;
  stop(): Promise<void>;
}

const READY_MS = 60_000;

/** Starts a program that is no part of this project, and waits until its output says by `pattern` that it is ready. */
export async function startTool(command: string, args: readonly string[], pattern: RegExp): Promise<Tool> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.on('error', (error) => {
    output += String(error);
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const closed = new Promise<void>((resolve) => {
    child.on('close', () => resolve());
  });
  const ready = await eventually(
    `${command} to be ready`,
    () => {
      const match = pattern.exec(output);
      if (match === null && (child.exitCode !== null || child.pid === undefined)) {
        throw new Error(`${command} ended: ${output}`);
      }
      return match;
    },
    READY_MS,
  );
  return {
    found: ready[1] ?? '',
    async stop() {
      child.kill();
      await closed;
    },
  };
}
