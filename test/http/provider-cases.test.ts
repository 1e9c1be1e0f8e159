import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { paypalProvider } from '../../src/providers/paypal/events.ts';
import { eventsToSettle, startTestWorker } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import {
  CASHFREE_SECRET,
  PAYPAL_WEBHOOK_ID,
  paypalCertificate,
  signPaypal,
} from '../support/signing-paypal-adyen-cashfree.ts';

/* Histories from public bug reports that are about the request itself: its certificate and the names of its headers. */

let app: TestApp;
let worker: Worker;

const environment = { PAYPAL_WEBHOOK_SECRET: PAYPAL_WEBHOOK_ID, CASHFREE_WEBHOOK_SECRET: CASHFREE_SECRET };

beforeAll(async () => {
  const paypal = paypalProvider({
    trustedRoots: [paypalCertificate('root.pem')],
    authorities: [paypalCertificate('intermediate.pem')],
    fetch: async () => new Response(paypalCertificate('leaf.pem')),
  });
  app = await startTestApp({ environment, providers: { ...PROVIDERS, paypal } });
  worker = await startTestWorker(app, environment);
});
afterAll(async () => {
  await worker.close();
  await app.close();
});

/** The one event of a case, of a new customer. */
async function bodyOf(file: string): Promise<{ body: string; balance: (currency: string) => Promise<number> }> {
  const text = readFileSync(new URL(`../fixtures/cases/${file}`, import.meta.url), 'utf8');
  const customer = await app.newCustomer();
  const [event] = JSON.parse(
    text.replaceAll('$CUS', customer).replaceAll('$PAY', '7001').replaceAll('$EVT', 'WH-1'),
  ).events;
  const balance = async (currency: string): Promise<number> =>
    (await app.call('GET', `/customers/${customer}/wallets/${currency}`)).body.balance;
  return { body: JSON.stringify(event), balance };
}

it('PayPal serves its certificate without what issued it, as recorded deliveries show: 200, and the payer is credited', async () => {
  const { body, balance } = await bodyOf('02-paypal-leaf-certificate-alone.json');
  const answer = await app.call('POST', '/webhooks/paypal', body, { ...signPaypal(body), authorization: '' });
  expect(answer).toMatchObject({ status: 200, body: { received: true } });
  await eventsToSettle(app);
  expect(await balance('USD')).toBe(10_000);
});

it('Cashfree names its headers otherwise for payment links: 200, and the payer is credited', async () => {
  const { body, balance } = await bodyOf('11-cashfree-payment-link-headers.json');
  const at = String(Date.now());
  const signature = createHmac('sha256', CASHFREE_SECRET).update(`${at}${body}`).digest('base64');
  const headers = { 'x-cashfree-signature': signature, 'x-cashfree-timestamp': at, authorization: '' };
  const answer = await app.call('POST', '/webhooks/cashfree', body, headers);
  expect(answer).toMatchObject({ status: 200, body: { received: true } });
  await eventsToSettle(app);
  expect(await balance('INR')).toBe(17_000);
});
