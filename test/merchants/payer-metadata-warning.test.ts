import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/env.ts';
import { SecretBox } from '../../src/crypto/secret-box.ts';
import { warnOfPayerMetadata } from '../../src/merchants/payer-metadata.ts';
import { SourceDirectory } from '../../src/merchants/sources.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { operatorOf, secretOf } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

/** What a start with this environment logs of metadata. */
async function warningsOf(
  environment: Record<string, string>,
): Promise<readonly { total: number; sources: unknown[] }[]> {
  const lines: string[] = [];
  const sources = new SourceDirectory(loadConfig(environment), new SecretBox([]));
  const logger = createLogger('warn', 'test', { write: (line) => lines.push(line) });
  await warnOfPayerMetadata(app.database.pool, { sources, merchantId: 'bus_default', logger });
  return lines.map((line) => JSON.parse(line));
}

const DODO = { DODO_WEBHOOK_SECRET: secretOf('dodo'), STRIPE_WEBHOOK_SECRET: secretOf('stripe') };

it('a start names, in one line, the sources that obey what payers can write, and what mends each', async () => {
  const operator = operatorOf(app);
  expect(await warningsOf(DODO)).toEqual([]);
  const merchantId = await operator.newMerchant();
  const [stored] = [
    await operator.newSource(merchantId, 'razorpay', { metadata: 'all' }),
    await operator.newSource(merchantId, 'razorpay'),
    await operator.newSource(merchantId, 'stripe'),
  ];
  const { source_id: sourceId } = stored;
  expect(await warningsOf({ ...DODO, DODO_METADATA: 'all', STRIPE_METADATA: 'all' })).toMatchObject([
    {
      level: 40,
      total: 2,
      sources: [
        { sourceId: 'src_dodo', mend: 'DODO_METADATA=customer' },
        { sourceId, mend: `npx chokin sources set ${sourceId} --merchant ${merchantId} --metadata customer` },
      ],
    },
  ]);
  // It keeps its setting until somebody changes it.
  expect((await operator.call('GET', `/admin/merchants/${merchantId}/sources/${sourceId}`)).body.metadata).toBe('all');
});

it('names twenty of them at most, and says how many there are', async () => {
  await app.database.pool.query(
    `insert into source (merchant_id, source_id, provider, name, mode, default_purpose, metadata, refunds, customer_link_rule, enabled, created_at, updated_at)
     select 'bus_default', 'src_old' || n, 'paddle', 'Old', 'test', 'topup', 'all', 'auto', 'create', true, now(), now() from generate_series(1, 30) as n`,
  );
  const [warning, ...others] = await warningsOf({ ...DODO, DODO_METADATA: 'all' });
  expect(others).toEqual([]);
  expect(warning?.total).toBeGreaterThanOrEqual(31);
  expect(warning?.sources).toHaveLength(20);
});

it('the web process warns at its start', async () => {
  const lines: string[] = [];
  const logger = createLogger('warn', 'test', { write: (line) => lines.push(line) });
  const risky = await startTestApp({ logger, environment: { RAZORPAY_METADATA: 'all' } });
  await risky.close();
  expect(lines.map((line) => JSON.parse(line).sources)).toContainEqual([
    { sourceId: 'src_razorpay', mend: 'RAZORPAY_METADATA=customer' },
  ]);
});
