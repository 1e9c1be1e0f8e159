import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROUTES } from '../../src/http/routes.ts';
import { OUTGOING_EVENT_TYPES } from '../../src/outgoing/catalogue.ts';
import { startTestApp, type TestApp } from '../support/app.ts';

type Json = Record<string, unknown>;
interface Operation {
  readonly operationId: string;
  readonly security?: unknown[];
  readonly parameters?: readonly { name: string; in: string; required: boolean; schema: Json }[];
  readonly requestBody?: { content: Record<string, { schema?: Json }> };
  readonly responses: Record<string, { description: string; content?: Record<string, { schema: Json }> }>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
  readonly webhooks: Record<string, { post: Operation }>;
  readonly components: {
    schemas: Record<string, Json & { properties?: Json }>;
    examples: Record<string, Json>;
    securitySchemes: Record<string, { scheme: string }>;
  };
}

let app: TestApp;
let document: Document;

beforeAll(async () => {
  app = await startTestApp();
  document = (await app.call('GET', '/openapi.json')).body;
});
afterAll(() => app.close());

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

describe('the OpenAPI document', () => {
  it('is version 3.1 and has every route', () => {
    expect(document.openapi).toBe('3.1.0');
    const documented = operations().map(({ method, path }) => `${method} ${path}`);
    expect(documented.sort()).toEqual(ROUTES.map((route) => `${route.method} ${route.path}`).sort());
  });

  it('has what the webhooks of merchants look like', () => {
    expect(Object.keys(document.webhooks)).toEqual([...OUTGOING_EVENT_TYPES]);
  });

  it('names every operation once, and every parameter of its path', () => {
    const names = operations().map(({ operation }) => operation.operationId);
    expect(new Set(names).size).toBe(names.length);
    for (const { path, operation } of operations()) {
      const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
      expect(inPath.every(({ required }) => required)).toBe(true);
    }
  });

  it('refers to nothing that is not there', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g)].map((match) => match[1] ?? '');
    expect(references.length).toBeGreaterThan(50);
    const known = (['schemas', 'examples'] as const).flatMap((kind) =>
      Object.keys(document.components[kind]).map((name) => `#/components/${kind}/${name}`),
    );
    expect([...new Set(references)].filter((reference) => !known.includes(reference))).toEqual([]);
    expect(JSON.stringify(document)).not.toContain('$defs');
    expect(JSON.stringify(document)).not.toContain('"$schema"');
  });

  it('says what a ledger entry wants and what may go wrong', () => {
    const create = document.paths['/customers/{customer_id}/wallets/ledger-entries']?.post;
    const schema = create?.requestBody?.content['application/json']?.schema;
    expect(schema).toMatchObject({
      required: ['amount', 'currency', 'entry_type'],
      additionalProperties: false,
      properties: {
        amount: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
        entry_type: { enum: ['credit', 'debit'] },
      },
    });
    expect(Object.keys(create?.responses ?? {})).toEqual([
      '200',
      '400',
      '401',
      '403',
      '404',
      '409',
      '413',
      '415',
      '422',
      '429',
      '500',
      '503',
    ]);
    expect(create?.responses['200']?.content?.['application/json']?.schema).toEqual({
      $ref: '#/components/schemas/CustomerWallet',
    });
  });

  it('has the header Idempotency-Key wherever an API call moves money', () => {
    const withHeader = operations().filter(({ operation }) =>
      operation.parameters?.some((parameter) => parameter.in === 'header' && parameter.name === 'Idempotency-Key'),
    );
    expect(withHeader.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'post /customers/{customer_id}/wallets/ledger-entries',
      'post /customers/{customer_id}/wallets/holds',
      'post /customers/{customer_id}/wallets/holds/{hold_id}/capture',
      'post /customers/{customer_id}/wallets/lots/{lot_id}/void',
      'post /customers/{customer_id}/wallets/scheduled-entries',
      'post /customers/{customer_id}/wallets/{currency}/top-ups',
      'post /customers/{customer_id}/checkouts/{checkout_id}/refund',
      'post /customers/{customer_id}/checkouts',
      'post /ledger-entries/batch',
      'post /holds/batch',
    ]);
  });

  it("says at every list how Dodo's SDKs count pages, and what Python's makes of page 0", () => {
    const lists = operations().flatMap(({ operation }) =>
      (operation.parameters ?? []).filter(({ name }) => name === 'page_number'),
    );
    expect(lists.length).toBeGreaterThan(4);
    for (const list of lists)
      expect(list).toMatchObject({ description: expect.stringMatching(/Python takes a 0 for a 1/) });
  });

  it('asks for a key everywhere but where none is wanted', () => {
    const open = operations().filter(({ operation }) => operation.security?.length === 0);
    expect(open.map(({ path }) => path)).toEqual([
      '/webhooks/{provider}',
      '/webhooks/{provider}/{source_id}',
      '/healthz',
      '/readyz',
    ]);
    const { ADMIN_KEY, API_KEY } = document.components.securitySchemes;
    expect([ADMIN_KEY?.scheme, API_KEY?.scheme]).toEqual(['bearer', 'bearer']);
    const operators = operations().filter(({ path }) => path.startsWith('/admin/'));
    expect(operators.length).toBeGreaterThan(10);
    expect(operators.map(({ operation }) => operation.security)).toEqual(operators.map(() => [{ ADMIN_KEY: [] }]));
  });

  it('shows a key in the answer that makes it, and in no other', () => {
    const { NewApiKey, ApiKey, Source, SourceSecret } = document.components.schemas;
    expect(Object.keys(NewApiKey?.properties ?? {})).toContain('key');
    for (const schema of [ApiKey, Source, SourceSecret]) {
      const names = Object.keys(schema?.properties ?? {});
      expect(names.length).toBeGreaterThan(3);
      for (const name of ['key', 'secret', 'webhook_secret', 'api_key', 'sealed']) expect(names).not.toContain(name);
    }
  });
});

describe('its page', () => {
  it('comes from here alone and may load nothing from elsewhere', async () => {
    const page = await app.call('GET', '/docs', undefined, { authorization: '' });
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'");
    const parts = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]);
    expect(parts).toHaveLength(4);
    for (const part of parts) {
      expect(part).toMatch(/^\/docs\//);
      const { status, headers } = await app.call('GET', part);
      expect(status).toBe(200);
      expect(headers.get('content-type')).toMatch(/^(text\/css|text\/javascript|image\/png)/);
    }
  });
});
