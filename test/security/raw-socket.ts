import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** One TCP connection to a server, for saying what no HTTP client says. */
export class RawSocket {
  readonly socket: Socket;
  /** Resolves when the server has ended the connection, however it did. */
  readonly closed: Promise<void>;
  #received = '';

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('latin1');
    });
    // A server that closes while we go on writing resets the connection.
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve());
    });
  }

  /** @param from the address to come from, such as `127.0.0.2`; any unless given */
  static async open(port: number, from?: string): Promise<RawSocket> {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from });
    await once(socket, 'connect');
    return new RawSocket(socket);
  }

  /** Everything that came back so far. */
  get received(): string {
    return this.#received;
  }

  /** The status of every answer so far, in order. */
  get statuses(): number[] {
    return [...this.#received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
  }

  /** How many bytes the server has not taken yet. */
  get unsent(): number {
    return this.socket.writableLength;
  }

  write(data: string | Buffer): void {
    if (this.socket.writable) this.socket.write(data);
  }

  /** Writes the same again and again, as fast as the server takes it, until the connection is closed or `limitBytes` are sent. */
  async pour(chunk: Buffer, limitBytes: number): Promise<void> {
    let isClosed = false;
    void this.closed.then(() => {
      isClosed = true;
    });
    for (let sent = 0; sent < limitBytes && !isClosed && this.socket.writable; sent += chunk.length) {
      if (!this.socket.write(chunk)) await Promise.race([once(this.socket, 'drain').catch(() => {}), this.closed]);
    }
  }

  /** Writes `data` a byte at a time, two a second, until the connection is closed. */
  async drip(data: string): Promise<void> {
    let index = 0;
    const timer = setInterval(() => {
      this.write(data[index % data.length] ?? '');
      index += 1;
    }, 500);
    await this.closed;
    clearInterval(timer);
  }

  destroy(): void {
    this.socket.destroy();
  }
}
