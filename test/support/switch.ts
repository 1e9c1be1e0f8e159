import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** An address of a database that leads to one server or another, as the name of a managed Postgres does. */
export class Switch {
  readonly port: number;
  #target: number;
  readonly #sockets = new Set<Socket>();
  readonly #close: () => void;

  private constructor(target: number, port: number, close: () => void) {
    this.#target = target;
    this.port = port;
    this.#close = close;
  }

  static async start(target: number): Promise<Switch> {
    const server = createServer((socket) => made.#lead(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const made = new Switch(target, port, () => server.close());
    return made;
  }

  /** New connections go to another port of this machine. Those that there are go on, as they do when a name changes. */
  to(target: number): void {
    this.#target = target;
  }

  close(): void {
    this.#close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #lead(socket: Socket): void {
    const server = connect(this.#target, '127.0.0.1');
    for (const [one, other] of [
      [socket, server],
      [server, socket],
    ] as const) {
      this.#sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy()).on('close', () => this.#sockets.delete(one) && other.destroy());
    }
  }
}
