import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit } from '../../src/db/transaction.ts';
import { reencryptSourceSecrets } from '../../src/merchants/reencrypt.ts';
import { type SealedSecret, selectSealedPage } from '../../src/merchants/source-secret-store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import {
  newSecretOf,
  type Operator,
  operatorOf,
  type Shop,
  sourcesPath,
  startSecondWeb,
  startTestWorker,
} from '../support/admin.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { BOX, boxOf, ENCRYPTION_KEY } from '../support/secrets.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/** Stored secrets whose key is gone, or that were changed in the database. */

let app: TestApp;
let operator: Operator;
const logged: string[] = [];

beforeAll(async () => {
  app = await startTestApp({ logger: createLogger('warn', 'test', { write: (line) => logged.push(line) }) });
  operator = operatorOf(app);
});
afterAll(() => app.close());

const NEWEST = 'whsec_theNewestOfSeveral';

/** A shop whose older webhook secret cannot be read. */
async function shopWithUnreadable(): Promise<Shop & { readonly unreadable: string }> {
  const shop = await operator.newShop('stripe');
  const unreadable = shop.source.secrets[0].secret_id;
  await operator.call('POST', `${shop.path}/webhook-secrets`, { webhook_secret: `${NEWEST}${shop.merchantId}` });
  await app.database.pool.query('update source_secret set sealed = $2 where secret_id = $1', [
    unreadable,
    boxOf(randomBytes(32).toString('base64')).seal(shop.secret, 'elsewhere'),
  ]);
  return { ...shop, unreadable };
}

async function deliver({ source }: Pick<Shop, 'source'>, secret: string, baseURL = app.baseURL): Promise<number> {
  const body = stripePaymentSucceeded();
  const sent = { method: 'POST', body, headers: signStripe(body, secret) };
  return (await fetch(`${baseURL}${source.webhook_path}`, sent)).status;
}

describe('a webhook secret that cannot be read', () => {
  it('does not silence its source: what the others signed is taken in, and all else must come again', async () => {
    const shop = await shopWithUnreadable();
    logged.length = 0;
    expect(await deliver(shop, `${NEWEST}${shop.merchantId}`)).toBe(200);
    const [found] = (await operator.call('GET', sourcesPath(shop.merchantId))).body.findings;
    expect(found).toEqual({
      ...{ source_id: shop.source.source_id, kind: 'unreadable_secret', account: null },
      ...{ secret_id: shop.unreadable, other_source_id: null },
    });
    // Whether it was signed with the secret that cannot be read or is forged, nobody can say.
    expect(await deliver(shop, shop.secret)).toBe(503);
    expect(await deliver(shop, 'whsec_ofAForger')).toBe(503);
    expect(logged.join('')).toContain('a delivery could not be checked');
    expect(logged.join('')).toContain('"unreadableSecrets":1');
    const { rows } = await app.database.pool.query('select 1 from provider_event where source_id = $1', [
      shop.source.source_id,
    ]);
    expect(rows).toHaveLength(1);
    // Once it is removed, a forgery is a forgery again.
    await operator.call('DELETE', `${shop.path}/webhook-secrets/${shop.unreadable}`);
    expect(await deliver(shop, 'whsec_ofAForger')).toBe(401);
  });
});

describe('the hash by which equal webhook secrets are found', () => {
  it('is made anew with the newest key, so that it goes on to be found once the old key is gone', async () => {
    const newKey = randomBytes(32).toString('base64');
    const [shop, changed] = [await operator.newShop('razorpay'), await operator.newShop('stripe')];
    const other = await operator.newMerchant();
    const path = sourcesPath(other);
    const again = { provider: 'razorpay', name: 'again', webhook_secret: shop.secret };
    const refused = async (keys: string): Promise<number> => {
      const web = await startSecondWeb(app, { ENCRYPTION_KEY: keys });
      try {
        const headers = { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' };
        return (await fetch(`${web.url}${path}`, { method: 'POST', headers, body: JSON.stringify(again) })).status;
      } finally {
        await web.close();
      }
    };
    expect(await refused(`${newKey},${ENCRYPTION_KEY}`)).toBe(409);
    await reencryptSourceSecrets(app.database.pool, boxOf(newKey, ENCRYPTION_KEY));
    expect(await refused(newKey)).toBe(409);
    // A secret that was changed in the database does not keep the others from it.
    await app.database.pool.query(
      "update source_secret set sealed = left(sealed, 40) || 'AAAA' || substr(sealed, 45) where source_id = $1",
      [changed.source.source_id],
    );
    // One that the newest key sealed already, but whose hash is missing or of another key.
    for (const keyedHash of [null, BOX.keyedHashes(shop.secret)[0]]) {
      const { rowCount } = await app.database.pool.query(
        'update source_secret set keyed_hash = $2 where source_id = $1',
        [shop.source.source_id, keyedHash],
      );
      expect(rowCount).toBe(1);
      const { unreadable } = await reencryptSourceSecrets(app.database.pool, boxOf(newKey));
      expect(unreadable.filter((line) => line.includes(changed.source.source_id))).toHaveLength(1);
      expect(await refused(newKey)).toBe(409);
    }
    expect((await operator.newSource(other, 'razorpay', { webhook_secret: newSecretOf('razorpay') })).enabled).toBe(
      true,
    );
  });
});

describe('two sources that had one webhook secret before that was refused', () => {
  it('are shown in the list of sources, and another merchant hears no more than that there is one', async () => {
    const [shop, stranger] = [await operator.newShop('razorpay'), await operator.newShop('razorpay')];
    const second = await operator.newSource(shop.merchantId, 'razorpay');
    for (const { merchant_id, source_id } of [second, stranger.source]) {
      await app.database.pool.query(
        "update source_secret set sealed = $2, keyed_hash = $3 where source_id = $1 and purpose = 'webhook'",
        [
          source_id,
          BOX.seal(shop.secret, `source ${merchant_id} ${source_id} webhook`),
          BOX.keyedHashes(shop.secret)[0],
        ],
      );
    }
    const findings = async (merchantId: string) => (await operator.call('GET', sourcesPath(merchantId))).body.findings;
    const shared = { kind: 'shared_webhook_secret', account: null, secret_id: null };
    const first = shop.source.source_id;
    const known = await findings(shop.merchantId);
    expect(known).toHaveLength(4);
    for (const one of [
      { source_id: first, ...shared, other_source_id: second.source_id },
      { source_id: first, ...shared, other_source_id: null },
      { source_id: second.source_id, ...shared, other_source_id: first },
      { source_id: second.source_id, ...shared, other_source_id: null },
    ])
      expect(known).toContainEqual(one);
    const heard = await findings(stranger.merchantId);
    expect(heard).toEqual([{ source_id: stranger.source.source_id, ...shared, other_source_id: null }]);
    for (const secret of [shop.merchantId, first, second.source_id])
      expect(JSON.stringify(heard)).not.toContain(secret);

    // The operator's log names those of every merchant, and those that cannot be read.
    const broken = await shopWithUnreadable();
    logged.length = 0;
    const logger = createLogger('warn', 'test', { write: (line) => logged.push(line) });
    await (await startSecondWeb(app, {}, logger)).close();
    const warnings = () => logged.filter((line) => line.includes('secrets of sources are shared or cannot be read'));
    // To read them all takes long where they are many, so it is not a web process that does.
    expect(warnings()).toEqual([]);
    const worker = await startTestWorker(app, {}, logger);
    const lines = await eventually('the worker to warn', async () => warnings().length > 0 && warnings()).finally(() =>
      worker.close(),
    );
    expect(lines).toHaveLength(1);
    const told = JSON.parse(lines[0] ?? '').findings;
    for (const { merchant_id, source_id } of [shop.source, second, stranger.source])
      expect(told).toContainEqual({ merchantId: merchant_id, sourceId: source_id, kind: 'shared_webhook_secret' });
    const { merchantId, source, unreadable: secretId } = broken;
    expect(told).toContainEqual({ merchantId, sourceId: source.source_id, secretId, kind: 'unreadable_secret' });
    expect(told.filter((one: { sourceId: string }) => one.sourceId === source.source_id)).toHaveLength(1);
  });

  it('are read page by page, each of them once', async () => {
    const db = autocommit(app.database.pool);
    const seen: SealedSecret[] = [];
    for (let isEnd = false; !isEnd; ) {
      const page = await selectSealedPage(db, seen.at(-1) ?? null, 2);
      seen.push(...page);
      isEnd = page.length < 2;
    }
    const { rows } = await app.database.pool.query(
      'select secret_id from source_secret order by merchant_id, source_id, secret_id',
    );
    expect(seen.length).toBeGreaterThan(3);
    expect(seen.map(({ secretId }) => secretId)).toEqual(rows.map(({ secret_id }) => secret_id));
  });
});
