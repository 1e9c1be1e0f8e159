import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import express, { type ErrorRequestHandler, type Express, type Request } from 'express';
import helmet from 'helmet';
import { pinoHttp } from 'pino-http';
import type { Logger } from '../telemetry/log.ts';
import { createFew } from '../telemetry/seldom.ts';
import { networkName } from './kit/address.ts';
import { ANSWER_PATIENCE_MS, countAnswer } from './kit/answers.ts';
import { ByteBudget, type BytesOf } from './kit/byte-budget.ts';
import { docsRouter } from './kit/docs.ts';
import { dodoOnly } from './kit/dodo.ts';
import { NOWHERE, replyTo } from './kit/failure.ts';
import { faultOf, finalStatus, HUNG_UP } from './kit/limited.ts';
import { openApiDocument } from './kit/openapi.ts';
import { createPageLimit } from './kit/rate-limit.ts';
import { fail, send, sendText } from './kit/send.ts';
import { type ServeOptions, serve } from './kit/serve.ts';
import type { Services } from './kit/services.ts';
import { serveMetrics } from './metrics.ts';
import { homeRouter } from './routes/home.ts';
import { ROUTES } from './routes.ts';

/** The HTTP side as an Express application. It listens nowhere yet. */
export function createApp(services: Services, options: ServeOptions = { checkResponses: false }): Express {
  const { config, noteLimited: note } = services;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('trust proxy', config.TRUST_PROXY);
  const limitBytes = config.MAX_BODY_BYTES_IN_FLIGHT;
  const answers = new ByteBudget({ limit: 'answers', limitBytes, note, patienceMs: ANSWER_PATIENCE_MS });
  services.metrics.watch('chokin_answer_bytes', 'Bytes of answers that are not read yet.', () => answers.bytes);
  app.use(requestLog(services.logger));
  app.use((request, response, next) => {
    countAnswer(answers, { request, response }, () => strangerOf(request));
    next();
  });
  app.use(['/docs', '/readme', '/openapi.json'], createPageLimit(services));
  app.use('/docs', docsRouter());
  app.use(homeRouter());
  app.use(securityHeaders);
  serve(app, services, { ...options, routes: ROUTES, answers });
  serveDocument(app, services);
  serveMetrics(app, services);
  app.use((request, response) => {
    const refused = dodoOnly(request.method, request.path) ?? { code: 'NOT_FOUND', message: NOWHERE };
    send(response, replyTo(refused));
  });
  app.use(((error, request, response, _next) =>
    fail(services, { request, response }, error)) satisfies ErrorRequestHandler);
  return app;
}

function strangerOf(request: Request): BytesOf {
  const address = networkName(request.ip ?? '');
  return { address, party: { kind: 'address', id: address } };
}

/** Answers are data: a browser must not run them, show them in a frame or guess their type. */
const securityHeaders = helmet({
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
});

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

/**
 * Gives every request an id and logs those that fail: method, status, and the parts of the path that may be logged. Successes
 * are logged at `debug` only, so that they cost nothing by default.
 */
function requestLog(logger: Logger) {
  const isAmongFew = createFew(CLIENTS_LINES);
  return pinoHttp<IncomingMessage, ServerResponse>({
    logger,
    quietReqLogger: true,
    wrapSerializers: false,
    serializers: {
      req: ({ method, url = '' }: IncomingMessage) => ({ method, path: loggedPath(url) }),
      res: ({ statusCode }: ServerResponse) => ({ statusCode }),
    },
    genReqId: (request, response) => {
      const given = request.headers['x-request-id'];
      const id = typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
      response.setHeader('x-request-id', id);
      return id;
    },
    customLogLevel: (_request, response) => {
      const status = finalStatus(response);
      // What a limit or a client's end of the line does is counted instead: anybody can do it any number of times.
      if (status === HUNG_UP || faultOf(response, status) === 'limit') return 'debug';
      if (status >= 500) return 'warn';
      return status >= 400 && isAmongFew() ? 'info' : 'debug';
    },
    customSuccessMessage: () => 'request answered',
    customErrorMessage: () => 'request answered',
    customErrorObject: (...[, response, , value]) => ({ res: response, responseTime: value.responseTime }),
  });
}

function serveDocument(app: Express, { settings }: Services): void {
  let text: Buffer | null = null;
  const reply = { status: 200, body: null, headers: { 'access-control-allow-origin': '*' } };
  app.get('/openapi.json', (_request, response) => {
    text ??= Buffer.from(`${JSON.stringify(openApiDocument(ROUTES, settings.currencies))}\n`);
    sendText(response, reply, { text, bytes: text.length });
  });
}
