import type { ServerResponse } from 'node:http';
import type { Logger } from '../../telemetry/log.ts';
import type { Limited, Metrics, RequestFault } from '../../telemetry/metrics.ts';
import { createSeldom } from '../../telemetry/seldom.ts';
import { TurnedAwayError } from './turn-away.ts';

/** Tells whom, such as an address or the id of a source. It is logged and never a label. */
export type NoteLimited = (limited: Limited, whom: string) => void;

/** Counts every limit that took hold, and logs each kind once in ten seconds with the last one whom it met. */
export function createNoteLimited(metrics: Pick<Metrics, 'countLimited'>, logger: Logger): NoteLimited {
  const seldom = createSeldom();
  return ({ who, limit }, whom) => {
    metrics.countLimited({ who, limit });
    const count = seldom(`${who} ${limit}`);
    if (count !== null) logger.warn({ who, limit, whom: whom.slice(0, 100), count }, 'somebody is over a limit');
  };
}

/** What is said where a limit on memory has no room. Unlike another 503 it is not our failure, and not logged by itself. */
export class NoRoomError extends TurnedAwayError {
  constructor(of: 'bodies' | 'answers') {
    const what = of === 'bodies' ? 'Too many bodies are under way.' : 'Too many answers are not read yet.';
    super({ code: 'SERVICE_UNAVAILABLE', message: `${what} Try again after the time in Retry-After.` });
    this.name = 'NoRoomError';
  }
}

const limited = new WeakSet<ServerResponse>();

/** Notes that an answer is a limit's doing, and neither a failure of ours nor worth a line of its own in the log. */
export function markLimited(response: ServerResponse): void {
  limited.add(response);
}

/** What is behind an answer's status: our failure, a limit, the client's doing, or nothing at all. */
export function faultOf(response: ServerResponse, status: number): RequestFault {
  if (limited.has(response)) return 'limit';
  if (status >= 500) return 'server';
  return status >= 400 ? 'client' : 'none';
}

/** What is counted for a request whose client closed the connection before its answer was out, as nginx does. */
export const HUNG_UP = 499;

/** The status of a request that is over, as it is counted and logged. */
export function finalStatus(response: ServerResponse): number {
  return response.writableFinished || response.statusCode >= 400 ? response.statusCode : HUNG_UP;
}
