import { z } from 'zod';
import { OUTGOING_EVENTS, payloadJsonSchema } from '../../outgoing/catalogue.ts';
import { ERROR_STATUS, type ErrorCode } from '../../views/error-status.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { BATCH_ENTRY } from '../routes/batch.ts';
import { HOLD_OPERATION } from '../routes/hold-batch.ts';
import { ERROR_GUIDE, errorCodesOf } from './error-guide.ts';
import { exampleOf, type Json, toJsonSchema, withoutDialect } from './json-schema.ts';
import type { Route } from './route.ts';
import { TAGS, type Tag } from './tags.ts';

/** The schema of the currencies that wallets may have; the configuration names them. */
const CURRENCY_COMPONENT = 'WalletCurrency';

/**
 * The OpenAPI 3.1 document of the routes and of the webhooks that merchants receive, made from their schemas.
 * @param currencies in which there are wallets
 */
export function openApiDocument(routes: readonly Route[], currencies: Iterable<string>): Json {
  const components: Record<string, unknown> = { Error: ERROR_SCHEMA };
  const book: Book = {
    schema: (schema, io) => toJsonSchema(schema, io, components),
    example: (schema, name) => exampleOf(schema, components, name),
  };
  book.schema(BATCH_ENTRY, 'input');
  book.schema(HOLD_OPERATION, 'input');
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method]: operation(route, book) };
  }
  components[CURRENCY_COMPONENT] = { ...toObject.parse(components[CURRENCY_COMPONENT]), enum: [...currencies] };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Chokin',
      version: '0.2.0-dev',
      description: ABOUT,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ API_KEY: [] }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    webhooks: Object.fromEntries(OUTGOING_EVENTS.map((event) => [event.type, webhook(event, book)])),
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
      examples: errorExamples(routes),
    },
  };
}

const ABOUT = `Wallets for a merchant's customers. Money is a whole number of minor units (cents, paise), time is RFC 3339 in UTC, lists are \`{"items": […]}\`. The customer and wallet routes are Dodo Payments' own, so that their SDKs work with another base URL.

An error is \`{"code": "…", "message": "…"}\`. Decide by \`code\`; \`message\` is for people. Every response below lists the codes it may have, with a sample of each.

What is not taken in whole as a request is answered without a body: 431 where address and headers are larger than 16 kB together, 408 where it is too slow, 400 where it is not HTTP.`;

const toObject = z.record(z.string(), z.unknown());

/** Turns zod's schemas into schemas of the document, and those into examples. */
interface Book {
  schema(schema: z.ZodType, io: 'input' | 'output'): Json;
  example(schema: Json, name?: string): unknown;
}

const ERROR_SCHEMA: Json = {
  type: 'object',
  required: ['code', 'message'],
  properties: {
    code: { type: 'string', enum: Object.keys(ERROR_STATUS) },
    message: { type: 'string', description: 'For people; it may change. Decide by `code`.' },
    available: {
      type: 'integer',
      description: 'With INSUFFICIENT_WALLET_FUNDS and BELOW_GATEWAY_MINIMUM, in minor units.',
    },
    required: {
      type: 'integer',
      description:
        'With INSUFFICIENT_WALLET_FUNDS, HOLD_AMOUNT_EXCEEDED, LOT_AMOUNT_EXCEEDED and MONTHLY_CAP_REACHED, in minor units.',
    },
    shortfall: { type: 'integer', description: 'With INSUFFICIENT_WALLET_FUNDS, in minor units.' },
    remaining: { type: 'integer', description: 'With HOLD_AMOUNT_EXCEEDED and LOT_AMOUNT_EXCEEDED, in minor units.' },
    limit: { type: 'integer', description: 'With HOLD_LIMIT_EXCEEDED and LOT_LIMIT_EXCEEDED.' },
    kind: { type: 'string', description: 'With HOLD_OWNED: whose the hold is.' },
    left: { type: 'integer', description: 'With WALLET_NOT_EMPTY: the balance, in minor units.' },
    held: { type: 'integer', description: 'With WALLET_NOT_EMPTY: what open holds set aside, in minor units.' },
    open_holds: { type: 'integer', description: 'With WALLET_NOT_EMPTY: how many there are.' },
    open_checkouts: { type: 'integer', description: 'With WALLET_NOT_EMPTY: how many there are.' },
    topups_under_way: { type: 'integer', description: 'With WALLET_NOT_EMPTY: how many may still bring money.' },
    minimum: { type: 'integer', description: 'With BELOW_GATEWAY_MINIMUM, in minor units.' },
    total: { type: 'integer', description: 'With BELOW_GATEWAY_MINIMUM, in minor units.' },
    monthly_cap: { type: 'integer', description: 'With MONTHLY_CAP_REACHED, in minor units.' },
    used: {
      type: 'integer',
      description: 'With MONTHLY_CAP_REACHED: what of the month is used, where it was to be charged at once; else 0.',
    },
    refundable: { type: 'integer', description: 'With REFUND_EXCEEDS_PAID, in minor units.' },
    with_credit_purchase: {
      type: ['integer', 'null'],
      description:
        'With BELOW_GATEWAY_MINIMUM: what would be charged if credit were bought with it; null: none is sold.',
    },
    retry_after: { type: 'integer', description: 'With SERVICE_UNAVAILABLE, in seconds, where Svix said so.' },
    source_id: { type: 'string', description: 'With ACCOUNT_OF_ANOTHER_SOURCE, where that source is yours.' },
    entry: {
      $ref: '#/components/schemas/CustomerWalletTransaction',
      description: 'With IDEMPOTENCY_KEY_EXISTS: what the first request wrote.',
    },
    hold: {
      $ref: '#/components/schemas/Hold',
      description: 'As it now stands. With IDEMPOTENCY_KEY_EXISTS: what the first request placed; with HOLD_NOT_OPEN.',
    },
    checkout: {
      $ref: '#/components/schemas/Checkout',
      description: 'As it now stands. With IDEMPOTENCY_KEY_EXISTS, CHECKOUT_NOT_OPEN and PROVIDER_UNAVAILABLE.',
    },
    lot: { $ref: '#/components/schemas/Lot', description: 'With LOT_NOT_OPEN, as it stands.' },
    scheduled_entry: {
      $ref: '#/components/schemas/ScheduledEntry',
      description: 'With SCHEDULED_ENTRY_NOT_OPEN, as it stands; with IDEMPOTENCY_KEY_EXISTS, what was scheduled.',
    },
  },
  examples: [errorSample('INVALID_REQUEST_BODY'), errorSample('METHOD_NOT_ALLOWED')],
};

function errorSample(code: ErrorCode): Json {
  return { code, ...ERROR_GUIDE[code].sample };
}

/** One sample of each code that any route may answer. */
function errorExamples(routes: readonly Route[]): Json {
  const used = new Set(routes.flatMap((route) => [...errorCodesOf(route)]));
  return Object.fromEntries(
    [...used].map((code) => {
      const { cause, cure } = ERROR_GUIDE[code];
      return [code, { description: `Cause: ${cause}. Cure: ${cure}.`, value: errorSample(code) }];
    }),
  );
}

function operation(route: Route, book: Book): Json {
  const { status = 200, description, schema, example } = route.response;
  const isEmpty = schema instanceof z.ZodNull;
  const success = { description, ...(isEmpty ? {} : { content: json(book.schema(schema, 'output'), book, example) }) };
  return {
    operationId: operationId(route),
    summary: route.summary,
    description: route.description,
    tags: [route.tag],
    ...securityOf(route),
    parameters: [
      ...parameters(route.params, 'path', book),
      ...parameters(route.query, 'query', book),
      ...parameters(z.object(route.headers), 'header', book),
    ],
    ...requestBody(route, book),
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

function parameters(schema: z.ZodType | null, place: 'path' | 'query' | 'header', book: Book): Json[] {
  if (schema === null) return [];
  const { properties, required } = objectSchema.parse(book.schema(schema, 'input'));
  return Object.entries(properties).map(([name, { description, ...rest }]) => {
    const isRequired = required.includes(name);
    const example = book.example(rest, name);
    return {
      name,
      in: place,
      required: isRequired,
      ...(description === undefined ? {} : { description }),
      // Swagger UI fills in a parameter's `example`. For an optional filter this would be wrong, so it gets `examples` instead.
      ...(isRequired ? { schema: rest, example } : { schema: { examples: [example], ...rest } }),
    };
  });
}

const objectSchema = z.object({
  properties: z.record(z.string(), z.looseObject({ description: z.string().optional() })),
  required: z.array(z.string()).default([]),
});

function requestBody({ body }: Route, book: Book): Json {
  if (body === null) return {};
  if (body.kind === 'json') {
    return { requestBody: { required: !body.optional, content: json(book.schema(body.schema, 'input'), book) } };
  }
  const description = 'As the provider sends it; the signature covers the exact bytes.';
  return { requestBody: { required: true, description, content: { '*/*': {} } } };
}

function errorResponses(route: Route): Json {
  const byStatus = Map.groupBy(errorCodesOf(route), (code) => ERROR_STATUS[code]);
  const sorted = [...byStatus].sort(([a], [b]) => a - b);
  return Object.fromEntries(sorted.map(([status, codes]) => [status, errorResponse(status, codes)]));
}

function errorResponse(status: number, codes: readonly ErrorCode[]): Json {
  const examples = Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }]));
  return {
    description: codes.map((code) => `\`${code}\`: ${ERROR_GUIDE[code].cause}.`).join('\n\n'),
    ...(RETRY_AFTER.has(status) ? { headers: { 'Retry-After': RETRY_AFTER_HEADER } } : {}),
    content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' }, examples } },
  };
}

const RETRY_AFTER: ReadonlySet<number> = new Set([ERROR_STATUS.TOO_MANY_REQUESTS, ERROR_STATUS.SERVICE_UNAVAILABLE]);
const RETRY_AFTER_HEADER: Json = {
  description: 'When to come back, in seconds.',
  schema: { type: 'integer', minimum: 0 },
  example: 1,
};

function json(schema: Json, book: Book, example = book.example(schema)): Json {
  return { 'application/json': { schema, example } };
}

const WEBHOOK_HEADERS = [
  {
    name: 'webhook-id',
    description: "The message's id, the same over all tries.",
    example: EXAMPLE.messageId,
  },
  {
    name: 'webhook-timestamp',
    description: 'When this try was made, in Unix seconds.',
    example: String(Date.parse(EXAMPLE.time) / 1000),
  },
  {
    name: 'webhook-signature',
    description:
      '`v1,` and base64 of an HMAC-SHA256 over id, timestamp and body; several, with a space between, after a rotation.',
    example: 'v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=',
  },
];

function webhook(event: (typeof OUTGOING_EVENTS)[number], book: Book): Json {
  const schema = withoutDialect(payloadJsonSchema(event, 'draft-2020-12'));
  return {
    post: {
      operationId: event.type.replaceAll('.', '_'),
      summary: event.description,
      description:
        'Sent to each of your endpoints that subscribes to it. Verify the signature over the raw body first, and drop an id you have seen: a message may come again.',
      tags: ['Outgoing webhooks'] satisfies Tag[],
      // Signed by the Standard Webhooks scheme, not by an API key.
      security: [],
      parameters: WEBHOOK_HEADERS.map((header) => ({
        ...header,
        in: 'header',
        required: true,
        schema: { type: 'string' },
      })),
      requestBody: { required: true, content: json(schema, book) },
      responses: { '2XX': { description: 'Received. Anything else is tried again later.' } },
    },
  };
}
