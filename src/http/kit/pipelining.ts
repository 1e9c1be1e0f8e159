import type { RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import { Fifo } from '../../db/fifo.ts';
import { atEnd } from './answer-end.ts';
import type { NoteLimited } from './limited.ts';

/** Requests of one connection that are worked on at once, and those that may wait behind them. */
const AT_ONCE = 4;
const WAITING = 96;

/** The requests of a connection that were sent before the ones before them were answered. */
interface Line {
  begun: number;
  readonly waiting: Fifo<() => void>;
}

function lineOf(lines: WeakMap<Socket, Line>, socket: Socket): Line {
  const known = lines.get(socket);
  if (known !== undefined) return known;
  const line: Line = { begun: 0, waiting: new Fifo() };
  lines.set(socket, line);
  return line;
}

/**
 * Works on a few requests of a connection at once, however many it sent: they come by the thousand with one packet, and
 * everybody else would wait until all of them were begun. A connection of which too many wait is ended, since each takes a
 * hundred times more memory here than it has bytes.
 */
export function fewAtOnce(serve: RequestListener, noteLimited: NoteLimited): RequestListener {
  const lines = new WeakMap<Socket, Line>();
  return (request, response) => {
    const { socket } = request;
    const line = lineOf(lines, socket);
    const begin = () => {
      if (socket.destroyed) return;
      line.begun += 1;
      atEnd(response, () => {
        line.begun -= 1;
        const next = line.waiting.shift();
        // Later: what others sent meanwhile comes first.
        if (next !== undefined) setImmediate(next);
      });
      serve(request, response);
    };
    // The rest came in the same packet as the request for which the connection was ended.
    if (socket.destroyed || line.begun < AT_ONCE) begin();
    else if (line.waiting.length < WAITING) line.waiting.push(begin);
    else {
      noteLimited({ who: 'address', limit: 'pipelined' }, socket.remoteAddress ?? '');
      socket.destroy();
    }
  };
}
