import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import Razorpay from 'razorpay';
import Stripe from 'stripe';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { PROVIDER_NAMES, type ProviderName } from '../../src/providers/names.ts';
import type { Delivery } from '../../src/providers/provider.ts';
import {
  dodoPayment,
  RAZORPAY_SECRET,
  razorpayPayment,
  type SignedHeaders,
  signDodo,
  signRazorpay,
  signStripe,
  stripePayment,
} from '../support/signing.ts';

const NOW = new Date(1_793_200_000_900);
const NOW_SECONDS = 1_793_200_000;
const base64Secret = (text: string) => `whsec_${Buffer.from(text).toString('base64')}`;

interface Scheme {
  readonly body: string;
  /** The current secret, an older one, and one of somebody else. */
  readonly secrets: readonly [string, string, string];
  readonly signatureHeader: string;
  readonly sign: (body: string, secret: string, atSeconds?: number) => SignedHeaders;
}

const SCHEMES: Readonly<Record<ProviderName, Scheme>> = {
  stripe: {
    body: stripePayment(),
    secrets: ['whsec_current', 'whsec_older', 'whsec_foreign'],
    signatureHeader: 'stripe-signature',
    sign: (body, secret, atSeconds = NOW_SECONDS) => signStripe(body, secret, atSeconds),
  },
  dodo: {
    body: dodoPayment(),
    secrets: [base64Secret('current'), base64Secret('older'), base64Secret('foreign')],
    signatureHeader: 'webhook-signature',
    sign: (body, secret, atSeconds = NOW_SECONDS) => signDodo(body, secret, atSeconds),
  },
  razorpay: {
    body: razorpayPayment(),
    secrets: ['current', 'older', 'foreign'],
    signatureHeader: 'x-razorpay-signature',
    sign: (body, secret) => signRazorpay(body, secret),
  },
};

describe.each(PROVIDER_NAMES)('%s: a delivery is accepted only as it was signed', (name) => {
  const { body, secrets, signatureHeader, sign: signed } = SCHEMES[name];
  const [current, older, foreign] = secrets;
  const headers = signed(body, current);
  const signature = headers[signatureHeader] ?? '';

  const check = (change: Partial<Delivery>, accepted: readonly string[] = [current, older]) =>
    PROVIDERS[name].verify({ rawBody: Buffer.from(body), headers, ...change }, accepted, NOW);
  const withSignature = (value: string | string[] | undefined) =>
    check({ headers: { ...headers, [signatureHeader]: value } });

  it('with the current secret', () => expect(check({})).toEqual({ ok: true, secretIndex: 0 }));

  it('with an older secret, and says which', () => {
    expect(check({ headers: signed(body, older) })).toEqual({ ok: true, secretIndex: 1 });
  });

  it('and names the newest secret where several match', () => {
    expect(check({}, [foreign, current, current])).toEqual({ ok: true, secretIndex: 1 });
  });

  it('not with a secret of somebody else, nor with none, nor with a blank one', () => {
    expect(check({ headers: signed(body, foreign) }).ok).toBe(false);
    expect(check({}, []).ok).toBe(false);
    expect(check({ headers: signedWithBlank(name, body) }, ['', ' ']).ok).toBe(false);
  });

  it('not with any bit of the body flipped', () => {
    for (let bit = 0; bit < Buffer.byteLength(body) * 8; bit += 13) {
      const rawBody = Buffer.from(body);
      rawBody[bit >> 3] = (rawBody[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(check({ rawBody }).ok, `bit ${bit}`).toBe(false);
    }
  });

  it('not with any character of the signature changed', () => {
    for (let index = 0; index < signature.length; index += 1) {
      const changed = signature[index] === '0' ? '1' : '0';
      expect(withSignature(signature.slice(0, index) + changed + signature.slice(index + 1)).ok).toBe(false);
    }
  });

  it('not with bytes that are no text, which decode alike', () => {
    const textual = Buffer.from('{"a":"\ufffd"}');
    const invalid = Buffer.from([...Buffer.from('{"a":"'), 0xff, ...Buffer.from('"}')]);
    expect(invalid.toString('utf8')).toBe(textual.toString('utf8'));
    const signedHeaders = signed(textual.toString('utf8'), current);
    expect(check({ rawBody: textual, headers: signedHeaders }).ok).toBe(true);
    expect(check({ rawBody: invalid, headers: signedHeaders }).ok).toBe(false);
    expect(check({ rawBody: Buffer.concat([Buffer.from('\ufeff'), textual]), headers: signedHeaders }).ok).toBe(false);
  });

  it.each<[string, (signature: string) => string | string[] | undefined]>([
    ['missing', () => undefined],
    ['empty', () => ''],
    ['an array', (valid) => [valid]],
    ['two headers in an array', (valid) => [valid, valid]],
    ['two headers joined, as Node joins them', (valid) => `${valid}, ${valid}`],
    ['followed by junk', (valid) => `${valid}junk`],
    ['followed by a comma', (valid) => `${valid},`],
    ['followed by a space', (valid) => `${valid} `],
    ['in capitals', (valid) => valid.toUpperCase()],
    ['cut short', (valid) => valid.slice(0, -1)],
    ['not a signature', () => 'hello'],
    ['only separators', () => ',=, ,='],
  ])('not with the signature %s', (_case, change) => {
    expect(withSignature(change(signature)).ok).toBe(false);
  });

  it('and never by a throw, nor by a reason that quotes the signature or the body', () => {
    const value = fc.oneof(fc.string(), fc.array(fc.string()), fc.constant(undefined));
    const anyHeaders = fc.record(Object.fromEntries(Object.keys(headers).map((header) => [header, value])));
    fc.assert(
      fc.property(anyHeaders, fc.uint8Array(), (someHeaders, bytes) => {
        expect(check({ headers: someHeaders, rawBody: Buffer.from(bytes) }).ok).toBe(false);
      }),
    );
    expect(JSON.stringify(check({ headers: signed(body, foreign) }))).not.toContain(signature.slice(-20));
  });
});

function signedWithBlank(name: ProviderName, body: string): Record<string, string> {
  const digest = (text: string, encoding: 'hex' | 'base64') => createHmac('sha256', '').update(text).digest(encoding);
  return {
    'stripe-signature': `t=${NOW_SECONDS},v1=${digest(`${NOW_SECONDS}.${body}`, 'hex')}`,
    'x-razorpay-signature': digest(body, 'hex'),
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(NOW_SECONDS),
    'webhook-signature': `v1,${digest(`msg_1.${NOW_SECONDS}.${body}`, 'base64')}`,
    name,
  };
}

describe.each(['stripe', 'dodo'] as const)('%s: the signed time', (name) => {
  const { body, secrets, sign: signed } = SCHEMES[name];
  const at = (seconds: number) =>
    PROVIDERS[name].verify({ rawBody: Buffer.from(body), headers: signed(body, secrets[0], seconds) }, secrets, NOW);

  it.each([
    [-301, false],
    [-300, true],
    [0, true],
    [300, true],
    [301, false],
    [1_000_000, false],
  ])('%i s from now: accepted is %s', (offset, accepted) => {
    expect(at(NOW_SECONDS + offset).ok).toBe(accepted);
  });
});

describe('the timestamp is digits and nothing else', () => {
  const junk = [
    '',
    ' ',
    'soon',
    `${NOW_SECONDS}junk`,
    ` ${NOW_SECONDS}`,
    `${NOW_SECONDS}.5`,
    `+${NOW_SECONDS}`,
    '-1',
    '1e9',
    '0x6AE1',
    '9'.repeat(20),
  ];

  // Signed as it stands, so that nothing but its form can refuse it.
  it.each(junk)('stripe refuses %j', (timestamp) => {
    const { body, secrets } = SCHEMES.stripe;
    const v1 = createHmac('sha256', secrets[0]).update(`${timestamp}.${body}`).digest('hex');
    const headers = { 'stripe-signature': `t=${timestamp},v1=${v1}` };
    expect(PROVIDERS.stripe.verify({ rawBody: Buffer.from(body), headers }, secrets, NOW).ok).toBe(false);
  });

  it.each(junk)('dodo refuses %j', (timestamp) => {
    const { body, secrets } = SCHEMES.dodo;
    const v1 = createHmac('sha256', Buffer.from('current')).update(`msg_1.${timestamp}.${body}`).digest('base64');
    const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${v1}` };
    expect(PROVIDERS.dodo.verify({ rawBody: Buffer.from(body), headers }, secrets, NOW).ok).toBe(false);
  });

  it('stripe refuses two of them', () => {
    const { body, secrets } = SCHEMES.stripe;
    const valid = signStripe(body, secrets[0], NOW_SECONDS)['stripe-signature'];
    const headers = { 'stripe-signature': `t=${NOW_SECONDS},${valid}` };
    expect(PROVIDERS.stripe.verify({ rawBody: Buffer.from(body), headers }, secrets, NOW).ok).toBe(false);
  });
});

describe('stripe', () => {
  const verifyNow = (body: string, headers: SignedHeaders) =>
    PROVIDERS.stripe.verify({ rawBody: Buffer.from(body), headers }, ['whsec_current'], NOW).ok;

  it('accepts any of several v1 signatures, as sent while a secret is rolled, beside other schemes', () => {
    const { body } = SCHEMES.stripe;
    const [time, v1] = (signStripe(body, 'whsec_current', NOW_SECONDS)['stripe-signature'] ?? '').split(',');
    const header = `${time},v1=${'0'.repeat(64)},${v1},v0=${'1'.repeat(64)}`;
    expect(verifyNow(body, { 'stripe-signature': header })).toBe(true);
    expect(verifyNow(body, { 'stripe-signature': header.replace(`${v1}`, `${v1}`.replace('v1', 'v0')) })).toBe(false);
  });

  it.each(['{"object":"v2.core.event","type":"v1.payment_intent.succeeded"}', 'signed, but not JSON', '{}'])(
    'accepts what Stripe signed even if the package cannot construct an event of it: %s',
    (body) => expect(verifyNow(body, signStripe(body, 'whsec_current', NOW_SECONDS))).toBe(true),
  );

  it('agrees with constructEvent on any body', () => {
    fc.assert(
      fc.property(fc.json(), fc.boolean(), (body, isForeign) => {
        const headers = signStripe(body, isForeign ? 'whsec_foreign' : 'whsec_current', NOW_SECONDS);
        const construct = () =>
          Stripe.webhooks.constructEvent(
            body,
            headers['stripe-signature'] ?? '',
            'whsec_current',
            300,
            undefined,
            NOW.getTime(),
          );
        expect(verifyNow(body, headers)).toBe(!isForeign);
        if (isForeign) expect(construct).toThrow();
        else expect(construct()).toEqual(JSON.parse(body));
      }),
    );
  });
});

describe('razorpay', () => {
  it('agrees with validateWebhookSignature on any body and secret', () => {
    const secret = fc.string({ minLength: 1 }).filter((text) => text.trim() !== '');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), secret, secret, (body, signer, verifier) => {
        const headers = signRazorpay(body, signer);
        const signature = headers['x-razorpay-signature'] ?? '';
        const ours = PROVIDERS.razorpay.verify({ rawBody: Buffer.from(body), headers }, [verifier], NOW).ok;
        expect(ours).toBe(Razorpay.validateWebhookSignature(body, signature, verifier));
      }),
    );
  });

  it('does not mistake the signature that a checkout returns to the browser for one of a webhook', () => {
    const checkout = createHmac('sha256', RAZORPAY_SECRET).update('order_1|pay_1').digest('hex');
    const delivery = { rawBody: Buffer.from(razorpayPayment()), headers: { 'x-razorpay-signature': checkout } };
    expect(PROVIDERS.razorpay.verify(delivery, [RAZORPAY_SECRET], NOW).ok).toBe(false);
  });
});
