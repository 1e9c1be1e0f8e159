import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ChargeRequest, Charger, SessionOrder } from '../../src/charging/charger.ts';
import { stripeCharger } from '../../src/charging/stripe.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { StripeCharging } from '../support/stripe-charging.ts';

const KEY = 'sk_test_ChokinCharges';
let stripe: StripeCharging;
let baseUrl: string;
let charger: Charger;
let next = 0;

beforeAll(async () => {
  stripe = new StripeCharging(KEY);
  baseUrl = await stripe.start();
  charger = stripeCharger({ apiKey: new Secret(KEY), mode: 'test', baseUrl, timeoutMs: 1500 });
});

beforeEach(() => {
  next += 1;
  stripe.addMethod({ id: 'pm_card', customerId: 'cus_s', fingerprint: 'print' });
});

afterAll(() => stripe.stop());

const request = (): ChargeRequest => ({
  ...{ amount: 2000, currency: 'USD', customerId: 'cus_s', methodId: 'pm_card' },
  metadata: { wallet_customer_id: 'cus_a', wallet_purpose: 'topup', wallet_topup_id: `top_${next}` },
});
const charge = (key = `key_${next}`) => charger.chargeSaved(request(), key);
const newest = () => stripe.intents.at(-1)?.id;

describe('a charge by Stripe', () => {
  it('is charged, and the same under the same key', async () => {
    expect(await charge()).toEqual({ kind: 'charged', paymentId: newest() });
    const made = stripe.intents.length;
    expect(await charge()).toEqual({ kind: 'charged', paymentId: newest() });
    expect(stripe.intents).toHaveLength(made);
  });

  it.each([
    ['insufficient_funds', 'insufficient_funds'],
    ['lost_card', 'lost_card'],
    ['expired_card', 'expired_card'],
    ['authentication_required', 'authentication_required'],
  ])('declined as %s is %s', async (says, declineCode) => {
    stripe.addMethod({ id: 'pm_card', customerId: 'cus_s', fingerprint: 'print', says });
    expect(await charge()).toEqual({ kind: 'declined', paymentId: newest(), declineCode });
  });

  it.each([
    ['USD', 2000, 2000],
    ['JPY', 2000, 2000],
    ['MGA', 200_000, 2000],
    ['ISK', 2000, 200_000],
    ['MGA', 200_050, null],
  ])('of %s %i in our unit is of %s in its own', async (currency, amount, charged) => {
    const made = stripe.intents.length;
    const answer = await charger.chargeSaved({ ...request(), currency, amount }, `unit_${next}`);
    expect(answer).toMatchObject({ kind: charged === null ? 'refused' : 'charged' });
    expect(stripe.intents.slice(made).map((one) => one.amount)).toEqual(charged === null ? [] : [charged]);
  });

  it('of a bank debit is under way', async () => {
    stripe.addMethod({ id: 'pm_card', customerId: 'cus_s', fingerprint: 'print', says: 'processing' });
    expect(await charge()).toEqual({ kind: 'processing', paymentId: newest() });
  });

  it.each(['lost', 'hang'] as const)(
    'whose answer is %s is unknown, and known once it is asked for again',
    async (play) => {
      stripe.plays.push(play);
      const made = stripe.intents.length;
      expect(await charge()).toEqual({ kind: 'unknown' });
      expect(await charge()).toEqual({ kind: 'charged', paymentId: newest() });
      expect(stripe.intents).toHaveLength(made + 1);
    },
  );

  it('that ended in an error 500 stays unknown under its key, and is found in the list', async () => {
    stripe.plays.push('error');
    const place = { customerId: 'cus_s', methodId: 'pm_card', topUpId: `top_${next}`, since: new Date() };
    expect(await charge()).toEqual({ kind: 'unknown' });
    expect(await charge()).toEqual({ kind: 'unknown' });
    expect(await charger.findCharge(place)).toEqual({ kind: 'charged', paymentId: newest() });
    expect(await charger.findCharge({ ...place, topUpId: 'top_other' })).toBeNull();
  });

  it.each(['limited', 'busy'] as const)('that is %s is unknown, and nothing was done', async (play) => {
    stripe.plays.push(play);
    const made = stripe.intents.length;
    expect(await charge()).toEqual({ kind: 'unknown' });
    expect(stripe.intents).toHaveLength(made);
    expect(await charge()).toMatchObject({ kind: 'charged' });
  });

  it('with other parameters under the same key is unknown, so that nothing new is tried', async () => {
    await charge('one_key');
    const other = { ...request(), amount: 2001 };
    expect(await charger.chargeSaved(other, 'one_key')).toEqual({ kind: 'unknown' });
  });

  it('of a method that is gone is declined for want of one; by a wrong key it is refused', async () => {
    const gone = { ...request(), methodId: 'pm_gone' };
    expect(await charger.chargeSaved(gone, `gone_${next}`)).toMatchObject({
      ...{ kind: 'declined', declineCode: 'no_payment_method' },
    });
    const wrong = stripeCharger({ apiKey: new Secret('sk_test_wrong'), mode: 'test', baseUrl });
    expect(await wrong.chargeSaved(request(), `wrong_${next}`)).toEqual({ kind: 'refused' });
  });

  it('to a server that is down is unknown', async () => {
    await stripe.stop();
    expect(await charge()).toEqual({ kind: 'unknown' });
    await expect(charger.findMethod('cus_s', null, 'USD')).rejects.toMatchObject({ kind: 'unavailable' });
    await stripe.start();
  });

  it('is found as what has charged, where a later payment that failed carries its id as well', async () => {
    await charge();
    const place = { customerId: 'cus_s', methodId: 'pm_card', topUpId: `top_${next}`, since: new Date() };
    const charged = stripe.intents.at(-1);
    if (charged === undefined) throw new Error('nothing was charged');
    stripe.intents.push({ ...charged, id: 'pi_copy', status: 'requires_payment_method' });
    expect(await charger.findCharge(place)).toEqual({ kind: 'charged', paymentId: charged.id });
  });

  it('finds what a payment made long before it stands behind, page after page', async () => {
    await charge();
    const place = { customerId: 'cus_s', methodId: 'pm_card', topUpId: `top_${next}`, since: new Date() };
    const first = newest();
    for (let more = 0; more < 120; more += 1) await charge(`more_${more}`).then(() => (next += 0));
    stripe.intents.forEach((one, index) => {
      if (one.id !== first) stripe.intents[index] = { ...one, metadata: {} };
    });
    expect(await charger.findCharge(place)).toEqual({ kind: 'charged', paymentId: first });
  });
});

describe('the payment method', () => {
  it('is the one that is named, else the default of the customer', async () => {
    stripe.addMethod({ id: 'pm_other', customerId: 'cus_s', fingerprint: 'other' });
    const other = { kind: 'found', methodId: 'pm_other', fingerprint: 'other' };
    expect(await charger.findMethod('cus_s', null, 'USD')).toEqual(other);
    expect(await charger.findMethod('cus_s', 'pm_card', 'USD')).toEqual({
      kind: 'found',
      methodId: 'pm_card',
      fingerprint: 'print',
    });
  });

  it('is none where there is no default, where it is detached, and where it is somebody else’s', async () => {
    expect(await charger.findMethod('cus_nobody', null, 'USD')).toEqual({ kind: 'none' });
    expect(await charger.findMethod('cus_s', 'pm_gone', 'USD')).toEqual({ kind: 'none' });
    stripe.addMethod({ id: 'pm_theirs', customerId: 'cus_them', fingerprint: null });
    expect(await charger.findMethod('cus_s', 'pm_theirs', 'USD')).toEqual({ kind: 'none' });
  });
});

describe('a page to pay at', () => {
  const NOW_MS = Math.floor(Date.now() / 1000) * 1000;
  const MINUTE_MS = 60_000;
  const order = (changes: Partial<SessionOrder> = {}): SessionOrder => ({
    ...{ orderId: `chk_${next}`, amount: 3000, currency: 'USD', description: 'An order' },
    metadata: { wallet_customer_id: 'cus_a', wallet_checkout_id: `chk_${next}` },
    ...{ successUrl: 'https://shop.example/done', cancelUrl: 'https://shop.example/cart' },
    expiresAt: new Date(NOW_MS + 60 * MINUTE_MS),
    ...changes,
  });
  const newestPage = () => {
    const session = stripe.sessions.at(-1);
    if (session === undefined) throw new Error('no page was made');
    return session;
  };

  it('is made for one amount, and is the same page for the same order', async () => {
    const made = await charger.createSession(order());
    const { id, url } = newestPage();
    expect(made).toEqual({ kind: 'made', sessionId: id, url });
    expect(newestPage()).toMatchObject({
      ...{ amount: 3000, currency: 'usd', name: 'An order', expiresAt: NOW_MS / 1000 + 3600 },
      ...{ successUrl: 'https://shop.example/done', cancelUrl: 'https://shop.example/cart' },
      metadata: { wallet_customer_id: 'cus_a', wallet_checkout_id: `chk_${next}` },
    });
    const { metadata, ...rest } = order();
    const reversed = Object.fromEntries(Object.entries(metadata).reverse());
    expect(await charger.createSession({ ...rest, metadata: reversed })).toEqual(made);
    expect(stripe.sessions.at(-1)?.id).toBe(id);
    expect(stripe.keys.slice(-2)).toEqual([`chk_${next}`, `chk_${next}`]);
    expect(stripe.pay(id)).toMatchObject({ amount: 3000, metadata });
  });

  it.each([
    ['JPY', 2000, 2000],
    ['MGA', 200_000, 2000],
    ['ISK', 2000, 200_000],
  ])('of %s %i in our unit is of %s in its own', async (currency, amount, asked) => {
    await charger.createSession(order({ currency, amount, cancelUrl: null }));
    expect(newestPage()).toMatchObject({ amount: asked, cancelUrl: null });
  });

  it.each([
    ['amount_too_small', { amount: 49 }],
    ['amount_too_large', { amount: 100_000_000 }],
    ['amount_unit', { amount: 200_050, currency: 'MGA' }],
    ['currency', { currency: 'KPW' }],
    ['expiry', { expiresAt: new Date(NOW_MS + 29 * MINUTE_MS) }],
    ['expiry', { expiresAt: new Date(NOW_MS + 25 * 60 * MINUTE_MS) }],
    ['address', { successUrl: 'nowhere' }],
    ['address', { cancelUrl: 'nowhere' }],
    ['request', { metadata: { wallet_customer_id: 'c'.repeat(501) } }],
  ] as const)('is refused for %s', async (reason, changes) => {
    const pages = stripe.sessions.length;
    expect(await charger.createSession(order(changes))).toEqual({ kind: 'refused', reason });
    expect(stripe.sessions).toHaveLength(pages);
  });

  it('is refused to a key that Stripe does not know', async () => {
    const wrong = stripeCharger({ apiKey: new Secret('sk_test_wrong'), mode: 'test', baseUrl });
    expect(await wrong.createSession(order())).toEqual({ kind: 'refused', reason: 'key' });
  });

  it.each(['lost', 'hang'] as const)(
    'is unknown where the answer is %s, and then the one that was made',
    async (play) => {
      const pages = stripe.sessions.length;
      stripe.plays.push(play);
      expect(await charger.createSession(order())).toEqual({ kind: 'unknown' });
      expect(await charger.createSession(order())).toMatchObject({ kind: 'made', sessionId: newestPage().id });
      expect(stripe.sessions).toHaveLength(pages + 1);
    },
  );

  it.each(['limited', 'busy', 'error'] as const)('is unknown where Stripe is %s', async (play) => {
    stripe.plays.push(play);
    expect(await charger.createSession(order())).toEqual({ kind: 'unknown' });
  });

  it('is unknown where the key was of another order, and where Stripe is down', async () => {
    await charger.createSession(order());
    expect(await charger.createSession(order({ amount: 3001 }))).toEqual({ kind: 'unknown' });
    await stripe.stop();
    expect(await charger.createSession(order())).toEqual({ kind: 'unknown' });
    await stripe.start();
  });
});
