import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';

/** A way to the database that can be cut, as a network or a fail-over does. */
export class DatabaseProxy {
  readonly url: string;
  readonly #port: number;
  readonly #target: { host: string; port: number };
  readonly #sockets = new Set<Socket>();
  #server: Server | null;

  private constructor(server: Server, port: number, target: URL) {
    this.#server = server;
    this.#port = port;
    this.#target = { host: target.hostname, port: Number(target.port) };
    const url = new URL(target);
    url.host = `127.0.0.1:${port}`;
    this.url = url.href;
    server.on('connection', (socket) => this.#pass(socket));
  }

  static async start(databaseUrl: string): Promise<DatabaseProxy> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address !== 'object') throw new Error('the proxy has no port');
    return new DatabaseProxy(server, address.port, new URL(databaseUrl));
  }

  /** Breaks every connection and refuses new ones. */
  async cut(): Promise<void> {
    const closed = this.#server === null ? Promise.resolve() : once(this.#server, 'close');
    this.#server?.close();
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async restore(): Promise<void> {
    const server = createServer((socket) => this.#pass(socket)).listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
  }

  close(): Promise<void> {
    return this.cut();
  }

  #pass(socket: Socket): void {
    const upstream = createConnection(this.#target);
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
