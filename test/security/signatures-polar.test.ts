import { createHmac } from 'node:crypto';
import { webhooks } from '@polar-sh/sdk/2026-10';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { polarOrderPaid, signPolar } from '../support/signing-more.ts';
import { describeSignatures, describeSignedTime, JUNK_TIMESTAMPS, NOW, NOW_SECONDS, type Scheme } from './scheme.ts';

const SCHEME: Scheme = {
  body: polarOrderPaid(),
  secrets: ['polar_whs_current', 'polar_whs_older', 'polar_whs_foreign'],
  signatureHeader: 'webhook-signature',
  sign: (body, secret, atSeconds = NOW_SECONDS) => signPolar(body, secret, atSeconds),
  signWithBlank: (body) => ({
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(NOW_SECONDS),
    'webhook-signature': `v1,${createHmac('sha256', '').update(`msg_1.${NOW_SECONDS}.${body}`).digest('base64')}`,
  }),
};

describeSignatures('polar', SCHEME);
describeSignedTime('polar', SCHEME);

const verifyNow = (body: string, headers: Record<string, string>, secrets: readonly string[], now = NOW) =>
  PROVIDERS.polar.verify({ rawBody: Buffer.from(body), headers }, secrets, now);

describe('the secret of Polar', () => {
  const { body, secrets } = SCHEME;
  const base64 = Buffer.from('a polar secret of 32 bytes, as in').toString('base64');
  const signedWith = (key: string) => ({
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(NOW_SECONDS),
    'webhook-signature': new Webhook(key).sign('msg_1', NOW, body),
  });

  it.each(['polar_whs_abc', 'any text at all, ünïcode', 'whsec_abcd', 'YWJj'])('is the text %j', (secret) => {
    expect(verifyNow(body, signPolar(body, secret, NOW_SECONDS), [secret])).toEqual({ ok: true, secretIndex: 0 });
  });

  it.each([base64, `whsec_${base64}`])('or base64, as Standard Webhooks has it: %s', (secret) => {
    expect(verifyNow(body, signedWith(base64), [secret]).ok).toBe(true);
  });

  it('is told by its place among the secrets, whichever reading matched', () => {
    expect(verifyNow(body, signedWith(base64), [...secrets, base64])).toEqual({ ok: true, secretIndex: 3 });
    expect(verifyNow(body, signPolar(body, secrets[2], NOW_SECONDS), secrets)).toEqual({ ok: true, secretIndex: 2 });
  });

  it('is never a blank one, not even one of spaces as a key', () => {
    for (const blank of [' ', '    ', '\t\n  ']) {
      const key = Buffer.from(blank).toString('base64');
      expect(verifyNow(body, signedWith(key), [blank]).ok).toBe(false);
    }
  });

  it.each(JUNK_TIMESTAMPS)('signs no timestamp such as %j', (timestamp) => {
    const v1 = createHmac('sha256', secrets[0]).update(`msg_1.${timestamp}.${body}`).digest('base64');
    const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${v1}` };
    expect(verifyNow(body, headers, secrets).ok).toBe(false);
  });
});

describe('the package of Polar', () => {
  /** An unknown type of event is told apart from a bad signature, after the signature was checked. */
  const accepts = async (body: string, headers: Record<string, string>, secret: string): Promise<boolean> => {
    try {
      await webhooks.validateEvent(body, headers, secret);
      return true;
    } catch (error) {
      return !(error instanceof webhooks.PolarWebhookVerificationError);
    }
  };

  it('accepts what we sign, and agrees with us on any body and secret', async () => {
    const secret = fc.string({ minLength: 3, unit: 'grapheme' }).filter((text) => text.trim() === text);
    const body = fc.oneof(fc.json(), fc.constant(SCHEME.body));
    await fc.assert(
      fc.asyncProperty(body, secret, fc.boolean(), async (text, signer, isForeign) => {
        const verifier = isForeign ? `${signer}2` : signer;
        // The package reads the time itself.
        const now = new Date();
        const headers = { ...signPolar(text, signer, Math.floor(now.getTime() / 1000)) };
        expect(verifyNow(text, headers, [verifier], now).ok).toBe(!isForeign);
        expect(await accepts(text, headers, verifier)).toBe(!isForeign);
      }),
    );
  });

  it('reads our events as Polar means them', async () => {
    const body = polarOrderPaid({ paymentId: 'o', amount: 595, tax: 95 });
    const secret = SCHEME.secrets[0];
    expect(await webhooks.validateEvent(body, { ...signPolar(body, secret) }, secret)).toMatchObject({
      type: 'order.paid',
      data: { id: 'o', due_amount: 595, tax_amount: 95, currency: 'usd' },
    });
  });
});
