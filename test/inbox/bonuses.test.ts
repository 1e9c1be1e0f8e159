import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { workApplyProviderEvent } from '../../jobs/apply-provider-event.ts';
import { workApplyProviderEvents } from '../../jobs/apply-provider-events.ts';
import { createPaymentToken } from '../../src/customers/payment-tokens.ts';
import { reassignPayment } from '../../src/customers/reassign.ts';
import { closeRelease } from '../../src/db/installation.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import type { Posting } from '../../src/ledger/entry.ts';
import { listClosedLots, listOpenLots } from '../../src/ledger/lots/read.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { applyDueOnce, startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import {
  BONUS_RATIO,
  expectBooksToAgree,
  LOT_RULE,
  MERCHANT,
  makeCustomers,
  posting,
  SETTINGS,
} from '../support/ledger.ts';
import { stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';

/** Bonuses from a provider's events to the wallet. The examples are those of the design. */

const DAY = 86_400_000;
const settings = { ...SETTINGS, lotRule: { ...LOT_RULE, paidExpiryMinDays: 300 } };

let database: TestDatabase;
let inbox: TestInbox;
/** How far the service's clock is ahead. */
let ahead = 0;
const clock = { now: () => new Date(Date.now() + ahead) };
const stripe = testSource('stripe');
const payers = testSource('stripe', { sourceId: 'src_payers', metadata: 'customer' });

beforeAll(async () => {
  database = await createTestDatabase(30);
  inbox = await startInbox(database, { sources: [stripe, payers], clock, settings });
});
beforeEach(() => {
  ahead = 0;
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

let number = 0;

/** A customer, and a payment of his that nobody knows yet. */
async function newPayer(): Promise<{ readonly customerId: string; readonly paymentId: string }> {
  number += 1;
  const [customerId = ''] = await makeCustomers(database.pool, [`bonus${number}`]);
  return { customerId, paymentId: `pi_bonus_${number}` };
}

type Payer = Awaited<ReturnType<typeof newPayer>>;

const pay = (
  { customerId, paymentId }: Payer,
  amount: number,
  metadata: Record<string, string> = {},
  source = stripe,
) =>
  inbox.play(
    [stripePaymentSucceeded({ paymentId, amount, metadata: { wallet_customer_id: customerId, ...metadata } })],
    source,
  );

const PACK = { wallet_bonus_amount: '1000', wallet_bonus_expires_in_days: '90' };

const refund = (
  { paymentId }: Payer,
  amount: number,
  refundId = `re_${paymentId}`,
  status: 'succeeded' | 'failed' = 'succeeded',
) =>
  inbox.play([
    stripeRefund({
      paymentId,
      refundId,
      amount,
      currency: 'usd',
      status,
      ...(status === 'failed' ? { type: 'failed' } : {}),
    }),
  ]);

const dispute = ({ paymentId }: Payer, amount: number, status: 'needs_response' | 'lost' | 'won') =>
  inbox.play([
    stripeDispute({
      ...{ type: status === 'needs_response' ? 'created' : 'closed', paymentId, disputeId: `du_${paymentId}` },
      ...{ amount, currency: 'usd', status },
    }),
  ]);

/** Applies events in one transaction, as far as they may be. */
async function applyTogether(bodies: readonly string[]): Promise<void> {
  for (const queue of ['apply-provider-events', 'apply-provider-event']) await inbox.boss.offWork(queue);
  for (const body of bodies) await inbox.deliver(body);
  expect(await applyDueOnce(inbox.services, 10)).toHaveLength(bodies.length);
  await workApplyProviderEvents(inbox.boss, inbox.services);
  await workApplyProviderEvent(inbox.boss, inbox.services);
}

/** Writes entries as the API does, by the service's clock. */
const post = (postings: readonly Posting[]) =>
  transaction(database.pool, (tx) => postBatch(tx, postings, { ...settings, now: clock.now() }));
const spend = ({ customerId }: Payer, amountMinor: number) =>
  post([posting({ customerId, amountMinor, isCredit: false })]);
const promo = ({ customerId }: Payer, amountMinor: number, days: number) =>
  post([posting({ customerId, amountMinor, terms: { kind: 'promo', name: null, priority: 50, end: { days } } })]);

/** What an entry did: its type, and its amount with its sign. */
async function entriesOf({ customerId }: Payer): Promise<string> {
  const { rows } = await database.pool.query<{ text: string }>(
    `select string_agg(case when is_credit then '+' else '-' end || amount || ' ' || event_type, ', ' order by seq) as text
     from entry where customer_id = $1 and event_type <> 'merchant_adjustment'`,
    [customerId],
  );
  return rows[0]?.text ?? '';
}

async function walletOf({ customerId }: Payer) {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  const wallet = wallets.find(({ currency }) => currency === 'USD');
  if (wallet === undefined) throw new Error('no wallet');
  return { balance: wallet.balance, base: wallet.balance - wallet.inLots, held: wallet.held };
}

async function lotsOf({ customerId }: Payer) {
  const filter = { currency: 'USD', kind: null, expiresBefore: null };
  const lots = await listOpenLots(autocommit(database.pool), { merchantId: MERCHANT, customerId }, filter);
  return lots.map(({ kind, remaining }) => `${kind} ${remaining}`);
}

async function lotsEndingOf({ customerId }: Payer) {
  const filter = { currency: 'USD', kind: null, expiresBefore: null };
  const lots = await listOpenLots(autocommit(database.pool), { merchantId: MERCHANT, customerId }, filter);
  const daysTo = (end: Date | null) => Math.round(((end?.getTime() ?? 0) - clock.now().getTime()) / DAY);
  return lots.map(({ kind, remaining, expiresAt }) => `${kind} ${remaining} for ${daysTo(expiresAt)} days`);
}

const reassign = ({ paymentId }: Payer, { customerId }: Payer) =>
  reassignPayment(
    { pool: database.pool, settings, clock, onPosted: () => {} },
    { merchantId: MERCHANT, paymentId, sourceId: null, customerId, reason: 'x', force: true, actor: 'api' },
  );

async function stateOf({ paymentId }: Payer) {
  const { rows } = await database.pool.query<{ state: string; reason: string | null; detail: string | null }>(
    'select state, reason, detail from provider_event where payment_id = $1 order by received_at desc limit 1',
    [paymentId],
  );
  return rows[0];
}

describe('a bonus', () => {
  it('is an entry of its own beside what was paid, and a promotional lot', async () => {
    const payer = await newPayer();
    await pay(payer, 9000, PACK);
    expect(await entriesOf(payer)).toBe('+9000 payment, +1000 bonus');
    expect([await walletOf(payer), await lotsOf(payer)]).toEqual([
      { balance: 10_000, base: 9000, held: 0 },
      ['promo 1000'],
    ]);
  });

  it('is what the total says beyond what was paid; a smaller total grants that alone', async () => {
    const [more, less] = [await newPayer(), await newPayer()];
    await pay(more, 9000, { wallet_credit_amount: '10000', wallet_bonus_expires_in_days: '30' });
    await pay(less, 9000, { wallet_credit_amount: '8500' });
    expect([await entriesOf(more), await entriesOf(less)]).toEqual(['+9000 payment, +1000 bonus', '+8500 payment']);
    await refund(less, 4500);
    await refund(less, 4500, 're_rest');
    expect(await entriesOf(less)).toBe('+8500 payment, -4250 payment_reversal, -4250 payment_reversal');
  });

  it('example 7: goes back as what was paid does', async () => {
    const payer = await newPayer();
    await pay(payer, 9000, PACK);
    await refund(payer, 4500);
    expect([await walletOf(payer), await lotsOf(payer)]).toEqual([
      { balance: 5000, base: 4500, held: 0 },
      ['promo 500'],
    ]);
    await refund(payer, 4500, 're_rest');
    expect([await walletOf(payer), await lotsOf(payer)]).toEqual([{ balance: 0, base: 0, held: 0 }, []]);
  });

  it('example 7a: is not taken back once it has expired', async () => {
    const payer = await newPayer();
    await pay(payer, 9000, PACK);
    ahead = 100 * DAY;
    await refund(payer, 9000);
    expect(await entriesOf(payer)).toBe('+9000 payment, +1000 bonus, -1000 credit_expired, -9000 payment_reversal');
    expect(await walletOf(payer)).toEqual({ balance: 0, base: 0, held: 0 });
  });

  it('what was taken of it stays taken, whatever expires later', async () => {
    const payer = await newPayer();
    await pay(payer, 9000, PACK);
    await refund(payer, 4500);
    ahead = 100 * DAY;
    await refund(payer, 4500, 're_rest');
    expect(await entriesOf(payer)).toBe(
      '+9000 payment, +1000 bonus, -500 bonus_reversal, -4500 payment_reversal, -500 credit_expired, -4500 payment_reversal',
    );
  });

  it('example 8: once it is spent, it is taken from the base, and then leaves a debt', async () => {
    const payer = await newPayer();
    await promo(payer, 500, 30);
    await pay(payer, 9000, PACK);
    await spend(payer, 4000);
    expect([await walletOf(payer), await lotsOf(payer)]).toEqual([{ balance: 6500, base: 6500, held: 0 }, []]);
    await refund(payer, 9000);
    expect(await entriesOf(payer)).toBe('+9000 payment, +1000 bonus, -1000 bonus_reversal, -9000 payment_reversal');
    expect((await walletOf(payer)).balance).toBe(-3500);
  });

  it('example 9: goes with the money that was disputed, and no other promotion does; example 10: comes back with the life it had left', async () => {
    const payer = await newPayer();
    await promo(payer, 2000, 365);
    await pay(payer, 9000, PACK);
    await dispute(payer, 9000, 'needs_response');
    expect(await walletOf(payer)).toEqual({ balance: 12_000, base: 9000, held: 10_000 });
    ahead = 10 * DAY;
    await dispute(payer, 9000, 'lost');
    expect([await walletOf(payer), await lotsOf(payer)]).toEqual([{ balance: 2000, base: 0, held: 0 }, ['promo 2000']]);
    ahead = 50 * DAY;
    await dispute(payer, 9000, 'won');
    expect([await walletOf(payer), await lotsOf(payer)]).toEqual([
      { balance: 12_000, base: 9000, held: 0 },
      ['promo 1000', 'promo 2000'],
    ]);
    const filter = { currency: 'USD', kind: null, expiresBefore: null };
    const [lot] = await listOpenLots(
      autocommit(database.pool),
      { merchantId: MERCHANT, customerId: payer.customerId },
      filter,
    );
    const daysLeft = ((lot?.expiresAt?.getTime() ?? 0) - clock.now().getTime()) / DAY;
    expect(Math.round(daysLeft)).toBe(80);
    await refund(payer, 9000);
    expect([await walletOf(payer), await lotsOf(payer)]).toEqual([{ balance: 2000, base: 0, held: 0 }, ['promo 2000']]);
  });

  it('comes back where a refund fails', async () => {
    const payer = await newPayer();
    await pay(payer, 9000, PACK);
    await refund(payer, 4500);
    await refund(payer, 4500, `re_${payer.paymentId}`, 'failed');
    expect(await entriesOf(payer)).toBe(
      '+9000 payment, +1000 bonus, -500 bonus_reversal, -4500 payment_reversal, +4500 payment, +500 bonus',
    );
    expect([await walletOf(payer), await lotsOf(payer)]).toEqual([
      { balance: 10_000, base: 9000, held: 0 },
      ['promo 1000'],
    ]);
  });

  it('that was voided is not taken back as well', async () => {
    const payer = await newPayer();
    await pay(payer, 9000, PACK);
    const void300 = {
      op: 'void_lot',
      lotNo: 1,
      amountMinor: 300,
      reason: 'Misused',
      idempotencyKey: 'api:void',
    } as const;
    const { customerId } = payer;
    await transaction(database.pool, (tx) =>
      postBatch(tx, [{ ...void300, merchantId: MERCHANT, customerId, currency: 'USD' }], {
        ...settings,
        now: clock.now(),
      }),
    );
    await refund(payer, 4500);
    await refund(payer, 4500, 're_rest');
    expect(await entriesOf(payer)).toBe(
      '+9000 payment, +1000 bonus, -300 credit_voided, -200 bonus_reversal, -4500 payment_reversal, -500 bonus_reversal, -4500 payment_reversal',
    );
    expect(await walletOf(payer)).toEqual({ balance: 0, base: 0, held: 0 });
  });

  it('example 13: opens a lot beyond those that the API may open', async () => {
    const payer = await newPayer();
    for (let lot = 0; lot < 100; lot += 1) await promo(payer, 10, 30);
    expect(await promo(payer, 10, 30)).toMatchObject([{ kind: 'refused', refusal: { code: 'LOT_LIMIT_EXCEEDED' } }]);
    await pay(payer, 9000, PACK);
    expect((await lotsOf(payer)).length).toBe(101);
  });

  it('example 16: what was paid ends where that is allowed, and is parked where it would end sooner', async () => {
    const [later, sooner] = [await newPayer(), await newPayer()];
    await pay(later, 9000, { wallet_expires_in_days: '365' });
    expect([await walletOf(later), await lotsOf(later)]).toEqual([{ balance: 9000, base: 0, held: 0 }, ['paid 9000']]);
    await pay(sooner, 9000, { wallet_expires_in_days: '299' });
    expect(await stateOf(sooner)).toMatchObject({ state: 'parked', reason: 'invalid_metadata' });
    expect(await entriesOf(sooner)).toBe('');
    await promo(later, 500, 10);
    await refund(later, 3000);
    expect(await lotsOf(later)).toEqual(['promo 500', 'paid 6000']);
  });

  it('is not obeyed where a payer may have written it', async () => {
    const payer = await newPayer();
    await pay(payer, 9000, PACK, payers);
    expect(await stateOf(payer)).toMatchObject({ state: 'parked', reason: 'invalid_metadata' });
  });

  it('is obeyed under a token, whoever carries it', async () => {
    const payer = await newPayer();
    const { customerId, paymentId } = payer;
    const terms = {
      purpose: 'topup',
      currency: 'USD',
      amount: 9000,
      creditAmount: null,
      bonusAmount: 1000,
      bonusDays: 90,
    } as const;
    const rules = { currencies: SETTINGS.currencies, maxBonusRatio: BONUS_RATIO, now: clock.now() };
    const { token } = await transaction(database.pool, (tx) =>
      createPaymentToken(tx, { merchantId: MERCHANT, customerId, expiresInSeconds: 86_400, ...terms }, rules),
    );
    const carrying = { wallet_token: token, wallet_bonus_amount: '9000' };
    await inbox.play(
      [stripePaymentSucceeded({ paymentId, amount: 9000, currency: 'usd', metadata: carrying })],
      payers,
    );
    expect([await entriesOf(payer), await lotsOf(payer)]).toEqual(['+9000 payment, +1000 bonus', ['promo 1000']]);
  });

  it('of a payment that was decided before goes on in one entry', async () => {
    const payer = await newPayer();
    await pay(payer, 9000);
    await database.pool.query('update payment set bonus_split = false where payment_id = $1', [payer.paymentId]);
    await pay(payer, 9000, PACK);
    await refund(payer, 9000);
    expect(await entriesOf(payer)).toBe('+9000 payment, -9000 payment_reversal');
  });

  describe.each([['one by one'], ['in one batch']])('that a hold kept, told %s', (how) => {
    const tell = (bodies: readonly string[]) => (how === 'one by one' ? inbox.play(bodies) : applyTogether(bodies));
    const won = ({ paymentId }: Payer, amount: number) =>
      stripeDispute({
        ...{ type: 'closed', paymentId, disputeId: `du_${paymentId}`, amount, currency: 'usd', status: 'won' },
      });
    const refunded = ({ paymentId }: Payer, amount: number) =>
      stripeRefund({ paymentId, refundId: `re_${paymentId}`, amount, currency: 'usd', status: 'succeeded' });
    const ONCE = '-1000 credit_expired, -9000 payment_reversal';

    it('is not taken back as well once the hold lets go of it', async () => {
      const payer = await newPayer();
      await pay(payer, 9000, PACK);
      await dispute(payer, 9000, 'needs_response');
      ahead = 100 * DAY;
      await tell([won(payer, 9000), refunded(payer, 9000)]);
      expect(await entriesOf(payer)).toBe(`+9000 payment, +1000 bonus, ${ONCE}`);
      expect(await walletOf(payer)).toEqual({ balance: 0, base: 0, held: 0 });
    });

    it('is not taken back as well once the hold of another payment lets go of it', async () => {
      const payer = await newPayer();
      const other = { customerId: payer.customerId, paymentId: `${payer.paymentId}_other` };
      await pay(payer, 9000, PACK);
      await pay(other, 2000);
      await dispute(payer, 9000, 'needs_response');
      await dispute(other, 2000, 'needs_response');
      ahead = 100 * DAY;
      await tell([won(other, 2000), refunded(payer, 9000)]);
      expect(await entriesOf(payer)).toBe(`+9000 payment, +1000 bonus, +2000 payment, ${ONCE}`);
      expect((await walletOf(payer)).balance).toBe(2000);
    });
  });

  it('that repaid a debt goes to another customer as long as its days are not over', async () => {
    const [late, soon, other] = [await newPayer(), await newPayer(), await newPayer()];
    for (const payer of [late, soon]) {
      await pay(payer, 20_000);
      await spend(payer, 20_000);
      await refund(payer, 20_000);
      await pay({ ...payer, paymentId: `${payer.paymentId}_debt` }, 9000, PACK);
    }
    ahead = 10 * DAY;
    await reassign({ ...soon, paymentId: `${soon.paymentId}_debt` }, other);
    expect([(await walletOf(soon)).balance, await lotsEndingOf(other)]).toEqual([-20_000, ['promo 1000 for 80 days']]);
    await refund({ ...soon, paymentId: `${soon.paymentId}_debt` }, 9000);
    expect([(await walletOf(soon)).balance, (await walletOf(other)).balance]).toEqual([-20_000, 0]);
    ahead = 100 * DAY;
    await reassign({ ...late, paymentId: `${late.paymentId}_debt` }, other);
    expect([(await walletOf(late)).balance, (await walletOf(other)).balance]).toEqual([-19_000, 9000]);
  });

  it('comes back at another customer with the life it had left when it was taken', async () => {
    const [one, other] = [await newPayer(), await newPayer()];
    await pay(one, 9000, PACK);
    ahead = 10 * DAY;
    await refund(one, 4500);
    ahead = 85 * DAY;
    await reassign(one, other);
    expect(await lotsEndingOf(other)).toEqual(['promo 500 for 5 days']);
    await refund(one, 4500, `re_${one.paymentId}`, 'failed');
    expect(await lotsEndingOf(other)).toEqual(['promo 500 for 5 days', 'promo 500 for 80 days']);
  });

  it('is part of the one entry while a release may run that knows lots and no bonuses', async () => {
    const payer = await newPayer();
    await database.pool.query("update installation set bonuses_from = now() + interval '7 days'");
    await pay(payer, 9000, { wallet_credit_amount: '10000' });
    await closeRelease(autocommit(database.pool), 'once');
    await refund(payer, 4500);
    expect(await entriesOf(payer)).toBe('+10000 payment, -5000 payment_reversal');
  });

  it('leaves the closed lots of a payment that went back in full', async () => {
    const payer = await newPayer();
    await pay(payer, 9000, PACK);
    await refund(payer, 9000);
    const db = autocommit(database.pool);
    const query = { currency: 'USD', kind: null, expiresBefore: null, from: null, pageSize: 10, pageNumber: 0 };
    const wallets = await readWallets(db, MERCHANT, [payer.customerId]);
    const { lots } = await listClosedLots(db, { merchantId: MERCHANT, customerId: payer.customerId, wallets }, query);
    expect(lots).toMatchObject([
      { kind: 'promo', state: 'taken_back', originKey: `src_stripe:bonus:${payer.paymentId}` },
    ]);
  });
});
