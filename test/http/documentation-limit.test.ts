import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';

/** Pages that need no key are long, and a stranger's question is short: each address has some of them in a minute. */
const A_MINUTE = 120;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ environment: { TRUST_PROXY: '1' } });
});
afterAll(() => app.close());

const ask = (path: string, address: string) => app.call('GET', path, undefined, { 'x-forwarded-for': address });

it('an address that reads all pages of the documentation is told when to go on, and nobody else notices', async () => {
  const greedy = '203.0.113.7';
  const paths = ['/openapi.json', '/docs/', '/docs/swagger-ui.css', '/readme'];
  const answers = await Promise.all(Array.from({ length: A_MINUTE }, (_, n) => ask(paths[n % 4] ?? '', greedy)));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));

  for (const path of paths) {
    const refused = await ask(path, greedy);
    expect(refused).toMatchObject({ status: 429, body: { code: 'TOO_MANY_REQUESTS' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  }
  for (const path of paths) expect((await ask(path, '203.0.113.8')).status).toBe(200);
  for (const path of ['/', '/healthz', '/readyz', '/customers']) expect((await ask(path, greedy)).status).toBe(200);
  const { body } = await app.call('GET', '/metrics');
  expect(body).toMatch(/chokin_limited_total\{who="address",limit="pages"\} 4\n/);
});
