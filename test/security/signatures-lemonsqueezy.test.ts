import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { LEMONSQUEEZY_SECRET, lemonSqueezyOrder, signLemonSqueezy } from '../support/signing-more.ts';
import { describeSignatures, NOW, type Scheme } from './scheme.ts';

// There is no package that verifies: Lemon Squeezy documents this one line of node:crypto.
const SCHEME: Scheme = {
  body: lemonSqueezyOrder(),
  secrets: ['current', 'older', 'foreign'],
  signatureHeader: 'x-signature',
  sign: (body, secret) => signLemonSqueezy(body, secret),
  signWithBlank: (body) => ({ 'x-signature': createHmac('sha256', '').update(body).digest('hex') }),
};

describeSignatures('lemonsqueezy', SCHEME);

describe('Lemon Squeezy', () => {
  const verify = (body: string, headers: Record<string, string>) =>
    PROVIDERS.lemonsqueezy.verify({ rawBody: Buffer.from(body), headers }, [LEMONSQUEEZY_SECRET], NOW);

  it('signs as computed elsewhere', () => {
    // printf '{"meta":{}}' | openssl dgst -sha256 -hmac a-lemon-squeezy-test-secret
    const signature = '394a27d600e822527c8db0809325417536ed6af61db0bc61bb440a5d2fcab0ad';
    expect(verify('{"meta":{}}', { 'x-signature': signature })).toEqual({ ok: true, secretIndex: 0 });
  });

  it('believes the signed name of an event, not the header beside it', () => {
    const body = lemonSqueezyOrder();
    const headers = { ...signLemonSqueezy(body), 'x-event-name': 'order_refunded' };
    expect(verify(body, headers).ok).toBe(true);
    expect(PROVIDERS.lemonsqueezy.interpret(Buffer.from(body)).eventType).toBe('order_created');
  });
});
