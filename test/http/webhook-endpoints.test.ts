import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';

/** The routes over outgoing webhooks, with the embedded sender behind them. Delivery itself is tested elsewhere. */

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const path = '/webhook-endpoints';
const url = 'http://127.0.0.1:9/hook';

describe('an endpoint', () => {
  it('is added, shown, listed, changed and removed', async () => {
    const { status, body: made } = await app.call('POST', path, { url });
    expect(status).toBe(200);
    expect(made).toEqual({
      endpoint_id: expect.stringMatching(/^ep_/),
      id: made.endpoint_id,
      url,
      description: '',
      event_types: null,
      disabled: false,
      header_names: [],
      created_at: expect.any(String),
      updated_at: expect.any(String),
    });
    expect((await app.call('GET', `${path}/${made.id}`)).body).toEqual(made);
    expect((await app.call('GET', path)).body).toEqual({ items: [made] });
    const change = { event_types: ['wallet.balance.low'], description: 'alerts', disabled: true };
    expect((await app.call('PATCH', `${path}/${made.id}`, change)).body).toMatchObject({ url, ...change });
    const all = { event_types: null };
    expect((await app.call('PATCH', `${path}/${made.id}`, all)).body).toMatchObject({ ...change, ...all });
    const removed = await app.call('DELETE', `${path}/${made.id}`);
    expect(removed).toMatchObject({ status: 204, body: '' });
    expect(await app.call('DELETE', `${path}/${made.id}`)).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    expect((await app.call('GET', path)).body).toEqual({ items: [] });
  });

  it('has a secret, shown to keys that may write, and rotated', async () => {
    const { body: made } = await app.call('POST', path, { url });
    const { body: first } = await app.call('GET', `${path}/${made.id}/secret`);
    expect(first).toEqual({ secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/=]{32,}$/) });
    const reader = await app.newKey('bus_default', ['read']);
    expect((await app.call('GET', `${path}/${made.id}/secret`, undefined, reader)).status).toBe(403);
    const { body: second } = await app.call('POST', `${path}/${made.id}/secret/rotate`);
    expect(second.secret).not.toBe(first.secret);
    expect((await app.call('GET', `${path}/${made.id}/secret`)).body).toEqual(second);
  });

  it('gets test messages on request, and messages again', async () => {
    const { body: made } = await app.call('POST', path, { url });
    const sent = await app.call('POST', `${path}/${made.id}/test`, { event_type: 'wallet.balance.low' });
    expect(sent).toMatchObject({ status: 200, body: { message_id: expect.stringMatching(/^whm_/) } });
    const again = await app.call('POST', `${path}/${made.id}/messages/${sent.body.message_id}/resend`);
    expect(again).toMatchObject({ status: 200, body: sent.body });
    expect((await app.call('POST', `${path}/${made.id}/messages/msg_none/resend`)).status).toBe(404);
    expect((await app.call('GET', `${path}/${made.id}/attempts?page_size=5`)).body).toEqual({ items: [] });
    expect((await app.call('GET', `${path}/ep_none/attempts`)).status).toBe(404);
  });

  it.each<[string, unknown]>([
    ['no URL', {}],
    ['no URL at all', { url: 'nonsense' }],
    ['another scheme', { url: 'ftp://example.com/' }],
    ['credentials', { url: 'https://user:password@example.com/' }],
    ['an event type that does not exist', { url, event_types: ['wallet.exploded'] }],
    ['no event types', { url, event_types: [] }],
    ['a long description', { url, description: 'x'.repeat(501) }],
    ['an unknown field', { url, secret: 'mine' }],
  ])('with %s is refused', async (_, body) => {
    expect(await app.call('POST', path, body)).toMatchObject({ status: 422, body: { code: 'INVALID_REQUEST_BODY' } });
  });

  it('gets no test message of a type that does not exist', async () => {
    const { body: made } = await app.call('POST', path, { url });
    const { status } = await app.call('POST', `${path}/${made.id}/test`, { event_type: 'wallet.exploded' });
    expect(status).toBe(422);
  });
});

it('the portal belongs to Svix', async () => {
  const answer = await app.call('POST', '/webhook-portal');
  expect(answer).toMatchObject({ status: 501, body: { code: 'NOT_IMPLEMENTED' } });
  expect(answer.headers.get('x-should-retry')).toBe('false');
});
