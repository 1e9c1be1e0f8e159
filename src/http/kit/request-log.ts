import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../telemetry/log.ts';
import { createFew } from '../../telemetry/seldom.ts';
import { atEnd } from './answer-end.ts';
import { headerText, setHeader } from './answer-headers.ts';
import { faultOf, finalStatus, HUNG_UP } from './limited.ts';

/** The form of a request id that is taken over from a proxy. Any other text could break the lines of a log. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** A part of a path that may be logged: it can be an id, but not an e-mail address or a telephone number. */
const PLAIN_PART = /^[A-Za-z0-9._-]{0,100}$/;

/** The path without its query and without parts that are no ids, since callers may put names and addresses there. */
function loggedPath(url: string): string {
  const [path = ''] = url.split('?', 1);
  return path
    .split('/')
    .map((part) => (PLAIN_PART.test(part) ? part : '…'))
    .join('/');
}

/** Lines of what clients do wrong in ten seconds. A line is longer than a request that causes it; all of them are counted. */
const CLIENTS_LINES = 100;

const ID_HEADER = 'x-request-id';

/** The id of a request, which its answer bears. */
export function requestIdOf(response: ServerResponse): string {
  return headerText(response, ID_HEADER);
}

/**
 * Gives every request an id and logs those that fail: method, status, and the parts of the path that may be logged. Successes
 * are logged at `debug` only. Nothing is made of a line that is not written, so they cost next to nothing by default.
 */
export function createRequestLog(logger: Logger): (request: IncomingMessage, response: ServerResponse) => void {
  const isAmongFew = createFew(CLIENTS_LINES);
  const levelOf = (response: ServerResponse): 'debug' | 'info' | 'warn' => {
    const status = finalStatus(response);
    // What a limit or a client's end of the line does is counted instead: anybody can do it any number of times.
    if (status === HUNG_UP || faultOf(response, status) === 'limit') return 'debug';
    if (status >= 500) return 'warn';
    return status >= 400 && isAmongFew() ? 'info' : 'debug';
  };
  return (request, response) => {
    const given = request.headers[ID_HEADER];
    const reqId = typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
    setHeader(response, ID_HEADER, reqId);
    // As they came: a router takes parts of the path away for those behind it.
    const { method, url = '' } = request;
    const startedMs = performance.now();
    const note = () => {
      const level = levelOf(response);
      if (!logger.isLevelEnabled(level)) return;
      const { statusCode } = response;
      const responseTime = Math.round(performance.now() - startedMs);
      logger[level]({ reqId, req: { method, path: loggedPath(url) }, res: { statusCode }, responseTime }, ANSWERED);
    };
    // It comes after `finish` and after `error`, and where neither does.
    atEnd(response, note);
    response.on('error', nothing);
  };
}

/** What is wrong with a response ends it; without a listener it would end the process. */
const nothing = () => {};

const ANSWERED = 'request answered';
