import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { invariant } from '../../errors.ts';
import type { Caller, Scope } from '../../merchants/api-keys.ts';
import type { ErrorCode } from '../../views/error-status.ts';
import { RequestGuard } from './request-guard.ts';
import type { Services } from './services.ts';
import type { Tag } from './tags.ts';
import { TurnedAwayError } from './turn-away.ts';
import { validate } from './validate.ts';

/**
 * A route as data: what it takes, who may call it, what it answers. The registration with Express, the validation, the check of
 * scopes and the OpenAPI document are all made from this, so they cannot disagree.
 */
export interface Route {
  readonly method: Method;
  /** In OpenAPI's form: `/customers/{customer_id}`. */
  readonly path: string;
  /** `admin` needs ADMIN_KEY, `public` nothing. */
  readonly scope: Scope | 'public' | 'admin';
  readonly tag: Tag;
  /** A line in the list of routes. */
  readonly summary: string;
  /** What a caller must know to use it, in Markdown. */
  readonly description: string;
  readonly params: z.ZodType | null;
  readonly query: z.ZodType | null;
  /** Headers that the handler reads, for the OpenAPI document. */
  readonly headers: Readonly<Record<string, z.ZodType>>;
  readonly body: BodySpec | null;
  readonly response: ResponseSpec;
  /** The error codes of this route, besides those of every route of its kind. */
  readonly errors: readonly ErrorCode[];
  /** @throws {RefusalError} one of the codes that `errors` stands for */
  answer(request: RouteRequest): Promise<Reply>;
}

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

type BodySpec =
  | { readonly kind: 'json'; readonly schema: z.ZodType; readonly limitBytes: number; readonly optional: boolean }
  | { readonly kind: 'raw'; readonly limitBytes: number };

/** The answer to a request that succeeds; every other answer is a refusal. */
interface ResponseSpec<Schema extends z.ZodType = z.ZodType> {
  /** 200 unless given, also if something was made, as Dodo Payments does. 202: work has begun. */
  readonly status?: 202 | 204;
  readonly description: string;
  /** `z.null()` for an answer without a body. */
  readonly schema: Schema;
  /** Given if the schema's own example does not fit. */
  readonly example?: unknown;
}

/**
 * Reads the body's bytes, where the route asks for them: once, and only when all that can be known without is known. Its
 * memory is counted for the source.
 * @throws {TurnedAwayError}
 */
export type ReadRawBody = (sourceId: string) => Promise<Buffer>;

/** A request whose caller is known, not yet validated. */
interface RouteRequest {
  readonly services: Services;
  readonly caller: Caller | null;
  readonly params: unknown;
  readonly query: unknown;
  /** Parsed JSON, where the route takes it. */
  readonly body: unknown;
  readonly readRawBody: ReadRawBody;
  /** The network of the caller's address, as limits count it. */
  readonly from: string;
  readonly headers: IncomingHttpHeaders;
  /**
   * Counts work against the caller's limit, besides the request itself.
   * @throws {TurnedAwayError} TOO_MANY_REQUESTS when the caller's key had used up its minute before
   */
  readonly countWork: (units: number) => Promise<void>;
  /** Sets a header of the answer, whatever that will be. */
  readonly setHeader: (name: string, value: string) => void;
}

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The default of Express' body parser. A JSON body of one entry or customer is far smaller. */
const JSON_LIMIT_BYTES = 100 * 1024;

interface Spec<P extends z.ZodType, Q extends z.ZodType, R extends z.ZodType> {
  readonly method: Method;
  readonly path: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description: string;
  readonly params?: P;
  readonly query?: Q;
  readonly headers?: Route['headers'];
  readonly response: ResponseSpec<R>;
  readonly errors?: readonly ErrorCode[];
}

export interface MerchantSpec<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>
  extends Spec<P, Q, R> {
  readonly scope: Scope;
  readonly body?: B;
  readonly bodyLimitBytes?: number;
  /** The body may be left out, and then counts as `{}`. */
  readonly bodyOptional?: boolean;
  /**
   * False where its work in the database is shared by merchant already, in batches or by readers. Else a merchant's requests take
   * turns, so that no number of them has all connections. A function says it where that depends on the set-up.
   */
  readonly takesTurns?: boolean | ((services: Services) => boolean);
  /** How many requests it counts for, where that is not one for each {@link ROWS_OF_A_REQUEST} rows of a page. */
  readonly work?: (request: { readonly body: z.output<B> }) => number;
  handle(context: {
    readonly services: Services;
    readonly merchantId: string;
    /** The API key that the request came with. */
    readonly keyId: string;
    readonly params: z.output<P>;
    readonly query: z.output<Q>;
    readonly body: z.output<B>;
    readonly headers: IncomingHttpHeaders;
    /** To be asked about every idempotency key, and shown what was written. */
    readonly guard: RequestGuard;
  }): Promise<z.output<R>>;
}

const nothing = z.strictObject({});
type Nothing = typeof nothing;

/** A route for holders of an API key. It sees the key's merchant and nothing of other merchants. */
export function merchantRoute<
  R extends z.ZodType,
  P extends z.ZodType = Nothing,
  Q extends z.ZodType = Nothing,
  B extends z.ZodType = Nothing,
>(spec: MerchantSpec<P, Q, B, R>): Route {
  const { bodyLimitBytes: limitBytes = JSON_LIMIT_BYTES, bodyOptional: optional = false } = spec;
  return {
    ...common(spec),
    scope: spec.scope,
    body: spec.body === undefined ? null : { kind: 'json', schema: spec.body, limitBytes, optional },
    async answer({ services, caller, params, query, body, headers, countWork, setHeader }) {
      invariant(caller !== null, 'a merchant route was called without a caller');
      const given = {
        params: checked(spec.params, params, 'NOT_FOUND'),
        query: checked(spec.query, query, 'INVALID_QUERY_PARAMS'),
        body: checked(spec.body, spec.body === undefined ? {} : body, 'INVALID_REQUEST_BODY'),
      };
      const units = spec.work?.(given) ?? workOfPage(given.query);
      if (units > 1) await countWork(units - 1);
      const { merchantId, keyId, keyGuard: mode } = caller;
      const guard = new RequestGuard(services.keyGuard, { merchantId, keyId, mode }, setHeader);
      const handle = () => spec.handle({ services, merchantId, keyId, headers, guard, ...given });
      const { takesTurns = true } = spec;
      const isInTurn = typeof takesTurns === 'function' ? takesTurns(services) : takesTurns;
      const reply = isInTurn ? await services.turns.take(merchantId, handle) : await handle();
      return { status: spec.response.status ?? 200, body: reply };
    },
  };
}

/** Rows of a page that count for one request. */
const ROWS_OF_A_REQUEST = 10;

function workOfPage(query: unknown): number {
  const isPage = typeof query === 'object' && query !== null && 'page_size' in query;
  return isPage && typeof query.page_size === 'number' ? Math.ceil(query.page_size / ROWS_OF_A_REQUEST) : 1;
}

export interface AdminSpec<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>
  extends Spec<P, Q, R> {
  readonly body?: B;
  readonly bodyOptional?: boolean;
  handle(context: {
    readonly services: Services;
    readonly params: z.output<P>;
    readonly query: z.output<Q>;
    readonly body: z.output<B>;
  }): Promise<z.output<R>>;
}

/** A route for the operator, who holds ADMIN_KEY and sees every merchant. */
export function adminRoute<
  R extends z.ZodType,
  P extends z.ZodType = Nothing,
  Q extends z.ZodType = Nothing,
  B extends z.ZodType = Nothing,
>(spec: AdminSpec<P, Q, B, R>): Route {
  const { bodyOptional: optional = false } = spec;
  return {
    ...common(spec),
    scope: 'admin',
    body: spec.body === undefined ? null : { kind: 'json', schema: spec.body, limitBytes: JSON_LIMIT_BYTES, optional },
    async answer({ services, params, query, body }) {
      const reply = await spec.handle({
        services,
        params: checked(spec.params, params, 'NOT_FOUND'),
        query: checked(spec.query, query, 'INVALID_QUERY_PARAMS'),
        body: checked(spec.body, spec.body === undefined ? {} : body, 'INVALID_REQUEST_BODY'),
      });
      return { status: spec.response.status ?? 200, body: reply };
    },
  };
}

export interface PublicSpec<P extends z.ZodType, Q extends z.ZodType, R extends z.ZodType> extends Spec<P, Q, R> {
  /** Set where the route wants the body's bytes. */
  readonly rawBodyLimitBytes?: number;
  handle(context: {
    readonly services: Services;
    readonly params: z.output<P>;
    readonly query: z.output<Q>;
    readonly readRawBody: ReadRawBody;
    readonly from: string;
    readonly headers: IncomingHttpHeaders;
  }): Promise<z.output<R>>;
}

/** A route that anybody may call: it must not show anything of any merchant. */
export function publicRoute<R extends z.ZodType, P extends z.ZodType = Nothing, Q extends z.ZodType = Nothing>(
  spec: PublicSpec<P, Q, R>,
): Route {
  const limitBytes = spec.rawBodyLimitBytes;
  return {
    ...common(spec),
    scope: 'public',
    body: limitBytes === undefined ? null : { kind: 'raw', limitBytes },
    async answer({ services, params, query, readRawBody, headers, from }) {
      const reply = await spec.handle({
        services,
        headers,
        params: checked(spec.params, params, 'NOT_FOUND'),
        query: checked(spec.query, query, 'INVALID_QUERY_PARAMS'),
        readRawBody,
        from,
      });
      return { status: spec.response.status ?? 200, body: reply };
    },
  };
}

function common<P extends z.ZodType, Q extends z.ZodType, R extends z.ZodType>(spec: Spec<P, Q, R>) {
  const { params = null, query = null, headers = {}, errors = [], ...rest } = spec;
  const { method, path, tag, summary, description, response } = rest;
  return { method, path, tag, summary, description, params, query, headers, response, errors };
}

/** Validates a part of a request. Without a schema, that part must be empty. */
function checked<Schema extends z.ZodType>(
  schema: Schema | undefined,
  value: unknown,
  code: ErrorCode,
): z.output<Schema> {
  const result = validate(schema ?? nothing, value, code);
  if (!result.ok) {
    throw new TurnedAwayError(
      code === 'NOT_FOUND' ? { code, message: 'There is nothing at this address.' } : result.refusal,
    );
  }
  // Without a schema, nothing sets the type parameter, and it is its default, the empty object.
  return result.value as z.output<Schema>;
}
