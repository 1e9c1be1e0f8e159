import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { SvixAccount } from '../../src/outgoing/svix/account.ts';
import { CONTRACT, type OperationContract } from '../support/svix/contract.ts';
import { differencesFrom } from '../support/svix/description.ts';
import { svixIdentityOf } from '../support/svix-announcer.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';

/**
 * Svix's published OpenAPI description judges the contract by which the double judges every request of every test. It is
 * compared where it is at hand: a server of `npm run test:svix` serves it, and SVIX_OPENAPI_FILE may name one.
 */

interface Published {
  readonly name: string;
  read(): Promise<unknown>;
}

function publishedAtHand(): readonly Published[] {
  const { SVIX_UNDER_TEST, SVIX_SERVER_URL: url, SVIX_OPENAPI_FILE: file } = process.env;
  const served = { name: 'the server’s', read: async () => (await fetch(`${url}/api/v1/openapi.json`)).json() };
  const kept = { name: 'SVIX_OPENAPI_FILE', read: async () => JSON.parse(await readFile(file ?? '', 'utf8')) };
  return [...(SVIX_UNDER_TEST === 'real' && url ? [served] : []), ...(file ? [kept] : [])];
}

describe('the contract of the double', () => {
  it.each(publishedAtHand())('is what $name description says', async ({ read }) => {
    expect(differencesFrom(await read()).differences).toEqual([]);
  });

  it('is compared in every part: a changed name, bound, pattern, choice, answer or path is noticed', () => {
    expect(differencesFrom(ownDescription((description) => description)).differences).toEqual([]);
    const changed = (from: string, to: string) =>
      differencesFrom(ownDescription((text) => text.replaceAll(from, to))).differences;
    expect(changed('"maxLength":256', '"maxLength":64')).toContain(
      'message.create: body.eventId: maxLength: ours 256, published 64',
    );
    expect(changed('"get_if_exists"', '"get_or_create"')).toEqual([
      'application.create: query: published, not ours: get_or_create',
      'application.create: query: ours, not published: get_if_exists',
    ]);
    expect(changed('"ascending"', '"up"')).toContain(
      'endpoint.list: query.order: enum: ours ["ascending","descending"], published ["up","descending"]',
    );
    expect(changed('"required":["since"]', '"required":[]')).toEqual([
      'endpoint.recover: body: required: ours ["since"], published []',
    ]);
    expect(changed('"responseStatusCode":{"type":"integer"', '"responseStatusCode":{"type":"string"')[0]).toMatch(
      /answer 200\.data\.\(items\)\.responseStatusCode: type/,
    );
    expect(changed('/send-example', '/send')).toEqual([
      'endpoint.sendExample: POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/send-example is not published',
    ]);
    expect(changed('"202"', '"200"').filter((line) => line.startsWith('message.create'))).toEqual([
      'message.create: answers: published, not ours: 200',
      'message.create: answers: ours, not published: 202',
      'message.create: answer 200: published, not ours',
    ]);
  });
});

describe('a test with a request that Svix does not describe', () => {
  let server: SvixServer;
  beforeEach(async () => {
    server = await SvixServer.start();
  });
  afterEach(async () => {
    // Emptied by the tests that want it full.
    await server.close();
  });

  /** A request as the SDK makes them. */
  const ask = (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
    fetch(`${server.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${SVIX_TOKEN}`,
        'user-agent': 'svix-libs/0.0.0/test',
        'content-type': 'application/json',
        'idempotency-key': 'a',
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
    });

  it.each<[string, string, string | undefined, string]>([
    ['GET', '/app/a/attempt/endpoint/b?with_message=true', undefined, 'query: unknown parameter with_message'],
    ['GET', '/app/a/endpoint?limit=many', undefined, 'query: '],
    ['GET', '/app/a%20b', undefined, 'path: "a b" can be no id'],
    ['POST', '/app/a/endpoint', '{"url":"https://a.example","headers":{"a":"b"}}', 'headers'],
    ['POST', '/app/a/msg', '{"eventType":"t","payload":[]}', 'body: payload'],
    ['POST', '/app/a/msg', '{"eventType":"t"}', 'body: payload'],
    ['POST', '/app/a/endpoint/b/replay-missing', '{}', 'has no such route'],
  ])('fails as it closes the double: %s %s %s', async (method, path, body, breach) => {
    await ask(method, path, body);
    await expect(server.close()).rejects.toThrow(breach);
    server.breaches.length = 0;
  });

  it('fails without an idempotency key', async () => {
    await fetch(`${server.url}/api/v1/app`, { method: 'POST', headers: { 'user-agent': 'svix-libs/0' }, body: '{}' });
    await expect(server.close()).rejects.toThrow('no idempotency-key');
    server.breaches.length = 0;
  });

  it('is none of ours: event types, application and message are described', async () => {
    const account = new SvixAccount({
      token: new Secret(SVIX_TOKEN),
      serverUrl: server.url,
      clock: systemClock,
      identityOf: svixIdentityOf,
    });
    const post = (payload: string) =>
      account.call('bus_default', (svix, application) =>
        svix.postMessage(application, { messageId: 'whm_1', eventType: 'wallet.created', payload }),
      );
    expect(await post('{"id":"whm_1"}')).toMatchObject({ ok: true });
    expect(server.requests.length).toBeGreaterThan(5);
    expect(server.breaches).toEqual([]);
    // Messages go without the SDK, and are judged as well.
    await post('[]');
    await expect(server.close()).rejects.toThrow('body: payload');
    server.breaches.length = 0;
  });
});

/** A description made of the contract itself, changed as text. */
function ownDescription(change: (text: string) => string): unknown {
  const paths: Record<string, Record<string, unknown>> = {};
  const schemaOf = (schema: z.ZodType) => z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input' });
  for (const { method, path, query, body, answers } of Object.values<OperationContract>(CONTRACT)) {
    const properties = Object.entries(query.shape).map(([name, schema]) => ({
      name,
      in: 'query',
      schema: schemaOf(schema),
    }));
    const responses = Object.entries(answers).map(([status, schema]) => {
      const content = schema ? { content: { 'application/json': { schema: schemaOf(schema) } } } : {};
      return [status, content];
    });
    paths[path] = {
      ...paths[path],
      [method.toLowerCase()]: {
        parameters: properties,
        ...(body === null ? {} : { requestBody: { content: { 'application/json': { schema: schemaOf(body) } } } }),
        responses: Object.fromEntries(responses),
      },
    };
  }
  const whole = { info: { version: '0' }, paths, components: { schemas: {} } };
  return JSON.parse(change(JSON.stringify(whole)));
}
