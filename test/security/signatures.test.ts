import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import Razorpay from 'razorpay';
import Stripe from 'stripe';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
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
import { describeSignatures, describeSignedTime, JUNK_TIMESTAMPS, NOW, NOW_SECONDS, type Scheme } from './scheme.ts';

/** Each later provider has a test file of its own. */
const FIRST_PROVIDERS = ['stripe', 'dodo', 'razorpay'] as const;

const base64Secret = (text: string) => `whsec_${Buffer.from(text).toString('base64')}`;

const hmac = (text: string, encoding: 'hex' | 'base64') => createHmac('sha256', '').update(text).digest(encoding);

const SCHEMES: Readonly<Record<(typeof FIRST_PROVIDERS)[number], Scheme>> = {
  stripe: {
    body: stripePayment(),
    secrets: ['whsec_current', 'whsec_older', 'whsec_foreign'],
    signatureHeader: 'stripe-signature',
    sign: (body, secret, atSeconds = NOW_SECONDS) => signStripe(body, secret, atSeconds),
    signWithBlank: (body) => ({ 'stripe-signature': `t=${NOW_SECONDS},v1=${hmac(`${NOW_SECONDS}.${body}`, 'hex')}` }),
  },
  dodo: {
    body: dodoPayment(),
    secrets: [base64Secret('current'), base64Secret('older'), base64Secret('foreign')],
    signatureHeader: 'webhook-signature',
    sign: (body, secret, atSeconds = NOW_SECONDS) => signDodo(body, secret, atSeconds),
    signWithBlank: (body) => ({
      'webhook-id': 'msg_1',
      'webhook-timestamp': String(NOW_SECONDS),
      'webhook-signature': `v1,${hmac(`msg_1.${NOW_SECONDS}.${body}`, 'base64')}`,
    }),
  },
  razorpay: {
    body: razorpayPayment(),
    secrets: ['current', 'older', 'foreign'],
    signatureHeader: 'x-razorpay-signature',
    sign: (body, secret) => signRazorpay(body, secret),
    signWithBlank: (body) => ({ 'x-razorpay-signature': hmac(body, 'hex') }),
  },
};

for (const name of FIRST_PROVIDERS) describeSignatures(name, SCHEMES[name]);
describeSignedTime('stripe', SCHEMES.stripe);
describeSignedTime('dodo', SCHEMES.dodo);

describe('the timestamp is digits and nothing else', () => {
  // Signed as it stands, so that nothing but its form can refuse it.
  it.each(JUNK_TIMESTAMPS)('stripe refuses %j', (timestamp) => {
    const { body, secrets } = SCHEMES.stripe;
    const v1 = createHmac('sha256', secrets[0]).update(`${timestamp}.${body}`).digest('hex');
    const headers = { 'stripe-signature': `t=${timestamp},v1=${v1}` };
    expect(PROVIDERS.stripe.verify({ rawBody: Buffer.from(body), headers }, secrets, NOW).ok).toBe(false);
  });

  it.each(JUNK_TIMESTAMPS)('dodo refuses %j', (timestamp) => {
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
