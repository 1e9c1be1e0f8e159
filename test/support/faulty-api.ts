import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

/** Something answered in the API's place. */
export interface CannedAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

/** An answer that never ends: a byte at a time, or as fast as it is taken. */
export interface EndlessAnswer {
  readonly status: number;
  readonly endless: 'slow' | 'fast';
}

/** How an API fails. `half`: the connection breaks in the middle of the answer; `noise`: what comes is no HTTP. */
export type Misbehaviour = 'silence' | 'half' | 'reset' | 'noise' | CannedAnswer | EndlessAnswer;

const MEGABYTE = gzipSync(Buffer.alloc(1024 * 1024, ' '));

/** 256 kB that inflate to 256 MB: gzip may have many members, one after another. */
export const INFLATING: CannedAnswer = {
  status: 200,
  headers: { 'content-encoding': 'gzip' },
  body: Buffer.concat(Array.from({ length: 256 }, () => MEGABYTE)),
};

const DRIP_MS = 20;

/** A way to a provider's API on which the answer to a request of one's choice goes wrong. */
export class FaultyApi {
  /** When each request came, by `performance.now()`. */
  readonly askedAtMs: number[] = [];
  /** How much of answers without an end was written. */
  endlessBytes = 0;
  readonly #upstream: string;
  readonly #refused: string | null;
  #script: (Misbehaviour | null)[] = [];
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch(() => response.destroy());
  });

  private constructor(upstream: string, refused: string | null) {
    this.#upstream = upstream;
    this.#refused = refused;
  }

  /**
   * @param upstream the address of the API that answers well
   * @param refused a path that is always answered 403, and counts nowhere
   */
  static async start(upstream: string, refused: string | null = null): Promise<FaultyApi> {
    const api = new FaultyApi(upstream, refused);
    api.#server.listen(0, '127.0.0.1');
    await once(api.#server, 'listening');
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many of the misbehaviours asked for are still to come. */
  get due(): number {
    return this.#script.length;
  }

  /** The next requests go wrong like this, one each, or well for null; all after that go well, whatever was said before. */
  script(...misbehaviours: readonly (Misbehaviour | null)[]): void {
    this.#script = misbehaviours.slice();
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve({ url = '/', headers }: IncomingMessage, response: ServerResponse): Promise<void> {
    if (url === this.#refused) return this.#misbehave({ status: 403, body: '{}' }, response);
    this.askedAtMs.push(performance.now());
    const misbehaviour = this.#script.shift() ?? null;
    if (misbehaviour !== null) return this.#misbehave(misbehaviour, response);
    const answer = await fetch(`${this.#upstream}${url}`, {
      headers: { authorization: headers.authorization ?? '' },
    });
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
    response.end(Buffer.from(await answer.arrayBuffer()));
  }

  async #misbehave(what: Misbehaviour, response: ServerResponse): Promise<void> {
    if (typeof what === 'object' && 'endless' in what) return this.#pour(what, response);
    if (typeof what === 'object') {
      response.writeHead(what.status, { 'content-type': 'application/json', ...what.headers });
      response.end(what.body);
      return;
    }
    switch (what) {
      case 'silence':
        return;
      case 'reset':
        response.socket?.resetAndDestroy();
        return;
      case 'noise':
        response.socket?.end('\0\u0001 220 ready for mail\r\n');
        return;
      case 'half':
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
        response.write('{"items":[', () => response.socket?.resetAndDestroy());
        return;
    }
  }

  /** Blanks, which JSON allows between its signs: it may still become an answer. */
  async #pour({ status, endless }: EndlessAnswer, response: ServerResponse): Promise<void> {
    const closed = new AbortController();
    response.on('close', () => closed.abort());
    response.writeHead(status, { 'content-type': 'application/json' });
    response.write('{"items":[');
    const blanks = endless === 'slow' ? ' ' : ' '.repeat(1_048_576);
    while (!closed.signal.aborted) {
      const isTaken = response.write(blanks);
      this.endlessBytes += blanks.length;
      if (!isTaken) await once(response, 'drain', { signal: closed.signal });
      if (endless === 'slow') await delay(DRIP_MS);
    }
  }
}
