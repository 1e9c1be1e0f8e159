import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { invariant } from '../../src/errors.ts';

export interface LoadRequest {
  readonly path: string;
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** What it may be answered with; 200 unless given. */
  readonly statuses?: readonly number[];
  /** What the same caller sends next, by what this was answered. */
  readonly follow?: (text: string) => LoadRequest;
}

export interface LoadResult {
  readonly requestsPerSecond: number;
  readonly requests: number;
  /** How many were answered with each status. */
  readonly answered: ReadonlyMap<number, number>;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

interface Answer {
  readonly status: number;
  readonly text: () => string;
}

const END_OF_HEAD = Buffer.from('\r\n\r\n');
const NOTHING: Buffer = Buffer.alloc(0);

/**
 * One caller's connection. It reads no more of HTTP than the servers here speak (a length, never chunks), since on a machine that
 * they share, each microsecond of the generator is taken from what it measures.
 */
class Line {
  readonly #socket: Socket;
  readonly #host: string;
  #received: Buffer = NOTHING;
  #settle: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | null = null;

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#settle?.reject(error));
    socket.on('close', () => this.#settle?.reject(new Error('the server closed a connection before it had answered')));
  }

  static async open({ hostname, port, host }: URL): Promise<Line> {
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    return new Line(socket, host);
  }

  send({ method, path, headers, body }: LoadRequest): Promise<Answer> {
    let head = `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}\r\n`;
    for (const name in headers) head += `${name}: ${headers[name]}\r\n`;
    if (body !== undefined) head += `content-length: ${Buffer.byteLength(body)}\r\n`;
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#socket.write(`${head}\r\n${body ?? ''}`);
    });
  }

  #take(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const received = this.#received;
    const endOfHead = received.indexOf(END_OF_HEAD);
    if (endOfHead < 0) return;
    const head = received.toString('latin1', 0, endOfHead);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined) {
      this.#settle?.reject(new Error(`an answer without a length: ${head.slice(0, 300)}`));
      return;
    }
    const start = endOfHead + END_OF_HEAD.length;
    const end = start + Number(length);
    if (received.length < end) return;
    this.#received = NOTHING;
    const { resolve } = this.#settle ?? {};
    this.#settle = null;
    resolve?.({ status: Number(head.slice(9, 12)), text: () => received.toString('utf8', start, end) });
  }

  close(): void {
    this.#settle = null;
    this.#socket.destroy();
  }
}

/**
 * Closed-loop load: `concurrency` callers, each sending its next request when the last was answered, until `next` has no
 * more or the time is up. An answer that was not expected fails the run: a fast error is not a fast service.
 */
export async function drive(
  baseUrl: string,
  concurrency: number,
  seconds: number,
  next: () => LoadRequest | null | Promise<LoadRequest | null>,
): Promise<LoadResult> {
  const lines = await Promise.all(Array.from({ length: concurrency }, () => Line.open(new URL(baseUrl))));
  const latencies: number[] = [];
  const answered = new Map<number, number>();
  const startedAt = performance.now();
  const deadline = startedAt + seconds * 1000;
  const caller = async (line: Line) => {
    let followed: LoadRequest | null = null;
    while (performance.now() < deadline) {
      const wanted: LoadRequest | null | Promise<LoadRequest | null> = followed ?? next();
      // Who keeps a rate is waited for; everybody else goes on at once.
      const current: LoadRequest | null = wanted instanceof Promise ? await wanted : wanted;
      if (current === null) return;
      const sentAt = performance.now();
      const answer: Answer = await line.send(current);
      latencies.push(performance.now() - sentAt);
      answered.set(answer.status, (answered.get(answer.status) ?? 0) + 1);
      const isExpected = current.statuses?.includes(answer.status) ?? answer.status === 200;
      invariant(
        isExpected,
        `${current.method} ${current.path} was answered ${answer.status}: ${answer.text().slice(0, 300)}`,
      );
      followed = current.follow?.(answer.text()) ?? null;
    }
  };
  try {
    await Promise.all(lines.map(caller));
  } finally {
    for (const line of lines) line.close();
  }
  const elapsedSeconds = (performance.now() - startedAt) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor((latencies.length - 1) * share)] ?? Number.NaN;
  return {
    requestsPerSecond: latencies.length / elapsedSeconds,
    requests: latencies.length,
    answered,
    p50Ms: at(0.5),
    p95Ms: at(0.95),
    p99Ms: at(0.99),
  };
}
