import DodoPayments from 'dodopayments';
import fc from 'fast-check';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import { describe, expect, it } from 'vitest';
import { isStandardWebhooksSecret, sign, verify } from '../../src/crypto/standard-webhooks.ts';

const NOW = new Date(1_793_200_000_900);
const NOW_SECONDS = 1_793_200_000;
const SIGNED = { messageId: 'msg_1', timestampSeconds: NOW_SECONDS };
const base64Secret = (text: string) => `whsec_${Buffer.from(text).toString('base64')}`;

describe('Standard Webhooks', () => {
  const anySecret = fc
    .uint8Array({ minLength: 16, maxLength: 64 })
    .map((key) => `whsec_${Buffer.from(key).toString('base64')}`);
  const anyId = fc.stringMatching(/^[A-Za-z0-9_.-]{1,60}$/);
  // The other packages read the time themselves, so what they verify is signed now.
  const now = () => new Date();
  const headersOf = (id: string, at: Date, signature: string) => ({
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': signature,
  });

  it('what we sign, the standardwebhooks, svix and dodopayments packages accept', () => {
    fc.assert(
      fc.property(
        anySecret,
        anyId,
        fc.jsonValue().map((value) => JSON.stringify({ value })),
        (secret, id, body) => {
          const at = now();
          const headers = headersOf(
            id,
            at,
            sign(secret, { messageId: id, timestampSeconds: Math.floor(at.getTime() / 1000), body }),
          );
          expect(new StandardWebhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
          expect(() => new SvixWebhook(secret).verify(body, headers)).not.toThrow();
          const client = new DodoPayments({ bearerToken: 'not used here' });
          expect(client.webhooks.unwrap(body, { headers, key: secret })).toEqual(JSON.parse(body));
        },
      ),
    );
  });

  it('what those packages sign, we accept, and sign alike', () => {
    fc.assert(
      fc.property(anySecret, anyId, fc.string({ unit: 'grapheme' }), (secret, id, body) => {
        const signature = new StandardWebhook(secret).sign(id, NOW, body);
        expect(new SvixWebhook(secret).sign(id, NOW, body)).toBe(signature);
        expect(sign(secret, { messageId: id, timestampSeconds: NOW_SECONDS, body })).toBe(signature);
        expect(
          sign(secret.slice('whsec_'.length), {
            messageId: id,
            timestampSeconds: NOW_SECONDS,
            body: Buffer.from(body),
          }),
        ).toBe(signature);
        const headers = headersOf(id, NOW, signature);
        expect(verify({ headers, rawBody: Buffer.from(body) }, [secret], NOW)).toEqual({ ok: true, secretIndex: 0 });
      }),
    );
  });

  const secret = base64Secret('current');
  const check = (change: Record<string, string | string[] | undefined>, body = '{}') =>
    verify(
      {
        headers: { ...headersOf('msg_1', NOW, sign(secret, { ...SIGNED, body: '{}' })), ...change },
        rawBody: Buffer.from(body),
      },
      [secret],
      NOW,
    ).ok;

  it('accepts any of several signatures, beside other versions', () => {
    const valid = sign(secret, { ...SIGNED, body: '{}' });
    const foreign = sign(base64Secret('foreign'), { ...SIGNED, body: '{}' });
    expect(check({ 'webhook-signature': `v1a,AAAA ${foreign} ${valid}` })).toBe(true);
    expect(check({ 'webhook-signature': `v1a,AAAA ${foreign}` })).toBe(false);
    expect(check({ 'webhook-signature': valid.replace('v1,', 'v2,') })).toBe(false);
  });

  it.each<[string, Record<string, string | string[] | undefined>]>([
    ['a missing id', { 'webhook-id': undefined }],
    ['an id in an array', { 'webhook-id': ['msg_1'] }],
    ['another id', { 'webhook-id': 'msg_2' }],
    ['a doubled id', { 'webhook-id': 'msg_1, msg_1' }],
    ['a missing timestamp', { 'webhook-timestamp': undefined }],
    ['a timestamp in an array', { 'webhook-timestamp': [String(NOW_SECONDS)] }],
    ['another timestamp', { 'webhook-timestamp': String(NOW_SECONDS - 1) }],
  ])('refuses %s', (_case, change) => {
    expect(check({})).toBe(true);
    expect(check(change)).toBe(false);
  });

  it.each([
    ['is too long to be a key', 'x'.repeat(201)],
    ['has a line break', 'msg_1\n'],
    ['is not ASCII', 'msg_é'],
  ])('refuses an id that %s, though signed', (_case, id) => {
    const headers = headersOf(id, NOW, sign(secret, { messageId: id, timestampSeconds: NOW_SECONDS, body: '{}' }));
    expect(verify({ headers, rawBody: Buffer.from('{}') }, [secret], NOW).ok).toBe(false);
  });

  it.each(['', 'whsec_', 'not base64!', 'whsec_AA', 'whsec_AAAA====', 'whsec_-_-_'])(
    'a secret such as %j signs nothing',
    (bad) => {
      expect(isStandardWebhooksSecret(bad)).toBe(false);
      expect(() => sign(bad, { ...SIGNED, body: '{}' })).toThrow('Invariant broken');
      const headers = headersOf('msg_1', NOW, sign(secret, { ...SIGNED, body: '{}' }));
      expect(verify({ headers, rawBody: Buffer.from('{}') }, [bad], NOW).ok).toBe(false);
      expect(verify({ headers, rawBody: Buffer.from('{}') }, [bad, secret], NOW)).toEqual({ ok: true, secretIndex: 1 });
    },
  );
});
