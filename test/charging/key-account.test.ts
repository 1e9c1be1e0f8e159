import { afterEach, describe, expect, it } from 'vitest';
import { judgeKey, type KeyEvidence } from '../../src/charging/key-account.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { StripeCharging } from '../support/stripe-charging.ts';
import { CHARGE_KEY, type RigOptions, TopUpRig } from '../support/top-up-rig.ts';

describe('whether a key charges at the account of its source', () => {
  const nothing: KeyEvidence = { mode: 'live', keyAccount: null, sourceAccounts: [], findsPayment: null };
  it.each<[string, Partial<KeyEvidence>]>([
    ['same', { keyAccount: 'acct_a', sourceAccounts: ['acct_b', 'acct_a'] }],
    ['other', { keyAccount: 'acct_a', sourceAccounts: ['acct_b'] }],
    ['other', { keyAccount: 'acct_a', sourceAccounts: ['acct_b'], findsPayment: true }],
    ['same', { keyAccount: 'acct_a', sourceAccounts: ['acct_a'], findsPayment: false }],
    ['same', { sourceAccounts: ['acct_a'], findsPayment: true }],
    ['other', { sourceAccounts: ['acct_a'], findsPayment: false }],
    ['unproven', { mode: 'test', findsPayment: false }],
    ['same', { mode: 'test', findsPayment: true }],
    ['unproven', { sourceAccounts: ['acct_a'] }],
    ['unproven', { keyAccount: 'acct_a' }],
    ['unproven', {}],
  ])('is %s by %j', (verdict, evidence) => {
    expect(judgeKey({ ...nothing, ...evidence })).toBe(verdict);
  });
});

describe('a wallet is filled up', () => {
  let rig: TopUpRig;
  afterEach(() => rig.stop());

  async function start(options: RigOptions = {}): Promise<TopUpRig> {
    rig = await TopUpRig.start(options);
    return rig;
  }

  it('by no key of another account than that of its source, which is told in the log', async () => {
    await start({ source: { apiKey: null } });
    await rig.database.pool.query(
      `insert into source_account (provider, mode, account, merchant_id, source_id, learnt_from, is_shared, created_at)
       values ('stripe', 'test', 'acct_events', $1, $2, 'operator', false, now())`,
      [rig.source.merchantId, rig.source.sourceId],
    );
    const key = await rig.begin({}, 900);
    await rig.run();
    expect(await rig.attempts(key)).toEqual([]);
    expect(rig.stripe.intents).toEqual([]);
    expect(rig.logged.join('\n')).toContain('opens another account');
    rig.stripe.account = 'acct_events';
    rig.pass(60_000);
    await rig.run();
    expect(await rig.attempts(key)).toMatchObject([{ state: 'charged' }]);
  });

  it('by a key whose account the API key of its source says to be the same', async () => {
    await start();
    const keys = [await rig.begin({}, 900), await rig.begin({}, 900)];
    await rig.run();
    for (const key of keys) expect(await rig.attempts(key)).toMatchObject([{ state: 'charged' }]);
  });

  it('one at a time until an event has come, where nobody knows whose account the key opens', async () => {
    await start({ source: { apiKey: null } });
    rig.stripe.account = null;
    const keys = [await rig.begin({}, 900), await rig.begin({}, 900), await rig.begin({}, 900)];
    const charged = async () =>
      (await Promise.all(keys.map((key) => rig.attempts(key)))).filter((one) => one.length > 0);
    await rig.run();
    rig.pass(60_000);
    await rig.run();
    expect(await charged()).toHaveLength(1);
    expect(rig.stripe.intents).toHaveLength(1);
    const [first] = rig.stripe.intents;
    const customerId = first?.metadata.wallet_customer_id ?? '';
    const key = keys.find((one) => one.customerId === customerId);
    if (key === undefined) throw new Error('somebody else was charged');
    await rig.tellPaid(key);
    rig.pass(60_000);
    await rig.run();
    expect(await charged()).toHaveLength(3);
  });

  it('asks for no charge again by a key of another account that was set meanwhile', async () => {
    await start();
    const key = await rig.begin({}, 900);
    rig.stripe.plays.push('limited');
    await rig.run();
    expect(await rig.attempts(key)).toMatchObject([{ state: 'unknown' }]);
    const elsewhere = new StripeCharging(CHARGE_KEY);
    elsewhere.account = 'acct_elsewhere';
    elsewhere.addMethod({ id: 'pm_1', customerId: 'cus_s1', fingerprint: null });
    const url = await elsewhere.start();
    rig.pass(60_000);
    await rig.run({ connect: rig.connectTo(url) });
    expect(elsewhere.intents).toEqual([]);
    expect(await rig.attempts(key)).toMatchObject([{ state: 'unknown' }]);
    await elsewhere.stop();
  });

  it('not at all while its provider does not say whose account the key opens', async () => {
    await start({ source: { chargeKey: new Secret(CHARGE_KEY) } });
    const key = await rig.begin({}, 900);
    await rig.stripe.stop();
    await rig.run();
    expect(await rig.attempts(key)).toEqual([]);
    await rig.stripe.start();
    rig.pass(60_000);
    await rig.run();
    expect(await rig.attempts(key)).toMatchObject([{ state: 'charged' }]);
  });
});
