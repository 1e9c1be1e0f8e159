import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createOutgoing } from '../../src/outgoing/index.ts';
import type { MoveStep } from '../../src/outgoing/move/move.ts';
import { moveToSvix } from '../../src/outgoing/move/to-svix.ts';
import type { OutgoingWebhooks } from '../../src/outgoing/outgoing.ts';
import { SvixAccount } from '../../src/outgoing/svix/account.ts';
import { type ApplicationIdentity, identitiesFrom } from '../../src/outgoing/svix/applications.ts';
import { SvixWebhooks } from '../../src/outgoing/svix/webhooks.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';

/** What a move to Svix does in between, as the double sees it; what comes of a move is shown by `test/svix/move.test.ts`. */

let database: TestDatabase;
let svix: SvixServer;
let account: SvixAccount;
let identity: ApplicationIdentity;
let embedded: OutgoingWebhooks;

beforeAll(async () => {
  [database, svix] = await Promise.all([createTestDatabase(), SvixServer.start()]);
  const { pool, workerUrl } = database;
  await makeCustomers(pool, []);
  const identityOf = identitiesFrom(pool);
  identity = await identityOf(MERCHANT);
  account = new SvixAccount({ token: new Secret(SVIX_TOKEN), serverUrl: svix.url, clock: systemClock, identityOf });
  const logger = createLogger('silent', 'test');
  const boss = createBoss({ databaseUrl: workerUrl, applicationName: 'move', maxConnections: 1, works: false, logger });
  const config = { SVIX_TOKEN: undefined, SVIX_SERVER_URL: undefined, ALLOW_PRIVATE_ENDPOINTS: false };
  embedded = createOutgoing({ config, pool, boss, clock: systemClock, logger, box: BOX }).webhooks;
});
afterAll(async () => {
  await Promise.all([database.drop(), svix.close()]);
});
beforeEach(async () => {
  await database.pool.query('delete from webhook_endpoint');
  const { uid } = identity;
  await account.client.application.delete(uid).catch(() => {});
});

const HEADERS = { 'x-team': 'payments', authorization: 'Bearer of-the-shop' };
const SHOP = {
  url: 'https://shop.example/hook',
  description: 'Shop',
  eventTypes: ['wallet.balance.low'],
  disabled: false,
};

/** What each step did, by address. */
async function move(): Promise<Record<string, MoveStep['action']>> {
  const { pool } = database;
  const options = { pool, account, box: BOX, clock: systemClock, allowPrivate: false, isDryRun: false, isAgain: false };
  const steps = await moveToSvix(options, identity);
  return Object.fromEntries(steps.map(({ url, action }) => [new URL(url).hostname, action]));
}

async function atSvix() {
  const { data } = await account.client.endpoint.list(identity.uid);
  return data.map(({ id, url, description, disabled }) => ({ id, url, description, disabled }));
}

test('a move enables an endpoint at Svix only once it has its headers', async () => {
  await embedded.createEndpoint(MERCHANT, { ...SHOP, headers: HEADERS });
  await move();
  const [made] = svix.calls('endpoint.create').slice(-1);
  expect(made?.body).toMatchObject({ url: SHOP.url, disabled: true });
  expect(await atSvix()).toEqual([expect.objectContaining({ url: SHOP.url, disabled: false })]);
});

test('a move takes along the next time what is changed here while it moves', async () => {
  const shop = await embedded.createEndpoint(MERCHANT, SHOP);
  let changing: Promise<unknown> | null = null;
  svix.decide = ({ operation }) => {
    if (operation !== 'endpoint.updateHeaders') return null;
    changing ??= embedded.updateEndpoint(MERCHANT, shop.id, { description: 'Changed' });
    return { after: changing, status: 204, body: '' };
  };
  await move();
  svix.decide = () => null;
  expect(await atSvix()).toEqual([expect.objectContaining({ description: SHOP.description })]);
  expect(await move()).toEqual({ 'shop.example': 'updated' });
  expect(await atSvix()).toEqual([expect.objectContaining({ description: 'Changed' })]);
});
test('a move gives an endpoint an id of Svix’s, which alone names it: what we note of it goes by that', async () => {
  const shop = await embedded.createEndpoint(MERCHANT, SHOP);
  await move();
  const { pool } = database;
  const shared = { pool, boss: { send: async () => null }, clock: systemClock, box: BOX, allowPrivate: false };
  const webhooks = new SvixWebhooks({ account, ...shared });
  expect(await webhooks.getEndpoint(MERCHANT, (await atSvix())[0]?.id ?? '')).toMatchObject({ url: SHOP.url });
  const uid = `embedded-${shop.id}`;
  expect(await account.client.endpoint.get(identity.uid, uid)).toMatchObject({ url: SHOP.url });
  expect(await webhooks.getEndpoint(MERCHANT, uid)).toBeNull();
  expect(await webhooks.recover(MERCHANT, uid, { since: new Date(Date.now() - 1000), until: null })).toBeNull();
  expect(await webhooks.updateEndpoint(MERCHANT, uid, { headers: HEADERS })).toBeNull();
});
