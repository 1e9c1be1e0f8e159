import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { type Fault, type FaultRule, ProxiedSession, type ProxiedStatement } from './proxied-session.ts';

export type { Fault, FaultRule, ProxiedStatement } from './proxied-session.ts';

/** A fault that waits for the k-th statement. */
export interface ArmedFault {
  /** The statement that was hit, or null as long as none was. */
  readonly hit: ProxiedStatement | null;
  /** How many statements of those that count have passed so far. */
  readonly counted: number;
  disarm(): void;
}

/**
 * A way to Postgres on which every fault of a network and of a peer can be made to happen, at a statement of one's
 * choice. It reads the frontend/backend protocol 3 as far as that takes: who connects, where a statement begins and ends
 * (prepared ones included), and when the server is done with it. No TLS, no COPY, no pipelining.
 */
export class StatementProxy {
  readonly url: string;
  /** Every statement is held up this long on its way to the server. */
  delayMs = 0;
  readonly #port: number;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #sessions = new Set<ProxiedSession>();
  readonly #rules = new Set<FaultRule>();
  #server: Server | null;
  #frozen: PromiseWithResolvers<void> | null = null;
  #connections = 0;

  private constructor(server: Server, port: number, target: URL) {
    server.on('connection', (socket) => this.#accept(socket));
    this.#server = server;
    this.#port = port;
    this.#target = { host: target.hostname, port: Number(target.port) };
    const url = new URL(target);
    url.host = `127.0.0.1:${port}`;
    this.url = url.href;
  }

  static async start(databaseUrl: string): Promise<StatementProxy> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address !== 'object') throw new Error('the proxy has no port');
    return new StatementProxy(server, address.port, new URL(databaseUrl));
  }

  /** Applies `rule` from now on, until the function returned is called. A rule may also only watch. */
  inject(rule: FaultRule): () => void {
    this.#rules.add(rule);
    return () => this.#rules.delete(rule);
  }

  /** Lets `fault` happen once, at the k-th (from 1) of the statements that `counts` says to count. */
  arm(k: number, fault: Fault, counts: (statement: ProxiedStatement) => boolean = () => true): ArmedFault {
    let counted = 0;
    let hit: ProxiedStatement | null = null;
    const disarm = this.inject((statement) => {
      if (hit !== null || !counts(statement)) return null;
      counted += 1;
      if (counted < k) return null;
      hit = statement;
      return fault;
    });
    return {
      get hit() {
        return hit;
      },
      get counted() {
        return counted;
      },
      disarm,
    };
  }

  get isFrozen(): boolean {
    return this.#frozen !== null;
  }

  /** From now on nothing passes on any connection, old or new; neither side hears of it. */
  freeze(): void {
    this.#frozen ??= Promise.withResolvers();
    for (const session of this.#sessions) session.frozen = this.#frozen.promise;
  }

  /** Ends the freeze, and what was under way arrives, as after a stall. */
  thaw(): void {
    this.#frozen?.resolve();
    this.#frozen = null;
  }

  /** Ends the freeze for new connections alone: the others stay silent for good, as when a firewall forgot them. */
  forgetFrozen(): void {
    this.#frozen = null;
  }

  /** Breaks every connection and refuses new ones. */
  async cut(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    const closed = server === null ? null : once(server, 'close');
    server?.close();
    for (const session of this.#sessions) session.end();
    await closed;
  }

  async restore(): Promise<void> {
    const server = createServer((socket) => this.#accept(socket)).listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
  }

  close(): Promise<void> {
    return this.cut();
  }

  #accept(client: Socket): void {
    this.#connections += 1;
    const session = new ProxiedSession(client, createConnection(this.#target), this.#connections, {
      decide: (statement) => {
        // Every rule sees every statement, for the sake of those that count.
        const faults = [...this.#rules].map((rule) => rule(statement));
        return faults.find((fault) => fault !== null) ?? null;
      },
      delayMs: () => this.delayMs,
      ended: () => this.#sessions.delete(session),
    });
    session.frozen = this.#frozen?.promise ?? null;
    this.#sessions.add(session);
    session.run();
  }
}

/** Runs an operation under the fault. @returns its result, and the statement that the fault hit; null if it hit none */
export type UnderFault = <T>(operation: () => Promise<T>) => Promise<{ result: T; hit: ProxiedStatement | null }>;

/** Every statement; or, where a test has many alike, every `step`-th from the statement `first` on. */
interface Points {
  readonly first: number;
  readonly step: number;
}

/**
 * Makes one attempt after another: the first with `fault` at its first statement, the next at its second, and so on, until an
 * attempt ends that the fault did not hit.
 * @returns the statements that were hit, in order
 */
export async function atEveryStatement(
  proxy: StatementProxy,
  fault: Fault,
  counts: (statement: ProxiedStatement) => boolean,
  attempt: (underFault: UnderFault) => Promise<void>,
  { first, step }: Points = { first: 1, step: 1 },
): Promise<readonly ProxiedStatement[]> {
  const hits: ProxiedStatement[] = [];
  for (let point = first; ; point += step) {
    let hit: ProxiedStatement | null = null;
    try {
      await attempt(async (operation) => {
        const armed = proxy.arm(point, fault, counts);
        const result = await operation().finally(armed.disarm);
        hit = armed.hit;
        return { result, hit };
      });
    } catch (error) {
      const { sql } = hit ?? { sql: 'none' };
      // CI's report is short: a statement of thousands of characters would leave no room for the cause.
      throw new Error(`with the fault ${fault.when} statement ${point}: ${sql.trim().slice(0, 200)}`, { cause: error });
    }
    if (hit === null) return hits;
    hits.push(hit);
  }
}
