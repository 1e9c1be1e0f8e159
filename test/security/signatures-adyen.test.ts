import { hmacValidator } from '@adyen/api-library';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAdyenHmacKey } from '../../src/providers/adyen/signature.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { type JsonObject, providerFixture, within } from '../support/provider-fixtures.ts';
import { ADYEN_HMAC_KEY, type AdyenItem, adyenDelivery, signAdyen } from '../support/signing-paypal-adyen-cashfree.ts';
import { NOW } from './scheme.ts';

const OLDER = 'AA'.repeat(32);
const FOREIGN = 'BB'.repeat(32);
const ITEM: AdyenItem = { eventCode: 'AUTHORISATION', pspReference: 'p', value: 7 };
const BODY = adyenDelivery([ITEM]);

const verify = (body: string | Buffer, keys: readonly string[] = [ADYEN_HMAC_KEY, OLDER]) =>
  PROVIDERS.adyen.verify({ rawBody: Buffer.from(body), headers: {} }, keys, NOW);
const itemOf = (delivery: JsonObject) => within(delivery, 'notificationItems', '0', 'NotificationRequestItem');
const parsed = (body: string): JsonObject => JSON.parse(body);
const bodyWith = (change: (item: JsonObject, delivery: JsonObject) => void, body = BODY): string => {
  const delivery = parsed(body);
  change(itemOf(delivery), delivery);
  return JSON.stringify(delivery);
};

describe('adyen: a delivery is accepted only if every item is as it was signed', () => {
  it('with the current key, in either case, or an older one, and says which', () => {
    expect(verify(BODY)).toEqual({ ok: true, secretIndex: 0 });
    expect(verify(BODY, [ADYEN_HMAC_KEY.toLowerCase()])).toEqual({ ok: true, secretIndex: 0 });
    expect(verify(adyenDelivery([ITEM], OLDER))).toEqual({ ok: true, secretIndex: 1 });
    expect(verify(BODY, [FOREIGN, ADYEN_HMAC_KEY, ADYEN_HMAC_KEY])).toEqual({ ok: true, secretIndex: 1 });
  });

  it('not with a key of somebody else, nor with none', () => {
    expect(verify(adyenDelivery([ITEM], FOREIGN)).ok).toBe(false);
    expect(verify(BODY, []).ok).toBe(false);
  });

  // All of these decode to no key at all, or to half of one, with which anybody could sign.
  it.each(['', ' ', 'not hex', '0x44', 'AB', `${ADYEN_HMAC_KEY} `, ADYEN_HMAC_KEY.slice(1), `zz${ADYEN_HMAC_KEY}`])(
    'a key such as %j opens nothing',
    (key) => {
      expect(isAdyenHmacKey(key)).toBe(false);
      expect(verify(adyenDelivery([ITEM], key), [key]).ok).toBe(false);
      expect(verify(BODY, [key, ADYEN_HMAC_KEY])).toEqual({ ok: true, secretIndex: 1 });
    },
  );

  it.each<[string, (item: JsonObject) => void]>([
    ['pspReference', (item) => (item.pspReference = 'q')],
    ['originalReference', (item) => (item.originalReference = 'q')],
    ['merchantAccountCode', (item) => (item.merchantAccountCode = 'Other')],
    ['merchantReference', (item) => (item.merchantReference = 'cus_mallory')],
    ['merchantReference taken away', (item) => delete item.merchantReference],
    ['amount', (item) => (item.amount = { value: 70_000, currency: 'EUR' })],
    ['currency', (item) => (item.amount = { value: 7, currency: 'KWD' })],
    ['eventCode', (item) => (item.eventCode = 'REFUND')],
    ['success', (item) => (item.success = 'false')],
    ['success as a boolean', (item) => (item.success = true)],
    ['references moved over', (item) => Object.assign(item, { pspReference: 'p:', originalReference: undefined })],
    ['no signature', (item) => (item.additionalData = {})],
    ['no additional data', (item) => (item.additionalData = null)],
    ['a signature in an array', (item) => (item.additionalData = { hmacSignature: [signatureOf(item)] })],
    ['a signature cut short', (item) => (item.additionalData = { hmacSignature: signatureOf(item).slice(0, -1) })],
    [
      'a signature in small letters',
      (item) => (item.additionalData = { hmacSignature: signatureOf(item).toLowerCase() }),
    ],
    ['an empty signature', (item) => (item.additionalData = { hmacSignature: '' })],
  ])('not with another %s', (_name, change) => {
    expect(verify(bodyWith((item) => void change(item))).ok).toBe(false);
  });

  it('nor with a colon that moves the end of one field into another', () => {
    const signed = signAdyen(withFields({ merchantReference: 'a:b' }));
    expect(verify(signed).ok).toBe(true);
    // The signed text is the same.
    const moved = { merchantAccountCode: 'ChokinECOM:a', merchantReference: 'b' };
    expect(verify(bodyWith((item) => Object.assign(item, moved), signed)).ok).toBe(false);
    for (const field of ['pspReference', 'originalReference', 'merchantAccountCode', 'eventCode', 'success'])
      expect(verify(signAdyen(withFields({ [field]: 'a:b' }))).ok, field).toBe(false);
    expect(verify(signAdyen(withFields({ amount: { value: 1, currency: 'EUR:1' } }))).ok).toBe(false);
  });

  it('every item of several', () => {
    const both = parsed(adyenDelivery([ITEM, { ...ITEM, pspReference: 'q' }]));
    expect(verify(JSON.stringify(both))).toEqual({ ok: true, secretIndex: 0 });
    const [first, second] = both.notificationItems as JsonObject[];
    const [forged] = parsed(adyenDelivery([{ ...ITEM, pspReference: 'r' }], FOREIGN)).notificationItems as JsonObject[];
    const [older] = parsed(adyenDelivery([{ ...ITEM, pspReference: 'r' }], OLDER)).notificationItems as JsonObject[];
    const delivery = (...items: (JsonObject | undefined)[]) => JSON.stringify({ ...both, notificationItems: items });
    expect(verify(delivery(first, second, forged)).ok).toBe(false);
    expect(verify(delivery(forged, first)).ok).toBe(false);
    expect(verify(delivery(first, older))).toEqual({ ok: true, secretIndex: 1 });
    expect(verify(delivery()).ok).toBe(false);
    expect(verify(delivery(...Array.from({ length: 51 }, () => first))).ok).toBe(false);
  });

  it.each(['', 'not JSON', '[]', '{}', '{"notificationItems":null}', '{"notificationItems":[{}]}'])(
    'not a body of %j',
    (body) => expect(verify(body).ok).toBe(false),
  );

  it('never by a throw, nor by a reason that quotes the body', () => {
    fc.assert(fc.property(fc.oneof(fc.json(), fc.string()), (body) => !verify(body).ok));
    const refusal = JSON.stringify(verify(adyenDelivery([ITEM], FOREIGN)));
    expect(refusal).not.toContain('cus_');
    expect(refusal).not.toContain(signatureOf(itemOf(parsed(adyenDelivery([ITEM], FOREIGN)))));
  });

  it('and reports without an amount too', () => {
    expect(verify(signAdyen(providerFixture('adyen', 'REPORT_AVAILABLE'))).ok).toBe(true);
  });
});

function signatureOf(item: JsonObject): string {
  return String(within(item, 'additionalData').hmacSignature);
}

function withFields(values: JsonObject): JsonObject {
  const delivery = parsed(BODY);
  Object.assign(itemOf(delivery), values);
  return delivery;
}

describe('the package of Adyen', () => {
  const validator = new hmacValidator();
  const text = fc.stringMatching(/^[\w .-]{0,30}$/);
  const anyItem = fc.record({
    pspReference: text,
    originalReference: fc.option(text, { nil: undefined }),
    merchantAccountCode: text,
    merchantReference: fc.oneof(fc.string({ unit: 'grapheme' }), text),
    amount: fc.record({ value: fc.nat({ max: Number.MAX_SAFE_INTEGER }), currency: fc.constantFrom('EUR', 'ISK') }),
    eventCode: fc.constantFrom('AUTHORISATION', 'REFUND', 'CHARGEBACK'),
    success: fc.constantFrom('true', 'false'),
  });

  it('signs as we do, and what it signs we accept', () => {
    fc.assert(
      fc.property(anyItem, fc.boolean(), (fields, isForeign) => {
        const delivery = parsed(signAdyen(withFields(fields), isForeign ? FOREIGN : ADYEN_HMAC_KEY));
        const item = itemOf(delivery);
        // Its type wants what it does not read, such as the date as an object.
        const theirs = item as unknown as Parameters<typeof validator.validateHMAC>[0];
        expect(validator.validateHMAC(theirs, ADYEN_HMAC_KEY)).toBe(!isForeign);
        expect(verify(JSON.stringify(delivery), [ADYEN_HMAC_KEY]).ok).toBe(!isForeign);
        const hmacSignature = validator.calculateHmac(theirs, ADYEN_HMAC_KEY);
        item.additionalData = { hmacSignature };
        expect(verify(JSON.stringify(delivery), [ADYEN_HMAC_KEY])).toEqual({ ok: true, secretIndex: 0 });
      }),
    );
  });
});
