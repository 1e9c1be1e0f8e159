import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestCli, type TestCli } from '../support/cli.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';

/** `chokin webhooks` as an operator runs it. */

let cli: TestCli;
let svix: SvixServer;
let withSvix: Record<string, string>;

beforeAll(async () => {
  [cli, svix] = await Promise.all([startTestCli(), SvixServer.start()]);
  withSvix = { SVIX_TOKEN, SVIX_SERVER_URL: `${svix.url}/api/v1` };
  await makeCustomers(cli.database.pool, []);
  await cli.database.pool.query(
    `insert into webhook_endpoint (merchant_id, endpoint_id, url, secret, created_at, updated_at)
     values ($1, 'ep_one', 'https://shop.example/', $2, now(), now())`,
    [MERCHANT, `whsec_${Buffer.alloc(32, 's').toString('base64')}`],
  );
});
afterAll(async () => {
  await Promise.all([cli.close(), svix.close()]);
});

it('status names the installation, who delivers, what is wrong, and what lies on the other side', async () => {
  const status = { installation_id: expect.stringMatching(/^ins_[0-9a-f]{32}$/), problem: null };
  expect(await cli.json('webhooks status')).toMatchObject({ ...status, sender: 'embedded', endpoints_elsewhere: 0 });
  expect(await cli.json('webhooks status', withSvix)).toMatchObject({
    ...status,
    sender: 'svix',
    endpoints_elsewhere: 1,
  });
  const wrong = await cli.chokin('webhooks status', { ...withSvix, SVIX_TOKEN: 'wrong.eu' });
  expect(wrong).toMatchObject({ code: 1, out: expect.stringContaining('refuses the token (401)') });
});

it('move shows what it would do, does it, and has nothing to do the second time', async () => {
  const dry = await cli.chokin('webhooks move --to svix --dry-run', withSvix);
  expect(dry).toMatchObject({
    code: 0,
    out: expect.stringMatching(/https:\/\/shop\.example\/ +created\nNothing was changed\./),
  });
  const step = { merchant_id: MERCHANT, endpoint_id: 'ep_one', url: 'https://shop.example/', problem: null };
  expect((await cli.json('webhooks move --to svix', withSvix)).items).toMatchObject([{ ...step, action: 'created' }]);
  expect((await cli.json('webhooks move --to svix', withSvix)).items).toMatchObject([{ ...step, action: 'unchanged' }]);
  expect(await cli.json('webhooks status')).toMatchObject({ sender: 'embedded', endpoints_elsewhere: 1 });
  expect((await cli.json('webhooks move --to embedded', withSvix)).items).toMatchObject([
    { ...step, action: 'unchanged' },
  ]);
  expect(await cli.json('webhooks status')).toMatchObject({ endpoints_elsewhere: 0 });
});

it('move and adopt say what they want, and what is wrong with Svix', async () => {
  for (const command of ['webhooks move --to svix', 'webhooks adopt']) {
    expect(await cli.chokin(command)).toMatchObject({ code: 1, err: expect.stringContaining('set SVIX_TOKEN') });
    const wrong = await cli.chokin(command, { ...withSvix, SVIX_TOKEN: 'wrong.eu' });
    expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining('refuses the token (401)') });
  }
  expect(await cli.chokin('webhooks move --to nowhere', withSvix)).toMatchObject({ code: 2 });
});

it('adopt lists the endpoints of an application of the first release before it takes it over', async () => {
  const call = (method: string, path: string, body: unknown) =>
    fetch(`${svix.url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${SVIX_TOKEN}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  svix.applications.clear();
  await call('POST', '/app', { uid: MERCHANT, name: MERCHANT });
  await call('POST', `/app/${MERCHANT}/endpoint`, { url: 'https://old.example/' });
  const dry = await cli.chokin('webhooks adopt --dry-run', withSvix);
  expect(dry).toMatchObject({
    code: 0,
    out: expect.stringMatching(/bus_default +adoptable +https:\/\/old\.example\//),
  });
  expect((await cli.json('webhooks adopt', withSvix)).items).toMatchObject([
    { merchant_id: MERCHANT, outcome: 'adopted' },
  ]);
});
