import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A statement on its way: one simple query, or all that a client sends up to its Sync. */
export interface ProxiedStatement {
  readonly applicationName: string;
  /** Counts connections from 1, in the order in which they were opened. */
  readonly connection: number;
  readonly sql: string;
  /** Whether its text or one of its parameters holds `text`. */
  holds(text: string): boolean;
}

/** What happens to a statement, and then to its connection. */
export interface Fault {
  /** `before`: the server has not seen the statement. `after`: it has executed it, and its reply waits in the proxy. */
  readonly when: 'before' | 'after';
  readonly connection: 'cut' | 'kept';
  /** With `before`: this SQLSTATE is what the server really answers, since it is sent a statement that raises it instead. */
  readonly raises?: string;
  /** Runs while the statement (or its reply) is held, and holds it until it resolves. */
  readonly meanwhile?: (statement: ProxiedStatement) => unknown;
}

/** Asked for every statement of every connection, in order; null lets it pass. */
export type FaultRule = (statement: ProxiedStatement) => Fault | null;

export interface SessionOptions {
  readonly decide: FaultRule;
  readonly delayMs: () => number;
  readonly ended: () => void;
}

/** One connection. Each direction is a loop that reads only what it may pass on, so that a statement is held by waiting. */
export class ProxiedSession {
  frozen: Promise<void> | null = null;
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #number: number;
  readonly #options: SessionOptions;
  readonly #prepared = new Map<string, string>();
  /** What the server still owes a ReadyForQuery for, oldest first, each with the fault that strikes after it. */
  readonly #owed: ((() => Promise<'cut' | 'kept'>) | null)[] = [];
  #applicationName: string | null = null;
  /** The messages of the statement that is being received, and its text. */
  readonly #unit: Buffer[] = [];
  #sql = '';
  /** What the server has answered and the client has not received yet. */
  readonly #reply: Buffer[] = [];
  #isEnded = false;

  constructor(client: Socket, upstream: Socket, number: number, options: SessionOptions) {
    this.#client = client;
    this.#upstream = upstream;
    this.#number = number;
    this.#options = options;
  }

  run(): void {
    for (const socket of [this.#client, this.#upstream]) {
      socket.setNoDelay(true);
      // The loops end with their sockets, for whatever reason.
      socket.on('error', () => {});
    }
    this.#pump(this.#client, (messages) => this.#fromClient(messages));
    this.#pump(this.#upstream, (messages) => this.#fromServer(messages));
  }

  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#client.destroy();
    this.#upstream.destroy();
    this.#options.ended();
  }

  async #pump(socket: Socket, handle: (messages: Messages) => Promise<void>): Promise<void> {
    const messages = new Messages();
    try {
      for await (const chunk of socket) {
        messages.add(chunk);
        await handle(messages);
        if (this.#isEnded) return;
      }
    } catch (error) {
      // Sockets that end in whatever way are what this is for; a rule that throws is a mistake of the test.
      if (!(error instanceof Error && 'code' in error)) throw error;
    } finally {
      this.end();
    }
  }

  async #fromClient(messages: Messages): Promise<void> {
    for (;;) {
      const message = messages.take(this.#applicationName !== null);
      if (message === null || this.#isEnded) return;
      if (this.#applicationName === null) {
        this.#applicationName = applicationNameOf(message);
        this.#owed.push(null);
        await this.#send(this.#upstream, message);
      } else await this.#fromStartedClient(message);
    }
  }

  async #fromStartedClient(message: Buffer): Promise<void> {
    const type = String.fromCharCode(message[0] ?? 0);
    this.#unit.push(message);
    const [first = '', second = ''] = type === 'P' || type === 'B' || type === 'Q' ? textsOf(message) : [];
    switch (type) {
      case 'P':
        this.#prepared.set(first, second);
        this.#sql = second;
        return;
      case 'B':
        this.#sql = this.#prepared.get(second) ?? '';
        return;
      case 'D':
      case 'E':
      case 'C':
        return;
      case 'Q':
        this.#sql = first;
        return this.#pass();
      case 'S':
        return this.#pass();
      default:
        // Passwords, Terminate: no statement, and nothing to wait for.
        return this.#send(this.#upstream, this.#takeUnit());
    }
  }

  #takeUnit(): Buffer {
    return Buffer.concat(this.#unit.splice(0));
  }

  /** Passes a whole statement on, unless a fault says otherwise. */
  async #pass(): Promise<void> {
    const bytes = this.#takeUnit();
    const sql = this.#sql;
    this.#sql = '';
    const statement: ProxiedStatement = {
      applicationName: this.#applicationName ?? '',
      connection: this.#number,
      sql,
      holds: (text) => sql.includes(text) || bytes.includes(text),
    };
    const fault = sql === '' ? null : this.#options.decide(statement);
    const strike = async (): Promise<'cut' | 'kept'> => {
      await fault?.meanwhile?.(statement);
      return fault?.connection ?? 'kept';
    };
    if (fault?.when === 'before' && (await strike()) === 'cut') return this.end();
    if (this.#options.delayMs() > 0) await delay(this.#options.delayMs());
    this.#owed.push(fault?.when === 'after' ? strike : null);
    await this.#send(this.#upstream, fault?.raises === undefined ? bytes : raising(fault.raises));
  }

  async #fromServer(messages: Messages): Promise<void> {
    for (;;) {
      const message = messages.take(true);
      if (message === null) break;
      this.#reply.push(message);
      if (message[0] !== READY_FOR_QUERY) continue;
      const strike = this.#owed.shift() ?? null;
      if (strike !== null && (await strike()) === 'cut') return this.end();
    }
    // A reply that a fault waits for is held as a whole.
    const isWithheld = this.#owed[0] !== undefined && this.#owed[0] !== null;
    if (this.#reply.length > 0 && !isWithheld) await this.#send(this.#client, Buffer.concat(this.#reply.splice(0)));
  }

  async #send(socket: Socket, bytes: Buffer): Promise<void> {
    while (this.frozen !== null) {
      const { frozen } = this;
      await frozen;
      if (this.frozen === frozen) this.frozen = null;
    }
    if (!socket.destroyed && !socket.write(bytes)) await once(socket, 'drain');
  }
}

const READY_FOR_QUERY = 'Z'.charCodeAt(0);

/** Cuts a stream of bytes into the protocol's messages. */
class Messages {
  #rest: Buffer = Buffer.alloc(0);

  add(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
  }

  /** The next whole message, or null. The very first of a client has no type byte. */
  take(hasType: boolean): Buffer | null {
    const head = hasType ? 1 : 0;
    if (this.#rest.length < head + 4) return null;
    const length = head + this.#rest.readInt32BE(head);
    if (this.#rest.length < length) return null;
    const message = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return message;
  }
}

/** A simple query that fails with `sqlState`; to a client, errors of both protocols look the same. */
function raising(sqlState: string): Buffer {
  const sql = Buffer.from(`do $$ begin raise exception 'raised by the proxy' using errcode = '${sqlState}'; end $$\0`);
  const head = Buffer.from('Q\0\0\0\0');
  head.writeInt32BE(4 + sql.length, 1);
  return Buffer.concat([head, sql]);
}

/** The first two texts, each ended by a zero byte, of a message with a type byte. */
function textsOf(message: Buffer): string[] {
  const firstEnd = message.indexOf(0, 5);
  const secondEnd = message.indexOf(0, firstEnd + 1);
  return [message.toString('utf8', 5, firstEnd), message.toString('utf8', firstEnd + 1, Math.max(secondEnd, 0))];
}

/** Length, protocol version, then names and values in turn. */
function applicationNameOf(startup: Buffer): string {
  const words = startup.toString('utf8', 8).split('\0');
  const at = words.findIndex((word, index) => index % 2 === 0 && word === 'application_name');
  return at === -1 ? '' : (words[at + 1] ?? '');
}
