import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';

/** Whoever may write to the database, but has no key, must not make one endpoint sign with the secret of another. */

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const add = async (name: string) => {
  const headers = { authorization: `Bearer of-${name}` };
  const { body } = await app.call('POST', '/webhook-endpoints', { url: `http://127.0.0.1:9/${name}`, headers });
  return body.endpoint_id;
};

it.each([
  ['secrets', 'webhook_endpoint', 'secret', 'secret'],
  ['headers', 'webhook_endpoint_headers', 'sealed', 'headers'],
])(
  'the sealed %s of two endpoints of one merchant do not open in each other’s place',
  async (_, table, column, path) => {
    const ids = [await add('first'), await add('second')];
    const statuses = () =>
      Promise.all(ids.map(async (id) => (await app.call('GET', `/webhook-endpoints/${id}/${path}`)).status));
    expect(await statuses()).toEqual([200, 200]);
    const swap = () =>
      app.database.pool.query(
        `update ${table} e set ${column} = o.${column} from ${table} o
       where o.merchant_id = e.merchant_id and (e.endpoint_id, o.endpoint_id) in (($1, $2), ($2, $1))`,
        ids,
      );
    await swap();
    expect(await statuses()).toEqual([503, 503]);
    await swap();
    expect(await statuses()).toEqual([200, 200]);
  },
);
