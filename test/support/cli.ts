import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { BACKEND } from './citus-cluster.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { NODE_COMPILE_CACHE } from './process.ts';
import { ENCRYPTION_KEY } from './secrets.ts';

export const ROOT = join(import.meta.dirname, '../..');

/** What a command left when it ended. */
export interface Ran {
  /** The exit code, or the signal that ended it. */
  readonly code: number | NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export interface TestCli {
  readonly database: TestDatabase;
  /** Where the commands run; it has no DATA_DIR. */
  readonly folder: string;
  /** Runs a command, words separated by spaces, to its end. `stdin` is all there is on its standard input. */
  chokin(words: string | readonly string[], environment?: Record<string, string>): Promise<Ran>;
  /** Runs a command that must succeed, and parses its JSON; tests look into it freely. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape is what the test is about
  json(words: string | readonly string[], environment?: Record<string, string>): Promise<any>;
  /** Starts a command without waiting for it. */
  start(words: string | readonly string[], environment?: Record<string, string>): ChildProcess;
  /** Everything that any command printed so far. */
  printed(): string;
  close(): Promise<void>;
}

/** The command line as a user starts it, on a database of its own unless the environment names another. */
export async function startTestCli(): Promise<TestCli> {
  const [database, folder] = await Promise.all([createTestDatabase(), mkdtemp(join(tmpdir(), 'chokin-cli-'))]);
  let printed = '';
  const wordsOf = (words: string | readonly string[]) => (typeof words === 'string' ? words.split(' ') : words);

  const start: TestCli['start'] = (words, environment = {}) => {
    // Nobody listens at that address: no test asks a provider itself.
    const nowhere = { STRIPE_API_URL: 'http://127.0.0.1:9' };
    const given = { DATABASE_URL: database.url, ENCRYPTION_KEY, ...nowhere, ...environment };
    const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE, ...BACKEND, ...given };
    return spawn(process.execPath, [join(ROOT, 'src/cli/chokin.ts'), ...wordsOf(words)], { cwd: folder, env });
  };
  const chokin: TestCli['chokin'] = async (words, { stdin = '', ...environment } = {}) => {
    const child = start(words, environment);
    // It may not read it at all.
    child.stdin?.on('error', () => {});
    child.stdin?.end(stdin);
    const ran = await ended(child);
    // A thing that was written where its text was meant.
    expect(ran.out + ran.err).not.toContain('[object ');
    printed += ran.out + ran.err;
    return ran;
  };
  const json: TestCli['json'] = async (words, environment) => {
    const ran = await chokin([...wordsOf(words), '--json'], environment);
    expect(ran).toMatchObject({ code: 0, err: '' });
    return JSON.parse(ran.out);
  };
  return {
    database,
    folder,
    chokin,
    json,
    start,
    printed: () => printed,
    close: async () => {
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Collects what a process prints until it has ended. */
export async function ended(child: ChildProcess): Promise<Ran> {
  let [out, err] = ['', ''];
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const [code, signal] = await once(child, 'close');
  return { code: signal ?? code, out, err };
}

/** What a command that failed looks like: a line or two to the error output, nothing else. */
export function failure(message: string | RegExp, code = 1) {
  const err = typeof message === 'string' ? `error: ${message}\n` : expect.stringMatching(message);
  return { code, out: '', err };
}
