import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/env.ts';
import { UnreadableSecretError } from '../../src/crypto/secret-box.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { SourceDirectory } from '../../src/merchants/sources.ts';
import { operatorOf } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { BOX } from '../support/secrets.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

/** Gives one secret the sealed text of another, as somebody could who may write to the database but has no key. */
async function swap(first: string, second: string): Promise<void> {
  await app.database.pool.query(
    `update source_secret s set sealed = o.sealed from source_secret o
     where (s.secret_id, o.secret_id) in (($1, $2), ($2, $1))`,
    [first, second],
  );
}

it('the sealed secrets of two sources of one merchant do not open in each other’s place', async () => {
  const operator = operatorOf(app);
  const merchantId = await operator.newMerchant();
  const sources = [
    await operator.newSource(merchantId, 'stripe', { api_key: 'sk_test_of_the_first' }),
    await operator.newSource(merchantId, 'stripe', { api_key: 'sk_test_of_the_second' }),
  ];
  const read = async (index: number, what: 'secrets' | 'apiKey') => {
    const directory = new SourceDirectory(loadConfig({}), BOX);
    const source = await directory.find(autocommit(app.database.pool), merchantId, sources[index].source_id);
    return source?.[what];
  };
  const idsOf = (purpose: string) =>
    sources.map(({ secrets }) => secrets.find((one: { purpose: string }) => one.purpose === purpose).secret_id);
  for (const [purpose, what] of [
    ['webhook', 'secrets'],
    ['api', 'apiKey'],
  ] as const) {
    const [first, second] = idsOf(purpose);
    await expect(read(0, what)).resolves.toBeTruthy();
    await swap(first, second);
    await expect(read(0, what)).rejects.toThrow(UnreadableSecretError);
    await expect(read(1, what)).rejects.toThrow(UnreadableSecretError);
    await swap(first, second);
    await expect(read(1, what)).resolves.toBeTruthy();
  }
  // Nor does a webhook secret open as the key of the API.
  const [[webhook], [api]] = [idsOf('webhook'), idsOf('api')];
  await swap(webhook, api);
  await expect(read(0, 'secrets')).rejects.toThrow(UnreadableSecretError);
  await expect(read(0, 'apiKey')).rejects.toThrow(UnreadableSecretError);
});
