import { once } from 'node:events';
import { request } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';
import { eventually } from '../support/wait.ts';

/** Ids become part of Svix's addresses, where `..` would make an endpoint's deletion that of the whole application. */

let app: TestApp;
let svix: SvixServer;

beforeAll(async () => {
  svix = await SvixServer.start();
  app = await startTestApp({ environment: { SVIX_TOKEN, SVIX_SERVER_URL: svix.url } });
  const isChecked = async () => (await app.call('GET', '/readyz')).body.details.outgoing_webhooks.state === 'ok';
  await eventually('the check at the start to be over', isChecked);
  svix.requests.length = 0;
});
afterAll(async () => {
  await app.close();
  await svix.close();
});

/** Sends the path as it is; `fetch` would resolve the dots before sending. */
async function send(method: string, path: string): Promise<number | undefined> {
  const headers = { authorization: `Bearer ${app.key}`, 'content-type': 'application/json' };
  const sent = request(`${app.baseURL}/`, { method, path, headers });
  sent.end(method === 'GET' || method === 'DELETE' ? undefined : '{}');
  const [response] = await once(sent, 'response');
  response.resume();
  return response.statusCode;
}

const BAD_IDS = ['%2e%2e', '..', '.', '%2e', 'a%2fb', '%2e%2e%2f%2e%2e', 'ep%3Fx', 'ep%23', 'ep.1', 'e%20p', '%00'];

it.each([
  ['GET', '/webhook-endpoints/:id'],
  ['PATCH', '/webhook-endpoints/:id'],
  ['DELETE', '/webhook-endpoints/:id'],
  ['GET', '/webhook-endpoints/:id/secret'],
  ['POST', '/webhook-endpoints/:id/secret/rotate'],
  ['GET', '/webhook-endpoints/:id/attempts'],
  ['POST', '/webhook-endpoints/:id/messages/msg_1/resend'],
  ['POST', '/webhook-endpoints/ep_1/messages/:id/resend'],
  ['POST', '/webhook-endpoints/:id/test'],
  ['GET', '/events/:id'],
  ['POST', '/events/:id/replay'],
  ['POST', '/events/:id/dismiss'],
])('%s %s is 404 for an id that is none, and nothing reaches Svix', async (method, path) => {
  for (const id of [...BAD_IDS, 'x'.repeat(201)]) {
    expect([id, await send(method, path.replace(':id', id))]).toEqual([id, 404]);
  }
  expect(svix.requests).toEqual([]);
});
