import { describe, expect, it } from 'vitest';
import { paypalProvider } from '../../src/providers/paypal/events.ts';
import {
  PAYPAL_WEBHOOK_ID,
  paypalCapture,
  paypalCertificate,
  signPaypal,
  testPaypal,
} from '../support/signing-paypal-adyen-cashfree.ts';
import { describeSignatures, NOW, NOW_SECONDS, type Scheme } from './scheme.ts';

const DAY_SECONDS = 86_400;
const ROOT = paypalCertificate('root.pem');

const SCHEME: Scheme = {
  body: paypalCapture({ paymentId: 'p' }),
  secrets: ['8PT5CURRENT', '8PT5OLDER', '8PT5FOREIGN'],
  signatureHeader: 'paypal-transmission-sig',
  sign: (body, webhookId, atSeconds = NOW_SECONDS) => signPaypal(body, webhookId, atSeconds),
  signWithBlank: (body) => signPaypal(body, '', NOW_SECONDS),
  provider: testPaypal(),
};

describeSignatures('paypal', SCHEME);

const BODY = SCHEME.body;
const HEADERS = signPaypal(BODY, PAYPAL_WEBHOOK_ID, NOW_SECONDS);
const verifyWith = async (
  change: Readonly<Record<string, string | undefined>> = {},
  { body = BODY, provider = testPaypal(), now = NOW } = {},
) => provider.verify({ rawBody: Buffer.from(body), headers: { ...HEADERS, ...change } }, [PAYPAL_WEBHOOK_ID], now);

describe('what PayPal signs beside the body', () => {
  it.each<[string, string | undefined]>([
    ['paypal-transmission-id', undefined],
    ['paypal-transmission-id', 'another-id'],
    ['paypal-transmission-id', 'with|bars'],
    ['paypal-transmission-time', undefined],
    ['paypal-transmission-time', '2026-10-28T08:26:41Z'],
    ['paypal-auth-algo', undefined],
    ['paypal-auth-algo', 'SHA1withRSA'],
    ['paypal-auth-algo', 'none'],
    ['paypal-auth-algo', 'constructor'],
    ['paypal-cert-url', undefined],
  ])('refuses the header %s as %j', async (header, value) => {
    expect((await verifyWith()).ok).toBe(true);
    expect((await verifyWith({ [header]: value })).ok).toBe(false);
  });

  it.each([
    [-4 * DAY_SECONDS - 1, false],
    [-4 * DAY_SECONDS + 1, true],
    [-3 * DAY_SECONDS, true],
    [300, true],
    [302, false],
  ])('a time %i s from now: accepted is %s', async (offset, accepted) => {
    const headers = signPaypal(BODY, PAYPAL_WEBHOOK_ID, NOW_SECONDS + offset);
    expect((await verifyWith(headers)).ok).toBe(accepted);
  });

  // Signed as it stands, so that nothing but its form can refuse it.
  it.each(['', 'now', '1793200000', '2026-10-28', '2026-13-28T09:30:05Z', '2026-10-28T09:30:05+00:00', ' '])(
    'refuses the time %j',
    async (time) => {
      const headers = { ...signPaypal(BODY), 'paypal-transmission-time': time };
      expect((await verifyWith(headers)).ok).toBe(false);
    },
  );

  it('lets a second body of the same CRC-32 in only under the key of the first', async () => {
    const forged = withCrcOf(Buffer.from(BODY), Buffer.from(BODY.replace('"50.00"', '"99.00"')));
    const delivery = { rawBody: forged, headers: HEADERS };
    expect((await testPaypal().verify(delivery, [PAYPAL_WEBHOOK_ID], NOW)).ok).toBe(true);
    expect(testPaypal().deliveryKey(delivery)).toBe(
      testPaypal().deliveryKey({ ...delivery, rawBody: Buffer.from(BODY) }),
    );
  });
});

/** `body` with four bytes at its end that give it the CRC-32 of `model`: what anybody can make. */
function withCrcOf(model: Buffer, body: Buffer): Buffer {
  const table = Array.from({ length: 256 }, (_, index) => {
    let value = index;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value >>> 0;
  });
  const stateAfter = (bytes: Buffer) =>
    bytes.reduce((state, byte) => ((state >>> 8) ^ (table[(state ^ byte) & 255] ?? 0)) >>> 0, 0xffffffff);
  let wanted = stateAfter(model);
  const indexes: number[] = [];
  for (let step = 0; step < 4; step += 1) {
    const index = table.findIndex((value) => value >>> 24 === wanted >>> 24);
    indexes.unshift(index);
    wanted = ((wanted ^ (table[index] ?? 0)) << 8) >>> 0;
  }
  let state = stateAfter(body);
  const patch = indexes.map((index) => {
    const byte = (index ^ state) & 255;
    state = ((state >>> 8) ^ (table[index] ?? 0)) >>> 0;
    return byte;
  });
  return Buffer.concat([body, Buffer.from(patch)]);
}

describe('the address of the certificate', () => {
  const asked: string[] = [];
  const provider = paypalProvider({
    trustedRoots: [ROOT],
    fetch: async (url) => {
      asked.push(url);
      return new Response(paypalCertificate('paypal.pem'));
    },
  });

  it.each([
    'https://api.paypal.com/v1/notifications/certs/CERT-1',
    'https://api-m.paypal.com/v1/notifications/certs/CERT-1',
    'https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1',
    'https://api-m.sandbox.paypal.com/v1/notifications/certs/CERT-1',
  ])('may be %s', async (url) => {
    expect(await verifyWith({ 'paypal-cert-url': url }, { provider })).toEqual({ ok: true, secretIndex: 0 });
    expect(asked.at(-1)).toBe(url);
  });

  it.each([
    'http://api.paypal.com/v1/notifications/certs/CERT-1',
    'https://api.paypal.com.example.net/v1/notifications/certs/CERT-1',
    'https://notpaypal.com/v1/notifications/certs/CERT-1',
    'https://evil.paypal.com/v1/notifications/certs/CERT-1',
    'https://api.paypal.com@example.net/v1/notifications/certs/CERT-1',
    'https://user:pass@api.paypal.com/v1/notifications/certs/CERT-1',
    'https://api.paypal.com:8443/v1/notifications/certs/CERT-1',
    'https://api.paypal.com/v1/notifications/certs/',
    'https://api.paypal.com/v1/notifications/certs/CERT-1?x=1',
    'https://api.paypal.com/v1/notifications/certs/CERT-1#x',
    'https://api.paypal.com/v1/notifications/certs/../webhooks',
    'https://api.paypal.com/v1/notifications/certs/%2e%2e',
    'https://api.paypal.com/v1/notifications/certs/CERT-1\n',
    'https://API.paypal.com/v1/notifications/certs/CERT-1',
    'https://169.254.169.254/v1/notifications/certs/CERT-1',
    'file:///v1/notifications/certs/CERT-1',
    ' https://api.paypal.com/v1/notifications/certs/CERT-1',
  ])('is never asked for at %s', async (url) => {
    const before = asked.length;
    const result = await verifyWith({ 'paypal-cert-url': url }, { provider });
    expect(result).toMatchObject({ ok: false, reason: expect.stringContaining('address') });
    expect(result).not.toHaveProperty('unavailable');
    expect(asked).toHaveLength(before);
  });
});
