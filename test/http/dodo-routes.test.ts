import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DODO_ONLY } from '../../src/http/kit/dodo.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { ROOT } from '../support/cli.ts';

/** Every route that Dodo's official SDK calls is served, or says that it is not. */

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const SDK = join(ROOT, 'node_modules/dodopayments/resources');
const CALL = /this\._client\.(\w+)\(/g;
/** One with its path, as a plain text or with ids in it. */
const CALL_WITH_PATH = /this\._client\.(\w+)\((?:path\s*)?[`']([^`']+)[`']/g;

/** Ids by any name are the same address. */
const withoutNames = (path: string) => path.replaceAll(/\$?\{\w+\}/g, '{}');

/** `GET /customers/{}` for every route in the source of the installed SDK. */
async function routesOfSdk(): Promise<Set<string>> {
  const files = (await readdir(SDK, { recursive: true })).filter((file) => file.endsWith('.mjs'));
  const routes = new Set<string>();
  for (const file of files) {
    const source = await readFile(join(SDK, file), 'utf8');
    const calls = [...source.matchAll(CALL_WITH_PATH)];
    // Else a call is written in a way that this test does not read.
    expect(calls.length, file).toBe([...source.matchAll(CALL)].length);
    for (const [, method = '', path = ''] of calls) {
      routes.add(`${method === 'getAPIList' ? 'GET' : method.toUpperCase()} ${withoutNames(path)}`);
    }
  }
  return routes;
}

const listed = () =>
  DODO_ONLY.flatMap((line) => {
    const words = line.split(' ');
    const path = words.pop();
    return words.map((method) => `${method} ${path}`);
  });

describe('a route of Dodo Payments that is not served here', () => {
  it('is listed, and nothing else is', async () => {
    const ours = new Set(ROUTES.map(({ method, path }) => `${method.toUpperCase()} ${withoutNames(path)}`));
    const all = await routesOfSdk();
    expect(all.size).toBeGreaterThan(100);
    expect(listed().toSorted()).toEqual([...all.difference(ours)].toSorted());
  });

  it('answers that it is not, whatever its method and whoever asks', async () => {
    for (const route of listed()) {
      const [method = '', path = ''] = route.split(' ');
      const answer = await app.call(method, path.replaceAll('{}', 'some_id'), undefined, { authorization: '' });
      expect({ route, status: answer.status, code: answer.body.code }).toEqual({
        route,
        status: 404,
        code: 'NOT_SERVED_HERE',
      });
      expect(answer.body.message).toMatch(/^Chokin serves Dodo's customers and wallets; this route is Dodo's own\. /);
    }
  });

  it('is a NotFoundError of the SDK that says why', async () => {
    await expect(app.sdk.products.list()).rejects.toMatchObject({ status: 404, error: { code: 'NOT_SERVED_HERE' } });
    await expect(app.sdk.webhooks.delete('ep_1')).rejects.toThrow(/this route is Dodo's own/);
  });

  it('is told apart from a route of both by the SDK that asks: nothing of ours is read as something of Dodo’s', async () => {
    const ours = new Set(ROUTES.map(({ method, path }) => `${method.toUpperCase()} ${withoutNames(path)}`));
    const shared = (await routesOfSdk()).intersection(ours);
    expect([...shared].filter((route) => !/^(GET|POST|PATCH) \/customers/.test(route)).toSorted()).toEqual([
      'GET /events',
      'GET /events/{}',
      'GET /payments/{}',
    ]);
  });

  it('is told from an address that nobody serves', async () => {
    expect(await app.call('GET', '/productz')).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    expect(await app.call('PUT', '/customers')).toMatchObject({ status: 405 });
  });
});

describe('GET /payments/:id', () => {
  it("tells Dodo's SDK that a payment's life here is not Dodo's payment, instead of fields that are undefined", async () => {
    await expect(app.sdk.payments.retrieve('pay_1')).rejects.toMatchObject({
      status: 404,
      error: { code: 'NOT_SERVED_HERE', message: expect.stringContaining('the life of a payment at Chokin') },
    });
  });

  it('answers everybody else', async () => {
    expect(await app.call('GET', '/payments/pay_1')).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
  });
});

describe('GET /events', () => {
  it("tells Dodo's SDK that these are not its usage events", async () => {
    const refused = {
      status: 404,
      error: { code: 'NOT_SERVED_HERE', message: expect.stringContaining('what payment providers sent to Chokin') },
    };
    await expect(app.sdk.usageEvents.list()).rejects.toMatchObject(refused);
    await expect(app.sdk.usageEvents.retrieve('evt_1')).rejects.toMatchObject(refused);
    const event = { customer_id: 'cus_1', event_id: 'evt_1', event_name: 'call' };
    await expect(app.sdk.usageEvents.ingest({ events: [event] })).rejects.toMatchObject({
      status: 404,
      error: { code: 'NOT_SERVED_HERE' },
    });
  });

  it('answers everybody else', async () => {
    expect(await app.call('GET', '/events')).toMatchObject({ status: 200, body: { items: [] } });
    expect(await app.call('GET', '/events/evt_1')).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
  });
});
