import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request that went through, and what came back. */
export interface Exchange {
  readonly method: string;
  /** Path and query, as sent. */
  readonly path: string;
  readonly status: number;
  readonly answerHeaders: Headers;
  readonly answer: string;
}

/** Hop by hop, or made anew by `fetch` (RFC 9110, 7.6.1). */
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'content-length',
  'accept-encoding',
  'expect',
]);

/** Stands before a server that speaks for a provider, passes every request on and notes what it answers. */
export class RecordingProxy {
  readonly exchanges: Exchange[] = [];
  readonly #upstream: string;
  readonly #added: Readonly<Record<string, string>>;
  readonly #server = createServer((request, response) => {
    this.#pass(request, response).catch((error: unknown) => response.destroy(error as Error));
  });

  private constructor(upstream: string, added: Readonly<Record<string, string>>) {
    this.#upstream = upstream;
    this.#added = added;
  }

  /**
   * @param upstream the address of the server behind it, without a path
   * @param added headers that every request gets on its way
   */
  static async start(upstream: string, added: Readonly<Record<string, string>> = {}): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(upstream, added);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url: path = '/' } = request;
    const headers = Object.entries(request.headers).filter(([name]) => !NOT_FORWARDED.has(name));
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const answer = await fetch(`${this.#upstream}${path}`, {
      method,
      headers: { ...Object.fromEntries(headers.map(([name, value]) => [name, String(value)])), ...this.#added },
      ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
      redirect: 'manual',
    });
    const text = await answer.text();
    this.exchanges.push({ method, path, status: answer.status, answerHeaders: answer.headers, answer: text });
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'application/json' });
    response.end(text);
  }
}
