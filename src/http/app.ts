import type { RequestListener } from 'node:http';
import express, { type ErrorRequestHandler, type Express } from 'express';
import { networkName } from './kit/address.ts';
import { keepHeaders } from './kit/answer-headers.ts';
import { ANSWER_PATIENCE_MS, countAnswer } from './kit/answers.ts';
import { ByteBudget, type BytesOf } from './kit/byte-budget.ts';
import { docsRouter } from './kit/docs.ts';
import { dodoOnly } from './kit/dodo.ts';
import { NOWHERE, replyTo } from './kit/failure.ts';
import { createFront } from './kit/front.ts';
import { openApiDocument } from './kit/openapi.ts';
import { createPageLimit } from './kit/rate-limit.ts';
import { createRequestLog } from './kit/request-log.ts';
import { setSecurityHeaders } from './kit/security-headers.ts';
import { fail, send, sendText } from './kit/send.ts';
import { type ServeOptions, serve, type Visit } from './kit/serve.ts';
import type { Services } from './kit/services.ts';
import { serveMetrics } from './metrics.ts';
import { homeRouter } from './routes/home.ts';
import { ROUTES } from './routes.ts';

/** The HTTP side: an Express application, with a front for what is asked most. It listens nowhere yet. */
export function createApp(services: Services, options: ServeOptions = { checkResponses: false }): RequestListener {
  const { config, noteLimited: note } = services;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('trust proxy', config.TRUST_PROXY);
  const limitBytes = config.MAX_BODY_BYTES_IN_FLIGHT;
  const answers = new ByteBudget({ limit: 'answers', limitBytes, note, patienceMs: ANSWER_PATIENCE_MS });
  services.metrics.watch('chokin_answer_bytes', 'Bytes of answers that are not read yet.', () => answers.bytes);
  const log = createRequestLog(services.logger);
  const begin = ({ request, response, address }: Pick<Visit, 'request' | 'response' | 'address'>) => {
    log(request, response);
    countAnswer(answers, { request, response }, () => strangerAt(address));
  };
  app.use((request, response, next) => {
    begin({ request, response, address: request.ip ?? '' });
    next();
  });
  app.use(['/docs', '/readme', '/openapi.json'], createPageLimit(services));
  app.use('/docs', docsRouter());
  app.use(homeRouter());
  app.use((_request, response, next) => {
    setSecurityHeaders(response);
    next();
  });
  const respond = serve(app, services, { ...options, routes: ROUTES, answers });
  serveDocument(app, services);
  serveMetrics(app, services);
  app.use((request, response) => {
    const refused = dodoOnly(request.method, request.path) ?? { code: 'NOT_FOUND', message: NOWHERE };
    send(response, replyTo(refused));
  });
  const failed = (visit: Pick<Visit, 'request' | 'response'>, error: unknown) => fail(services, visit, error);
  app.use(((error, request, response, _next) => failed({ request, response }, error)) satisfies ErrorRequestHandler);
  const beginAsData = (visit: Visit) => {
    keepHeaders(visit.response);
    begin(visit);
    setSecurityHeaders(visit.response);
  };
  const proxies = config.TRUST_PROXY;
  return createFront({ app, proxies, routes: ROUTES, begin: beginAsData, respond, fail: failed });
}

function strangerAt(ip: string): BytesOf {
  const address = networkName(ip);
  return { address, party: { kind: 'address', id: address } };
}

function serveDocument(app: Express, { settings }: Services): void {
  let text: Buffer | null = null;
  const reply = { status: 200, body: null, headers: { 'access-control-allow-origin': '*' } };
  app.get('/openapi.json', (_request, response) => {
    text ??= Buffer.from(`${JSON.stringify(openApiDocument(ROUTES, settings.currencies))}\n`);
    sendText(response, reply, { text, bytes: text.length });
  });
}
