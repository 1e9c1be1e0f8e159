import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { SvixAccount } from '../../src/outgoing/svix/account.ts';
import { adopt } from '../../src/outgoing/svix/adopt.ts';
import { applicationIdentity } from '../../src/outgoing/svix/applications.ts';
import { publicly } from '../support/refusals.ts';
import { type SvixUnderTest, svixesUnderTest } from '../support/svix/under-test.ts';

/** Whose application is whose, where two installations share one token. */

const newInstallation = () => `ins_${randomBytes(16).toString('hex')}`;
const [ONE, OTHER] = [newInstallation(), newInstallation()] as const;
const ENDPOINT = { url: 'https://merchant.example/hook' };

describe.each(svixesUnderTest())('at $name', ({ start }) => {
  let svix: SvixUnderTest;
  /** Another for each test: what is made at a real server stays there. */
  let MERCHANT: string;

  beforeAll(async () => {
    svix = await start();
  });
  afterAll(() => svix.close());
  beforeEach(() => {
    MERCHANT = svix.unique('bus');
  });

  const identity = (installation: string, name = 'Shop') => applicationIdentity(installation, MERCHANT, name);

  function accountOf(installation: string, name?: string): SvixAccount {
    return new SvixAccount({
      token: new Secret(svix.token),
      serverUrl: svix.url,
      clock: systemClock,
      identityOf: async () => identity(installation, name),
    });
  }

  async function urlsOf(account: SvixAccount): Promise<readonly string[]> {
    const answer = await account.call(MERCHANT, (client, application) => client.endpoint.list(application));
    return answer.ok ? answer.value.data.map(({ url }) => url) : [];
  }

  async function plainApplication(metadata: Record<string, string> = {}) {
    const { client } = accountOf(ONE);
    const made = await client.application.create({ uid: MERCHANT, name: MERCHANT, metadata });
    await client.endpoint.create(MERCHANT, ENDPOINT);
    return made;
  }

  describe('the applications of two installations with one token', () => {
    it('are two, though both have a merchant of the same id', async () => {
      const [one, other] = [accountOf(ONE), accountOf(OTHER)];
      await one.call(MERCHANT, (client, application) => client.endpoint.create(application, ENDPOINT));
      expect(await urlsOf(one)).toEqual([ENDPOINT.url]);
      expect(await urlsOf(other)).toEqual([]);
    });

    it('are named after the merchant, also when the merchant was renamed', async () => {
      await urlsOf(accountOf(ONE));
      expect(await accountOf(ONE).client.application.get(identity(ONE).uid)).toMatchObject({ name: 'Shop' });
      await urlsOf(accountOf(ONE, 'Shop\u0007 & Co'));
      expect(await accountOf(ONE).client.application.get(identity(ONE).uid)).toMatchObject({ name: 'Shop  & Co' });
    });
  });

  it('the applications of a merchant without a name that can be shown are named by its id', async () => {
    await urlsOf(accountOf(ONE, '\u0007'));
    expect(await accountOf(ONE).client.application.get(identity(ONE).uid)).toMatchObject({ name: MERCHANT });
  });

  describe('an application of the first release', () => {
    it('is left alone: nobody knows whose it is', async () => {
      await plainApplication();
      expect(await urlsOf(accountOf(ONE))).toEqual([]);
      expect(await accountOf(ONE).client.application.get(MERCHANT)).toMatchObject({ uid: MERCHANT, metadata: {} });
    });

    it('is taken over by itself if its mark says that it is ours', async () => {
      const { id } = await plainApplication(identity(ONE).metadata);
      expect(await urlsOf(accountOf(OTHER))).toEqual([]);
      expect(await urlsOf(accountOf(ONE))).toEqual([ENDPOINT.url]);
      expect(await accountOf(ONE).client.application.get(id)).toMatchObject({ uid: identity(ONE).uid, name: 'Shop' });
    });

    it('is adopted by command, with its endpoints, after a dry run that changes nothing', async () => {
      await plainApplication();
      const account = accountOf(ONE);
      expect(await urlsOf(account)).toEqual([]);
      const endpoints = [{ svixEndpointId: expect.any(String), url: ENDPOINT.url, disabled: false }];
      expect(await adopt(account, identity(ONE), true)).toEqual({ outcome: 'adoptable', endpoints });
      expect(await urlsOf(account)).toEqual([]);
      expect(await adopt(account, identity(ONE), false)).toEqual({ outcome: 'adopted', endpoints });
      // A process that runs meanwhile needs no restart.
      expect(await urlsOf(account)).toEqual([ENDPOINT.url]);
      expect(await adopt(account, identity(ONE), false)).toEqual({ outcome: 'ours already', endpoints: [] });
    });

    it('is never adopted if it carries the mark of another installation', async () => {
      await plainApplication(identity(OTHER).metadata);
      const refusal = publicly({ code: 'CONFLICT', message: expect.stringContaining('another installation') });
      await expect(adopt(accountOf(ONE), identity(ONE), false)).rejects.toMatchObject({ refusal });
      expect(await urlsOf(accountOf(ONE))).toEqual([]);
    });

    it('is not adopted where our own application has endpoints, which would be lost', async () => {
      await plainApplication();
      const account = accountOf(ONE);
      await account.call(MERCHANT, (client, application) =>
        client.endpoint.create(application, { url: 'https://own.example/' }),
      );
      const refusal = publicly({ code: 'CONFLICT', message: expect.stringContaining('https://own.example/') });
      await expect(adopt(account, identity(ONE), false)).rejects.toMatchObject({ refusal });
      expect(await urlsOf(account)).toEqual(['https://own.example/']);
    });

    it('is none where the merchant has no application', async () => {
      expect(await adopt(accountOf(ONE), identity(ONE), false)).toEqual({ outcome: 'none', endpoints: [] });
    });
  });
});
