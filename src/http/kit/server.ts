import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';

export interface ListenOptions {
  /** 0 for any free port. */
  readonly port: number;
  readonly host: string;
  /** How long a client may take nothing of its answer: {@link SILENCE_MS} unless given. */
  readonly silenceMs?: number;
}

export interface HttpServer {
  readonly url: string;
  readonly port: number;
  /** Takes no new connections, lets the requests under way finish, and after `patienceMs` cuts off what is left. */
  close(patienceMs: number): Promise<void>;
}

/** Beyond it a process serves nobody well; the platform's balancer has others. */
const MAX_CONNECTIONS = 10_000;
/** From here on idle connections are closed to make room for new ones. */
const CROWDED = 9_000;
/** The slowest answer of ours begins before that. */
const SILENCE_MS = 30_000;

/**
 * Listens, with every wait bounded: 10 s for the headers and 20 s for a whole request (providers give up sooner), 65 s
 * for an idle connection, which is longer than the balancers in front of us keep theirs, and 30 s, twice at the most, in
 * which nothing of an answer is taken.
 */
export async function listen(
  app: RequestListener,
  { port, host, silenceMs = SILENCE_MS }: ListenOptions,
): Promise<HttpServer> {
  const timeouts = { headersTimeout: 10_000, requestTimeout: 20_000, keepAliveTimeout: 65_000 };
  // Node looks for connections past their time only this often, every 30 s unless told.
  const server = createServer({ ...timeouts, connectionsCheckingInterval: 2_000 }, app);
  server.setTimeout(silenceMs);
  server.maxConnections = MAX_CONNECTIONS;
  makeRoom(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host }, resolve);
  });
  const address = server.address();
  const boundPort = address !== null && typeof address === 'object' ? address.port : port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${boundPort}`,
    port: boundPort,
    close: async (patienceMs) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // A connection falls idle when its last answer is out; keep-alive would hold it open for the next request.
      const sweep = setInterval(() => server.closeIdleConnections(), 25);
      const cutOff = setTimeout(() => server.closeAllConnections(), patienceMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(cutOff);
    },
  };
}

/**
 * Node turns new connections away once there are as many as it may have, so that whoever opens that many and says nothing
 * would lock everybody else out. When it gets crowded, the connection that has been idle for the longest is closed for
 * the new one; one with a request under way never is.
 */
function makeRoom(server: Server): void {
  const underWay = new Map<Socket, number>();
  /** The longest idle first. */
  const idle = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    underWay.set(socket, 0);
    idle.add(socket);
    socket.once('close', () => {
      underWay.delete(socket);
      idle.delete(socket);
    });
    if (underWay.size <= CROWDED) return;
    const [longest] = idle;
    longest?.destroy();
  });
  server.on('request', ({ socket }, response) => {
    idle.delete(socket);
    underWay.set(socket, (underWay.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const count = underWay.get(socket);
      // The connection may be gone already.
      if (count === undefined) return;
      underWay.set(socket, count - 1);
      if (count === 1) idle.add(socket);
    });
  });
}
