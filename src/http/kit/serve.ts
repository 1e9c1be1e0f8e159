import type { Express, Request, Response } from 'express';
import { ReadTooSlowError } from '../../db/readers.ts';
import { RefusalError } from '../../errors.ts';
import type { Caller } from '../../merchants/api-keys.ts';
import type { ErrorCode } from '../../views/error-status.ts';
import { publicRefusal } from '../../views/refusals.ts';
import { networkName } from './address.ts';
import { countAnswer } from './answers.ts';
import { Authenticator, bearerKey, isAdmin, requireScope } from './auth.ts';
import { checkBodyHeaders, type HeldBody, parseRequestJson, readBody, requireJson } from './body.ts';
import { ByteBudget, type BytesOf } from './byte-budget.ts';
import { dodoOnly } from './dodo.ts';
import { errorCodesOf } from './error-guide.ts';
import { replyTo } from './failure.ts';
import { faultOf, finalStatus } from './limited.ts';
import { createRateLimits, type RateLimits } from './rate-limit.ts';
import type { ReadRawBody, Reply, Route } from './route.ts';
import { fail, send, sendText, textOf } from './send.ts';
import type { Services } from './services.ts';
import { TurnedAwayError, turnAway } from './turn-away.ts';

export interface ServeOptions {
  /** For tests: compares every answer with the schema that documents it, and fails if they differ. */
  readonly checkResponses: boolean;
}

interface Served extends ServeOptions {
  readonly routes: readonly Route[];
  readonly answers: ByteBudget;
}

/**
 * Registers routes with Express. Any other path is answered with 404, a wrong method with 405.
 * @returns what answers a request of one of them
 */
export function serve(app: Express, services: Services, { routes, answers, checkResponses }: Served): Respond {
  const { config, noteLimited: note } = services;
  const gate: Gate = {
    authenticator: new Authenticator(services),
    limits: createRateLimits(config.RATE_LIMIT_PER_MINUTE, services),
    bodies: new ByteBudget({ limit: 'bodies', limitBytes: config.MAX_BODY_BYTES_IN_FLIGHT, note }),
    answers,
  };
  services.metrics.watch('chokin_body_bytes', 'Bytes of requests that are under way.', () => gate.bodies.bytes);
  const respondBy: Respond = (route, request, response) =>
    respond({ route, services, gate, checkResponses }, request, response);
  for (const [path, ofPath] of Map.groupBy(routes, (route) => route.path)) {
    const pattern = path.replaceAll(/\{(\w+)\}/g, ':$1');
    for (const route of ofPath) {
      app[route.method](pattern, (request, response) => respondBy(route, request, response));
    }
    const allow = ofPath.map((route) => route.method.toUpperCase()).join(', ');
    app.all(pattern, (request, response) => {
      const elsewhere = dodoOnly(request.method, request.path);
      if (elsewhere !== null) return send(response, replyTo(elsewhere));
      const refused = replyTo({ code: 'METHOD_NOT_ALLOWED', message: `This address answers to ${allow} only.` });
      return send(response, { ...refused, headers: { ...refused.headers, allow } });
    });
  }
  return respondBy;
}

type Respond = (route: Route, request: Request, response: Response) => Promise<void>;

interface Gate {
  readonly authenticator: Authenticator;
  readonly limits: RateLimits;
  readonly bodies: ByteBudget;
  readonly answers: ByteBudget;
}

interface Serving {
  readonly route: Route;
  readonly services: Services;
  readonly gate: Gate;
  readonly checkResponses: boolean;
}

async function respond(serving: Serving, request: Request, response: Response): Promise<void> {
  const { route, services, checkResponses } = serving;
  const startedMs = performance.now();
  const observe = () => {
    const seconds = (performance.now() - startedMs) / 1000;
    const status = finalStatus(response);
    const fault = faultOf(response, status);
    services.metrics.observeRequest({ route: route.path, method: route.method, status, fault }, seconds);
  };
  response.once('close', observe);
  const held: HeldBody[] = [];
  try {
    const caller = await admit(serving, request, response);
    const countWork = async (units: number) => {
      if (caller !== null) await serving.gate.limits.countRequest(response, caller, units);
    };
    if (route.body !== null) checkBodyHeaders(request, route.body.limitBytes);
    const read = async (party: BytesOf['party']): Promise<Buffer> => {
      const body = await readBodyOf(serving, request, party);
      held.push(body);
      return body.bytes;
    };
    const readRawBody: ReadRawBody = (id) => read({ kind: 'source', id });
    const party = caller === null ? OPERATOR : ({ kind: 'merchant', id: caller.merchantId } as const);
    const address = networkName(request.ip ?? '');
    if (route.scope !== 'public') countAnswer(serving.gate.answers, { request, response }, () => ({ address, party }));
    const body = await readJson(route, request, () => read(party));
    await countBytes(held[0]?.bytes.length ?? 0, countWork);
    const { query, headers } = request;
    const params = { ...request.params };
    const asked = {
      services,
      caller,
      params,
      query: { ...query },
      body,
      readRawBody,
      from: address,
      headers,
      countWork,
      setHeader: (name: string, value: string) => void response.setHeader(name, value),
    };
    const reply = await route.answer(asked);
    if (checkResponses) assertDocumented(route, reply);
    const text = textOf(reply);
    if (route.method === 'get') await countBytes(text?.bytes ?? 0, countWork);
    sendText(response, reply, text);
  } catch (error) {
    fail(services, { request, response }, checkResponses ? unlessDocumented(route, error) : error);
  } finally {
    for (const body of held) body.release();
  }
}

const NO_KEY =
  'No API key was sent. Send one as "Authorization: Bearer <key>"; "npx chokin keys create --name mine --scopes read,write" makes one.';
const UNKNOWN_KEY =
  'This API key is unknown, revoked or expired; "npx chokin keys create --name mine --scopes read,write" makes another.';

/** Bodies of the admin routes are counted as one party's. */
const OPERATOR = { kind: 'operator', id: 'operator' } as const;

/** The caller, or null for a route without API keys. @throws {TurnedAwayError} UNAUTHORIZED, TOO_MANY_REQUESTS or FORBIDDEN */
async function admit({ route, services, gate }: Serving, request: Request, response: Response): Promise<Caller | null> {
  const { scope } = route;
  if (scope === 'public') return null;
  if (scope === 'admin') {
    if (isAdmin(request, services.config.ADMIN_KEY)) return null;
    (await gate.limits.countGuess(request)).wasWrong(response);
    return turnAway('UNAUTHORIZED', 'This wants the ADMIN_KEY of the environment, as "Authorization: Bearer <key>".');
  }
  const caller = await callerOf(gate, request, response);
  await gate.limits.countRequest(response, caller);
  requireScope(caller, scope);
  return caller;
}

/** Bytes of a body, or of what is read, that count for one request. */
const BYTES_OF_A_REQUEST = 10_000;

async function countBytes(bytes: number, countWork: (units: number) => Promise<void>): Promise<void> {
  if (bytes >= BYTES_OF_A_REQUEST) await countWork(Math.floor(bytes / BYTES_OF_A_REQUEST));
}

/**
 * Whose key the request has. A key that is not remembered is counted before it is looked up; from an address that has guessed
 * too often only keys in use are looked up, so that wrong ones cost no query.
 * @throws {TurnedAwayError} UNAUTHORIZED or TOO_MANY_REQUESTS
 */
async function callerOf({ authenticator, limits }: Gate, request: Request, response: Response): Promise<Caller> {
  const remembered = authenticator.remembered(request);
  const known = await remembered;
  if (known) return known;
  const guess = await limits.countGuess(request);
  try {
    const mayBeRight = remembered === undefined && (!guess.isOver || (await authenticator.isRecent(request)));
    const caller = mayBeRight ? await authenticator.lookUp(request) : null;
    if (caller !== null) {
      await guess.takeBack();
      return caller;
    }
  } catch (error) {
    await guess.takeBack();
    throw error;
  }
  guess.wasWrong(response);
  const isSent = bearerKey(request.headers.authorization) !== null;
  return turnAway('UNAUTHORIZED', isSent ? UNKNOWN_KEY : NO_KEY);
}

function readBodyOf({ route, gate }: Serving, request: Request, party: BytesOf['party']): Promise<HeldBody> {
  const limitBytes = route.body?.limitBytes ?? 0;
  const of = { address: networkName(request.ip ?? ''), party };
  return readBody(request, { limitBytes, budget: gate.bodies, of });
}

/** The parsed body of a route that takes JSON; undefined for others, whose body is not read here. */
async function readJson({ body }: Route, request: Request, read: () => Promise<Buffer>): Promise<unknown> {
  if (body?.kind !== 'json') return undefined;
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (body.optional && encoding === undefined && (length ?? '0') === '0') return {};
  requireJson(request);
  return parseRequestJson(await read());
}

function assertDocumented({ response, method, path }: Route, reply: Reply): void {
  // As the client sees it: without undefined fields.
  const seen: unknown = JSON.parse(JSON.stringify(reply.body));
  const { success, error } = response.schema.safeParse(seen);
  if (!success) throw new Error(`${method} ${path} answers what it does not document: ${error.message}`);
}

/** In tests, a refusal that the OpenAPI document does not name becomes a failure, so that the test notices. */
function unlessDocumented(route: Route, error: unknown): unknown {
  const code = codeOf(error);
  if (code === null || errorCodesOf(route).has(code)) return error;
  return new Error(`${route.method} ${route.path} refuses with ${code}, which it does not document`);
}

function codeOf(error: unknown): ErrorCode | null {
  if (error instanceof TurnedAwayError) return error.refusal.code;
  if (error instanceof ReadTooSlowError) return 'QUERY_TOO_SLOW';
  return error instanceof RefusalError ? publicRefusal(error.refusal).code : null;
}
