import { Writable } from 'node:stream';
import type pg from 'pg';

/** The streams of connections whose statements are held back until the end of this turn. */
const gathering = new WeakSet<Writable>();

/**
 * Lets what is sent to the server in this turn of the event loop leave in one write. A write by itself costs us some 20 µs, and the server a
 * wake-up: a debit makes two of them instead of five.
 */
export function gather(client: pg.ClientBase): void {
  const stream = streamOf(client);
  if (stream === null || gathering.has(stream)) return;
  gathering.add(stream);
  stream.cork();
  // Behind all promises that are settled by now, so that COMMIT still goes along with the statement before it.
  process.nextTick(() => {
    gathering.delete(stream);
    stream.uncork();
  });
}

/** The driver's types do not have it; a connection without one sends each statement by itself. */
function streamOf(client: pg.ClientBase): Writable | null {
  if (!('connection' in client)) return null;
  const { connection } = client;
  if (typeof connection !== 'object' || connection === null || !('stream' in connection)) return null;
  return connection.stream instanceof Writable ? connection.stream : null;
}
