import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ChargeRequest, Charger } from '../../src/charging/charger.ts';
import { dodoCharger } from '../../src/charging/dodo.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { DodoCharging } from '../support/dodo-charging.ts';

const KEY = 'dodo.test.charges';
let dodo: DodoCharging;
let baseUrl: string;
let charger: Charger;
let next = 0;

beforeAll(async () => {
  dodo = new DodoCharging(KEY);
  baseUrl = await dodo.start();
  charger = dodoCharger({ apiKey: new Secret(KEY), mode: 'test', baseUrl, timeoutMs: 1500 });
});

beforeEach(() => {
  next += 1;
  dodo.plays.length = 0;
  dodo.addSubscription({ id: `sub_${next}`, customerId: 'cus_d' });
});

afterAll(() => dodo.stop());

const request = (): ChargeRequest => ({
  ...{ amount: 2000, currency: 'USD', customerId: 'cus_d', methodId: `sub_${next}` },
  metadata: { wallet_customer_id: 'cus_a', wallet_purpose: 'topup', wallet_topup_id: `top_${next}` },
});
const place = () => ({ customerId: 'cus_d', methodId: `sub_${next}`, topUpId: `top_${next}`, since: new Date() });
const charge = () => charger.chargeSaved(request(), `key_${next}`);
const own = () => dodo.payments.filter(({ subscriptionId }) => subscriptionId === `sub_${next}`);
const newest = () => own().at(-1)?.id;
const says = (what: string) => dodo.addSubscription({ id: `sub_${next}`, customerId: 'cus_d', says: what });
const copy = (more: Partial<Parameters<DodoCharging['addPayment']>[0]>) =>
  dodo.addPayment({
    ...{ subscriptionId: `sub_${next}`, customerId: 'cus_d', amount: 2000, currency: 'USD', status: 'succeeded' },
    ...{ metadata: request().metadata, ...more },
  });

describe('a charge by Dodo', () => {
  it('is charged, of the amount in the unit of its currency, and each request is another', async () => {
    expect(charger.knowsKeys).toBe(false);
    expect(await charge()).toEqual({ kind: 'charged', paymentId: newest() });
    expect(own()).toMatchObject([{ amount: 2000, currency: 'USD', metadata: request().metadata }]);
    await charge();
    expect(own()).toHaveLength(2);
  });

  it.each([
    ['INSUFFICIENT_FUNDS', 'insufficient_funds', false],
    ['GENERIC_DECLINE', 'generic_decline', false],
    ['what is new', 'declined', false],
    ['cancelled', 'cancelled', false],
    ['LOST_CARD', 'lost_card', true],
    ['EXPIRED_CARD', 'expired_card', true],
    ['DO_NOT_HONOR', 'do_not_honor', true],
    ['AUTHENTICATION_REQUIRED', 'authentication_required', true],
    ['requires_customer_action', 'authentication_required', true],
    ['MANDATE_INVALID', 'mandate_missing', true],
  ])('declined as %s is %s, hard: %s', async (what, declineCode, isHard) => {
    says(what);
    expect(await charge()).toEqual({ kind: 'declined', paymentId: newest(), declineCode, isHard });
  });

  it.each(['processing', 'requires_confirmation', 'partially_captured'])('that is %s is under way', async (status) => {
    dodo.plays.push(async () => {
      const payment = own().at(-1);
      if (payment !== undefined) payment.status = status;
    });
    expect(await charge()).toEqual({ kind: 'processing', paymentId: newest() });
  });

  it.each(['lost', 'hang', 'error', 'unread'] as const)(
    'whose answer is %s is unknown, was sent once, and is found in the list',
    async (play) => {
      dodo.plays.push(play);
      const asked = dodo.asked.length;
      expect(await charge()).toEqual({ kind: 'unknown' });
      expect(dodo.asked).toHaveLength(asked + 1);
      expect(own()).toHaveLength(1);
      expect(await charger.findCharge(place())).toEqual({ kind: 'charged', paymentId: newest() });
    },
  );

  it.each<[number, string, object]>([
    [429, 'RATE_LIMITED', { kind: 'unknown' }],
    [408, 'TIMEOUT', { kind: 'unknown' }],
    [409, 'PREVIOUS_PAYMENT_PENDING', { kind: 'unknown' }],
    [422, 'PREVIOUS_PAYMENT_PENDING', { kind: 'unknown' }],
    [503, 'SERVICE_UNAVAILABLE', { kind: 'unknown' }],
    [422, 'INVALID_REQUEST_BODY', { kind: 'refused' }],
    [403, 'UNAUTHORIZED', { kind: 'refused' }],
    [404, 'NOT_FOUND', { kind: 'declined', paymentId: null, declineCode: 'no_payment_method' }],
    [409, 'SUBSCRIPTION_INACTIVE', { kind: 'declined', paymentId: null, declineCode: 'no_payment_method' }],
  ])('that is answered %i %s is sent once', async (status, code, answer) => {
    dodo.plays.push([status, code]);
    const asked = dodo.asked.length;
    expect(await charge()).toEqual(answer);
    expect(dodo.asked).toHaveLength(asked + 1);
    expect(own()).toEqual([]);
  });

  it('by a key that Dodo does not know is refused, and of a currency that it does not count in', async () => {
    const wrong = dodoCharger({ apiKey: new Secret('another'), mode: 'test', baseUrl });
    expect(await wrong.chargeSaved(request(), 'key')).toEqual({ kind: 'refused' });
    expect(await charger.chargeSaved({ ...request(), currency: 'usd' }, 'key')).toEqual({ kind: 'refused' });
    expect(own()).toEqual([]);
  });

  it('to a server that is down is unknown', async () => {
    await dodo.stop();
    expect(await charge()).toEqual({ kind: 'unknown' });
    await expect(charger.findCharge(place())).rejects.toMatchObject({ kind: 'unavailable' });
    await dodo.start();
  });
});

describe('what became of a charge', () => {
  it('is not what was paid for anything else, by another subscription, or before', async () => {
    copy({ metadata: {} });
    copy({ metadata: { ...request().metadata, wallet_topup_id: 'top_other' } });
    copy({ subscriptionId: 'sub_other' });
    copy({ createdAt: new Date(Date.now() - 3_600_000) });
    copy({ isUpdate: true });
    expect(await charger.findCharge(place())).toBeNull();
  });

  it('is the payment that charged, or still may, where others carry its id', async () => {
    copy({ status: 'failed', errorCode: 'LOST_CARD' });
    const open = copy({ status: 'processing' });
    copy({ status: 'failed', errorCode: 'LOST_CARD' });
    expect(await charger.findCharge(place())).toEqual({ kind: 'processing', paymentId: open.id });
    const paid = copy({});
    copy({ status: 'processing' });
    expect(await charger.findCharge(place())).toEqual({ kind: 'charged', paymentId: paid.id });
  });

  it('is found behind pages of others; of a list that does not end nothing is said', async () => {
    const paid = copy({});
    for (let more = 0; more < 210; more += 1) copy({ metadata: {} });
    expect(await charger.findCharge(place())).toEqual({ kind: 'charged', paymentId: paid.id });
    for (let more = 0; more < 1000; more += 1) copy({ metadata: {} });
    await expect(charger.findCharge(place())).rejects.toMatchObject({ kind: 'unavailable' });
  });
});

describe('the subscription', () => {
  const find = (fields: object, customerId = 'cus_d') => {
    dodo.addSubscription({ id: `sub_${next}`, customerId: 'cus_d', fields: { ...fields } });
    return charger.findMethod(customerId, `sub_${next}`, 'USD');
  };

  it('is known by its saved payment method', async () => {
    const found = { kind: 'found', methodId: `sub_${next}`, fingerprint: `pm_of_sub_${next}` };
    expect(await find({})).toEqual(found);
    expect(await find({ payment_method_id: null })).toEqual({ ...found, fingerprint: null });
  });

  it.each<[string, object]>([
    ['is on hold', { status: 'on_hold' }],
    ['is not on demand', { on_demand: false }],
    ['ends', { cancel_at_next_billing_date: true }],
    ['has nothing to pay with', { has_payment_method: false }],
    ['is charged in another currency', { currency: 'EUR' }],
    ['multiplies the price', { quantity: 2 }],
    ['adds to the price', { addons: [{ addon_id: 'adn_1', quantity: 1 }] }],
  ])('is none where it %s', async (_, fields) => {
    expect(await find(fields)).toEqual({ kind: 'none' });
  });

  it('is none of somebody else, and none that is not there or not named', async () => {
    expect(await find({}, 'cus_other')).toEqual({ kind: 'none' });
    expect(await charger.findMethod('cus_d', 'sub_gone', 'USD')).toEqual({ kind: 'none' });
    expect(await charger.findMethod('cus_d', null, 'USD')).toEqual({ kind: 'none' });
  });
});
