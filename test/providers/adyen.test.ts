import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { type JsonObject, providerFixture, within } from '../support/provider-fixtures.ts';
import { type AdyenItem, adyenDelivery, signAdyen } from '../support/signing-paypal-adyen-cashfree.ts';
import { ordersOf, received } from './lives.ts';
import { interpret, summary } from './reading.ts';
import { changed, describeFixtures, describeUnbendableAmounts } from './tables.ts';

const PAYMENT = 'QFQTPCQ8HXSKGK82';

describeFixtures('adyen', {
  AUTHORISATION: `payment ${PAYMENT} succeeded 5000 EUR`,
  'AUTHORISATION.refused': `payment ${PAYMENT} failed  EUR`,
  'AUTHORISATION.krona': `payment ${PAYMENT} succeeded 500 ISK`,
  'AUTHORISATION.zero': `payment ${PAYMENT} succeeded 0 EUR`,
  'AUTHORISATION.two': `payment ${PAYMENT} succeeded 5000 EUR, payment QFQTPCQ8HXSKGK83 succeeded 700 EUR`,
  PENDING: `payment ${PAYMENT} pending  EUR`,
  CAPTURE: `capture ${PAYMENT} succeeded 5000 EUR`,
  'CAPTURE.refused': 'ignored',
  CAPTURE_FAILED: `capture ${PAYMENT} failed 5000 EUR`,
  CANCELLATION: `end ${PAYMENT} succeeded 5000 EUR`,
  'CANCELLATION.refused': 'ignored',
  TECHNICAL_CANCEL: `end ${PAYMENT} succeeded 5000 EUR`,
  EXPIRE: `end ${PAYMENT} succeeded 5000 EUR`,
  REFUND: `refund ${PAYMENT} succeeded 2000 EUR`,
  'REFUND.refused': `refund ${PAYMENT} failed 2000 EUR`,
  REFUND_FAILED: `refund ${PAYMENT} failed 2000 EUR`,
  REFUNDED_REVERSED: `refund ${PAYMENT} failed 2000 EUR`,
  'CANCEL_OR_REFUND.refund': `refund ${PAYMENT} succeeded 5000 EUR`,
  'CANCEL_OR_REFUND.cancel': `end ${PAYMENT} succeeded 5000 EUR`,
  'CANCEL_OR_REFUND.refused': 'ignored',
  REQUEST_FOR_INFORMATION: 'ignored',
  NOTIFICATION_OF_CHARGEBACK: `dispute ${PAYMENT} open 5000 EUR`,
  CHARGEBACK: `dispute ${PAYMENT} lost 5000 EUR`,
  CHARGEBACK_REVERSED: `dispute ${PAYMENT} won 5000 EUR`,
  'CHARGEBACK_REVERSED.without-original': 'parked malformed',
  SECOND_CHARGEBACK: `dispute ${PAYMENT} lost 5000 EUR`,
  PREARBITRATION_LOST: `dispute ${PAYMENT} lost 5000 EUR`,
  PREARBITRATION_WON: `dispute ${PAYMENT} won 5000 EUR`,
  REPORT_AVAILABLE: 'ignored',
});

const authorisation = (values: Partial<AdyenItem>) =>
  adyenDelivery([{ eventCode: 'AUTHORISATION', pspReference: 'p', value: 7, ...values }]);
const itemPath = ['notificationItems', '0', 'NotificationRequestItem'];
const withItem = (fixture: string, values: JsonObject): JsonObject => {
  const delivery = providerFixture('adyen', fixture);
  Object.assign(within(delivery, ...itemPath), values);
  return delivery;
};

describe('the rounds of a dispute that no delivery was recorded of', () => {
  it.each([
    ['DISPUTE_OPENED_WITH_CHARGEBACK', 'open', 'CHARGEBACK'],
    ['PREARBITRATION_ISSUER_WITHDRAWN', 'won', 'PREARBITRATION_WON'],
    ['ISSUER_RESPONSE_TIMEFRAME_EXPIRED', 'won', 'PREARBITRATION_WON'],
    ['SCHEME_ARBITRATION_WON', 'won', null],
    ['SCHEME_ARBITRATION_LOST', 'lost', null],
  ])('%s is %s, at the stage of %s or the last one', (eventCode, state, alike) => {
    const stageOf = (delivery: object) => {
      const reading = interpret('adyen', delivery);
      const fact = reading.kind === 'facts' ? reading.facts[0] : undefined;
      return fact?.kind === 'dispute' ? fact.stage : undefined;
    };
    const delivery = withItem('CHARGEBACK', { eventCode });
    expect(summary(interpret('adyen', delivery))).toBe(`dispute ${PAYMENT} ${state} 5000 EUR`);
    const stages = ['NOTIFICATION_OF_CHARGEBACK', 'CHARGEBACK', 'SECOND_CHARGEBACK', 'PREARBITRATION_WON'].map((name) =>
      Number(stageOf(providerFixture('adyen', name))),
    );
    const stage = Number(stageOf(delivery));
    if (alike === null) expect(stage).toBeGreaterThan(Math.max(...stages));
    else expect(stage).toBe(stageOf(providerFixture('adyen', alike)));
  });
});

describe('what Adyen also sends', () => {
  it.each<[string, string | object, string]>([
    ['a currency with fewer decimals than ours', authorisation({ currency: 'CVE' }), 'payment p succeeded 700 CVE'],
    ['a currency with more', authorisation({ currency: 'CLP', value: 700 }), 'payment p succeeded 7 CLP'],
    ['a fraction of a currency that has none', authorisation({ currency: 'CLP', value: 701 }), 'parked malformed'],
    ['three decimals', authorisation({ currency: 'KWD' }), 'payment p succeeded 7 KWD'],
    ['yen', authorisation({ currency: 'JPY' }), 'payment p succeeded 7 JPY'],
    ['a currency that is none', authorisation({ currency: 'XYZ' }), 'parked unknown_currency'],
    ['a success that is a boolean', withItem('AUTHORISATION', { success: true }), 'parked malformed'],
    ['a success in capitals', withItem('AUTHORISATION', { success: 'TRUE' }), 'parked malformed'],
    ['no success', withItem('AUTHORISATION', { success: undefined }), 'parked malformed'],
    ['a refund of no payment', withItem('REFUND', { originalReference: undefined }), 'parked malformed'],
    ['a dispute without success', withItem('CHARGEBACK', { success: 'false' }), 'parked malformed'],
    ['an amount in text', withItem('AUTHORISATION', { amount: { value: '7', currency: 'EUR' } }), 'parked malformed'],
    [
      'an amount of fractions',
      withItem('AUTHORISATION', { amount: { value: 7.5, currency: 'EUR' } }),
      'parked malformed',
    ],
    ['no items', { live: 'false', notificationItems: [] }, 'parked malformed'],
    ['a live that is a boolean', { ...providerFixture('adyen', 'AUTHORISATION'), live: false }, 'parked malformed'],
    [
      'one item of two that cannot be applied',
      adyenDelivery([{ eventCode: 'AUTHORISATION' }, { eventCode: 'ORDER_CLOSED', success: 'false' }]),
      'parked order_not_completed',
    ],
    [
      'one item of two that is ignored',
      adyenDelivery([{ eventCode: 'REPORT_AVAILABLE' }, { eventCode: 'AUTHORISATION', pspReference: 'p', value: 7 }]),
      'payment p succeeded 7 EUR',
    ],
    ['an event named like a method of objects', withItem('AUTHORISATION', { eventCode: 'constructor' }), 'ignored'],
  ])('%s', (_name, body, expected) => {
    expect(summary(interpret('adyen', body))).toBe(expected);
  });

  it('says how a dispute gets its originalReference', () => {
    const interpretation = interpret('adyen', providerFixture('adyen', 'CHARGEBACK_REVERSED.without-original'));
    expect(interpretation).toMatchObject({
      detail: expect.stringContaining('originalReference: is missing: switch on'),
    });
  });

  it.each([
    ['true', true],
    ['false', false],
  ] as const)('says %s for the mode, whatever the items say', (live, livemode) => {
    for (const eventCode of ['AUTHORISATION', 'EXPIRE', 'REPORT_AVAILABLE'])
      expect(interpret('adyen', adyenDelivery([{ eventCode }], undefined, live))).toMatchObject({ livemode });
  });

  describeUnbendableAmounts(
    'adyen',
    ['AUTHORISATION', 'AUTHORISATION.krona', 'CAPTURE', 'REFUND', 'CHARGEBACK'],
    // Another event may tell another number of facts.
    [...['amount.value', 'amount.currency', 'eventCode'].map((path) => [...itemPath, path].join('.'))],
  );
});

describe('only what Adyen signs says whose money it is', () => {
  const metadataOf = (merchantReference: unknown) => {
    const interpretation = interpret('adyen', withItem('AUTHORISATION', { merchantReference }));
    if (interpretation.kind !== 'facts') return interpretation.kind === 'parked' ? interpretation.reason : 'ignored';
    return interpretation.facts.map((fact) => (fact.kind === 'payment' ? fact.metadata : null))[0];
  };

  it.each<[string, unknown, unknown]>([
    ['a customer', 'cus_01h2xcejqtf2nbrexx3vqjhp41', { wallet_customer_id: 'cus_01h2xcejqtf2nbrexx3vqjhp41' }],
    [
      'pairs',
      'wallet_customer_id=cus_1&wallet_purpose=order&order=7',
      { wallet_customer_id: 'cus_1', wallet_purpose: 'order' },
    ],
    ['pairs after others', 'order=7&wallet_purpose=none', { wallet_purpose: 'none' }],
    ['pairs in escapes', 'wallet_note=a%20b+c', { wallet_note: 'a b c' }],
    ['an order', 'order-1042', {}],
    ['an order that speaks of a wallet', 'my wallet_1', {}],
    ['nothing', null, {}],
    ['nothing at all', undefined, {}],
    ['a number', 7, 'malformed'],
    ['a value twice', 'wallet_customer_id=cus_1&wallet_customer_id=cus_2', 'invalid_metadata'],
    ['a value that is no text', 'wallet_note=%00', 'invalid_metadata'],
    ['a value that is too long', `wallet_note=${'x'.repeat(501)}`, 'invalid_metadata'],
  ])('the reference is %s', (_name, merchantReference, expected) => {
    expect(metadataOf(merchantReference)).toEqual(expected);
  });

  it('no change outside of it makes another fact', () => {
    const fact = interpret('adyen', providerFixture('adyen', 'AUTHORISATION'));
    expect(fact).toMatchObject({
      facts: [{ customer: { id: null, email: null, name: null }, metadata: { wallet_customer_id: 'cus_ada' } }],
    });
    const unsigned = fc.constantFrom(
      'metadata.wallet_customer_id',
      'shopperReference',
      'shopperEmail',
      'hmacSignature',
    );
    fc.assert(
      fc.property(unsigned, fc.jsonValue(), (name, value) => {
        const delivery = providerFixture('adyen', 'AUTHORISATION');
        expect(interpret('adyen', changed(delivery, [...itemPath, 'additionalData', name], value))).toEqual(fact);
      }),
    );
  });
});

describe('the life of a payment at Adyen, in any order', () => {
  const delivery = (eventCode: string, pspReference: string, value: number, success: 'true' | 'false' = 'true') =>
    adyenDelivery([{ eventCode, pspReference, originalReference: 'pay', value, success }]);
  const paid = delivery('AUTHORISATION', 'pay', 5000);
  const refunded = delivery('REFUND', 'ref', 2000);
  const lost = delivery('CHARGEBACK', 'dis', 3000);

  it.each<[string, string[], number]>([
    ['an authorisation and its capture are one payment', [paid, delivery('CAPTURE', 'cap', 5000)], 5000],
    ['a refund', [paid, refunded], 3000],
    ['a refund that Adyen refuses', [paid, delivery('REFUND', 'ref', 2000, 'false')], 5000],
    ['a refund that the bank refuses days later', [paid, refunded, delivery('REFUND_FAILED', 'ref', 2000)], 5000],
    ['a refund that comes back', [paid, refunded, delivery('REFUNDED_REVERSED', 'ref', 2000)], 5000],
    ['a chargeback', [paid, delivery('NOTIFICATION_OF_CHARGEBACK', 'dis', 3000), lost], 2000],
    ['a chargeback beside a refund of the same money', [paid, refunded, delivery('CHARGEBACK', 'dis', 5000)], 0],
    ['a chargeback that is reversed', [paid, lost, delivery('CHARGEBACK_REVERSED', 'dis', 3000)], 5000],
    [
      'a chargeback that is reversed and comes again',
      [paid, lost, delivery('CHARGEBACK_REVERSED', 'dis', 3000), delivery('SECOND_CHARGEBACK', 'dis', 3000)],
      2000,
    ],
    ['a pre-arbitration that is lost too', [paid, lost, delivery('PREARBITRATION_LOST', 'dis', 3000)], 2000],
    ['a pre-arbitration that is won', [paid, lost, delivery('PREARBITRATION_WON', 'dis', 3000)], 5000],
  ])('%s', (_name, bodies, expected) => {
    for (const order of ordersOf(bodies)) expect(received('adyen', [...order, ...order])).toBe(expected);
  });
});

describe('the key of a delivery of Adyen', () => {
  const key = (body: string) => PROVIDERS.adyen.deliveryKey({ rawBody: Buffer.from(body), headers: {} });
  const item = { eventCode: 'AUTHORISATION', pspReference: 'p', eventDate: '2026-10-28T10:30:05+01:00' };
  const body = adyenDelivery([item]);

  it('is that of what is signed, so another date makes no other delivery', () => {
    expect(key(body)).toMatch(/^[0-9a-f]{64}$/);
    expect(key(adyenDelivery([{ ...item, eventDate: '2026-10-29T10:30:05+01:00' }]))).toBe(key(body));
    expect(key(body.replace('shopper-1', 'shopper-2'))).toBe(key(body));
  });

  it('and another for anything else that is signed, and for the other mode', () => {
    expect(key(adyenDelivery([{ ...item, success: 'false' }]))).not.toBe(key(body));
    expect(key(adyenDelivery([{ ...item, merchantReference: 'cus_2' }]))).not.toBe(key(body));
    expect(key(adyenDelivery([item, item]))).not.toBe(key(body));
    expect(key(adyenDelivery([item], undefined, 'true'))).not.toBe(key(body));
  });

  it('or the digest of a body without signed items', () => {
    expect(key('{}')).toBe('44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
    expect(key(signAdyen(providerFixture('adyen', 'REPORT_AVAILABLE')))).toMatch(/^[0-9a-f]{64}$/);
  });
});
