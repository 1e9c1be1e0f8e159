import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';

const NO_KEY = { authorization: '' };
const BROWSER = { ...NO_KEY, accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

describe('the bare address', () => {
  it('is a page in a browser, whose links all lead somewhere', async () => {
    const { status, headers, body } = await app.call('GET', '/', undefined, BROWSER);
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    const links = [...body.matchAll(/<a href="([^"]+)"/g)].map((match) => match[1]);
    expect(links).toEqual(['/docs', '/openapi.json', '/readme', '/healthz']);
    for (const link of links) expect((await app.call('GET', link, undefined, BROWSER)).status, link).toBe(200);
  });

  it.each(['application/json', '*/*'])('is JSON for a client that accepts %s', async (accept) => {
    const { status, headers, body } = await app.call('GET', '/', undefined, { ...NO_KEY, accept });
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(body).toEqual({
      name: 'Chokin',
      api: '/docs',
      openapi: '/openapi.json',
      documentation: '/readme',
      health: '/healthz',
    });
  });

  it('shows the README of this release as plain text', async () => {
    const { headers, body } = await app.call('GET', '/readme', undefined, BROWSER);
    expect(headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(body).toMatch(/^# Chokin\n/);
  });
});

it.each(['/', '/openapi.json', '/healthz', '/customers', '/nowhere', '/metrics'])(
  'the answer of %s ends with a line end, so that a terminal shows its prompt on a line of its own',
  async (path) => {
    const answer = await fetch(`${app.baseURL}${path}`, { headers: { authorization: `Bearer ${app.key}` } });
    const text = await answer.text();
    expect(text).toMatch(/[^\n]\n$/);
    const length = answer.headers.get('content-length');
    expect(length).toBe(String(Buffer.byteLength(text)));
  },
);
