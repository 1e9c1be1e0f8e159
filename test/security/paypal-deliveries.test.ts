import type { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { createBoss } from '../../src/db/boss.ts';
import { Receiver } from '../../src/inbox/receive.ts';
import type { Source } from '../../src/merchants/source.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { paypalProvider } from '../../src/providers/paypal/events.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';
import { publicly } from '../support/refusals.ts';
import {
  PAYPAL_WEBHOOK_ID,
  paypalCapture,
  paypalCertificate,
  signPaypal,
} from '../support/signing-paypal-adyen-cashfree.ts';

const logger = createLogger('silent', 'test');
const source: Source = {
  merchantId: MERCHANT,
  sourceId: 'src_paypal',
  provider: 'paypal',
  mode: 'test',
  unreadableSecrets: 0,
  secrets: [new Secret(PAYPAL_WEBHOOK_ID)],
  defaultPurpose: 'topup',
  metadata: 'customer',
  refunds: 'auto',
  disputes: 'hold',
  customerLinkRule: 'create',
  capture: 'automatic',
  apiKey: null,
  chargeKey: null,
  enabled: true,
};

let database: TestDatabase;
let boss: PgBoss;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  const { url: databaseUrl } = database;
  boss = createBoss({ databaseUrl, applicationName: 'test-boss', maxConnections: 2, works: false, logger });
  await boss.start();
});

afterAll(async () => {
  await boss.stop({ graceful: false });
  await database.drop();
});

it('while its certificate is away a delivery is put off and not refused, and then taken once', async () => {
  let isAway = true;
  let fetches = 0;
  const paypal = paypalProvider({
    trustedRoots: [paypalCertificate('root.pem')],
    fetch: async () => {
      fetches += 1;
      if (isAway) throw new TypeError('fetch failed');
      return new Response(paypalCertificate('paypal.pem'));
    },
  });
  const providers = { ...PROVIDERS, paypal };
  const receiver = new Receiver({ pool: database.pool, boss, clock: systemClock, logger, providers });
  const body = paypalCapture({ paymentId: 'p' });
  const headers = signPaypal(body);
  const receive = (rawBody: string) => receiver.receive(source, { rawBody: Buffer.from(rawBody), headers });
  const stored = async () => (await database.pool.query('select delivery_key, event_type from provider_event')).rows;

  await expect(receive(body)).rejects.toMatchObject({ refusal: publicly({ code: 'SERVICE_UNAVAILABLE' }) });
  expect(await stored()).toEqual([]);

  isAway = false;
  expect(await receive(body)).toMatchObject({ kind: 'stored', state: 'pending' });
  expect(await receive(body)).toEqual({ kind: 'duplicate' });
  expect(await receive(body.replace('50.00', '99.00'))).toEqual({ kind: 'refused' });
  expect(await stored()).toEqual([
    { delivery_key: headers['paypal-transmission-id'], event_type: 'PAYMENT.CAPTURE.COMPLETED' },
  ]);
  expect(fetches).toBe(2);
});
