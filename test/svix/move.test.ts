import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { SecretBox } from '../../src/crypto/secret-box.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createOutgoing } from '../../src/outgoing/index.ts';
import type { MoveOptions, MoveStep } from '../../src/outgoing/move/move.ts';
import { moveToEmbedded } from '../../src/outgoing/move/to-embedded.ts';
import { moveToSvix } from '../../src/outgoing/move/to-svix.ts';
import type { OutgoingWebhooks } from '../../src/outgoing/outgoing.ts';
import { SvixAccount } from '../../src/outgoing/svix/account.ts';
import { type ApplicationIdentity, identitiesFrom } from '../../src/outgoing/svix/applications.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';
import { type SvixUnderTest, svixesUnderTest } from '../support/svix/under-test.ts';

/** Taking endpoints from one sender to the other: nothing is lost, nothing newer is overwritten, and again does no harm. */

describe.each(svixesUnderTest())('with $name', ({ start }) => {
  let database: TestDatabase;
  let svix: SvixUnderTest;
  let account: SvixAccount;
  let identity: ApplicationIdentity;
  let embedded: OutgoingWebhooks;

  beforeAll(async () => {
    [database, svix] = await Promise.all([createTestDatabase(), start()]);
    const { pool, workerUrl } = database;
    await makeCustomers(pool, []);
    const identityOf = identitiesFrom(pool);
    identity = await identityOf(MERCHANT);
    account = new SvixAccount({ token: new Secret(svix.token), serverUrl: svix.url, clock: systemClock, identityOf });
    const logger = createLogger('silent', 'test');
    const boss = createBoss({
      databaseUrl: workerUrl,
      applicationName: 'move',
      maxConnections: 1,
      works: false,
      logger,
    });
    const config = { SVIX_TOKEN: undefined, SVIX_SERVER_URL: undefined, ALLOW_PRIVATE_ENDPOINTS: false };
    embedded = createOutgoing({ config, pool, boss, clock: systemClock, logger, box: BOX }).webhooks;
  });
  afterAll(async () => {
    await Promise.all([database.drop(), svix.close()]);
  });
  beforeEach(async () => {
    await database.pool.query('delete from webhook_endpoint');
    await database.pool.query('delete from svix_endpoint');
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
  const PAUSED = { url: 'https://paused.example/hook', description: '', eventTypes: null, disabled: true };

  type Move = (options: MoveOptions, of: ApplicationIdentity) => Promise<readonly MoveStep[]>;

  /** What each step did, by address. */
  async function move(to: Move, overrides: Partial<MoveOptions> = {}): Promise<Record<string, MoveStep['action']>> {
    const { pool } = database;
    const options = {
      pool,
      account,
      box: BOX,
      clock: systemClock,
      allowPrivate: false,
      isDryRun: false,
      isAgain: false,
    };
    const steps = await to({ ...options, ...overrides }, identity);
    return Object.fromEntries(steps.map(({ url, action }) => [new URL(url).hostname, action]));
  }

  async function atSvix() {
    const { data } = await account.client.endpoint.list(identity.uid);
    return data.map(({ id, url, description, eventTypes, disabled }) => ({
      id,
      url,
      description,
      eventTypes,
      disabled,
    }));
  }

  const secretAtSvix = async (id: string) => (await account.client.endpoint.getSecret(identity.uid, id)).key;
  const idAtSvix = async (url: string) => (await atSvix()).find((one) => one.url === url)?.id ?? '';

  describe('moving to Svix', () => {
    it('takes address, description, event types, secret and state along, and signs by the same secret', async () => {
      const shop = await embedded.createEndpoint(MERCHANT, SHOP);
      await embedded.createEndpoint(MERCHANT, PAUSED);
      const made = { 'shop.example': 'created', 'paused.example': 'created' };
      expect(await move(moveToSvix, { isDryRun: true })).toEqual(made);
      await expect(account.client.application.get(identity.uid)).rejects.toMatchObject({ code: 404 });
      expect(await move(moveToSvix)).toEqual(made);
      expect(await atSvix()).toEqual(
        expect.arrayContaining([expect.objectContaining(SHOP), expect.objectContaining(PAUSED)]),
      );
      expect(await secretAtSvix(await idAtSvix(SHOP.url))).toBe(await embedded.getSecret(MERCHANT, shop.id));
      expect(await move(moveToSvix)).toEqual({ 'shop.example': 'unchanged', 'paused.example': 'unchanged' });
      expect(await atSvix()).toHaveLength(2);
    });

    it('again takes along what was changed here since, and leaves alone what was changed there', async () => {
      const shop = await embedded.createEndpoint(MERCHANT, SHOP);
      await embedded.createEndpoint(MERCHANT, PAUSED);
      await move(moveToSvix);
      await embedded.updateEndpoint(MERCHANT, shop.id, { description: 'Renamed here' });
      const secret = await embedded.rotateSecret(MERCHANT, shop.id);
      await account.client.endpoint.patch(identity.uid, await idAtSvix(PAUSED.url), { disabled: false });
      expect(await move(moveToSvix)).toEqual({ 'shop.example': 'updated', 'paused.example': 'unchanged' });
      const changed = [
        expect.objectContaining({ description: 'Renamed here' }),
        expect.objectContaining({ ...PAUSED, disabled: false }),
      ];
      expect(await atSvix()).toEqual(expect.arrayContaining(changed));
      expect(await secretAtSvix(await idAtSvix(SHOP.url))).toBe(secret);
    });

    it('takes headers along both ways, values that Svix shows to nobody included', async () => {
      const shop = await embedded.createEndpoint(MERCHANT, { ...SHOP, headers: HEADERS });
      await move(moveToSvix);
      const svixId = await idAtSvix(SHOP.url);
      const { headers, sensitive } = await account.client.endpoint.getHeaders(identity.uid, svixId);
      expect({ headers, sensitive }).toEqual({ headers: { 'x-team': 'payments' }, sensitive: ['authorization'] });
      expect(await move(moveToEmbedded)).toEqual({ 'shop.example': 'unchanged' });
      await move(moveToSvix);
      await account.client.endpoint.patchHeaders(identity.uid, svixId, { headers: { 'x-team': 'ops' } });
      expect(await move(moveToEmbedded)).toEqual({ 'shop.example': 'updated' });
      expect(await embedded.getHeaders(MERCHANT, shop.id)).toEqual({ ...HEADERS, 'x-team': 'ops' });
    });

    it('does not bring back what was deleted there, unless it is told to', async () => {
      await embedded.createEndpoint(MERCHANT, SHOP);
      await move(moveToSvix);
      await account.client.endpoint.delete(identity.uid, await idAtSvix(SHOP.url));
      expect(await move(moveToSvix)).toEqual({ 'shop.example': 'skipped' });
      expect(await move(moveToSvix, { isAgain: true })).toEqual({ 'shop.example': 'created' });
    });

    it('skips an endpoint whose secret cannot be read, and moves the others', async () => {
      const shop = await embedded.createEndpoint(MERCHANT, SHOP);
      await embedded.createEndpoint(MERCHANT, PAUSED);
      await database.pool.query("update webhook_endpoint set secret = 'v1.00000000.AAAA' where endpoint_id = $1", [
        shop.id,
      ]);
      expect(await move(moveToSvix)).toEqual({ 'shop.example': 'skipped', 'paused.example': 'created' });
    });
  });

  it('in a dry run touches nothing that is there already, nor what was deleted here', async () => {
    const shop = await embedded.createEndpoint(MERCHANT, SHOP);
    const paused = await embedded.createEndpoint(MERCHANT, PAUSED);
    await move(moveToSvix);
    await move(moveToEmbedded);
    await embedded.updateEndpoint(MERCHANT, shop.id, { description: 'Renamed here' });
    await embedded.deleteEndpoint(MERCHANT, paused.id);
    const before = await atSvix();
    const would = { 'shop.example': 'updated', 'paused.example': 'disabled' };
    expect(await move(moveToSvix, { isDryRun: true })).toEqual(would);
    expect(await atSvix()).toEqual(before);
    expect(await move(moveToSvix)).toEqual(would);
  });

  it('skips an endpoint whose headers cannot be read, and stops at an error that is nobody’s secret', async () => {
    const shop = await embedded.createEndpoint(MERCHANT, { ...SHOP, headers: HEADERS });
    const { pool } = database;
    await pool.query("update webhook_endpoint_headers set sealed = 'v1.00000000.AAAA' where endpoint_id = $1", [
      shop.id,
    ]);
    expect(await move(moveToSvix)).toEqual({ 'shop.example': 'skipped' });
    const broken = new SecretBox([]);
    broken.open = () => {
      throw new Error('out of memory');
    };
    await expect(move(moveToSvix, { box: broken })).rejects.toThrow('out of memory');
  });

  describe('moving back', () => {
    it('takes along what was made and changed at Svix, under the ids that merchants know', async () => {
      const shop = await embedded.createEndpoint(MERCHANT, SHOP);
      await move(moveToSvix);
      const { client } = account;
      await client.endpoint.patch(identity.uid, await idAtSvix(SHOP.url), {
        description: 'Renamed there',
        eventTypes: null,
      });
      const made = await client.endpoint.create(identity.uid, {
        url: 'https://new.example/',
        eventTypes: ['wallet.created'],
      });
      const moved = { 'shop.example': 'updated', 'new.example': 'created' };
      expect(await move(moveToEmbedded, { isDryRun: true })).toEqual(moved);
      expect(await embedded.listEndpoints(MERCHANT)).toMatchObject([SHOP]);
      expect(await move(moveToEmbedded)).toEqual(moved);
      expect(await embedded.listEndpoints(MERCHANT)).toMatchObject([
        { id: shop.id, ...SHOP, description: 'Renamed there', eventTypes: null },
        { id: made.id, url: 'https://new.example/', eventTypes: ['wallet.created'], disabled: false },
      ]);
      expect(await embedded.getSecret(MERCHANT, made.id)).toBe(await secretAtSvix(made.id));
      expect(await move(moveToEmbedded)).toEqual({});
    });

    it('finds nothing where there is no application, and forgets what was known of one', async () => {
      const { pool } = database;
      await pool.query("insert into svix_endpoint (merchant_id, endpoint_id, disabled) values ($1, 'ep_gone', false)", [
        MERCHANT,
      ]);
      expect(await move(moveToEmbedded, { isDryRun: true })).toEqual({});
      expect((await pool.query('select 1 from svix_endpoint')).rowCount).toBe(1);
      expect(await move(moveToEmbedded)).toEqual({});
      expect((await pool.query('select 1 from svix_endpoint')).rowCount).toBe(0);
    });

    it('skips an endpoint with a header that was set in the portal, whose value nobody is shown', async () => {
      await embedded.createEndpoint(MERCHANT, SHOP);
      await move(moveToSvix);
      const headers = { authorization: 'Bearer of-the-portal' };
      await account.client.endpoint.setHeaders(identity.uid, await idAtSvix(SHOP.url), { headers });
      expect(await move(moveToEmbedded)).toEqual({ 'shop.example': 'skipped' });
    });

    it('in a dry run says what would be disabled, and disables nothing', async () => {
      await embedded.createEndpoint(MERCHANT, SHOP);
      await move(moveToSvix);
      await account.client.endpoint.delete(identity.uid, await idAtSvix(SHOP.url));
      expect(await move(moveToEmbedded, { isDryRun: true })).toEqual({ 'shop.example': 'disabled' });
      expect(await embedded.listEndpoints(MERCHANT)).toMatchObject([SHOP]);
    });

    it('disables what was deleted at Svix meanwhile', async () => {
      await embedded.createEndpoint(MERCHANT, SHOP);
      await embedded.createEndpoint(MERCHANT, PAUSED);
      await move(moveToSvix);
      await account.client.endpoint.delete(identity.uid, await idAtSvix(SHOP.url));
      expect(await move(moveToEmbedded)).toEqual({ 'paused.example': 'unchanged', 'shop.example': 'disabled' });
      expect(await embedded.listEndpoints(MERCHANT)).toMatchObject([{ url: SHOP.url, disabled: true }, PAUSED]);
    });

    it('skips what the embedded sender may not call, and says why', async () => {
      await embedded.createEndpoint(MERCHANT, SHOP);
      await move(moveToSvix);
      await account.client.endpoint.create(identity.uid, { url: 'http://plain.example/' });
      const { pool } = database;
      const options = {
        pool,
        account,
        box: BOX,
        clock: systemClock,
        allowPrivate: false,
        isDryRun: false,
        isAgain: false,
      };
      expect(await moveToEmbedded(options, identity)).toContainEqual(
        expect.objectContaining({
          action: 'skipped',
          url: 'http://plain.example/',
          problem: expect.stringMatching(/^url: wants an https URL\./),
        }),
      );
      expect(await embedded.listEndpoints(MERCHANT)).toHaveLength(1);
    });

    it('and to Svix again disables there what was deleted here, and keeps what was changed here', async () => {
      const shop = await embedded.createEndpoint(MERCHANT, SHOP);
      const paused = await embedded.createEndpoint(MERCHANT, PAUSED);
      await move(moveToSvix);
      await move(moveToEmbedded);
      await embedded.deleteEndpoint(MERCHANT, shop.id);
      await embedded.updateEndpoint(MERCHANT, paused.id, { disabled: false });
      expect(await move(moveToSvix)).toEqual({ 'paused.example': 'updated', 'shop.example': 'disabled' });
      const now = [
        expect.objectContaining({ ...SHOP, disabled: true }),
        expect.objectContaining({ ...PAUSED, disabled: false }),
      ];
      expect(await atSvix()).toEqual(expect.arrayContaining(now));
    });
  });
});
