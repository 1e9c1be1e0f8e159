import type { Express, Request, Response } from 'express';
import { refusal, refuse } from '../../errors.ts';
import type { Caller } from '../../merchants/api-keys.ts';
import { Authenticator, isAdmin, requireScope } from './auth.ts';
import { ClientGoneError, parseJson, readBody, requireJson } from './body.ts';
import { dodoOnly } from './dodo.ts';
import { failureOf, replyTo } from './failure.ts';
import { createRateLimits, type RateLimits } from './rate-limit.ts';
import type { Reply, Route } from './route.ts';
import type { Services } from './services.ts';

export interface ServeOptions {
  /** Compare every answer with the schema that documents it, and fail where they differ; for tests. */
  readonly checkResponses: boolean;
}

/** Registers routes with Express. What no route declares is not there: 404, or 405 where only the method is wrong. */
export function serve(app: Express, routes: readonly Route[], services: Services, options: ServeOptions): void {
  const gate: Gate = {
    authenticator: new Authenticator(services),
    limits: createRateLimits(services.config.RATE_LIMIT_PER_MINUTE),
  };
  for (const [path, ofPath] of Map.groupBy(routes, (route) => route.path)) {
    const pattern = path.replaceAll(/\{(\w+)\}/g, ':$1');
    for (const route of ofPath) {
      app[route.method](pattern, (request, response) => respond(route, services, gate, options, request, response));
    }
    const allow = ofPath.map((route) => route.method.toUpperCase()).join(', ');
    app.all(pattern, (request, response) => {
      const elsewhere = dodoOnly(request.method, request.path);
      if (elsewhere !== null) return send(response, replyTo(elsewhere));
      const refused = replyTo(refusal('METHOD_NOT_ALLOWED', `This address answers to ${allow} only.`));
      return send(response, { ...refused, headers: { ...refused.headers, allow } });
    });
  }
}

interface Gate {
  readonly authenticator: Authenticator;
  readonly limits: RateLimits;
}

async function respond(
  route: Route,
  services: Services,
  gate: Gate,
  { checkResponses }: ServeOptions,
  request: Request,
  response: Response,
): Promise<void> {
  const startedMs = performance.now();
  const observe = () => {
    const seconds = (performance.now() - startedMs) / 1000;
    services.metrics.observeRequest(route.path, route.method, response.statusCode, seconds);
  };
  response.once('close', observe);
  try {
    const caller = await admit(gate, services, route.scope, request, response);
    const body = await readBodyOf(route, request);
    const { params, query, headers } = request;
    const reply = await route.answer({ services, caller, params: { ...params }, query: { ...query }, body, headers });
    if (checkResponses) assertDocumented(route, reply);
    send(response, reply);
  } catch (error) {
    fail(services, request, response, error);
  }
}

/** The merchant that calls, if one must and may. @throws {RefusalError} UNAUTHORIZED, TOO_MANY_REQUESTS or FORBIDDEN */
async function admit(
  { authenticator, limits }: Gate,
  { config }: Services,
  scope: Route['scope'],
  request: Request,
  response: Response,
): Promise<Caller | null> {
  if (scope === 'public') return null;
  if (scope === 'admin') {
    if (isAdmin(request, config.ADMIN_KEY)) return null;
    await limits.countFailedAuthentication(request, response);
    return refuse('UNAUTHORIZED', 'This wants the ADMIN_KEY of the environment, as "Authorization: Bearer <key>".');
  }
  const caller = await authenticator.authenticate(request);
  if (caller === null) {
    await limits.countFailedAuthentication(request, response);
    return refuse('UNAUTHORIZED', 'This wants a valid API key, as "Authorization: Bearer <key>".');
  }
  await limits.countRequest(request, response, caller);
  requireScope(caller, scope);
  return caller;
}

async function readBodyOf({ body }: Route, request: Request): Promise<unknown> {
  if (body === null) return undefined;
  if (body.kind === 'raw') return readBody(request, body.limitBytes);
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (body.optional && encoding === undefined && (length ?? '0') === '0') return {};
  requireJson(request);
  return parseJson(await readBody(request, body.limitBytes));
}

/** Answers a failure and logs it if it was not foreseen. */
export function fail(services: Services, request: Request, response: Response, error: unknown): void {
  if (error instanceof ClientGoneError || response.headersSent) {
    response.destroy();
    return;
  }
  const failure = failureOf(error);
  if (failure.unexpected) services.logger.error({ err: error, requestId: request.id }, 'a request failed unexpectedly');
  else if (failure.status === 503)
    services.logger.warn({ err: error, requestId: request.id }, 'a request was turned away');
  // What is left of a body that was refused unread would be taken for the next request.
  if (!request.complete && failure.status === 413) response.setHeader('connection', 'close');
  send(response, failure);
}

/** Writes a reply with as little work as there is: one serialisation, no etag, no content negotiation. */
export function send(response: Response, { status, body, headers }: Reply): void {
  response.statusCode = status;
  if (headers !== undefined) for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (body === null) {
    response.end();
    return;
  }
  // The line end is for terminals, whose prompt would else follow the answer.
  const text = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`;
  if (!response.hasHeader('content-type')) response.setHeader('content-type', 'application/json; charset=utf-8');
  response.setHeader('content-length', Buffer.byteLength(text));
  response.end(text);
}

function assertDocumented({ response, method, path }: Route, reply: Reply): void {
  // As the client sees it: without undefined fields.
  const seen: unknown = JSON.parse(JSON.stringify(reply.body));
  const { success, error } = response.schema.safeParse(seen);
  if (!success) throw new Error(`${method} ${path} answers what it does not document: ${error.message}`);
}
