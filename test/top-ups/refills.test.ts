import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { autocommit, Tx, transaction } from '../../src/db/transaction.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { lockWallets, postBatch } from '../../src/ledger/store.ts';
import { setTopUpDue } from '../../src/ledger/top-up-due.ts';
import { afterPeriods, duePeriods } from '../../src/schedules/grant-schedule.ts';
import { getSchedule } from '../../src/schedules/grant-store.ts';
import { DUE_GRANTS } from '../../src/schedules/post-grants.ts';
import { deleteRule, failTopUp, requestTopUp, resumeRule } from '../../src/top-ups/manage.ts';
import { standingOfSchedules } from '../../src/top-ups/refills.ts';
import type { TopUpTerms } from '../../src/top-ups/rule.ts';
import { scanForTopUps } from '../../src/top-ups/scan.ts';
import { dyingAfter } from '../support/dying-pool.ts';
import { SETTINGS } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { deleteRefill, putRefill, scheduleOf, settleDue, skipsOf, workRefills } from '../support/refill-rig.ts';
import { drawnPoints } from '../support/rounds.ts';
import { stripePayment } from '../support/signing.ts';
import { TopUpRig } from '../support/top-up-rig.ts';
import { eventually } from '../support/wait.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let rig: TopUpRig;
beforeAll(async () => {
  rig = await TopUpRig.start();
});
afterAll(async () => {
  const { disagreements } = await audit(autocommit(rig.database.pool));
  expect(disagreements.filter(({ rule }) => rule.startsWith('11'))).toEqual([]);
  await rig.stop();
});

const work = () => workRefills(rig);
const at = (text: string) => {
  rig.now = new Date(text);
};
/** A wallet with enough, so that only its schedule has it charged. */
const begin = (terms: Partial<TopUpTerms> = {}) => rig.begin(terms, 5000);
const put = (key: WalletKey, more: Parameters<typeof putRefill>[2] = {}) => putRefill(rig, key, more);
const amounts = async (key: WalletKey) => (await rig.attempts(key)).map(({ state, amount }) => [state, amount]);
const kinds = async (key: WalletKey) => (await rig.told(key)).map(({ type }) => type);
const tried = async (key: WalletKey) => (await rig.attempts(key)).length;

/** One that has no other. */
async function ruleTerms(key: WalletKey, terms: Partial<TopUpTerms>): Promise<void> {
  const providerCustomerId = key.customerId.replace('cus_c', 'cus_s');
  await rig.putRule(key, {
    payment: { sourceId: rig.source.sourceId, providerCustomerId, paymentMethodId: null },
    ...terms,
  });
}

async function setStatus({ customerId }: WalletKey, status: string): Promise<void> {
  await rig.database.pool.query('update wallet set status = $2 where customer_id = $1', [customerId, status]);
}

describe('a schedule that charges', () => {
  it('charges at each period once, by the month of its zone, and credits by the payment’s event alone', async () => {
    at('2026-01-15T12:00:00Z');
    const key = await begin();
    const start = { anchorAt: new Date('2026-01-30T23:00:00Z'), timeZone: 'Europe/Berlin' };
    await put(key, start);
    const due = ['2026-01-30T23:00', '2026-02-27T23:00', '2026-03-30T22:00', '2026-04-29T22:00'];
    for (const [index, one] of due.entries()) {
      rig.now = new Date(Date.parse(`${one}:00Z`) - 1);
      await work();
      expect(await tried(key)).toBe(index);
      rig.pass(1);
      await Promise.all([work(), work()]);
      await work();
      expect((await rig.attempts(key)).map(({ state, origin, amount }) => [state, origin, amount])).toEqual([
        ...Array.from({ length: index }, () => ['succeeded', 'schedule', 2000]),
        ['charged', 'schedule', 2000],
      ]);
      expect(rig.intentsOf(key)).toHaveLength(index + 1);
      expect(await rig.inbox.balance(key.customerId)).toBe(5000 + 2000 * index);
      await rig.tellPaid(key);
      await rig.tellPaid(key);
      expect(await rig.inbox.balance(key.customerId)).toBe(7000 + 2000 * index);
      await work();
      expect(await scheduleOf(rig, key)).toMatchObject({ refill_state: 'done', refill_period: index, done: index + 1 });
    }
    expect(await skipsOf(rig, key)).toEqual([]);
    expect(await kinds(key)).toEqual(due.map(() => 'topup.succeeded'));
  });

  it('charges for the newest of the periods that were missed, and tells of the others', async () => {
    const key = await begin();
    await put(key, { every: 'week' });
    rig.pass(60 * DAY);
    await work();
    expect(await amounts(key)).toEqual([['charged', 2000]]);
    expect(await skipsOf(rig, key)).toEqual([['superseded', 0, 7]]);
    expect(await scheduleOf(rig, key)).toMatchObject({ refill_period: 8, done: 9 });
    await rig.tellPaid(key);
    rig.pass(7 * DAY);
    await work();
    expect(await amounts(key)).toEqual([
      ['succeeded', 2000],
      ['charged', 2000],
    ]);
  });

  it('charges for no period that was due more than 31 days ago', async () => {
    const key = await begin();
    await put(key, { every: 'year' });
    rig.pass(40 * DAY);
    await work();
    expect(await tried(key)).toBe(0);
    expect(await skipsOf(rig, key)).toEqual([['too_old', 0, 0]]);
    expect(await scheduleOf(rig, key)).toMatchObject({ refill_state: 'skipped', done: 1 });
  });

  it('counts nothing as its payment that was asked for under a key which reads like that of the period, before or after', async () => {
    const key = await begin();
    const ask = (idempotencyKey: string, amount = 2000) => {
      const request = { ...key, amount, idempotencyKey, session: null };
      const moment = { currencies: SETTINGS.currencies, now: rig.now };
      return transaction(rig.database.pool, (tx) => requestTopUp(tx, request, moment));
    };
    const periodKey = 'grant_USD_monthly_1_0';
    const { topUp } = await ask(periodKey);
    const metadata = { wallet_customer_id: key.customerId, wallet_topup_id: topUp.topUpId };
    const paymentId = `pi_own_${key.customerId}`;
    await rig.inbox.play([stripePayment({ paymentId, amount: 2000, currency: 'usd', metadata })]);
    await put(key);
    await work();
    const made = async () => (await rig.attempts(key)).map(({ origin, state }) => [origin, state]);
    const both = [
      ['manual', 'succeeded'],
      ['schedule', 'charged'],
    ];
    expect((await made()).toSorted()).toEqual(both);
    await rig.tellPaid(key);
    await work();
    expect(await scheduleOf(rig, key)).toMatchObject({ refill_state: 'done', refill_period: 0, done: 1 });
    expect(await rig.inbox.balance(key.customerId)).toBe(9000);
    // It stays known under its key, and the keys of periods are free for others.
    expect((await ask(periodKey)).topUp.topUpId).toBe(topUp.topUpId);
    rig.pass(31 * DAY);
    await work();
    await rig.tellPaid(key);
    const later = await ask('grant_USD_monthly_1_1', 700);
    expect(later).toMatchObject({ isRepeated: false, topUp: { origin: 'manual', state: 'requested', amount: 700 } });
    await expect(ask('grant_USD_monthly_1_1', 701)).rejects.toMatchObject({
      refusal: { code: 'IDEMPOTENCY_KEY_REUSED' },
    });
  });

  it('tells what its last refill came to', async () => {
    const key = await begin();
    await put(key);
    const standing = async () => {
      const schedule = await getSchedule(autocommit(rig.database.pool), { ...key, scheduleId: 'monthly' });
      const [one] = await standingOfSchedules(autocommit(rig.database.pool), schedule === null ? [] : [schedule]);
      return [one?.schedule.refillState ?? null, one?.topUp?.state ?? null];
    };
    expect(await standing()).toEqual([null, null]);
    await settleDue(rig);
    expect(await standing()).toEqual(['due', null]);
    await rig.run();
    expect(await standing()).toEqual(['tried', 'charged']);
    await rig.tellPaid(key);
    await rig.run();
    expect(await standing()).toEqual(['done', 'succeeded']);
  });

  it('is charged with what it was when it fell due; a change counts from the next period', async () => {
    const key = await begin();
    await put(key, { every: 'day' });
    rig.pass(HOUR);
    await put(key, { every: 'day', amountMinor: 700 });
    await work();
    expect(await amounts(key)).toEqual([['charged', 2000]]);
    await rig.tellPaid(key);
    rig.pass(DAY);
    await work();
    expect((await amounts(key)).at(-1)).toEqual(['charged', 700]);
  });

  it('comes before a balance that is low, which is filled up after the interval', async () => {
    const key = await begin();
    await put(key);
    await rig.post(key, 4500, false);
    await work();
    expect((await rig.attempts(key)).map(({ origin }) => origin)).toEqual(['schedule']);
    await rig.tellPaid(key);
    await rig.post(key, 2000, false);
    await work();
    expect(await tried(key)).toBe(1);
    rig.pass(10 * MINUTE);
    await work();
    expect((await rig.attempts(key)).map(({ origin }) => origin)).toEqual(['schedule', 'threshold']);
  });

  it('is one attempt with that of another schedule, each after the interval', async () => {
    const key = await begin();
    await put(key);
    await put(key, { scheduleId: 'other', amountMinor: 300 });
    await work();
    await work();
    expect(await tried(key)).toBe(1);
    await rig.tellPaid(key);
    await work();
    expect(await tried(key)).toBe(1);
    rig.pass(10 * MINUTE);
    await work();
    expect((await amounts(key)).map(([, amount]) => amount).sort()).toEqual([2000, 300]);
  });

  it('is asked for by an event where the merchant charges, and again an hour after a day without an answer, three times', async () => {
    const key = await begin({ payment: null });
    await put(key);
    await work();
    const [asked] = await rig.told(key);
    expect(asked).toMatchObject({ type: 'topup.requested', data: { origin: 'schedule', amount: 2000 } });
    const nexts: unknown[] = [];
    for (const attempt of [1, 2, 3]) {
      expect(await tried(key)).toBe(attempt);
      rig.pass(DAY);
      await work();
      const failed = (await rig.told(key)).filter(({ type }) => type === 'topup.failed').at(-1);
      nexts.push(failed?.data.next_attempt_at ?? null);
      rig.pass(HOUR);
      await work();
    }
    expect(nexts.map((next) => next === null)).toEqual([false, false, true]);
    rig.pass(2 * DAY);
    await work();
    expect(await tried(key)).toBe(3);
    expect(await scheduleOf(rig, key)).toMatchObject({ refill_state: 'done' });
  });

  it('is not asked for again where what had ended was paid late', async () => {
    const key = await begin({ payment: null });
    await put(key);
    await work();
    rig.pass(DAY);
    await work();
    const [first] = await rig.attempts(key);
    const metadata = {
      wallet_customer_id: key.customerId,
      wallet_purpose: 'topup',
      wallet_topup_id: first?.topup_id ?? '',
    };
    await rig.inbox.play([stripePayment({ paymentId: 'pi_late', amount: 2000, currency: 'usd', metadata })]);
    rig.pass(2 * HOUR);
    await work();
    expect(await amounts(key)).toEqual([['succeeded', 2000]]);
    expect(await scheduleOf(rig, key)).toMatchObject({ refill_state: 'done' });
  });
});

/** What the bank of the customer's card says from now on. */
function say({ customerId }: WalletKey, says: string): void {
  const card = rig.stripe.methods.get(customerId.replace('cus_c', 'pm_'));
  if (card === undefined) throw new Error('the customer has no card');
  card.says = says;
}

describe('the event of a refill', () => {
  it('before the answer of the charge, and twice, credits once', async () => {
    const key = await begin();
    await put(key);
    rig.stripe.plays.push(async () => {
      await rig.tellPaid(key);
      await rig.tellPaid(key);
    });
    await work();
    expect(await amounts(key)).toEqual([['succeeded', 2000]]);
    await work();
    expect(await rig.inbox.balance(key.customerId)).toBe(7000);
    expect(await scheduleOf(rig, key)).toMatchObject({ refill_state: 'done' });
  });

  it('after the schedule was deleted and made anew, is of the old one and keeps the new one from nothing', async () => {
    const key = await begin();
    await put(key);
    await work();
    await deleteRefill(rig, key);
    await put(key, { amountMinor: 700 });
    await rig.tellPaid(key);
    rig.pass(10 * MINUTE);
    await work();
    expect(await amounts(key)).toEqual([
      ['succeeded', 2000],
      ['charged', 700],
    ]);
  });
});

describe('declines of a refill', () => {
  it('are tried again after an hour and six, and then suspend the rule; nothing more is tried for the period', async () => {
    const key = await begin();
    await put(key);
    say(key, 'insufficient_funds');
    await work();
    expect(await tried(key)).toBe(1);
    rig.pass(HOUR - 1000);
    await work();
    expect(await tried(key)).toBe(1);
    rig.pass(1000);
    await work();
    expect(await tried(key)).toBe(2);
    rig.pass(6 * HOUR);
    await work();
    expect(await amounts(key)).toEqual(Array.from({ length: 3 }, () => ['declined', 2000]));
    expect(await kinds(key)).toEqual(['topup.failed', 'topup.failed', 'topup.failed', 'topup.suspended']);
    await transaction(rig.database.pool, (tx) => resumeRule(tx, key, rig.now));
    rig.pass(DAY);
    await work();
    expect(await tried(key)).toBe(3);
    say(key, 'yes');
    rig.pass(31 * DAY);
    await work();
    expect(await tried(key)).toBe(4);
  });

  it('that are hard suspend at once; once the rule is resumed, the period is tried again', async () => {
    const key = await begin();
    await put(key);
    say(key, 'expired_card');
    await work();
    say(key, 'yes');
    rig.pass(HOUR);
    await work();
    expect(await amounts(key)).toEqual([['declined', 2000]]);
    await transaction(rig.database.pool, (tx) => resumeRule(tx, key, rig.now));
    await work();
    expect(await amounts(key)).toEqual([
      ['declined', 2000],
      ['charged', 2000],
    ]);
  });
});

describe('the rule of the wallet', () => {
  it('bounds what its schedules charge in a month: told once, and charged on the 1st in its zone', async () => {
    at('2026-05-20T12:00:00Z');
    const key = await begin({ monthlyCap: 3000, timeZone: 'America/New_York' });
    await put(key, { every: 'week' });
    await work();
    await rig.tellPaid(key);
    rig.pass(7 * DAY);
    await work();
    rig.pass(DAY);
    await work();
    expect((await kinds(key)).filter((type) => type === 'topup.blocked')).toHaveLength(1);
    expect(await tried(key)).toBe(1);
    at('2026-06-01T03:59:59Z');
    await work();
    expect(await tried(key)).toBe(1);
    at('2026-06-01T04:00:00Z');
    await work();
    expect(await amounts(key)).toEqual([
      ['succeeded', 2000],
      ['charged', 2000],
    ]);
  });

  it('counts what schedules charged against the cap of a balance that is low, and the reverse', async () => {
    const key = await begin({ monthlyCap: 3000 });
    await put(key);
    await work();
    await rig.tellPaid(key);
    await rig.post(key, 6500, false);
    rig.pass(HOUR);
    await work();
    expect(await amounts(key)).toEqual([['succeeded', 2000]]);
    expect(await kinds(key)).toContain('topup.blocked');
  });

  it('fills a low balance up while a refill is blocked by the cap', async () => {
    const key = await begin({ monthlyCap: 4000, maxPerDay: 10 });
    await put(key, { amountMinor: 3000 });
    await work();
    await rig.tellPaid(key);
    rig.pass(HOUR);
    await put(key, { scheduleId: 'large', amountMinor: 1500, anchorAt: new Date(rig.now.getTime() + HOUR) });
    await ruleTerms(key, { amount: 500, maxCharge: 500, monthlyCap: 4000 });
    await rig.post(key, 7500, false);
    rig.pass(2 * HOUR);
    await work();
    expect((await rig.attempts(key)).map(({ origin, amount }) => [origin, amount])).toEqual([
      ['schedule', 3000],
      ['threshold', 500],
    ]);
  });

  it('fills a balance up that became low only after a refill was blocked, within minutes', async () => {
    const key = await begin({ monthlyCap: 4000, amount: 500, maxCharge: 500 });
    await put(key, { amountMinor: 3000 });
    await work();
    await rig.tellPaid(key);
    await put(key, { scheduleId: 'large', amountMinor: 1500, anchorAt: new Date(rig.now.getTime() + HOUR) });
    rig.pass(2 * HOUR);
    await work();
    expect(await kinds(key)).toContain('topup.blocked');
    await rig.post(key, 7500, false);
    rig.pass(5 * MINUTE);
    await work();
    expect((await rig.attempts(key)).map(({ origin, amount }) => [origin, amount])).toEqual([
      ['schedule', 3000],
      ['threshold', 500],
    ]);
  });

  it('lets a refill wait no longer where its cap is raised', async () => {
    const key = await begin({ monthlyCap: 3000 });
    await put(key);
    await work();
    await rig.tellPaid(key);
    await put(key, { scheduleId: 'other', anchorAt: new Date(rig.now.getTime() + HOUR) });
    rig.pass(2 * HOUR);
    await work();
    expect(await tried(key)).toBe(1);
    await ruleTerms(key, { monthlyCap: 5000 });
    await work();
    expect(await tried(key)).toBe(2);
  });

  it('charges nothing less than the provider’s minimum, and tells of it', async () => {
    const key = await begin();
    await put(key, { amountMinor: 30 });
    await work();
    expect(await tried(key)).toBe(0);
    expect(await kinds(key)).toEqual(['topup.blocked']);
  });

  it.each([
    ['deleted', (key: WalletKey) => transaction(rig.database.pool, (tx) => deleteRule(tx, key, rig.now))],
    ['disabled', (key: WalletKey) => ruleTerms(key, { enabled: false })],
  ])('that is %s ends what is due, which is not charged when it is there again', async (_, stop) => {
    const key = await begin();
    await put(key, { every: 'day' });
    await settleDue(rig);
    await stop(key);
    expect(await skipsOf(rig, key)).toEqual([['no_top_up_rule', 0, 0]]);
    rig.pass(DAY);
    await work();
    expect(await skipsOf(rig, key)).toEqual([
      ['no_top_up_rule', 0, 0],
      ['no_top_up_rule', 1, 1],
    ]);
    await ruleTerms(key, {});
    await work();
    expect(await tried(key)).toBe(0);
    rig.pass(DAY);
    await work();
    expect(await amounts(key)).toEqual([['charged', 2000]]);
  });

  it('does not charge a frozen wallet, but afterwards, unless that is more than 31 days', async () => {
    const key = await begin();
    await put(key, { every: 'year' });
    await setStatus(key, 'frozen');
    await work();
    rig.pass(30 * DAY);
    await work();
    expect(await tried(key)).toBe(0);
    await setStatus(key, 'active');
    rig.pass(5 * MINUTE);
    await work();
    expect(await tried(key)).toBe(1);
    const other = await begin();
    await put(other, { every: 'year' });
    await setStatus(other, 'frozen');
    await work();
    rig.pass(32 * DAY);
    await setStatus(other, 'active');
    await work();
    expect(await tried(other)).toBe(0);
    expect(await skipsOf(rig, other)).toEqual([['too_old', 0, 0]]);
  });

  it('of a closed wallet is over, and its next period ends the schedule', async () => {
    const key = await begin();
    await put(key, { every: 'day' });
    await settleDue(rig);
    await rig.post(key, 5000, false);
    await setStatus(key, 'closed');
    await rig.run();
    expect(await skipsOf(rig, key)).toEqual([['no_top_up_rule', 0, 0]]);
    rig.pass(DAY);
    await work();
    expect(await skipsOf(rig, key)).toEqual([
      ['no_top_up_rule', 0, 0],
      ['WALLET_CLOSED', 1, 1],
    ]);
    expect(await scheduleOf(rig, key)).toMatchObject({ next_at: null, ended_at: rig.now });
    expect(await tried(key)).toBe(0);
    await setStatus(key, 'active');
    rig.pass(5 * DAY);
    await work();
    expect(await tried(key)).toBe(0);
  });
});

describe('a process of a release that knows of no schedule that charges', () => {
  /** As it settles what is due: it sees a schedule that gives, and writes nothing of what is to be paid. */
  const settleAsBefore = (key: WalletKey) =>
    transaction(rig.database.pool, async (tx) => {
      const schedule = await getSchedule(tx, { ...key, scheduleId: 'monthly' });
      if (schedule === null) throw new Error('no schedule');
      const due = duePeriods(schedule, rig.now);
      const postings = due.flatMap((one) => ('posting' in one ? [one.posting] : []));
      const results = await postBatch(tx, postings, { ...SETTINGS, now: rig.now });
      const { done, nextAt } = afterPeriods(schedule, due, { results, now: rig.now }).schedule;
      await tx.query('update grant_schedule set done = $2, next_at = $3 where customer_id = $1', [
        ...[key.customerId, done, nextAt],
      ]);
    });

  it('gives nothing for it, and what is due is charged by those that know', async () => {
    const key = await begin();
    await put(key, { every: 'day' });
    await expect(settleAsBefore(key)).rejects.toMatchObject({ code: '23514' });
    await work();
    expect(await amounts(key)).toEqual([['charged', 2000]]);
    rig.pass(3 * DAY);
    await expect(settleAsBefore(key)).rejects.toMatchObject({ code: '23514' });
    expect(await rig.inbox.balance(key.customerId)).toBe(5000);
    await rig.tellPaid(key);
    await work();
    expect(await amounts(key)).toEqual([
      ['succeeded', 2000],
      ['charged', 2000],
    ]);
  });
});

describe('what is due and not charged yet', () => {
  it.each([
    ['a pause', (key: WalletKey) => put(key, { every: 'day', paused: true })],
    ['a change to credit that is given', (key: WalletKey) => put(key, { every: 'day', charge: false })],
    ['the end of the schedule', (key: WalletKey) => deleteRefill(rig, key)],
  ])('is called off by %s, noted or not', async (_, stop) => {
    for (const isNoted of [true, false]) {
      const key = await begin();
      await put(key, { every: 'day' });
      if (isNoted) await settleDue(rig);
      await stop(key);
      await stop(key);
      await work();
      expect(await tried(key)).toBe(0);
      expect(await skipsOf(rig, key)).toEqual([['called_off', 0, 0]]);
      expect(await rig.inbox.balance(key.customerId)).toBe(5000);
    }
  });

  it('goes on where it was begun, and is not asked for again where its answer is missing', async () => {
    const key = await begin();
    await put(key);
    rig.stripe.plays.push('lost');
    await work();
    expect(await amounts(key)).toEqual([['unknown', 2000]]);
    await deleteRefill(rig, key);
    const asked = rig.stripe.keys.length;
    for (let minutes = 0; minutes < 15; minutes += 1) {
      rig.pass(MINUTE);
      await work();
    }
    expect(rig.stripe.keys).toHaveLength(asked);
    expect(await tried(key)).toBe(1);
  });

  it('is asked for under the same key while its schedule goes on', async () => {
    const key = await begin();
    await put(key);
    rig.stripe.plays.push('lost');
    await work();
    rig.pass(MINUTE);
    await work();
    expect(await amounts(key)).toEqual([['charged', 2000]]);
    expect(rig.intentsOf(key)).toHaveLength(1);
  });

  it('is another one of a schedule that is made anew', async () => {
    const key = await begin();
    await put(key, { every: 'day' });
    await work();
    await rig.tellPaid(key);
    await deleteRefill(rig, key);
    rig.pass(HOUR);
    await put(key, { every: 'day', anchorAt: rig.now });
    await work();
    const { rows } = await rig.database.pool.query(
      'select idempotency_key from topup where customer_id = $1 order by created_at',
      [key.customerId],
    );
    expect(rows.map((row) => row.idempotency_key)).toEqual(['grant_USD_monthly_1_0', 'grant_USD_monthly_2_0']);
  });

  it('is found by the scan where the list has lost it', async () => {
    const key = await begin();
    await put(key);
    await settleDue(rig);
    await rig.database.pool.query('delete from topup_due where customer_id = $1', [key.customerId]);
    await rig.run();
    expect(await tried(key)).toBe(0);
    await scanForTopUps(rig.services());
    await rig.run();
    expect(await tried(key)).toBe(1);
  });

  it('declined by the merchant who charges, is asked for again', async () => {
    const key = await begin({ payment: null });
    await put(key);
    await work();
    const [{ topup_id: topUpId = '' } = {}] = await rig.attempts(key);
    const failure = { declineCode: 'do_not_honor', isHard: false, now: rig.now };
    await transaction(rig.database.pool, (tx) => failTopUp(tx, { ...key, topUpId }, failure));
    rig.pass(HOUR);
    await work();
    expect(await amounts(key)).toEqual([
      ['declined', 2000],
      ['requested', 2000],
    ]);
  });
});

describe('a schedule that charges is refused', () => {
  const refusal = (work: Promise<unknown>) =>
    work.then(
      () => null,
      (error) => error.refusal,
    );

  it('without a rule, or with one that is not enabled, unless it is paused', async () => {
    const key = await begin();
    await ruleTerms(key, { enabled: false });
    expect(await refusal(put(key))).toMatchObject({ code: 'INVALID_FIELD', field: 'charge' });
    await transaction(rig.database.pool, (tx) => deleteRule(tx, key, rig.now));
    expect(await refusal(put(key))).toMatchObject({ code: 'INVALID_FIELD', field: 'charge' });
    expect(await scheduleOf(rig, key)).toBeUndefined();
    expect(await refusal(put(key, { paused: true }))).toBeNull();
    expect(await refusal(put(key))).toMatchObject({ code: 'INVALID_FIELD', field: 'charge' });
  });

  it('beyond the cap: at all, or of what is left where it is due at once', async () => {
    const key = await begin({ monthlyCap: 3000 });
    const much = { amountMinor: 3001, anchorAt: new Date(rig.now.getTime() + DAY) };
    expect(await refusal(put(key, much))).toEqual({
      ...{ code: 'MONTHLY_CAP_REACHED', amount: 3001, monthlyCap: 3000, used: 0 },
    });
    await put(key);
    await work();
    await rig.tellPaid(key);
    expect(await refusal(put(key, { scheduleId: 'other' }))).toEqual({
      ...{ code: 'MONTHLY_CAP_REACHED', amount: 2000, monthlyCap: 3000, used: 2000 },
    });
    expect(await refusal(put(key, { scheduleId: 'other', anchorAt: much.anchorAt }))).toBeNull();
    // Asked again, it charges nothing at once.
    expect(await refusal(put(key))).toBeNull();
  });
});

function someoneToWait(): Promise<unknown> {
  return eventually('a session to wait for a lock', async () => (await waitingForLocks(rig.database.pool)) > 0);
}

describe('workers that settle and charge', () => {
  it('are two, and many wallets are due: one attempt each, of one payment each', async () => {
    const keys = [];
    for (let index = 0; index < 30; index += 1) {
      const key = await begin();
      await put(key);
      keys.push(key);
    }
    await Promise.all([work(), work(), work()]);
    await work();
    for (const key of keys) {
      expect(await tried(key)).toBe(1);
      expect(rig.intentsOf(key)).toHaveLength(1);
    }
  });

  it('killed at any statement: the period is charged once, and credited once, however its event comes', async () => {
    const { first, step } = drawnPoints(4);
    for (let statements = first - 1, isDead = true; isDead; statements += step) {
      const key = await begin();
      await put(key);
      const victim = dyingAfter(rig.database.pool, statements);
      await workRefills(rig, { pool: victim.pool }).catch(() => {});
      isDead = victim.isDead();
      expect(statements).toBeLessThan(150);
      for (let minutes = 0; minutes < 3; minutes += 1) {
        rig.pass(MINUTE + 1000);
        await work();
      }
      // What could not be settled was put off.
      rig.pass(10 * MINUTE);
      await work();
      expect(await amounts(key), `killed at statement ${statements}`).toEqual([['charged', 2000]]);
      expect(rig.intentsOf(key)).toHaveLength(1);
      await rig.tellPaid(key);
      await rig.tellPaid(key);
      await work();
      expect(await rig.inbox.balance(key.customerId)).toBe(7000);
      expect(await scheduleOf(rig, key)).toMatchObject({ refill_state: 'done', done: 1 });
      expect(await skipsOf(rig, key)).toEqual([]);
    }
  }, 240_000);

  it('leave a wallet on the list whose period falls due while it is looked at', async () => {
    const key = await begin();
    await put(key, { anchorAt: new Date(rig.now.getTime() + MINUTE) });
    await transaction(rig.database.pool, (tx) => setTopUpDue(tx, [{ ...key, since: rig.now, retryAt: rig.now }]));
    rig.pass(MINUTE);
    const { merchantId, customerId, currency } = key;
    const keys = [{ customerId, currency, scheduleId: 'monthly' }];
    const moment = { ...SETTINGS, now: rig.now };
    let looking: Promise<unknown> = Promise.resolve();
    await transaction(rig.database.pool, async (tx) => {
      await lockWallets(tx, [key], moment);
      looking = rig.run();
      await someoneToWait();
      await DUE_GRANTS.settle(tx, { merchantId, keys }, moment);
    });
    await looking;
    await rig.run();
    expect(await tried(key)).toBe(1);
  });
});

describe('the audit', () => {
  it.each([
    [
      'a top-up of a period that its schedule has not settled',
      'update grant_schedule set done = 1, first_period = 1, refill_period = null, refill_amount = null, refill_state = null where customer_id = $1',
      '11d refills: each top-up is of a period that its schedule has settled',
    ],
    [
      'a top-up without its schedule',
      'delete from grant_schedule where customer_id = $1',
      '11d refills: each top-up is of a period that its schedule has settled',
    ],
    [
      'a period that is paid twice',
      `insert into topup (merchant_id, customer_id, currency, topup_id, origin, state, amount, source_id, payment_id, cap, month_since, is_late, idempotency_key, created_at, settled_at)
       select merchant_id, customer_id, currency, 'top_00000000000000000000000000', origin, state, amount, source_id, payment_id, cap, month_since, is_late, idempotency_key || '#2', created_at, settled_at
       from topup where customer_id = $1`,
      '11d refills: a period is paid once, and not given as well',
    ],
    [
      'more charged by schedules than the cap',
      'update topup set cap = 1999 where customer_id = $1',
      '11c top-ups: what was charged in a month is within the cap of its time',
    ],
  ])('finds %s', async (_, sql, rule) => {
    const key = await begin();
    await put(key);
    await work();
    await rig.tellPaid(key);
    const client = await rig.database.pool.connect();
    await client.query('begin');
    await client.query(sql, [key.customerId]);
    const { disagreements } = await audit(new Tx(client));
    await client.query('rollback');
    client.release();
    expect(disagreements.map((one) => one.rule).filter((one) => one.startsWith('11'))).toEqual([rule]);
  });
});
