import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { PROVIDER_NAMES, type ProviderName } from '../../src/providers/shared/names.ts';
import { dodoPayment, dodoRefund, razorpayPayment, stripePayment, stripeRefund } from '../support/signing.ts';
import { interpret, withData, withObject } from './reading.ts';

describe('metadata', () => {
  const metadataOf = (metadata: unknown) => {
    const interpretation = interpret('dodo', withData(dodoPayment(), { metadata }));
    if (interpretation.kind !== 'facts') return interpretation.kind === 'parked' ? interpretation.reason : 'ignored';
    return interpretation.facts.map((fact) => (fact.kind === 'payment' ? fact.metadata : null))[0];
  };

  it.each<[string, unknown, unknown]>([
    [
      'keeps wallet_ keys as text',
      { wallet_a: 'x', wallet_b: 5, wallet_c: true, wallet_d: null, other: { deep: 1 } },
      { wallet_a: 'x', wallet_b: '5', wallet_c: 'true' },
    ],
    ['is empty when null', null, {}],
    ['is empty when an empty array, as Razorpay sends it', [], {}],
    ['must be an object', 'wallet_customer_id=1', 'malformed'],
    ['wants text', { wallet_customer_id: { id: 'cus_1' } }, 'invalid_metadata'],
    ['wants text, and asks no object to become one', { wallet_x: { toString: null } }, 'invalid_metadata'],
    ['wants text of 500 characters', { wallet_note: 'x'.repeat(501) }, 'invalid_metadata'],
    ['wants text without control characters', { wallet_note: 'a\u0000' }, 'invalid_metadata'],
    ['wants numbers that were not rounded in parsing', { wallet_customer_id: 2 ** 60 }, 'invalid_metadata'],
    ['wants names of 40 characters', { [`wallet_${'x'.repeat(40)}`]: '1' }, 'invalid_metadata'],
    [
      'wants at most 50 values',
      Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`wallet_${n}`, 'x'])),
      'invalid_metadata',
    ],
  ])('%s', (_name, metadata, expected) => {
    expect(metadataOf(metadata)).toEqual(expected);
  });
});

describe('a body that is not as documented is parked', () => {
  const SECRET_VALUE = 'ada@private.example';

  it.each<[ProviderName, string | object, string]>([
    ['stripe', withObject(stripePayment(), { amount_received: '5000' }), 'data.object.amount_received'],
    ['stripe', withObject(stripePayment(), { amount_received: 50.5 }), 'data.object.amount_received'],
    ['stripe', withObject(stripePayment(), { amount_received: -1 }), 'data.object.amount_received'],
    ['stripe', withObject(stripePayment(), { amount_received: undefined }), 'data.object.amount_received'],
    [
      'stripe',
      stripePayment({ paymentId: 'big' }).replace('"amount_received":5000', '"amount_received":9007199254740993'),
      'data.object.amount_received',
    ],
    ['stripe', withObject(stripePayment(), { currency: SECRET_VALUE }), 'data.object.currency'],
    ['stripe', withObject(stripePayment(), { id: `${SECRET_VALUE}\n` }), 'data.object.id'],
    ['stripe', withObject(stripePayment(), { id: SECRET_VALUE.repeat(20) }), 'data.object.id'],
    ['stripe', withObject(stripePayment(), { id: '\ud800' }), 'data.object.id'],
    ['stripe', { ...JSON.parse(stripePayment()), livemode: SECRET_VALUE }, 'livemode'],
    ['stripe', { ...JSON.parse(stripePayment()), data: null }, 'data'],
    ['stripe', withObject(stripeRefund({ paymentId: 'pi_1' }), { status: SECRET_VALUE }), 'data.object.status'],
    ['dodo', withData(dodoPayment(), { total_amount: null }), 'data.total_amount'],
    ['dodo', withData(dodoPayment(), { is_update_payment_method: 'true' }), 'data.is_update_payment_method'],
    ['dodo', withData(dodoRefund({ paymentId: 'p' }), { status: SECRET_VALUE }), 'data.status'],
    ['razorpay', { event: 'payment.captured', payload: { payment: {} } }, 'payload.payment.entity'],
    ['razorpay', razorpayPayment({ amount: 1.5 }), 'payload.payment.entity.amount'],
  ])('%s: %#', (provider, body, path) => {
    const interpretation = interpret(provider, body);
    expect(interpretation).toMatchObject({ kind: 'parked', reason: 'malformed' });
    const detail = interpretation.kind === 'parked' ? interpretation.detail : '';
    expect(detail).toContain(`${path}: `);
    expect(detail).not.toContain(SECRET_VALUE);
  });

  it.each<[string, Buffer]>([
    ['empty', Buffer.alloc(0)],
    ['not UTF-8', Buffer.from('{"type":"x","event":"x","note":"\xff"}', 'latin1')],
    ['not JSON', Buffer.from(`{"email": "${SECRET_VALUE}"`)],
    ['with a byte-order mark', Buffer.from('\ufeff{"type":"x","event":"x"}')],
    ['not an object', Buffer.from('["type"]')],
    ['without an event type', Buffer.from('{}')],
    ['with an event type that is not text', Buffer.from('{"type":7,"event":7}')],
    [
      'with an event type too long to store',
      Buffer.from(JSON.stringify({ type: 'x'.repeat(201), event: 'x'.repeat(201) })),
    ],
    ['nested without end', Buffer.from(`{"type":"x","event":"x","a":${'['.repeat(65)}${']'.repeat(65)}}`)],
    ['nested without end and open', Buffer.from('['.repeat(500_000))],
    [
      'longer than the receiver takes',
      Buffer.from(JSON.stringify({ type: 'x', event: 'x', pad: 'x'.repeat(1_048_576) })),
    ],
  ])('%s', (_name, body) => {
    for (const provider of PROVIDER_NAMES) {
      const interpretation = PROVIDERS[provider].interpret(body);
      expect(interpretation).toMatchObject({ kind: 'parked', reason: 'malformed', eventType: 'unknown' });
      expect(JSON.stringify(interpretation)).not.toContain(SECRET_VALUE);
    }
  });

  it('brackets inside strings and beside each other are not depth', () => {
    const siblings = Array.from({ length: 100 }, () => [{}]);
    const body = { type: 'payout.created', siblings, note: `${'['.repeat(100)}"\\${'{'.repeat(100)}` };
    expect(interpret('dodo', body).kind).toBe('ignored');
  });
});

describe('the key of a delivery', () => {
  const delivery = (body: string, headers: Record<string, string> = {}) => ({ rawBody: Buffer.from(body), headers });

  it('is the event id that Stripe signed', () => {
    expect(PROVIDERS.stripe.deliveryKey(delivery(stripePayment({ eventId: 'evt_1' })))).toBe('evt_1');
  });

  it.each(['not JSON', '{"id": 7}', `{"id": "${'x'.repeat(300)}"}`])(
    'is the digest of a Stripe body without an id: %s',
    (body) => {
      expect(PROVIDERS.stripe.deliveryKey(delivery(body))).toMatch(/^[0-9a-f]{64}$/);
    },
  );

  it('is the webhook-id that Dodo signed', () => {
    expect(PROVIDERS.dodo.deliveryKey(delivery('{}', { 'webhook-id': 'msg_1' }))).toBe('msg_1');
  });

  it('is the digest of a Razorpay body, whatever the unsigned event id says', () => {
    const key = (id: string) => PROVIDERS.razorpay.deliveryKey(delivery('{}', { 'x-razorpay-event-id': id }));
    expect(key('1')).toBe('44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
    expect(key('2')).toBe(key('1'));
  });
});
