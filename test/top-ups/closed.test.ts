import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import type { ChangeStatus } from '../../src/ledger/status/status.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { requestTopUp, resumeRule } from '../../src/top-ups/manage.ts';
import { SETTINGS } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { putRefill, scheduleOf, settleDue, skipsOf } from '../support/refill-rig.ts';
import { stripeDispute, stripePayment } from '../support/signing.ts';
import { TopUpRig } from '../support/top-up-rig.ts';
import { eventually } from '../support/wait.ts';

/** The rule of a wallet that is closed ends with it, however late the wallet was to be looked at. */

const DAY = 86_400_000;
const PAYMENT = { providerCustomerId: 'cus_again', paymentMethodId: null };

let rig: TopUpRig;
beforeAll(async () => {
  rig = await TopUpRig.start();
});
afterAll(() => rig.stop());

/** In one batch. */
function set(key: WalletKey, ...statuses: ChangeStatus['status'][]) {
  const commands = statuses.map((status) => {
    return { op: 'change_status' as const, ...key, status, pauseExpiry: null, reason: 'why', actor: 'key:one' };
  });
  return transaction(rig.database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now: rig.now }));
}

const rows = async (sql: string, { customerId }: WalletKey) => (await rig.database.pool.query(sql, [customerId])).rows;
const dueAt = async (key: WalletKey): Promise<Date | undefined> =>
  (await rows('select retry_at from topup_due where customer_id = $1', key))[0]?.retry_at;
const ruleOf = async (key: WalletKey) => (await rows('select * from topup_rule where customer_id = $1', key))[0];

/** It is empty, and nothing is charged before the end of the month. */
async function blocked(): Promise<WalletKey> {
  const key = await rig.begin({ monthlyCap: 2000 });
  await rig.post(key, 200, false);
  await rig.run();
  await rig.tellPaid(key);
  await rig.post(key, 2900, false);
  rig.pass(3_600_000);
  await rig.run();
  expect((await dueAt(key))?.getTime()).toBeGreaterThan(rig.now.getTime() + DAY);
  return key;
}

it('ends where it was blocked until the end of the month, and charges nothing once the wallet is open again', async () => {
  const key = await blocked();
  expect(await set(key, 'closed')).toMatchObject([{ kind: 'status_set', wallet: { status: 'closed' } }]);
  await rig.run();
  expect(await ruleOf(key)).toMatchObject({ enabled: false, ended_at: rig.now });
  expect(await dueAt(key)).toBeUndefined();
  await set(key, 'active');
  rig.pass(32 * DAY);
  await rig.run();
  expect(await rig.attempts(key)).toHaveLength(1);
});

it('ends where it was suspended, and its provider cannot be asked', async () => {
  const key = await blocked();
  await rig.database.pool.query(
    "update topup_rule set suspended_reason = 'declined', suspended_at = $2 where customer_id = $1",
    [key.customerId, rig.now],
  );
  await set(key, 'closed');
  await rig.run({ connect: () => Promise.reject(new Error('away')) });
  expect(await ruleOf(key)).toMatchObject({ enabled: false, ended_at: rig.now });
});

it('ends also where the wallet is open again before anybody has looked, and not the one that is given after that', async () => {
  const key = await rig.begin();
  rig.pass(1000);
  await rig.post(key, 1100, false);
  await set(key, 'closed');
  await set(key, 'active');
  await rig.run();
  expect(await ruleOf(key)).toMatchObject({ enabled: false, ended_at: rig.now });
  expect(await rig.attempts(key)).toEqual([]);
  rig.pass(1000);
  await rig.putRule(key, { payment: { ...PAYMENT, sourceId: rig.source.sourceId } });
  expect(await dueAt(key)).toEqual(rig.now);
  await rig.run();
  expect(await ruleOf(key)).toMatchObject({ enabled: true, ended_at: null });
});

it('ends where one batch closes its wallet and opens it again', async () => {
  const key = await rig.begin({ threshold: 0, mode: 'target', amount: null, target: 1000 }, 0);
  expect(await dueAt(key)).toBeUndefined();
  rig.pass(1000);
  await set(key, 'closed', 'active');
  expect(await dueAt(key)).toEqual(rig.now);
  await rig.run();
  expect(await ruleOf(key)).toMatchObject({ enabled: false, ended_at: rig.now });
});

it('ends also where a payment was told of after the wallet was closed, and nobody is charged once it is open again', async () => {
  const key = await rig.begin({ payment: null }, 500);
  await rig.run();
  rig.pass(DAY);
  await rig.run();
  expect(await rig.attempts(key)).toMatchObject([{ state: 'expired' }]);
  await rig.post(key, 500, false);
  rig.pass(1000);
  expect(await set(key, 'closed')).toMatchObject([{ kind: 'status_set' }]);
  rig.pass(1000);
  const [{ topup_id: topUpId = '' } = {}] = await rig.attempts(key);
  const metadata = { wallet_customer_id: key.customerId, wallet_purpose: 'topup', wallet_topup_id: topUpId };
  await rig.inbox.play([stripePayment({ paymentId: 'pi_late', amount: 2000, currency: 'usd', metadata })]);
  expect(await rig.attempts(key)).toMatchObject([{ state: 'succeeded', is_late: true }]);
  rig.pass(1000);
  await set(key, 'active');
  await rig.post(key, 1900, false);
  await rig.run();
  expect(await ruleOf(key)).toMatchObject({ enabled: false, ended_at: rig.now });
  expect(await rig.attempts(key)).toHaveLength(1);
});

it('ends also where its payment was disputed after the wallet was closed, and no merchant lets it charge again', async () => {
  const key = await blocked();
  await set(key, 'closed');
  rig.pass(1000);
  const [paymentId = ''] = rig.intentsOf(key).map(({ id }) => id);
  await rig.inbox.play([stripeDispute({ paymentId, disputeId: `du_${paymentId}`, amount: 2000, currency: 'usd' })]);
  expect(await ruleOf(key)).toMatchObject({ suspended_reason: 'disputed', enabled: true });
  await set(key, 'active');
  const resumed = transaction(rig.database.pool, (tx) => resumeRule(tx, key, rig.now));
  await expect(resumed).rejects.toMatchObject({ refusal: { code: 'TOP_UP_RULE_NOT_FOUND' } });
  rig.pass(32 * DAY);
  await rig.run();
  expect(await ruleOf(key)).toMatchObject({ enabled: false, ended_at: rig.now });
  expect(await rig.attempts(key)).toHaveLength(1);
});

it('that is given once the wallet is open again, before anybody has looked, begins anew, and charges for no period of before', async () => {
  const key = await rig.begin();
  await rig.database.pool.query(
    "update topup_rule set suspended_reason = 'disputed', suspended_at = $2 where customer_id = $1",
    [key.customerId, rig.now],
  );
  await putRefill(rig, key);
  await settleDue(rig);
  expect(await scheduleOf(rig, key)).toMatchObject({ refill_state: 'due' });
  await rig.post(key, 1100, false);
  rig.pass(1000);
  await set(key, 'closed');
  await set(key, 'active');
  rig.pass(1000);
  await rig.putRule(key, { payment: { ...PAYMENT, sourceId: rig.source.sourceId }, threshold: 0 });
  expect(await ruleOf(key)).toMatchObject({ enabled: true, suspended_reason: null, created_at: rig.now });
  expect(await skipsOf(rig, key)).toEqual([['no_top_up_rule', 0, 0]]);
  await rig.run();
  expect(await rig.attempts(key)).toEqual([]);
});

it.each([
  ['and opened again', ['closed', 'active'], 'begins anew as well'],
  ['', ['closed'], 'is refused'],
] as const)('that is given while the wallet is being closed %s%s', async (_case, statuses, _becomes) => {
  const { pool } = rig.database;
  const key = await rig.begin({}, 0);
  await pool.query("update topup_rule set suspended_reason = 'disputed', suspended_at = $2 where customer_id = $1", [
    key.customerId,
    rig.now,
  ]);
  rig.pass(1000);
  const change = { op: 'change_status' as const, ...key, pauseExpiry: null, reason: 'why', actor: 'key:one' };
  const [isLocked, mayCommit] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  onTestFinished(() => mayCommit.resolve());
  const commands = statuses.map((status) => ({ ...change, status }));
  const closing = transaction(pool, async (tx) => {
    const now = rig.now;
    const results = await postBatch(tx, commands, { ...SETTINGS, now });
    expect(results.map(({ kind }) => kind)).toEqual(statuses.map(() => 'status_set'));
    isLocked.resolve();
    await mayCommit.promise;
  });
  await isLocked.promise;
  rig.pass(1000);
  const given = rig.putRule(key, { payment: { ...PAYMENT, sourceId: rig.source.sourceId }, threshold: 0 }).then(
    () => 'given',
    ({ refusal }) => refusal,
  );
  await eventually('the rule to wait for the wallet', async () => (await waitingForLocks(pool)) > 0);
  mayCommit.resolve();
  await closing;
  if (statuses.length === 2) {
    expect(await given).toBe('given');
    expect(await ruleOf(key)).toMatchObject({ enabled: true, suspended_reason: null, created_at: rig.now });
  } else {
    expect(await given).toEqual({ code: 'WALLET_CLOSED', currency: key.currency });
    await rig.run();
    expect(await ruleOf(key)).toMatchObject({ enabled: false, ended_at: rig.now });
  }
});

it('of a wallet that is closed already is refused, as is a payment that the customer is to make, and its rule ends all the same', async () => {
  const key = await rig.begin({}, 0);
  const asked = (idempotencyKey: string) => ({ ...key, amount: 500, idempotencyKey, session: null });
  const moment = () => ({ currencies: SETTINGS.currencies, now: rig.now });
  const request = (name: string) => transaction(rig.database.pool, (tx) => requestTopUp(tx, asked(name), moment()));
  const before = await request('before');
  await rig.database.pool.query(
    "update topup set state = 'expired', look_at = null, settled_at = $2 where topup_id = $1",
    [before.topUp.topUpId, rig.now],
  );
  rig.pass(1000);
  expect(await set(key, 'closed')).toMatchObject([{ kind: 'status_set' }]);
  const refused = { refusal: { code: 'WALLET_CLOSED', currency: key.currency } };
  for (const enabled of [true, false])
    await expect(rig.putRule(key, { enabled, payment: null })).rejects.toMatchObject(refused);
  await expect(request('after')).rejects.toMatchObject(refused);
  // One that was asked for before is answered as it was.
  expect(await request('before')).toMatchObject({ isRepeated: true, topUp: { topUpId: before.topUp.topUpId } });
  await rig.run();
  expect(await ruleOf(key)).toMatchObject({ enabled: false, ended_at: rig.now });
  await set(key, 'active');
  rig.pass(1000);
  await rig.putRule(key, { payment: null });
  expect(await ruleOf(key)).toMatchObject({ enabled: true, created_at: rig.now, ended_at: null });
});
