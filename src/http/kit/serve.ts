import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Express, Request, Response } from 'express';
import { ReadTooSlowError } from '../../db/readers.ts';
import { RefusalError } from '../../errors.ts';
import type { Caller, Scope } from '../../merchants/api-keys.ts';
import type { ErrorCode } from '../../views/error-status.ts';
import { publicRefusal } from '../../views/refusals.ts';
import { networkName } from './address.ts';
import { atEnd } from './answer-end.ts';
import { setHeader } from './answer-headers.ts';
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
  const serving = new Map(routes.map((route) => [route, { route, services, gate, checkResponses }]));
  const respondBy: Respond = (route, visit) =>
    respond(serving.get(route) ?? { route, services, gate, checkResponses }, visit);
  for (const [path, ofPath] of Map.groupBy(routes, (route) => route.path)) {
    const pattern = path.replaceAll(/\{(\w+)\}/g, ':$1');
    for (const route of ofPath) {
      app[route.method](pattern, (request, response) => respondBy(route, visitOf(request, response)));
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

/** A request as it is looked at: from Express, or from the front, which does without. */
export interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Where it comes from, past the proxies that are trusted. */
  readonly address: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, unknown>>;
}

function visitOf(request: Request, response: Response): Visit {
  return { request, response, address: request.ip ?? '', params: request.params, query: request.query };
}

type Respond = (route: Route, visit: Visit) => Promise<void>;

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

async function respond(serving: Serving, visit: Visit): Promise<void> {
  const { route, services, checkResponses } = serving;
  const { request, response } = visit;
  const startedMs = performance.now();
  const observe = () => {
    const seconds = (performance.now() - startedMs) / 1000;
    const status = finalStatus(response);
    const fault = faultOf(response, status);
    services.metrics.observeRequest({ route: route.path, method: route.method, status, fault }, seconds);
  };
  atEnd(response, observe);
  const held: HeldBody[] = [];
  try {
    const admission = admit(serving, visit);
    const caller = admission instanceof Promise ? await admission : admission;
    const countWork = async (units: number) => {
      if (caller !== null) await serving.gate.limits.countRequest(response, caller, units);
    };
    if (route.body !== null) checkBodyHeaders(request, route.body.limitBytes);
    const read = async (party: BytesOf['party']): Promise<Buffer> => {
      const body = await readBodyOf(serving, visit, party);
      held.push(body);
      return body.bytes;
    };
    const readRawBody: ReadRawBody = (id) => read({ kind: 'source', id });
    const party = caller === null ? OPERATOR : ({ kind: 'merchant', id: caller.merchantId } as const);
    const address = networkName(visit.address);
    if (route.scope !== 'public') countAnswer(serving.gate.answers, { request, response }, () => ({ address, party }));
    const body = route.body?.kind === 'json' ? await readJson(route.body, request, () => read(party)) : undefined;
    const taken = workOfBytes(held[0]?.bytes.length ?? 0);
    if (taken > 0) await countWork(taken);
    const asked = {
      services,
      caller,
      params: { ...visit.params },
      query: { ...visit.query },
      body,
      readRawBody,
      from: address,
      headers: request.headers,
      countWork,
      setHeader: (name: string, value: string) => setHeader(response, name, value),
    };
    const reply = await route.answer(asked);
    if (checkResponses) assertDocumented(route, reply);
    const text = textOf(reply);
    const given = route.method === 'get' ? workOfBytes(text?.bytes ?? 0) : 0;
    if (given > 0) await countWork(given);
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

/**
 * The caller, or null for a route without API keys: at once, where the key is known and nothing is counted, since to wait takes time itself.
 * @throws {TurnedAwayError} UNAUTHORIZED, TOO_MANY_REQUESTS or FORBIDDEN
 */
function admit({ route, services, gate }: Serving, visit: Visit): Caller | null | Promise<Caller | null> {
  const { scope } = route;
  if (scope === 'public') return null;
  if (scope === 'admin') return isAdmin(visit.request, services.config.ADMIN_KEY) ? null : refuseOperator(gate, visit);
  const letIn = (caller: Caller): Caller | Promise<Caller> => {
    const counted = gate.limits.countRequest(visit.response, caller);
    if (counted !== undefined) return counted.then(() => ofScope(caller, scope));
    return ofScope(caller, scope);
  };
  const known = gate.authenticator.known(visit.request);
  return known === null ? callerOf(gate, visit).then(letIn) : letIn(known);
}

function ofScope(caller: Caller, scope: Scope): Caller {
  requireScope(caller, scope);
  return caller;
}

async function refuseOperator({ limits }: Gate, { address, response }: Visit): Promise<never> {
  (await limits.countGuess(address)).wasWrong(response);
  return turnAway('UNAUTHORIZED', 'This wants the ADMIN_KEY of the environment, as "Authorization: Bearer <key>".');
}

/** Bytes of a body, or of what is read, that count for one request. */
const BYTES_OF_A_REQUEST = 10_000;

const workOfBytes = (bytes: number): number => Math.floor(bytes / BYTES_OF_A_REQUEST);

/**
 * Whose key the request has. A key that is not remembered is counted before it is looked up; from an address that has guessed
 * too often only keys in use are looked up, so that wrong ones cost no query.
 * @throws {TurnedAwayError} UNAUTHORIZED or TOO_MANY_REQUESTS
 */
async function callerOf({ authenticator, limits }: Gate, { request, response, address }: Visit): Promise<Caller> {
  const remembered = authenticator.remembered(request);
  const known = await remembered;
  if (known) return known;
  const guess = await limits.countGuess(address);
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

function readBodyOf({ route, gate }: Serving, { request, address }: Visit, party: BytesOf['party']): Promise<HeldBody> {
  const limitBytes = route.body?.limitBytes ?? 0;
  const of = { address: networkName(address), party };
  return readBody(request, { limitBytes, budget: gate.bodies, of });
}

/** The parsed body of a route that takes JSON. */
async function readJson(
  { optional }: Extract<Route['body'], { kind: 'json' }>,
  request: IncomingMessage,
  read: () => Promise<Buffer>,
): Promise<unknown> {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (optional && encoding === undefined && (length ?? '0') === '0') return {};
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
