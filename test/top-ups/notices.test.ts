import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { requestTopUp } from '../../src/top-ups/manage.ts';
import { SETTINGS } from '../support/ledger.ts';
import { stripePayment } from '../support/signing.ts';
import { TopUpRig } from '../support/top-up-rig.ts';

/** What is said of wallets that are not filled up, and when that ends. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let rig: TopUpRig;
beforeAll(async () => {
  rig = await TopUpRig.start();
});
afterAll(() => rig.stop());

const blocked = async (key: WalletKey) =>
  (await rig.told(key)).filter(({ type }) => type === 'topup.blocked').map(({ data }) => [data.reason, data.until]);

/** Looks again and again, as often as a debit or the scan would at the most. */
async function looks(key: WalletKey, times: number, everyMs: number): Promise<void> {
  for (let look = 0; look < times; look += 1) {
    rig.pass(everyMs);
    await rig.post(key, 1, false);
    await rig.database.pool.query('update topup_due set retry_at = $2 where customer_id = $1', [
      key.customerId,
      rig.now,
    ]);
    await rig.run();
  }
}

describe('a wallet that is not filled up', () => {
  it('for so many charges a day is told of once that day, and charged on the next', async () => {
    rig.now = new Date('2026-03-10T08:00:00Z');
    const key = await rig.begin({ maxPerDay: 2, minIntervalSeconds: 60 }, 900);
    for (let charge = 0; charge < 2; charge += 1) {
      await rig.run();
      await rig.tellPaid(key);
      rig.pass(10 * MINUTE);
      await rig.post(key, 2000, false);
    }
    await looks(key, 4, HOUR);
    expect(rig.intentsOf(key)).toHaveLength(2);
    expect(await blocked(key)).toEqual([['max_per_day', '2026-03-11T00:00:00.000Z']]);
    rig.now = new Date('2026-03-11T00:00:00Z');
    await rig.run();
    expect(rig.intentsOf(key)).toHaveLength(3);
    await rig.tellPaid(key);
    expect(await blocked(key)).toHaveLength(1);
  });

  it('for less than the provider charges is told of once a month, and charged where its rule allows the minimum', async () => {
    rig.now = new Date('2026-03-12T08:00:00Z');
    const key = await rig.begin({ threshold: 20, amount: 30, maxCharge: 40 }, 10);
    await looks(key, 3, DAY);
    expect(rig.intentsOf(key)).toHaveLength(0);
    expect(await blocked(key)).toEqual([['below_minimum', '2026-04-01T00:00:00.000Z']]);
    rig.now = new Date('2026-04-01T08:00:00Z');
    await looks(key, 2, HOUR);
    expect(await blocked(key)).toHaveLength(2);
    const payment = { sourceId: rig.source.sourceId, providerCustomerId: key.customerId.replace('cus_c', 'cus_s') };
    await rig.putRule(key, {
      ...{ threshold: 20, amount: 30, maxCharge: 60, payment: { ...payment, paymentMethodId: null } },
    });
    await rig.run();
    expect(rig.intentsOf(key).map(({ amount }) => amount)).toEqual([50]);
  });
});

describe('a rule that is suspended', () => {
  it('charges again once its customer has paid a top-up of his own, and not once that is only asked for or pending', async () => {
    rig.now = new Date('2026-05-12T08:00:00Z');
    const key = await rig.begin({}, 900);
    const payer = key.customerId.replace('cus_c', 'cus_s');
    const card = rig.stripe.methods.get(rig.stripe.defaults.get(payer) ?? '');
    if (card === undefined) throw new Error('no card');
    rig.stripe.methods.set(card.id, { ...card, says: 'expired_card' });
    await rig.run();
    const suspensionOf = async () => {
      const { rows } = await rig.database.pool.query(
        'select suspended_reason, failures_in_a_row from topup_rule where customer_id = $1',
        [key.customerId],
      );
      return rows[0];
    };
    expect(await suspensionOf()).toEqual({ suspended_reason: 'declined', failures_in_a_row: 1 });
    const request = { ...key, amount: 500, idempotencyKey: 'by-hand', session: null };
    const { topUp } = await transaction(rig.database.pool, (tx) =>
      requestTopUp(tx, request, { currencies: SETTINGS.currencies, now: rig.now }),
    );
    const metadata = { wallet_customer_id: key.customerId, wallet_topup_id: topUp.topUpId };
    const tries = { paymentId: `pi_own_${key.customerId}`, amount: 500, currency: 'usd', metadata };
    await rig.inbox.play([stripePayment({ ...tries, type: 'processing' })]);
    expect(await suspensionOf()).toMatchObject({ suspended_reason: 'declined' });
    await rig.inbox.play([stripePayment(tries), stripePayment(tries)]);
    expect(await suspensionOf()).toEqual({ suspended_reason: null, failures_in_a_row: 0 });
    const resumed = (await rig.told(key)).filter(({ type }) => type === 'topup.resumed');
    expect(resumed.map(({ data }) => data.cause)).toEqual(['paid']);
    // Charged again once the balance wants it, after the interval.
    rig.stripe.methods.set(card.id, { ...card, says: 'yes' });
    await rig.post(key, 1000, false);
    rig.pass(11 * MINUTE);
    await rig.run();
    expect(rig.intentsOf(key).filter(({ status }) => status === 'succeeded')).toHaveLength(1);
  });
});
