import { afterAll, beforeAll, expect, it } from 'vitest';
import { bearer } from '../support/admin.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from '../support/app.ts';

let app: TestApp;
beforeAll(async () => {
  // Each test calls from an address of its own.
  app = await startTestApp({ environment: { TRUST_PROXY: '1' } });
});
afterAll(() => app.close());

/** One after another, 62 calls from `address` with wrong keys. */
async function guess(path: string, address: string): Promise<number[]> {
  const statuses: number[] = [];
  for (let index = 0; index < 62; index += 1) {
    const headers = { ...bearer(`a-wrong-key-of-more-than-32-characters-${index}`), 'x-forwarded-for': address };
    statuses.push((await app.call('GET', path, undefined, headers)).status);
  }
  return statuses;
}

const LIMITED = [...Array<number>(60).fill(401), 429, 429];

it.each([
  ['ADMIN_KEY', '/admin/merchants', '203.0.113.1'],
  ['API key', '/customers', '203.0.113.2'],
])('an %s is guessed sixty times a minute from one address, and no more', async (_, path, address) => {
  expect(await guess(path, address)).toEqual(LIMITED);
});

it('whoever guesses at one kind of key has used up the guesses at the other; right keys go on to be let in', async () => {
  const address = '203.0.113.3';
  await guess('/customers', address);
  const from = { 'x-forwarded-for': address };
  const wrong = { ...bearer('a-wrong-key-of-more-than-32-characters'), ...from };
  expect((await app.call('GET', '/admin/merchants', undefined, wrong)).status).toBe(429);
  expect((await app.call('GET', '/customers', undefined, from)).status).toBe(200);
  expect((await app.call('GET', '/admin/merchants', undefined, { ...bearer(ADMIN_KEY), ...from })).status).toBe(200);
  expect((await app.call('GET', '/customers', undefined, { ...wrong, 'x-forwarded-for': '203.0.113.4' })).status).toBe(
    401,
  );
});
