import { hmacValidator } from '@adyen/api-library';
import { Paddle } from '@paddle/paddle-node-sdk';
import { webhooks as polarWebhooks } from '@polar-sh/sdk/2026-10';
import { Cashfree, CFEnvironment } from 'cashfree-pg';
import Razorpay from 'razorpay';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { PROVIDER_NAMES, type ProviderName } from '../../src/providers/shared/names.ts';
import type { Delivery } from '../../src/providers/shared/provider.ts';
import { signedTestEvent } from '../../src/providers/shared/test-event.ts';
import { secretOf } from '../support/admin.ts';

/** The packages read the time themselves, so what they verify is signed now. */
const NOW = new Date();
const SIGNABLE = PROVIDER_NAMES.filter((name) => name !== 'paypal');

function testEvent(provider: ProviderName, mode: 'test' | 'live' = 'test'): Delivery {
  const delivery = signedTestEvent(provider, { mode, secret: secretOf(provider), now: NOW });
  if (delivery === null) throw new Error(`${provider} has no test event`);
  return delivery;
}

function parts({ rawBody, headers }: Delivery) {
  const header = (name: string) => String(headers[name]);
  const all = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
  return { body: rawBody.toString(), header, all };
}

describe.each(SIGNABLE)('the test event of %s', (name) => {
  const provider = PROVIDERS[name];

  it.each(['test', 'live'] as const)('is accepted as signed, and ignored, in %s mode', async (mode) => {
    const delivery = testEvent(name, mode);
    expect(await provider.verify(delivery, [secretOf(name)], NOW)).toEqual({ ok: true, secretIndex: 0 });
    expect((await provider.verify(delivery, [`${secretOf(name)}AA`], NOW)).ok).toBe(false);
    const interpretation = provider.interpret(delivery.rawBody);
    expect(interpretation).toMatchObject({
      kind: 'ignored',
      eventType: expect.not.stringMatching(/^unknown$/),
      reason: 'not an event that Chokin reads money from',
    });
    // Where a body says which it is, it must be the source's, or the event would be parked.
    expect([undefined, mode === 'live']).toContain(interpretation.livemode);
  });

  it('is another one every time', () => {
    const keys = Array.from({ length: 20 }, () => provider.deliveryKey(testEvent(name)));
    expect(new Set(keys).size).toBe(20);
    for (const key of keys) expect(key.length).toBeLessThanOrEqual(200);
  });
});

it('tells its mode where the provider does', () => {
  const telling = SIGNABLE.filter((name) => PROVIDERS[name].interpret(testEvent(name).rawBody).livemode !== undefined);
  expect(telling).toEqual(['stripe', 'lemonsqueezy', 'adyen']);
});

it('is none of PayPal, whose events PayPal alone can sign', () => {
  expect(signedTestEvent('paypal', { mode: 'test', secret: secretOf('paypal'), now: NOW })).toBeNull();
});

describe('the official packages accept it', () => {
  it('stripe', () => {
    const { body, header } = parts(testEvent('stripe'));
    const event = Stripe.webhooks.constructEvent(body, header('stripe-signature'), secretOf('stripe'));
    expect(event).toMatchObject({ type: 'product.created', livemode: false });
  });

  it('standardwebhooks, for dodo', () => {
    const { body, all } = parts(testEvent('dodo'));
    expect(new Webhook(secretOf('dodo')).verify(body, all)).toMatchObject({ type: 'license_key.created' });
  });

  it('razorpay', () => {
    const { body, header } = parts(testEvent('razorpay'));
    const signature = header('x-razorpay-signature');
    expect(Razorpay.validateWebhookSignature(body, signature, secretOf('razorpay'))).toBe(true);
  });

  it('paddle', async () => {
    const { body, header } = parts(testEvent('paddle'));
    const { webhooks } = new Paddle('not used here');
    expect(await webhooks.isSignatureValid(body, secretOf('paddle'), header('paddle-signature'))).toBe(true);
  });

  it('polar, which checks the signature before the type', async () => {
    const { body, all } = parts(testEvent('polar'));
    const validated = (secret: string) => polarWebhooks.validateEvent(body, all, secret).catch((error) => error);
    expect(await validated(secretOf('polar'))).not.toBeInstanceOf(polarWebhooks.PolarWebhookVerificationError);
    expect(await validated('another-secret')).toBeInstanceOf(polarWebhooks.PolarWebhookVerificationError);
  });

  it('adyen', () => {
    const item = JSON.parse(parts(testEvent('adyen')).body).notificationItems[0].NotificationRequestItem;
    expect(new hmacValidator().validateHMAC(item, secretOf('adyen'))).toBe(true);
  });

  it('cashfree', () => {
    const { body, header } = parts(testEvent('cashfree'));
    // Its last argument but one keeps it from reporting errors to a third party.
    const client = new Cashfree(
      CFEnvironment.SANDBOX,
      'id',
      secretOf('cashfree'),
      undefined,
      undefined,
      undefined,
      false,
    );
    const verify = () =>
      client.PGVerifyWebhookSignature(header('x-webhook-signature'), body, header('x-webhook-timestamp'));
    expect(verify()).toMatchObject({ type: 'PAYMENT_USER_DROPPED_WEBHOOK' });
  });
});
