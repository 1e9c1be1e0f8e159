import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ERROR_GUIDE, errorCodesOf } from '../../src/http/kit/error-guide.ts';
import { openApiDocument } from '../../src/http/kit/openapi.ts';
import { TAGS } from '../../src/http/kit/tags.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { OUTGOING_EVENTS } from '../../src/outgoing/catalogue.ts';
import { ERROR_STATUS } from '../../src/views/error-status.ts';
import { ROOT } from '../support/cli.ts';

/** What a person reads in the API document: examples, samples of errors, descriptions. */

const CURRENCIES = ['USD', 'INR'];

const anything = z.record(z.string(), z.unknown());
const content = z.object({
  'application/json': z.object({
    schema: anything,
    example: z.unknown().optional(),
    examples: z.record(z.string(), z.object({ $ref: z.string() })).optional(),
  }),
});
const parameter = z.looseObject({ name: z.string(), description: z.string().optional(), schema: anything });
const operationShape = z.object({
  summary: z.string().min(5),
  description: z.string().min(10),
  tags: z.array(z.enum(Object.keys(TAGS))).length(1),
  parameters: z.array(parameter),
  requestBody: z.object({ content: z.union([content, z.object({ '*/*': z.strictObject({}) })]) }).optional(),
  responses: z.record(z.string(), z.object({ description: z.string().min(3), content: content.optional() })),
});
const document = z
  .object({
    tags: z.array(z.object({ name: z.string(), description: z.string().min(10) })),
    paths: z.record(z.string(), z.record(z.string(), operationShape)),
    webhooks: z.record(z.string(), z.object({ post: operationShape })),
    components: z.object({
      schemas: z.record(z.string(), anything),
      examples: z.record(z.string(), z.object({ description: z.string(), value: anything })),
    }),
  })
  .parse(JSON.parse(JSON.stringify(openApiDocument(ROUTES, CURRENCIES))));
const { schemas, examples: samples } = document.components;

const asDefinitions = (value: unknown) => JSON.stringify(value).replaceAll('#/components/schemas/', '#/$defs/');
const DEFINITIONS = asDefinitions(schemas);
/** What is wrong with a value by a schema of the document; null if nothing is. */
function problemOf(schema: unknown, value: unknown): string | null {
  const whole = JSON.parse(asDefinitions(schema).replace(/\}$/, `,"$defs":${DEFINITIONS}}`).replace(/^\{,/, '{'));
  const { success, error } = z.fromJSONSchema(whole).safeParse(value);
  return success ? null : `${error.message}: ${JSON.stringify(value)}`;
}

const operations = ROUTES.map((route) => {
  const operation = document.paths[route.path]?.[route.method];
  if (operation === undefined) throw new Error(`${route.method} ${route.path} is not in the document`);
  return { name: `${route.method} ${route.path}`, route, operation };
});

/** Every schema with examples of its own, at any depth, and where it is. */
function* schemasWithExamples(node: unknown, at: string): Generator<{ at: string; schema: object; values: unknown[] }> {
  if (typeof node !== 'object' || node === null) return;
  const { examples } = z
    .object({ examples: z.unknown() })
    .partial()
    .parse({ ...node });
  if (Array.isArray(examples)) yield { at, schema: node, values: examples };
  for (const [name, child] of Object.entries(node)) {
    if (name !== 'example' && name !== 'examples') yield* schemasWithExamples(child, `${at}/${name}`);
  }
}

/** What stands as `example` at any depth. */
function* examplesIn(node: unknown): Generator<unknown> {
  if (typeof node !== 'object' || node === null) return;
  for (const [name, child] of Object.entries(node)) {
    if (name === 'example') yield child;
    else yield* examplesIn(child);
  }
}

describe('every example of the API document', () => {
  it.each(operations)('of $name fits its own schema, by the document and by the code', ({ route, operation }) => {
    const body = operation.requestBody?.content;
    if (body !== undefined && 'application/json' in body) {
      const { schema, example } = body['application/json'];
      expect(problemOf(schema, example)).toBeNull();
      expect(route.body?.kind === 'json' && route.body.schema.safeParse(example).error).toBeUndefined();
    }
    const { status = 200, schema: answer } = route.response;
    const response = operation.responses[status]?.content?.['application/json'];
    if (response === undefined) expect(status).toBe(204);
    else {
      expect(problemOf(response.schema, response.example)).toBeNull();
      expect(answer.safeParse(response.example).error).toBeUndefined();
    }
    for (const { name, schema, ...rest } of operation.parameters) {
      const { example } = z.object({ example: z.unknown() }).parse({ example: schema.examples, ...rest });
      const [value] = Array.isArray(example) ? example : [example];
      expect(value, name).toBeDefined();
      expect(problemOf(schema, value), name).toBeNull();
    }
  });

  it('of a schema, at any depth, fits it', () => {
    const found = [...schemasWithExamples(document, '')];
    expect(found.length).toBeGreaterThan(80);
    const wrong = found.flatMap(({ at, schema, values }) =>
      values.flatMap((value) => {
        const problem = problemOf(schema, value);
        return problem === null ? [] : [`${at}: ${problem}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('of a message to merchants is the one of the catalogue', () => {
    for (const { type, example } of OUTGOING_EVENTS) {
      const body = document.webhooks[type]?.post.requestBody?.content;
      expect(body).toMatchObject({ 'application/json': { example } });
    }
  });

  it('tells of one shop, in words that a person would write', () => {
    const examples = JSON.stringify([...examplesIn(document.paths)]);
    expect(examples.match(/"(?:string|lorem|foo|bar)"/gi)).toBeNull();
    const ids = (kind: string) => new Set(examples.match(new RegExp(`"${kind}_[0-9a-z]{20,}"`, 'g')));
    for (const kind of ['cus', 'ep', 'evt', 'rec', 'src', 'whm']) expect([kind, ids(kind).size]).toEqual([kind, 1]);
  });
});

describe('the errors of the API document', () => {
  it.each(operations)('of $name have one sample of each code', ({ route, operation }) => {
    const codes = Object.entries(operation.responses).flatMap(([status, { content: body }]) =>
      Object.keys(body?.['application/json'].examples ?? {}).map((code) => [code, Number(status)]),
    );
    const wanted = [...errorCodesOf(route)].map((code) => [code, ERROR_STATUS[code]]);
    expect(codes.toSorted()).toEqual(wanted.toSorted());
  });

  it('are samples that fit the schema of errors, and more fields than it has are in none', () => {
    const { properties } = z.object({ properties: anything }).parse(schemas.Error);
    for (const [code, { value }] of Object.entries(samples)) {
      expect(value.code).toBe(code);
      expect(problemOf(schemas.Error, value)).toBeNull();
      expect(Object.keys(properties)).toEqual(expect.arrayContaining(Object.keys(value)));
    }
    expect(Object.keys(samples).toSorted()).toEqual(
      Object.keys(ERROR_STATUS)
        .filter((code) => code !== 'METHOD_NOT_ALLOWED')
        .toSorted(),
    );
  });

  it('say the same cause and cure as docs/api.md', async () => {
    const page = await readFile(join(ROOT, 'docs/api.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| \d+ \| ([^|]+) \| ([^|]+) \|$/gm)];
    const withoutLinks = (text: string) => text.replaceAll(/\[([^\]]+)\]\([^)]+\)/g, '$1');
    const written = rows.map(([, code, cause = '', cure = '']) => [code, [cause, withoutLinks(cure)]]);
    const guide = Object.entries(ERROR_GUIDE).map(([code, { cause, cure }]) => [code, [cause, cure]]);
    expect(Object.fromEntries(written)).toEqual(Object.fromEntries(guide));
  });
});

describe('the descriptions of the API document', () => {
  it('are there for every group, and every operation stands in one', () => {
    expect(document.tags.map(({ name }) => name)).toEqual(Object.keys(TAGS));
    const used = new Set(operations.flatMap(({ operation }) => operation.tags));
    expect([...used].toSorted()).toEqual(Object.keys(TAGS).toSorted());
  });

  it.each(operations)('of $name are a line and what one has to know', ({ operation: { summary, description } }) => {
    expect(summary.length).toBeLessThanOrEqual(70);
    expect(summary).not.toMatch(/[.;]/);
    expect(description).toMatch(/\.$/);
    expect(description).not.toContain(summary);
  });
});
