import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { type ErrorCode, invariant, RefusalError } from '../../errors.ts';
import type { Caller, Scope } from '../../merchants/api-keys.ts';
import type { Services } from './services.ts';
import { validate } from './validate.ts';

/**
 * A route as data: what it takes, who may call it, what it answers. Registration with Express, validation, the check of
 * scopes and the OpenAPI document are all made from this, so none of them can disagree.
 */
export interface Route {
  readonly method: Method;
  /** In OpenAPI's form: `/customers/{customer_id}`. */
  readonly path: string;
  /** `admin`: for whoever holds ADMIN_KEY. */
  readonly scope: Scope | 'public' | 'admin';
  readonly tag: string;
  readonly summary: string;
  readonly params: z.ZodType | null;
  readonly query: z.ZodType | null;
  /** Headers with a meaning of their own, for the document; the handler reads them. */
  readonly headers: Readonly<Record<string, z.ZodType>>;
  readonly body: BodySpec | null;
  readonly response: ResponseSpec;
  /** What it may refuse with, besides what every route of its kind may. */
  readonly errors: readonly ErrorCode[];
  /** @throws {RefusalError} */
  answer(request: RouteRequest): Promise<Reply>;
}

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

export type BodySpec =
  | { readonly kind: 'json'; readonly schema: z.ZodType; readonly limitBytes: number; readonly optional: boolean }
  | { readonly kind: 'raw'; readonly limitBytes: number };

/** The answer when all is well; every other answer is a refusal. */
export interface ResponseSpec<Schema extends z.ZodType = z.ZodType> {
  /** 200 unless given; Dodo Payments answers 200 also where something was made. 202: it was begun. */
  readonly status?: 202 | 204;
  readonly description: string;
  /** `z.null()` for an answer without a body. */
  readonly schema: Schema;
}

/** A request whose body was read and whose caller is known, not yet validated. */
export interface RouteRequest {
  readonly services: Services;
  readonly caller: Caller | null;
  readonly params: unknown;
  readonly query: unknown;
  /** Parsed JSON, or the bytes where the route asks for them. */
  readonly body: unknown;
  readonly headers: IncomingHttpHeaders;
}

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A JSON body of one entry or customer is far below this; the limit of the body parsers everybody knows. */
export const JSON_LIMIT_BYTES = 100 * 1024;

interface Spec<P extends z.ZodType, Q extends z.ZodType, R extends z.ZodType> {
  readonly method: Method;
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
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
  handle(context: {
    readonly services: Services;
    readonly merchantId: string;
    readonly params: z.output<P>;
    readonly query: z.output<Q>;
    readonly body: z.output<B>;
    readonly headers: IncomingHttpHeaders;
  }): Promise<z.output<R>>;
}

const nothing = z.strictObject({});
type Nothing = typeof nothing;

/** A route for holders of an API key; it sees the key's merchant and nothing of any other. */
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
    async answer({ services, caller, params, query, body, headers }) {
      invariant(caller !== null, 'a merchant route was called without a caller');
      const reply = await spec.handle({
        services,
        merchantId: caller.merchantId,
        headers,
        params: checked(spec.params, params, 'NOT_FOUND'),
        query: checked(spec.query, query, 'INVALID_QUERY_PARAMS'),
        body: checked(spec.body, spec.body === undefined ? {} : body, 'INVALID_REQUEST_BODY'),
      });
      return { status: spec.response.status ?? 200, body: reply };
    },
  };
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
    readonly rawBody: Buffer;
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
    async answer({ services, params, query, body, headers }) {
      const reply = await spec.handle({
        services,
        headers,
        params: checked(spec.params, params, 'NOT_FOUND'),
        query: checked(spec.query, query, 'INVALID_QUERY_PARAMS'),
        rawBody: Buffer.isBuffer(body) ? body : Buffer.alloc(0),
      });
      return { status: spec.response.status ?? 200, body: reply };
    },
  };
}

function common<P extends z.ZodType, Q extends z.ZodType, R extends z.ZodType>(spec: Spec<P, Q, R>) {
  const { method, path, tag, summary, params = null, query = null, headers = {}, response, errors = [] } = spec;
  return { method, path, tag, summary, params, query, headers, response, errors };
}

/** What a route does not declare, a request must not have. */
function checked<Schema extends z.ZodType>(
  schema: Schema | undefined,
  value: unknown,
  code: ErrorCode,
): z.output<Schema> {
  const result = validate(schema ?? nothing, value, code);
  if (!result.ok) {
    throw new RefusalError(
      code === 'NOT_FOUND' ? { code, message: 'There is nothing at this address.' } : result.refusal,
    );
  }
  // With no schema there is nothing to infer it from, and the type parameter stands at its default, the empty object.
  return result.value as z.output<Schema>;
}
