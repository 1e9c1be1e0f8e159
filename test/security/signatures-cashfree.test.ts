import { createHmac } from 'node:crypto';
import { Cashfree, CFEnvironment } from 'cashfree-pg';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { cashfreePayment, signCashfree } from '../support/signing-paypal-adyen-cashfree.ts';
import { describeSignatures, NOW, type Scheme } from './scheme.ts';

const NOW_MS = NOW.getTime();

const SCHEME: Scheme = {
  body: cashfreePayment(),
  secrets: ['cfsk_current', 'cfsk_older', 'cfsk_foreign'],
  signatureHeader: 'x-webhook-signature',
  sign: (body, secret) => signCashfree(body, secret, NOW_MS),
  signWithBlank: (body) => signCashfree(body, '', NOW_MS),
};

describeSignatures('cashfree', SCHEME);

const SECRET = SCHEME.secrets[0];
const verify = (body: string | Buffer, headers: Readonly<Record<string, string | string[] | undefined>>) =>
  PROVIDERS.cashfree.verify({ rawBody: Buffer.from(body), headers }, [SECRET], NOW).ok;

describe('the headers of payment links', () => {
  const signed = signCashfree(SCHEME.body, SECRET, NOW_MS);
  const signature = signed['x-webhook-signature'];
  const timestamp = signed['x-webhook-timestamp'];

  it.each([
    ['both', { 'x-cashfree-signature': signature, 'x-cashfree-timestamp': timestamp }, true],
    ['a signature alone', { 'x-cashfree-signature': signature }, false],
    ['one of each set', { 'x-cashfree-signature': signature, 'x-webhook-timestamp': timestamp }, false],
  ])('have other names for the same: %s', (_, headers, isTaken) => {
    expect(verify(SCHEME.body, headers)).toBe(isTaken);
  });
});

describe('the signed time of Cashfree', () => {
  const DAY_MS = 86_400_000;

  it.each([
    [-2 * DAY_MS - 1, false],
    [-2 * DAY_MS, true],
    [-30 * 60_000, true],
    [0, true],
    [300_000, true],
    [300_001, false],
  ])('%i ms from now: accepted is %s', (offset, accepted) => {
    expect(verify(SCHEME.body, signCashfree(SCHEME.body, SECRET, NOW_MS + offset))).toBe(accepted);
  });

  // Signed as it stands, so that nothing but its form can refuse it.
  it.each(['', 'now', `${NOW_MS}0`, ` ${NOW_MS}`, `${NOW_MS}.5`, `+${NOW_MS}`, '1793200000', '1e12', '-1793200000900'])(
    'refuses %j',
    (timestamp) => {
      const signature = createHmac('sha256', SECRET).update(`${timestamp}${SCHEME.body}`).digest('base64');
      const headers = { 'x-webhook-timestamp': timestamp, 'x-webhook-signature': signature };
      expect(verify(SCHEME.body, headers)).toBe(false);
    },
  );

  it('lets no digit move between time and body', () => {
    const headers = signCashfree(`9${SCHEME.body}`, SECRET, NOW_MS);
    expect(verify(`9${SCHEME.body}`, headers)).toBe(true);
    expect(verify(SCHEME.body, { ...headers, 'x-webhook-timestamp': `${NOW_MS}9` })).toBe(false);
    expect(verify(`0${NOW_MS % 10}${SCHEME.body}`, { ...headers, 'x-webhook-timestamp': `${NOW_MS}`.slice(1) })).toBe(
      false,
    );
  });

  it.each([[undefined], [[`${NOW_MS}`]]])('refuses the header %j', (timestamp) => {
    expect(
      verify(SCHEME.body, { ...signCashfree(SCHEME.body, SECRET, NOW_MS), 'x-webhook-timestamp': timestamp }),
    ).toBe(false);
  });
});

describe('the package of Cashfree', () => {
  // Its last argument but one keeps it from reporting errors to a third party.
  const packageOf = (secret: string) =>
    new Cashfree(CFEnvironment.SANDBOX, 'client', secret, undefined, undefined, undefined, false);

  it('accepts what we sign, and agrees with us on any body and secret', () => {
    // The package parses what it verified, and wants an object.
    const anyBody = fc.dictionary(fc.string(), fc.jsonValue()).map((object) => JSON.stringify(object));
    const secret = fc.string({ minLength: 1 }).filter((text) => text.trim() !== '');
    fc.assert(
      fc.property(anyBody, secret, fc.boolean(), (body, signer, isForeign) => {
        const verifier = isForeign ? `${signer}2` : signer;
        const headers = signCashfree(body, signer, NOW_MS);
        const theirs = () =>
          packageOf(verifier).PGVerifyWebhookSignature(
            headers['x-webhook-signature'] ?? '',
            body,
            headers['x-webhook-timestamp'] ?? '',
          );
        const ours = PROVIDERS.cashfree.verify({ rawBody: Buffer.from(body), headers }, [verifier], NOW).ok;
        expect(ours).toBe(!isForeign);
        if (isForeign) expect(theirs).toThrow('did not match');
        else expect(theirs).not.toThrow();
      }),
    );
  });

  it('reads our events as Cashfree means them', () => {
    const body = cashfreePayment({ paymentId: '77', amount: 170.1 });
    const headers = signCashfree(body, SECRET, NOW_MS);
    const read = packageOf(SECRET).PGVerifyWebhookSignature(
      headers['x-webhook-signature'] ?? '',
      body,
      headers['x-webhook-timestamp'] ?? '',
    );
    expect(read).toMatchObject({
      type: 'PAYMENT_SUCCESS_WEBHOOK',
      object: { data: { payment: { cf_payment_id: '77', payment_amount: 170.1 } } },
    });
  });
});
