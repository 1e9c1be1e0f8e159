import { afterAll, beforeAll, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { paypalProvider } from '../../src/providers/paypal/events.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import {
  PAYPAL_CERTIFICATE_URL,
  PAYPAL_WEBHOOK_ID,
  paypalCapture,
  paypalCertificate,
  signPaypal,
} from '../support/signing-paypal-adyen-cashfree.ts';

/** What PayPal is told while the certificate it signs with cannot be had, which no other provider's signature needs. */

let app: TestApp;
let certificate: () => Response;
let fetches = 0;

beforeAll(async () => {
  const paypal = paypalProvider({
    trustedRoots: [paypalCertificate('root.pem')],
    fetch: async () => {
      fetches += 1;
      return certificate();
    },
  });
  app = await startTestApp({
    environment: { PAYPAL_WEBHOOK_SECRET: PAYPAL_WEBHOOK_ID },
    providers: { ...PROVIDERS, paypal },
  });
});
afterAll(() => app.close());

it('a delivery whose certificate is away is 503 and not stored; the same one is 200 once it is back', async () => {
  const body = paypalCapture({ paymentId: 'capture_1', value: '12.50', currency: 'USD' });
  const headers = { ...signPaypal(body), authorization: '' };
  const send = () => app.call('POST', '/webhooks/paypal', body, headers);
  const stored = async () => (await app.call('GET', '/events')).body.items;
  const unavailable = { status: 503, body: { code: 'SERVICE_UNAVAILABLE', message: expect.stringContaining('again') } };

  certificate = () => {
    throw new TypeError('fetch failed');
  };
  expect(await send()).toMatchObject(unavailable);
  certificate = () => new Response('Bad Gateway', { status: 502 });
  expect(await send()).toMatchObject(unavailable);
  expect(await stored()).toEqual([]);

  certificate = () => new Response(paypalCertificate('paypal.pem'));
  expect(await send()).toMatchObject({ status: 200, body: { received: true } });
  expect(await send()).toMatchObject({ status: 200, body: { received: true } });
  expect(await stored()).toMatchObject([
    { provider: 'paypal', source_id: 'src_paypal', type: 'PAYMENT.CAPTURE.COMPLETED', status: 'pending' },
  ]);
  expect(fetches).toBe(3);
});

it('a certificate of somebody else is no reason to come again: 401 and not stored', async () => {
  certificate = () => new Response(paypalCertificate('other-name.pem'));
  const body = paypalCapture({ paymentId: 'capture_2' });
  const headers = { ...signPaypal(body), authorization: '', 'paypal-cert-url': `${PAYPAL_CERTIFICATE_URL}-2` };
  const [before, fetchesBefore] = [(await app.call('GET', '/events')).body.items, fetches];
  const answer = await app.call('POST', '/webhooks/paypal', body, headers);
  expect(answer).toMatchObject({ status: 401, body: { code: 'INVALID_SIGNATURE' } });
  expect(fetches).toBe(fetchesBefore + 1);
  expect((await app.call('GET', '/events')).body.items).toEqual(before);
});
