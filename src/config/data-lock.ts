import { createHash, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { makeDataFolder } from './make-folder.ts';

/** One `npm start` at a time has a data folder. */
export interface DataLock {
  /** The URL at which the holder listens, which a second start in the same folder prints. */
  announce(url: string): void;
  release(): Promise<void>;
}

const holderSchema = z.object({ token: z.string(), pid: z.int(), url: z.string().nullable() });

type Holder = z.infer<typeof holderSchema>;

/** A process that is stopped or very busy still holds its lock; it is not waited for longer than this. */
const ANSWER_MS = 2_000;

/** Between finding a leftover and removing it there are microseconds. */
const OTHERS_MS = 250;

const SOCKET = 'running';

/** The folder is in use. The message says by whom, and what to do. */
export class AlreadyRunningError extends Error {
  constructor(folder: string, holder: Holder | null) {
    const at = holder?.url === undefined || holder.url === null ? '' : ` at ${holder.url}`;
    const process = holder === null ? '' : `, process ${holder.pid}`;
    super(
      `Chokin is already running${at}${process}, with its database in ${folder}.\nStop it first. For a second one beside it, set DATA_DIR to another folder and PORT to another port.`,
    );
    this.name = 'AlreadyRunningError';
  }
}

/**
 * Takes the lock of a folder, which is made if need be. The lock is a socket that its holder listens at: the operating system closes it with
 * the process, however that ends, so a lock never outlives its holder, and no other process that was given the same
 * number is taken for it.
 * @throws {AlreadyRunningError} if another process has it
 * @throws {Error} that says what to set, if no socket can be made for it
 */
export async function lockData(folder: string): Promise<DataLock> {
  await makeDataFolder(folder);
  for (const path of socketPaths(folder)) {
    const lock = await lockAt(path, folder);
    if (lock !== null) return lock;
  }
  throw new Error(`${folder}: neither there nor in ${tmpdir()} can a socket be made. Set DATA_DIR to another folder.`);
}

/** The URL at which the holder of a folder's lock listens; null if nobody has it, or it says none. */
export async function urlOfHolder(folder: string): Promise<string | null> {
  for (const path of socketPaths(folder)) {
    const { holder } = await ask(path);
    if (holder !== null) return holder.url;
  }
  return null;
}

/** Some file systems have no sockets, and the path of one may not be long. */
function socketPaths(folder: string): readonly string[] {
  const place = createHash('sha256').update(resolve(folder)).digest('hex').slice(0, 16);
  return [join(resolve(folder), SOCKET), join(tmpdir(), `chokin-${place}`)];
}

/** @returns null if there can be no socket at this path */
async function lockAt(path: string, folder: string): Promise<DataLock | null> {
  const self: Holder = { token: randomUUID(), pid: process.pid, url: null };
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(JSON.stringify(self));
  });
  server.unref();
  let problem = await listenAt(server, path);
  if (problem === 'EADDRINUSE') {
    const { isHeld, holder } = await ask(path);
    if (isHeld) throw new AlreadyRunningError(folder, holder);
    // Left over by a process that was killed.
    await rm(path, { force: true });
    problem = await listenAt(server, path);
    if (problem === 'EADDRINUSE') throw new AlreadyRunningError(folder, (await ask(path)).holder);
    // Others may have found the same leftover, and remove our socket for it in the next moments. The last one has the lock.
    await delay(OTHERS_MS);
  }
  if (problem !== null) return null;
  // A lock that was lost is not closed: that would remove the socket of the process that has it now.
  const { holder } = await ask(path);
  if (holder?.token !== self.token) throw new AlreadyRunningError(folder, holder);
  return {
    announce: (url) => {
      self.url = url;
    },
    release: () => new Promise((done) => server.close(() => done())),
  };
}

/** @returns null, or the code of what went wrong */
function listenAt(server: Server, path: string): Promise<string | null> {
  return new Promise((done) => {
    const fail = (error: NodeJS.ErrnoException) => done(error.code ?? 'unknown');
    server.once('error', fail);
    server.listen(path, () => {
      server.off('error', fail);
      done(null);
    });
  });
}

/** Whether a process listens at `path`, and who it says it is, if it answers in time. */
function ask(path: string): Promise<{ isHeld: boolean; holder: Holder | null }> {
  return new Promise((done) => {
    let answer = '';
    let isConnected = false;
    const socket = connect(path, () => {
      isConnected = true;
    });
    socket.setEncoding('utf8').setTimeout(ANSWER_MS, () => socket.destroy());
    socket.on('data', (text: string) => {
      answer += text;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // It is another account's socket: whether anybody listens, we may not know.
      if (error.code === 'EACCES') isConnected = true;
    });
    socket.on('close', () => done({ isHeld: isConnected, holder: parseHolder(answer) }));
  });
}

function parseHolder(answer: string): Holder | null {
  try {
    return holderSchema.parse(JSON.parse(answer));
  } catch {
    return null;
  }
}
