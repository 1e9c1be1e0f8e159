import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { RawSocket } from '../security/raw-socket.ts';

/** So many connections, opened a few at a time, on each of which the same is said. */
export interface FloodOptions {
  readonly port: number;
  readonly connections: number;
  readonly atOnce: number;
  readonly says: Uint8Array;
  /** Whether what is answered is read. */
  readonly reads: boolean;
}

/** A flood from a thread of its own, so that whoever is measured beside it does not wait for the one who floods. */
export class Flood {
  readonly #worker: Worker;
  /** Resolves when all connections are open and all is written. */
  readonly whole: Promise<unknown>;

  constructor(options: FloodOptions) {
    this.#worker = new Worker(new URL(import.meta.url), { workerData: options, execArgv: [] });
    this.whole = once(this.#worker, 'message');
  }

  /** Closes all connections. @returns the statuses of all answers that were read */
  async end(): Promise<readonly number[]> {
    const answered = once(this.#worker, 'message');
    this.#worker.postMessage('end');
    const [statuses] = await answered;
    await this.#worker.terminate();
    return statuses;
  }
}

async function flood({ port, connections, atOnce, says, reads }: FloodOptions): Promise<void> {
  const sockets: RawSocket[] = [];
  while (sockets.length < connections) {
    const some = await Promise.all(Array.from({ length: atOnce }, () => RawSocket.open(port)));
    if (!reads) for (const { socket } of some) socket.pause();
    for (const socket of some) socket.write(Buffer.from(says));
    sockets.push(...some);
  }
  parentPort?.once('message', () => {
    parentPort?.postMessage(sockets.flatMap((socket) => socket.statuses));
    for (const socket of sockets) socket.destroy();
  });
  parentPort?.postMessage('whole');
}

if (!isMainThread && workerData?.says !== undefined) void flood(workerData);
