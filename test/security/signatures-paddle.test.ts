import { createHmac } from 'node:crypto';
import { Paddle } from '@paddle/paddle-node-sdk';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { paddleAdjustment, paddleTransaction, signPaddle } from '../support/signing-more.ts';
import { describeSignatures, describeSignedTime, JUNK_TIMESTAMPS, NOW, NOW_SECONDS, type Scheme } from './scheme.ts';

const SCHEME: Scheme = {
  body: paddleTransaction(),
  secrets: ['pdl_ntfset_current', 'pdl_ntfset_older', 'pdl_ntfset_foreign'],
  signatureHeader: 'paddle-signature',
  sign: (body, secret, atSeconds = NOW_SECONDS) => signPaddle(body, secret, atSeconds),
  signWithBlank: (body) => signPaddle(body, '', NOW_SECONDS),
};

describeSignatures('paddle', SCHEME);
describeSignedTime('paddle', SCHEME);

const SECRET = SCHEME.secrets[0];
const hmac = (text: string, secret = SECRET) => createHmac('sha256', secret).update(text).digest('hex');
const verifies = (header: string, body = SCHEME.body, now = NOW) =>
  PROVIDERS.paddle.verify({ rawBody: Buffer.from(body), headers: { 'paddle-signature': header } }, [SECRET], now).ok;

describe('the header of Paddle', () => {
  const h1 = hmac(`${NOW_SECONDS}:${SCHEME.body}`);

  // Signed as it stands, so that nothing but its form can refuse it.
  it.each(JUNK_TIMESTAMPS)('refuses the timestamp %j', (timestamp) => {
    expect(verifies(`ts=${timestamp};h1=${hmac(`${timestamp}:${SCHEME.body}`)}`)).toBe(false);
  });

  it.each<[string, string, boolean]>([
    ['its parts in the other order', `h1=${h1};ts=${NOW_SECONDS}`, true],
    [
      'the right h1 first of two, as while a secret is rotated',
      `ts=${NOW_SECONDS};h1=${h1};h1=${'0'.repeat(64)}`,
      true,
    ],
    ['the right h1 last of two', `ts=${NOW_SECONDS};h1=${'0'.repeat(64)};h1=${h1}`, true],
    ['a later scheme beside it', `ts=${NOW_SECONDS};h1=${h1};h2=abc`, true],
    ['a later scheme alone', `ts=${NOW_SECONDS};h2=${h1}`, false],
    ['no h1', `ts=${NOW_SECONDS}`, false],
    ['no timestamp', `h1=${h1}`, false],
    ['two timestamps', `ts=${NOW_SECONDS};ts=${NOW_SECONDS};h1=${h1}`, false],
    ['another timestamp', `ts=${NOW_SECONDS - 1};h1=${h1}`, false],
    ['a space', `ts=${NOW_SECONDS}; h1=${h1}`, false],
    ['commas', `ts=${NOW_SECONDS},h1=${h1}`, false],
  ])('with %s: accepted is %s', (_name, header, accepted) => expect(verifies(header)).toBe(accepted));
});

describe('the package of Paddle', () => {
  const { webhooks } = new Paddle('not used here');

  it('accepts what we sign, and agrees with us on any body and secret', async () => {
    const secret = fc.string({ minLength: 1 }).filter((text) => text.trim() !== '');
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme' }), secret, fc.boolean(), async (body, signer, isForeign) => {
        const verifier = isForeign ? `${signer}2` : signer;
        // The package reads the time itself.
        const now = new Date();
        const headers = signPaddle(body, signer, Math.floor(now.getTime() / 1000));
        const ours = PROVIDERS.paddle.verify({ rawBody: Buffer.from(body), headers }, [verifier], now).ok;
        expect(ours).toBe(!isForeign);
        expect(await webhooks.isSignatureValid(body, verifier, headers['paddle-signature'] ?? '')).toBe(ours);
      }),
    );
  });

  it('reads our events as Paddle means them', async () => {
    const paid = paddleTransaction({ paymentId: 'txn_1', amount: '1999' });
    expect(await webhooks.unmarshal(paid, SECRET, signPaddle(paid, SECRET)['paddle-signature'] ?? '')).toMatchObject({
      eventType: 'transaction.completed',
      data: { id: 'txn_1', currencyCode: 'USD', details: { totals: { grandTotal: '1999' } } },
    });
    const refund = paddleAdjustment({ paymentId: 'txn_1', adjustmentId: 'adj_1', amount: '7', status: 'approved' });
    expect(
      await webhooks.unmarshal(refund, SECRET, signPaddle(refund, SECRET)['paddle-signature'] ?? ''),
    ).toMatchObject({
      eventType: 'adjustment.created',
      data: { id: 'adj_1', transactionId: 'txn_1', action: 'refund', status: 'approved', totals: { total: '7' } },
    });
  });
});
