import { createConnection, createServer, type Socket } from 'node:net';

/** `K`: the server tells its client the number of the session. */
const BACKEND_KEY = 'K'.charCodeAt(0);
const MADE_UP = 1_234_567;

export interface RenumberingProxy {
  through(databaseUrl: string): string;
  /** Changes nothing of the connections that are made from now on, or does so again. */
  stepAside(isAside: boolean): void;
  stop(): Promise<void>;
}

/** Stands before a Postgres and tells clients another number of their session, as a pooler does; nothing else is changed. */
export async function startRenumberingProxy(serverUrl: string): Promise<RenumberingProxy> {
  const { hostname, port } = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let isAside = false;
  const server = createServer((client) => {
    const upstream = createConnection({ host: hostname, port: Number(port) });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    const renumber = isAside ? (chunk: Buffer) => chunk : renumbering();
    upstream.on('data', (chunk: Buffer) => client.write(renumber(chunk)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const ownPort = typeof address === 'object' ? address?.port : undefined;
  return {
    through: (databaseUrl) => {
      const url = new URL(databaseUrl);
      url.hostname = '127.0.0.1';
      url.port = String(ownPort);
      return url.href;
    },
    stepAside: (aside) => {
      isAside = aside;
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What the server says, with another number once it tells one; until then only whole messages are passed on. */
function renumbering(): (chunk: Buffer) => Buffer {
  let rest = Buffer.alloc(0);
  let isDone = false;
  return (chunk) => {
    if (isDone) return chunk;
    rest = Buffer.concat([rest, chunk]);
    let at = 0;
    while (!isDone && rest.length >= at + 5 && rest.length >= at + 1 + rest.readInt32BE(at + 1)) {
      isDone = rest[at] === BACKEND_KEY;
      if (isDone) rest.writeInt32BE(MADE_UP, at + 5);
      at += 1 + rest.readInt32BE(at + 1);
    }
    const passed = isDone ? rest : rest.subarray(0, at);
    rest = rest.subarray(at);
    return passed;
  };
}
