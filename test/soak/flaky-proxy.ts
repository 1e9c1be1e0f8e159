import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Random } from './plan.ts';

/** A way to a server that fails at a rate: before the request arrives, or after, when only the answer is lost. */
export class FlakyProxy {
  rate: number;
  readonly #target: URL;
  readonly #random: Random;
  readonly #server = createServer((incoming, response) => this.#serve(incoming, response));

  private constructor(target: string, rate: number, random: Random) {
    this.#target = new URL(target);
    this.rate = rate;
    this.#random = random;
  }

  static async start(target: string, rate: number, random: Random): Promise<FlakyProxy> {
    const proxy = new FlakyProxy(target, rate, random);
    await new Promise<void>((resolve) => {
      proxy.#server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(incoming: IncomingMessage, response: ServerResponse): void {
    const kind = this.#random.chance(this.rate) ? this.#random.int(1, 4) : 0;
    if (kind === 1) response.socket?.resetAndDestroy();
    else if (kind === 2) response.writeHead(500, { 'content-type': 'text/html' }).end('<h1>Bad gateway</h1>');
    else if (kind === 3) response.writeHead(429, { 'retry-after': '1' }).end('{}');
    else this.#forward(incoming, response, kind === 4);
  }

  #forward(incoming: IncomingMessage, response: ServerResponse, losesAnswer: boolean): void {
    const { hostname, port } = this.#target;
    const { method, url: path, headers } = incoming;
    const outgoing = request({ hostname, port, method, path, headers }, (answer) => {
      if (losesAnswer) {
        answer.resume().on('end', () => response.socket?.resetAndDestroy());
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    incoming.pipe(outgoing);
  }
}
