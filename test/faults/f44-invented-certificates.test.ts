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
import { Victim } from '../support/victim.ts';

/**
 * F44: strangers name certificates that PayPal never gave, many at once and on and on. PayPal is asked for few of them, and its own
 * deliveries are taken meanwhile: those signed with the known certificate, and one with a certificate that is new.
 */
const NAMES = 400;
const KNOWN = PAYPAL_CERTIFICATE_URL;
const NEW = `${PAYPAL_CERTIFICATE_URL}-new`;

/**
 * PayPal's server of certificates, in a page of rules. It gives what it has, and a name that it never gave is 404; PayPal names the address
 * in each delivery (https://developer.paypal.com/api/rest/webhooks/rest/, "paypal-cert-url"). It is slow to say so, which is the
 * worst for us: until it answers, a fetch is under way.
 */
const asked: string[] = [];
let invented = Promise.withResolvers<void>();
async function paypalsServer(url: string): Promise<Response> {
  asked.push(url);
  if (url === KNOWN || url === NEW) return new Response(paypalCertificate('paypal.pem'));
  await invented.promise;
  return new Response('not found', { status: 404 });
}

let app: TestApp;
beforeAll(async () => {
  const paypal = paypalProvider({ trustedRoots: [paypalCertificate('root.pem')], fetch: paypalsServer });
  app = await startTestApp({
    environment: { PAYPAL_WEBHOOK_SECRET: PAYPAL_WEBHOOK_ID, TRUST_PROXY: '1' },
    providers: { ...PROVIDERS, paypal },
  });
});
afterAll(() => app.close());

async function send(paymentId: string, certificate: string, address: string): Promise<number> {
  const body = paypalCapture({ paymentId });
  const named = { authorization: '', 'paypal-cert-url': certificate, 'x-forwarded-for': address };
  return (await app.call('POST', '/webhooks/paypal', body, { ...signPaypal(body), ...named })).status;
}

const PAYPALS = '198.51.100.1';
const strangers = (round: string, networks: number) =>
  Array.from({ length: NAMES }, (_, n) => send('forged', `${KNOWN}-${round}${n}`, `203.0.113.${n % networks}`));

it("invented certificates never turn PayPal's own deliveries away, be they signed with a known one or a new one", async () => {
  expect(await send('before', KNOWN, PAYPALS)).toBe(200);
  asked.length = 0;

  let known = 0;
  const victim = new Victim(async () => {
    known += 1;
    expect(await send(`known${known}`, KNOWN, PAYPALS)).toBe(200);
  });
  await victim.alone(50);
  const flood = strangers('one', 1);
  await victim.during(
    send('new', NEW, PAYPALS).then((status) => expect(status).toBe(200)),
    40,
  );
  victim.report('F44');
  invented.resolve();
  expect(new Set(await Promise.all(flood))).toEqual(new Set([401]));
  expect(asked.length).toBeLessThanOrEqual(1 + 4);

  // From everywhere: what is left of the minute is theirs, and known certificates are served from memory.
  invented = Promise.withResolvers();
  const wide = strangers('many', 100);
  expect(await Promise.all([KNOWN, NEW].map((name) => send(`again${name.length}`, name, PAYPALS)))).toEqual([200, 200]);
  invented.resolve();
  expect(new Set(await Promise.all(wide))).toEqual(new Set([401]));
  expect(asked.length).toBeLessThanOrEqual(60);
  expect(asked.filter((url) => url === KNOWN || url === NEW)).toEqual([NEW]);
});

it('they count as refused and not as unavailable, which would page the operator', async () => {
  const { body } = await app.call('GET', '/metrics');
  const count = (outcome: string) =>
    Number(
      new RegExp(`chokin_provider_deliveries_total\\{provider="paypal",outcome="${outcome}"\\} (\\d+)`).exec(body)?.[1],
    );
  expect([count('unavailable'), count('refused')]).toEqual([0, 2 * NAMES]);
  const limited = Number(/chokin_limited_total\{who="address",limit="certificates"\} (\d+)/.exec(body)?.[1]);
  expect(limited).toBe(2 * NAMES + 1 - asked.length);
});
