import { z } from 'zod';
import { ERROR_STATUS, type ErrorCode } from '../../errors.ts';
import { OUTGOING_EVENTS, payloadJsonSchema } from '../../outgoing/catalogue.ts';
import { BATCH_ENTRY } from '../routes/batch.ts';
import type { Route } from './route.ts';

type Json = Readonly<Record<string, unknown>>;

/** The OpenAPI 3.1 document of the routes and of the webhooks that merchants receive, made from their schemas. */
export function openApiDocument(routes: readonly Route[]): Json {
  const components: Record<string, unknown> = { Error: ERROR_SCHEMA };
  const hoist = (schema: z.ZodType, io: 'input' | 'output') => toComponents(schema, io, components);
  hoist(BATCH_ENTRY, 'input');
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method]: operation(route, hoist) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Chokin',
      version: '0.1.0',
      description:
        "Wallets for a merchant's customers. Money is a whole number of minor units (cents, paise). The customer and wallet routes are Dodo Payments' own, so that their SDKs work with another base URL.",
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ API_KEY: [] }],
    tags: [...new Set(routes.map((route) => route.tag))].map((name) => ({ name })),
    paths,
    webhooks: Object.fromEntries(OUTGOING_EVENTS.map((event) => [event.type, webhook(event)])),
    components: {
      securitySchemes: {
        API_KEY: { type: 'http', scheme: 'bearer', description: 'A key of a merchant.' },
        ADMIN_KEY: {
          type: 'http',
          scheme: 'bearer',
          description: 'The ADMIN_KEY of the environment, for the operator.',
        },
      },
      schemas: components,
    },
  };
}

const ERROR_SCHEMA: Json = {
  type: 'object',
  required: ['code', 'message'],
  properties: {
    code: { type: 'string', enum: Object.keys(ERROR_STATUS) },
    message: { type: 'string', description: 'For people; it may change. Decide by `code`.' },
    available: { type: 'integer', description: 'With INSUFFICIENT_WALLET_FUNDS, in minor units.' },
    required: { type: 'integer' },
    shortfall: { type: 'integer' },
    entry: {
      $ref: '#/components/schemas/CustomerWalletTransaction',
      description: 'With IDEMPOTENCY_KEY_EXISTS: what the first request wrote.',
    },
  },
};

type Hoist = (schema: z.ZodType, io: 'input' | 'output') => Json;

function operation(route: Route, hoist: Hoist): Json {
  const { status = 200, description, schema } = route.response;
  const isEmpty = schema instanceof z.ZodNull;
  const success = { description, ...(isEmpty ? {} : { content: json(hoist(schema, 'output')) }) };
  return {
    operationId: operationId(route),
    summary: route.summary,
    tags: [route.tag],
    ...securityOf(route),
    parameters: [
      ...parameters(route.params, 'path', hoist),
      ...parameters(route.query, 'query', hoist),
      ...parameters(z.object(route.headers), 'header', hoist),
    ],
    ...requestBody(route, hoist),
    responses: { [status]: success, ...errorResponses(route) },
  };
}

function securityOf({ scope }: Route): Json {
  if (scope === 'public') return { security: [] };
  return scope === 'admin' ? { security: [{ ADMIN_KEY: [] }] } : { 'x-scope': scope };
}

function operationId({ method, path }: Route): string {
  const words = path.split('/').map((part) => part.replaceAll(/[{}]/g, '').replaceAll(/\W/g, '_'));
  return [method, ...words.filter((word) => word !== '')].join('_');
}

function parameters(schema: z.ZodType | null, place: 'path' | 'query' | 'header', hoist: Hoist): Json[] {
  if (schema === null) return [];
  const { properties, required } = objectSchema.parse(hoist(schema, 'input'));
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: place,
    required: required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}

const objectSchema = z.object({
  properties: z.record(z.string(), z.looseObject({ description: z.string().optional() })),
  required: z.array(z.string()).default([]),
});

function requestBody({ body }: Route, hoist: Hoist): Json {
  if (body === null) return {};
  if (body.kind === 'json') {
    return { requestBody: { required: !body.optional, content: json(hoist(body.schema, 'input')) } };
  }
  const description = 'As the provider sends it; the signature covers the exact bytes.';
  return { requestBody: { required: true, description, content: { '*/*': {} } } };
}

/** What a route may refuse with: what it declares, and what follows from its kind. */
function errorCodes(route: Route): Set<ErrorCode> {
  const codes = new Set<ErrorCode>(route.errors);
  if (route.scope !== 'public') for (const code of ['UNAUTHORIZED', 'TOO_MANY_REQUESTS'] as const) codes.add(code);
  if (route.scope === 'read' || route.scope === 'write') codes.add('FORBIDDEN');
  if (route.params !== null) codes.add('NOT_FOUND');
  codes.add('INVALID_QUERY_PARAMS');
  if (route.body !== null) for (const code of ['BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'] as const) codes.add(code);
  if (route.body?.kind === 'json') codes.add('INVALID_REQUEST_BODY');
  codes.add('INTERNAL_SERVER_ERROR');
  codes.add('SERVICE_UNAVAILABLE');
  return codes;
}

function errorResponses(route: Route): Json {
  const byStatus = Map.groupBy(errorCodes(route), (code) => ERROR_STATUS[code]);
  const sorted = [...byStatus].sort(([a], [b]) => a - b);
  return Object.fromEntries(
    sorted.map(([status, codes]) => [
      status,
      { description: codes.join(', '), content: json({ $ref: '#/components/schemas/Error' }) },
    ]),
  );
}

function json(schema: Json): Json {
  return { 'application/json': { schema } };
}

function webhook(event: (typeof OUTGOING_EVENTS)[number]): Json {
  return {
    post: {
      operationId: event.type.replaceAll('.', '_'),
      summary: event.description,
      tags: ['Outgoing webhooks'],
      // Signed by the Standard Webhooks scheme, not by an API key.
      security: [],
      parameters: ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => ({
        name,
        in: 'header',
        required: true,
        schema: { type: 'string' },
      })),
      requestBody: { required: true, content: json(withoutDialect(payloadJsonSchema(event, 'draft-2020-12'))) },
      responses: { '2XX': { description: 'Received. Anything else is tried again later.' } },
    },
  };
}

/** A zod schema as JSON Schema, whose named parts (`meta({ id })`) are moved to the document's components. */
function toComponents(schema: z.ZodType, io: 'input' | 'output', components: Record<string, unknown>): Json {
  const converted = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io,
    // Requests must not have unknown fields; answers may gain some in later releases.
    override: ({ jsonSchema }) => {
      if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    },
  });
  const { $defs = {}, ...rest } = definitions.parse(
    JSON.parse(JSON.stringify(converted).replaceAll('#/$defs/', '#/components/schemas/')),
  );
  Object.assign(components, $defs);
  return withoutDialect(rest);
}

const definitions = z.looseObject({ $defs: z.record(z.string(), z.unknown()).optional() });

function withoutDialect({ $schema: _dialect, ...schema }: Json): Json {
  return schema;
}
