import { createServer, type RequestListener } from 'node:http';
import { hasMuchLeft } from './body.ts';
import { type ConnectionLimits, limitConnections } from './connections.ts';
import { fewAtOnce } from './pipelining.ts';

export interface ListenOptions extends ConnectionLimits {
  /** 0 for any free port. */
  readonly port: number;
  readonly host: string;
  /** For how long a client may read nothing of its answer: {@link SILENCE_MS} unless given. */
  readonly silenceMs?: number;
}

export interface HttpServer {
  readonly url: string;
  readonly port: number;
  /** Takes no new connections, lets the requests under way finish, and after `patienceMs` cuts off what is left. */
  close(patienceMs: number): Promise<void>;
}

/** The most connections of a process. More would make all of them slow; a load balancer can use another process. */
const MAX_CONNECTIONS = 10_000;
/** New ones that the system keeps until we take them. */
const BACKLOG = 2_048;
/** Longer than our slowest answer needs until its first byte. */
const SILENCE_MS = 30_000;

/**
 * Listens, with a limit on every wait: 10 s for the headers and 20 s for a whole request (providers give up sooner); 65 s for
 * an idle connection, which is longer than load balancers in front of us keep theirs; and 30 s, at most twice, in which the
 * client reads nothing of its answer.
 */
export async function listen(
  app: RequestListener,
  { port, host, silenceMs = SILENCE_MS, ...limits }: ListenOptions,
): Promise<HttpServer> {
  const timeouts = { headersTimeout: 10_000, requestTimeout: 20_000, keepAliveTimeout: 65_000 };
  // How often Node looks for connections that are over their limit; by default only every 30 s.
  const served = fewAtOnce(withoutBodies(app), limits.noteLimited ?? (() => {}));
  const server = createServer({ ...timeouts, connectionsCheckingInterval: 2_000 }, served);
  server.setTimeout(silenceMs);
  server.maxConnections = MAX_CONNECTIONS;
  limitConnections(server, limits);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host, backlog: BACKLOG }, resolve);
  });
  const address = server.address();
  const boundPort = address !== null && typeof address === 'object' ? address.port : port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${boundPort}`,
    port: boundPort,
    close: async (patienceMs) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // A connection becomes idle after its last answer, and keep-alive would hold it open for a next request.
      const sweep = setInterval(() => server.closeIdleConnections(), 25);
      const cutOff = setTimeout(() => server.closeAllConnections(), patienceMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(cutOff);
    },
  };
}

/** What nothing is sent with: Node would go on to take in what somebody sends all the same, for as long as a request may take. */
const BODILESS: ReadonlySet<string | undefined> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS']);

/** Ends the connection of a request whose body nobody wants, once it is answered. */
function withoutBodies(serve: RequestListener): RequestListener {
  return (request, response) => {
    if (BODILESS.has(request.method) && hasMuchLeft(request)) response.shouldKeepAlive = false;
    serve(request, response);
  };
}
