import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secret } from '../../src/crypto/secret.ts';
import { transaction } from '../../src/db/transaction.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { wakeTopUpDue } from '../../src/ledger/top-up-due.ts';
import { insertAccounts } from '../../src/merchants/account-store.ts';
import { testSource } from '../support/inbox.ts';
import { providerFixture, within } from '../support/provider-fixtures.ts';
import { signStripe, stripeDispute } from '../support/signing.ts';
import { CHARGE_KEY, TopUpRig } from '../support/top-up-rig.ts';

/** What Stripe's news of what somebody pays with does to rules that are suspended. */

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const shop = testSource('stripe', { sourceId: 'src_shop' });
const twin = testSource('stripe', {
  sourceId: 'src_twin',
  chargeKey: new Secret(CHARGE_KEY),
  apiKey: new Secret(CHARGE_KEY),
});

let rig: TopUpRig;
/** How often the job was woken that looks. */
let wakes = 0;
beforeAll(async () => {
  rig = await TopUpRig.start({ others: [shop, twin] });
  Object.assign(rig.inbox.services, { onTopUpDue: () => (wakes += 1) });
});
afterAll(() => rig.stop());

let events = 0;
/** As Stripe tells it, of the wallet's payer unless another one is named. */
function news(
  { customerId }: WalletKey,
  type: 'payment_method.attached' | 'customer.updated' = 'customer.updated',
  more: { readonly account?: string; readonly livemode?: boolean; readonly payer?: string } = {},
): string {
  const { payer = customerId.replace('cus_c', 'cus_s'), ...rest } = more;
  const event = providerFixture('stripe', type);
  events += 1;
  Object.assign(event, { id: `evt_payer${events}`, ...rest });
  const object = within(event, 'data', 'object');
  object[type === 'customer.updated' ? 'id' : 'customer'] = payer;
  return JSON.stringify(event);
}

/** A wallet whose rule is suspended since its card was refused for good, as the look of the day has left it. */
async function suspended(says = 'lost_card'): Promise<WalletKey & { readonly payer: string }> {
  const key = await rig.begin({}, 900);
  const payer = key.customerId.replace('cus_c', 'cus_s');
  const card = rig.stripe.methods.get(rig.stripe.defaults.get(payer) ?? '');
  if (card === undefined) throw new Error('no card');
  rig.stripe.methods.set(card.id, { ...card, says, fingerprint: `print ${payer}` });
  await rig.run();
  await rig.run();
  expect(await ruleOf(key)).toMatchObject({ suspended_reason: 'declined' });
  rig.pass(HOUR);
  await rig.run();
  return { ...key, payer };
}

const otherCard = (payer: string, fingerprint: string | null = `other of ${payer}`) =>
  rig.stripe.addMethod({ id: `pm_${payer}_${events}_other`, customerId: payer, fingerprint });

async function ruleOf({ customerId }: WalletKey) {
  const { rows } = await rig.database.pool.query('select * from topup_rule where customer_id = $1', [customerId]);
  return rows[0];
}
async function lookAt({ customerId }: WalletKey): Promise<number> {
  const { rows } = await rig.database.pool.query('select retry_at from topup_due where customer_id = $1', [customerId]);
  return rows[0].retry_at.getTime() - rig.now.getTime();
}
const states = async (key: WalletKey) => (await rig.attempts(key)).map(({ state }) => state);

/** Counts how often Stripe is asked what this one pays with. */
async function looksAt(payer: string, work: () => Promise<unknown>): Promise<number> {
  const get = rig.stripe.defaults.get.bind(rig.stripe.defaults);
  let asked = 0;
  rig.stripe.defaults.get = (one) => {
    if (one === payer) asked += 1;
    return get(one);
  };
  await work();
  rig.stripe.defaults.get = get;
  return asked;
}

describe('a rule that is suspended, once Stripe tells of what its customer pays with', () => {
  it.each(['payment_method.attached', 'customer.updated'] as const)(
    'example 8: by %s: the same card attached anew stays suspended; another is charged at the look that it wakes',
    async (type) => {
      const key = await suspended();
      rig.pass(HOUR);
      otherCard(key.payer, `print ${key.payer}`);
      await rig.inbox.play([news(key, type)]);
      expect(await lookAt(key)).toBe(0);
      await rig.run();
      expect([await states(key), (await ruleOf(key)).suspended_reason]).toEqual([['declined'], 'declined']);
      expect(await lookAt(key)).toBe(24 * HOUR);
      otherCard(key.payer);
      await rig.inbox.play([news(key, type)]);
      // Looked at a moment ago: within a minute it is again.
      expect(await lookAt(key)).toBe(60 * SECOND);
      rig.pass(60 * SECOND);
      await rig.run();
      expect(await states(key)).toEqual(['declined', 'charged']);
      expect((await rig.told(key)).map(({ type: told }) => told)).toContain('topup.resumed');
      await rig.inbox.play([news(key, type), news(key, type)]);
      await rig.run();
      expect(rig.intentsOf(key)).toHaveLength(2);
    },
  );

  it('is looked at once a minute at the most, by however many events, and charged once', async () => {
    const key = await suspended();
    const other = await suspended();
    rig.pass(HOUR);
    wakes = 0;
    const looks = await looksAt(key.payer, async () => {
      await Promise.all(Array.from({ length: 300 }, () => rig.inbox.deliver(news(key))));
      await rig.inbox.settled();
      await rig.run();
      await rig.inbox.play([news(key), news(key)]);
      await rig.run();
    });
    expect([looks, wakes]).toEqual([1, 2]);
    otherCard(key.payer);
    rig.pass(60 * SECOND);
    await rig.run();
    await Promise.all(Array.from({ length: 20 }, () => rig.inbox.deliver(news(key))));
    await rig.inbox.settled();
    await Promise.all([rig.run(), rig.run()]);
    expect(await states(key)).toEqual(['declined', 'charged']);
    expect(await lookAt(other)).toBeGreaterThan(20 * HOUR);
    expect((await rig.inbox.states()).parked ?? 0).toBe(0);
  });

  it('is looked at again where the news comes while it is looked at', async () => {
    const key = await suspended();
    rig.pass(HOUR);
    await rig.inbox.play([news(key)]);
    const connect = rig.connectTo();
    const late = await rig.run({
      connect: async (source) => {
        const charger = await connect(source);
        if (charger === null) return null;
        return {
          ...charger,
          async findMethod(customerId, methodId, currency) {
            const found = await charger.findMethod(customerId, methodId, currency);
            otherCard(key.payer);
            await rig.inbox.play([news(key)]);
            return found;
          },
        };
      },
    });
    expect(late.wallets).toBeGreaterThan(0);
    await rig.run();
    expect(await states(key)).toEqual(['declined', 'charged']);
  });

  it('is left alone by what nobody signed, by other accounts, sources, modes and payers, and where a payment is disputed', async () => {
    const key = await suspended();
    rig.pass(HOUR);
    otherCard(key.payer);
    const before = await lookAt(key);
    const forged = news(key);
    const headers = { ...signStripe(forged, 'whsec_another') };
    const receipt = await rig.inbox.receiver.receive(rig.source, { rawBody: Buffer.from(forged), headers });
    expect(receipt).toEqual({ kind: 'refused' });
    await rig.inbox.play([
      news(key, 'payment_method.attached', { account: 'acct_of_a_user' }),
      news(key, 'customer.updated', { livemode: true }),
      news(key, 'customer.updated', { payer: `${key.payer}_other` }),
    ]);
    await rig.inbox.play([news(key)], shop);
    await rig.inbox.play([news(key)], twin);
    expect(await lookAt(key)).toBe(before);
    const { rows } = await rig.database.pool.query(
      "select distinct state, reason from provider_event where event_type = 'customer.updated'",
    );
    expect(rows).toEqual([{ state: 'ignored', reason: null }]);
    // A platform that has told which account is the source's.
    const { merchantId, sourceId, provider, mode } = rig.source;
    const own = {
      merchantId,
      sourceId,
      provider,
      mode,
      account: 'acct_own',
      learntFrom: 'operator',
      isShared: false,
    } as const;
    await transaction(rig.database.pool, (tx) => insertAccounts(tx, [own], rig.now));
    await rig.inbox.play([news(key, 'customer.updated', { account: 'acct_own' })]);
    expect(await lookAt(key)).toBe(0);
    await rig.database.pool.query('delete from source_account');
    const disputing = await rig.begin({}, 900);
    await rig.run();
    await rig.tellPaid(disputing);
    const paymentId = rig.intentsOf(disputing)[0]?.id ?? '';
    await rig.inbox.play([stripeDispute({ paymentId, disputeId: `du_${paymentId}`, amount: 2000, currency: 'usd' })]);
    await rig.inbox.play([news(disputing)]);
    expect(await ruleOf(disputing)).toMatchObject({ suspended_reason: 'disputed' });
    rig.pass(HOUR);
    await rig.run();
    expect(rig.intentsOf(disputing)).toHaveLength(1);
  });

  it('skips no back-off of one that is not', async () => {
    const key = await rig.begin({}, 900);
    const payer = key.customerId.replace('cus_c', 'cus_s');
    const card = rig.stripe.methods.get(rig.stripe.defaults.get(payer) ?? '');
    if (card !== undefined) rig.stripe.methods.set(card.id, { ...card, says: 'insufficient_funds' });
    await rig.run();
    await rig.run();
    const before = await lookAt(key);
    expect(before).toBe(HOUR);
    otherCard(payer);
    await rig.inbox.play([news(key)]);
    expect(await lookAt(key)).toBe(before);
    await rig.run();
    expect(rig.intentsOf(key)).toHaveLength(1);
  });

  it('is woken by its merchant’s events alone', async () => {
    const key = await suspended();
    rig.pass(HOUR);
    const woken = await transaction(rig.database.pool, (tx) =>
      wakeTopUpDue(tx, 'bus_other', { keys: [{ ...key, merchantId: 'bus_other' }], now: rig.now }),
    );
    expect([woken, await lookAt(key)]).toEqual([0, 22 * HOUR]);
  });
});

it('news at a source that charges nobody is ignored as it comes', async () => {
  const key = await rig.begin({ payment: null }, 900);
  expect(await rig.inbox.deliver(news(key), shop)).toMatchObject({ kind: 'stored', state: 'ignored' });
});
