import { createServer } from 'node:http';
import type { Express } from 'express';

export interface ListenOptions {
  /** 0 for any free port. */
  readonly port: number;
  readonly host: string;
}

export interface HttpServer {
  readonly url: string;
  readonly port: number;
  /** Takes no new connections, lets the requests under way finish, and after `patienceMs` cuts off what is left. */
  close(patienceMs: number): Promise<void>;
}

/** Beyond it a process serves nobody well; the platform's balancer has others. */
const MAX_CONNECTIONS = 10_000;

/**
 * Listens, with every wait bounded: 10 s for the headers and 20 s for a whole request (providers give up sooner), 65 s
 * for an idle connection, which is longer than the balancers in front of us keep theirs.
 */
export async function listen(app: Express, { port, host }: ListenOptions): Promise<HttpServer> {
  const timeouts = { headersTimeout: 10_000, requestTimeout: 20_000, keepAliveTimeout: 65_000 };
  // Node looks for connections past their time only this often, every 30 s unless told.
  const server = createServer({ ...timeouts, connectionsCheckingInterval: 2_000 }, app);
  server.maxConnections = MAX_CONNECTIONS;
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
