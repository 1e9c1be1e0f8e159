import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { reassignPayment } from '../../src/customers/reassign.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { dismissEvent } from '../../src/inbox/dismiss.ts';
import { listEvents } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import type { Checkout } from '../../src/ledger/checkouts/checkout.ts';
import type { OpenCheckout } from '../../src/ledger/checkouts/open-checkout.ts';
import { saveCheckouts } from '../../src/ledger/checkouts/store.ts';
import { releaseFor } from '../../src/ledger/checkouts/take.ts';
import type { Entry } from '../../src/ledger/entry.ts';
import { listEntries } from '../../src/ledger/history.ts';
import { getHold } from '../../src/ledger/holds/read.ts';
import type { LedgerCommand } from '../../src/ledger/post.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { checkoutNow, openAt, opening } from '../support/checkouts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import { stripeDispute, stripePayment, stripeRefund } from '../support/signing.ts';
import { paddleTransaction } from '../support/signing-more.ts';
import { adyenDelivery } from '../support/signing-paypal-adyen-cashfree.ts';
import { eventually } from '../support/wait.ts';

/** What payments do to the checkouts that they name, from really signed events to wallets, on a real Postgres. */

const HOUR_MS = 3_600_000;
const sources = {
  stripe: testSource('stripe'),
  payers: testSource('stripe', {
    sourceId: 'src_payers',
    metadata: 'customer',
    defaultPurpose: 'order',
    refunds: 'credit',
  }),
  adyen: testSource('adyen', { capture: 'manual' }),
  paddle: testSource('paddle'),
};

let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createTestDatabase();
  inbox = await startInbox(database, { sources: Object.values(sources), waitSeconds: 0 });
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(database.pool);
  await database.drop();
});

let count = 0;
const run = (commands: readonly LedgerCommand[], now = new Date()) =>
  transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now }));

/** A new customer with this balance in USD. */
async function funded(amountMinor: number): Promise<string> {
  count += 1;
  const [customerId = ''] = await makeCustomers(database.pool, [`buyer${count}`]);
  if (amountMinor > 0) await run([posting({ customerId, amountMinor })], new Date(Date.now() - 24 * HOUR_MS));
  return customerId;
}

const debit = (customerId: string, amountMinor: number) => run([posting({ customerId, amountMinor, isCredit: false })]);

interface Purchase {
  readonly customerId: string;
  readonly checkout: Checkout;
  readonly paymentId: string;
}

/** A customer with a balance opens a checkout; by default that of example 1. */
async function buying({
  balance = 2000,
  total = 5000,
  openedAt = new Date(),
  ...terms
}: Partial<OpenCheckout> & { balance?: number; openedAt?: Date } = {}): Promise<Purchase> {
  const customerId = await funded(balance);
  const checkout = await openAt(database.pool, opening(customerId, total, terms), openedAt);
  return { customerId, checkout, paymentId: `pi_buy${count}` };
}

type Told = Partial<Parameters<typeof stripePayment>[0]> & { readonly metadata?: Record<string, string> };

const paid = ({ checkout, paymentId }: Purchase, more: Told = {}): string =>
  stripePayment({
    ...{ paymentId, amount: checkout.paymentPart + checkout.creditBought, currency: 'usd' },
    metadata: { wallet_customer_id: checkout.customerId, wallet_checkout_id: checkout.checkoutId },
    ...more,
  });
const refunded = (
  { paymentId }: Purchase,
  refundId: string,
  amount: number,
  status: 'succeeded' | 'failed' = 'succeeded',
) =>
  stripeRefund({
    ...{ type: status === 'failed' ? 'failed' : 'created', paymentId },
    refundId: `re_${paymentId}_${refundId}`,
    amount,
    currency: 'usd',
    status,
  });
const disputed = ({ paymentId }: Purchase, amount: number, status: 'needs_response' | 'lost' | 'won') =>
  stripeDispute({
    ...{ type: status === 'needs_response' ? 'created' : 'closed', paymentId, disputeId: `du_${paymentId}` },
    ...{ amount, currency: 'usd', status },
  });

const now = ({ checkout }: Purchase) => checkoutNow(database.pool, checkout);
const walletOf = async ({ customerId }: Purchase) => {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  const { balance, held } = wallets.find(({ currency }) => currency === 'USD') ?? {};
  return { balance, held };
};
/** The entries after the first credit, oldest first. */
async function entriesOf({ customerId }: Purchase): Promise<readonly Entry[]> {
  const all = await listEntries(
    autocommit(database.pool),
    { merchantId: MERCHANT, customerId },
    {
      ...{ currency: 'USD', eventType: null, createdFrom: null, createdTo: null },
      ...{ afterSeq: null, beforeSeq: null, pageSize: 100, pageNumber: 0 },
    },
  );
  return [...all].reverse();
}
const movedBy = async (purchase: Purchase) =>
  (await entriesOf(purchase))
    .filter(({ eventType }) => eventType !== 'merchant_adjustment')
    .map(({ isCredit, amountMinor, eventType }) => `${isCredit ? '+' : '-'}${amountMinor} ${eventType}`);
async function eventsOf({ paymentId }: Purchase) {
  const all = await listEvents(autocommit(database.pool), MERCHANT, { state: null, pageSize: 100, pageNumber: 0 });
  return all.filter((one) => one.paymentId === paymentId);
}
const parkedFor = async (purchase: Purchase) =>
  (await eventsOf(purchase)).filter(({ state }) => state === 'parked').map(({ reason }) => reason);
async function toldOf({ checkout }: Purchase): Promise<readonly string[]> {
  const { rows } = await database.pool.query<{ event_type: string }>(
    "select event_type from unsent_message where event_type like 'checkout.%' and payload::jsonb -> 'data' ->> 'checkout_id' = $1 order by message_id",
    [checkout.checkoutId],
  );
  return rows.map((row) => row.event_type);
}
const holdOf = async ({ customerId, checkout }: Purchase) =>
  checkout.holdNo === null
    ? null
    : getHold(autocommit(database.pool), {
        merchantId: MERCHANT,
        customerId,
        currency: 'USD',
        holdNo: checkout.holdNo,
      });
const daysFromNow = (date: Date | null | undefined) =>
  Math.round(((date?.getTime() ?? 0) - Date.now()) / (24 * HOUR_MS));

describe('a payment of a checkout', () => {
  it('example 1: takes what was held, and completes it', async () => {
    const one = await buying();
    expect(one.checkout).toMatchObject({ walletPart: 2000, paymentPart: 3000 });
    expect(await walletOf(one)).toEqual({ balance: 2000, held: 2000 });
    await inbox.play([paid(one), paid(one)]);
    expect(await movedBy(one)).toEqual(['-2000 hold_captured']);
    expect(await walletOf(one)).toEqual({ balance: 0, held: 0 });
    expect(await now(one)).toMatchObject({
      ...{ state: 'completed', captured: 2000, uncollected: 0, sourceId: 'src_stripe', paymentId: one.paymentId },
      completedAt: expect.any(Date),
    });
    expect(await toldOf(one)).toEqual(['checkout.completed']);
    expect((await eventsOf(one)).map(({ effect }) => effect)).toContain('debited');
  });

  it('example 9: told many times over to three processes, captures once', async () => {
    const others = [
      await startInbox(database, { sources: [sources.stripe] }),
      await startInbox(database, { sources: [sources.stripe] }),
    ];
    const one = await buying();
    const times = rounds(60, 500);
    const all = [inbox, ...others];
    await Promise.all(Array.from({ length: times }, (_, index) => all[index % all.length]?.deliver(paid(one))));
    await inbox.settled();
    for (const other of others) await other.stop();
    expect(await movedBy(one)).toEqual(['-2000 hold_captured']);
    expect(await now(one)).toMatchObject({ state: 'completed', captured: 2000 });
    expect(await toldOf(one)).toEqual(['checkout.completed']);
  });

  it('example 4: credits what was bought with it, once', async () => {
    const one = await buying({ balance: 10, total: 40, allowCreditPurchase: true });
    expect(one.checkout).toMatchObject({ walletPart: 10, paymentPart: 30, creditBought: 20 });
    await inbox.play([paid(one), paid(one)]);
    expect(await movedBy(one)).toEqual(['-10 hold_captured', '+20 payment']);
    expect(await walletOf(one)).toEqual({ balance: 20, held: 0 });
  });

  it('example 8: paid after it has ended, takes what there is, and is short of the rest', async () => {
    const one = await buying({ openedAt: new Date(Date.now() - HOUR_MS) });
    await debit(one.customerId, 1200);
    await inbox.play([paid(one)]);
    expect(await movedBy(one)).toEqual(['-800 hold_captured']);
    expect(await now(one)).toMatchObject({ state: 'short', captured: 800, uncollected: 1200, completedAt: null });
    expect(await toldOf(one)).toEqual(['checkout.short']);
  });

  it('is short of all of it where nothing is left, and takes what else is held from nobody', async () => {
    const one = await buying({ openedAt: new Date(Date.now() - HOUR_MS) });
    await openAt(database.pool, opening(one.customerId, 5000));
    await inbox.play([paid(one)]);
    expect(await movedBy(one)).toEqual([]);
    expect(await now(one)).toMatchObject({ state: 'short', captured: 0, uncollected: 2000 });
  });

  it('takes less than is held where a claw-back took of it', async () => {
    const customerId = await funded(0);
    const topUp = `pi_topup_${customerId}`;
    await inbox.play([
      stripePayment({ paymentId: topUp, amount: 2000, currency: 'usd', metadata: { wallet_customer_id: customerId } }),
    ]);
    const checkout = await openAt(database.pool, opening(customerId, 5000));
    const one = { customerId, checkout, paymentId: `pi_${customerId}` };
    await inbox.play([
      stripeRefund({ paymentId: topUp, refundId: 're_topup', amount: 500, currency: 'usd', status: 'succeeded' }),
      paid(one),
    ]);
    expect(await now(one)).toMatchObject({ state: 'short', captured: 1500, uncollected: 500 });
    expect(await walletOf(one)).toEqual({ balance: 0, held: 0 });
  });

  it('example 15: cancelled, then paid in the tab that was still open: completed', async () => {
    const one = await buying();
    await transaction(database.pool, async (tx) => {
      await postBatch(tx, [releaseFor(one.checkout)] as readonly LedgerCommand[], { ...SETTINGS, now: new Date() });
      await saveCheckouts(tx, MERCHANT, [{ ...one.checkout, state: 'cancelled' }]);
    });
    await inbox.play([paid(one)]);
    expect(await now(one)).toMatchObject({ state: 'completed', captured: 2000 });
    expect(await movedBy(one)).toEqual(['-2000 hold_captured']);
  });

  it('of a frozen wallet, takes what was held and what is late alike', async () => {
    const [held, late] = [await buying(), await buying({ openedAt: new Date(Date.now() - HOUR_MS) })];
    for (const one of [held, late]) {
      const wallet = { merchantId: MERCHANT, customerId: one.customerId, currency: 'USD' };
      await run([
        { ...wallet, op: 'change_status', status: 'frozen', pauseExpiry: false, reason: 'fraud?', actor: 'operator' },
      ]);
      await inbox.play([paid(one)]);
      expect(await now(one)).toMatchObject({ state: 'completed', captured: 2000 });
    }
  });

  it('is obeyed at a source that obeys nothing but customers, and whatever its purpose and refunds are', async () => {
    const one = await buying();
    const { checkoutId } = one.checkout;
    await inbox.play(
      [paid(one, { metadata: { wallet_checkout_id: checkoutId, wallet_purpose: 'topup' } })],
      sources.payers,
    );
    await inbox.play([refunded(one, 'a', 3000)], sources.payers);
    expect(await movedBy(one)).toEqual(['-2000 hold_captured', '+2000 checkout_refunded']);
    expect(await now(one)).toMatchObject({
      state: 'completed',
      sourceId: 'src_payers',
      walletReturned: 2000,
      paymentRefunded: 3000,
    });
  });

  it('without anything of the wallet completes it as well', async () => {
    const one = await buying({ balance: 0 });
    await inbox.play([paid(one)]);
    expect(await now(one)).toMatchObject({ state: 'completed', captured: 0, walletPart: 0 });
    expect(await movedBy(one)).toEqual([]);
  });

  it('that names an unknown checkout, another customer or another currency is parked', async () => {
    const one = await buying();
    const other = await funded(0);
    const { customerId, checkoutId } = one.checkout;
    const cases = [
      [
        'unknown_checkout',
        { metadata: { wallet_customer_id: customerId, wallet_checkout_id: `chk_${'0'.repeat(26)}` } },
      ],
      ['customer_mismatch', { metadata: { wallet_customer_id: other, wallet_checkout_id: checkoutId } }],
      ['currency_mismatch', { currency: 'inr' }],
    ] as const;
    for (const [reason, more] of cases) {
      const tried = { ...one, paymentId: `${one.paymentId}_${reason}` };
      await inbox.play([paid(tried, more)]);
      expect(await parkedFor(tried)).toEqual([reason]);
    }
    expect(await now(one)).toMatchObject({ state: 'open' });
    expect(await walletOf(one)).toEqual({ balance: 2000, held: 2000 });
  });

  it('example 16: a second payment is parked, and changes nothing', async () => {
    const one = await buying();
    const second = { ...one, paymentId: `${one.paymentId}_second` };
    await inbox.play([paid(one), paid(second)]);
    expect(await parkedFor(second)).toEqual(['checkout_paid_twice']);
    expect(await walletOf(one)).toEqual({ balance: 0, held: 0 });
    await inbox.play([refunded(second, 'a', 3000)]);
    await eventually('the refund to be parked', async () => (await parkedFor(second)).includes('unknown_payment'));
    expect(await walletOf(one)).toEqual({ balance: 0, held: 0 });
    expect(await now(one)).toMatchObject({ walletReturned: 0, paymentRefunded: 0 });
  });
});

describe('what renews the payment of a checkout', () => {
  it('is another purchase, and neither completes it again nor waits for anybody', async () => {
    const one = await buying();
    const renewal = (paymentId: string, subscription_id: string) => {
      const event = JSON.parse(
        paddleTransaction({
          paymentId,
          ...{ amount: '3000', currency: 'USD', customer: 'ctm_renews' },
          customData: { wallet_customer_id: one.customerId, wallet_checkout_id: one.checkout.checkoutId },
        }),
      );
      event.data.subscription_id = subscription_id;
      return JSON.stringify(event);
    };
    const id = (name: string) => `txn_${name}_${one.customerId}`;
    const own = `sub_${one.customerId}`;
    await inbox.play(
      [renewal(id('first'), own), renewal(id('second'), own), renewal(id('second'), own)],
      sources.paddle,
    );
    expect(await now(one)).toMatchObject({ state: 'completed', captured: 2000, paymentId: id('first') });
    expect(await movedBy(one)).toEqual(['-2000 hold_captured', '+3000 payment']);
    expect(await parkedFor({ ...one, paymentId: id('second') })).toEqual([]);
    // One of another subscription renews nothing.
    await inbox.play([renewal(id('other'), 'sub_other')], sources.paddle);
    expect(await parkedFor({ ...one, paymentId: id('other') })).toEqual(['checkout_paid_twice']);
    expect(await toldOf(one)).toEqual(['checkout.completed']);
  });
});

describe('another amount than agreed', () => {
  it('example 14: is parked with what is held, and completes it once a person takes it', async () => {
    const one = await buying();
    await inbox.play([paid(one, { amount: 2900 })]);
    expect(await parkedFor(one)).toEqual(['checkout_mismatch']);
    expect(await walletOf(one)).toEqual({ balance: 2000, held: 2000 });
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(7);
    expect(daysFromNow((await now(one)).prolongedUntil)).toBe(7);
    const [event] = await eventsOf(one);
    const replay = { merchantId: MERCHANT, eventId: event?.eventId ?? '', customerId: null };
    await replayEvent(database.pool, inbox.boss, replay);
    await inbox.settled();
    expect(await parkedFor(one)).toEqual(['checkout_mismatch']);
    await replayEvent(database.pool, inbox.boss, { ...replay, acceptsAmount: true });
    await inbox.settled();
    expect(await now(one)).toMatchObject({ state: 'completed', captured: 2000, prolongedUntil: null });
    await inbox.play([refunded(one, 'a', 2900)]);
    expect(await movedBy(one)).toEqual(['-2000 hold_captured', '+2000 checkout_refunded']);
  });

  it('keeps what is held until a person has looked, though another try of the buyer fails meanwhile', async () => {
    const one = await buying();
    const other = { ...one, paymentId: `${one.paymentId}_other` };
    await inbox.play([paid(one, { amount: 2900 }), paid(other, { type: 'processing', createdSeconds: 1 })]);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(21);
    await inbox.play([paid(other, { type: 'payment_failed', createdSeconds: 2 })]);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(7);
    expect(daysFromNow((await now(one)).prolongedUntil)).toBe(7);
  });

  it('is taken where more may be paid: what is too much is recorded, and goes back first', async () => {
    const one = await buying({ amountCheck: 'at_least' });
    await inbox.play([paid(one, { amount: 3500 }), refunded(one, 'a', 500)]);
    expect(await movedBy(one)).toEqual(['-2000 hold_captured']);
    expect(await now(one)).toMatchObject({ state: 'completed', paymentRefunded: 500, walletReturned: 0 });
    await inbox.play([refunded(one, 'b', 1500)]);
    expect(await movedBy(one)).toEqual(['-2000 hold_captured', '+1000 checkout_refunded']);
  });

  it('is too much where the amount is to be exact', async () => {
    const one = await buying();
    await inbox.play([paid(one, { amount: 3001 })]);
    expect(await parkedFor(one)).toEqual(['checkout_mismatch']);
  });

  it('of less, shrinks the credit that was bought first', async () => {
    const one = await buying({ balance: 10, total: 40, allowCreditPurchase: true });
    await inbox.play([paid(one, { amount: 35 })]);
    const [event] = await eventsOf(one);
    await replayEvent(database.pool, inbox.boss, {
      merchantId: MERCHANT,
      eventId: event?.eventId ?? '',
      customerId: null,
      acceptsAmount: true,
    });
    await inbox.settled();
    expect(await movedBy(one)).toEqual(['-10 hold_captured', '+5 payment']);
  });
});

describe('a payment that takes its time', () => {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const at = (secondsLater: number) => ({ createdSeconds: nowSeconds + secondsLater });
  const pending = (one: Purchase, secondsLater = -60) => paid(one, { type: 'processing', ...at(secondsLater) });
  const failed = (one: Purchase, secondsLater = 0) => paid(one, { type: 'payment_failed', ...at(secondsLater) });

  it('example 17: keeps what is held until it succeeds', async () => {
    const one = await buying();
    await inbox.play([pending(one)]);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(21);
    expect(await now(one)).toMatchObject({ state: 'open', prolongedUntil: expect.any(Date) });
    const { rows } = await database.pool.query<{ due_at: Date }>(
      'select due_at from checkout_due where checkout_id = $1',
      [one.checkout.checkoutId],
    );
    expect(daysFromNow(rows[0]?.due_at)).toBe(21);
    await inbox.play([paid(one)]);
    expect(await now(one)).toMatchObject({ state: 'completed', captured: 2000 });
  });

  it('gives the agreed end back once none is under way any more', async () => {
    const one = await buying();
    const other = { ...one, paymentId: `${one.paymentId}_other` };
    await inbox.play([pending(one), pending(other), failed(one)]);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(21);
    await inbox.play([failed(other)]);
    expect((await holdOf(one))?.expiresAt).toEqual(one.checkout.expiresAt);
    expect(await now(one)).toMatchObject({ state: 'open', prolongedUntil: null });
    await inbox.play([paid({ ...one, paymentId: `${one.paymentId}_third` })]);
    expect(await now(one)).toMatchObject({ state: 'completed' });
  });

  it('gives the agreed end back too where a payment that had failed was tried again and fails once more', async () => {
    const one = await buying();
    await inbox.play([failed(one), pending(one, 30)]);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(21);
    await inbox.play([failed(one, 60)]);
    expect((await holdOf(one))?.expiresAt).toEqual(one.checkout.expiresAt);
    expect(await now(one)).toMatchObject({ state: 'open', prolongedUntil: null });
  });

  it('keeps what is held for a try that goes on where the failure of the one before is told late', async () => {
    for (const balance of [2000, 0]) {
      const one = await buying({ balance });
      const until = async () => (balance > 0 ? (await holdOf(one))?.expiresAt : (await now(one)).prolongedUntil);
      await inbox.play([pending(one, 30), failed(one)]);
      expect(daysFromNow(await until())).toBe(21);
      await inbox.play([failed(one, 10), pending(one, -60)]);
      expect(daysFromNow(await until())).toBe(21);
      await inbox.play([failed(one, 60)]);
      expect(await until()).toEqual(balance > 0 ? one.checkout.expiresAt : null);
      expect(await now(one)).toMatchObject({ state: 'open', prolongedUntil: null });
    }
  });

  it('keeps it where that is told in the batch of the try that goes on', async () => {
    const one = await buying();
    await Promise.all([pending(one, 30), failed(one), pending(one, -60)].map((body) => inbox.deliver(body)));
    await inbox.settled();
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(21);
  });

  it('keeps it for a payment that is tried again after a failure, though another one fails meanwhile', async () => {
    const one = await buying();
    const other = { ...one, paymentId: `${one.paymentId}_other` };
    await inbox.play([failed(one), pending(one, 30), pending(other), failed(other, 10)]);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(21);
    await inbox.play([failed(one, 60)]);
    expect((await holdOf(one))?.expiresAt).toEqual(one.checkout.expiresAt);
  });

  it.each([
    [
      'in one batch',
      async (bodies: readonly string[]) => void (await Promise.all(bodies.map((one) => inbox.deliver(one)))),
    ],
    ['one after another', (bodies: readonly string[]) => inbox.play(bodies)],
  ])('holds nothing for a try that is told of once it has failed, %s', async (_, play) => {
    for (const balance of [2000, 0]) {
      const one = await buying({ balance });
      await inbox.play([failed(one)]);
      await play([pending(one), pending(one, 0)]);
      await inbox.settled();
      expect(await now(one)).toMatchObject({ state: 'open', prolongedUntil: null });
      if (balance > 0) expect((await holdOf(one))?.expiresAt).toEqual(one.checkout.expiresAt);
      // It is not final: paid after all, it counts.
      await inbox.play([paid(one)]);
      expect(await now(one)).toMatchObject({ state: 'completed', captured: balance });
    }
  });

  it('holds for three weeks beyond the agreed end at the most, however many are begun', async () => {
    const one = await buying();
    await inbox.play([pending(one)]);
    // As if nineteen days had passed, and the time of the first were up in an hour.
    await database.pool.query(
      `with passed as (
         update checkout set expires_at = now() - interval '19 days', prolonged_until = now() + interval '1 hour'
         where merchant_id = $2 and checkout_id = $1 returning *)
       update hold h set expires_at = p.prolonged_until from passed p
       where h.merchant_id = $2 and (h.customer_id, h.currency, h.hold_no) = (p.customer_id, p.currency, p.hold_no)`,
      [one.checkout.checkoutId, MERCHANT],
    );
    await inbox.play([pending({ ...one, paymentId: `${one.paymentId}_other` })]);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(2);
    expect(daysFromNow((await now(one)).prolongedUntil)).toBe(2);
    await inbox.play([paid({ ...one, paymentId: `${one.paymentId}_third` }, { amount: 2900 })]);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(7);
    await inbox.play([paid(one)]);
    expect(await now(one)).toMatchObject({ state: 'completed', captured: 2000 });
  });

  it('but for its buyer, who may have gone away while his card was asked for a confirmation, keeps nothing', async () => {
    const one = await buying();
    const waits = (type: string) => {
      const event = JSON.parse(paid(one, { type: 'requires_action' }));
      event.data.object.next_action = { type };
      return JSON.stringify(event);
    };
    await inbox.play([waits('use_stripe_sdk'), waits('redirect_to_url')]);
    expect((await holdOf(one))?.expiresAt).toEqual(one.checkout.expiresAt);
    expect(await now(one)).toMatchObject({ state: 'open', prolongedUntil: null });
    // What it is paid by then may be slower.
    await inbox.play([pending(one)]);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(21);
    const voucher = await buying();
    const shown = { ...JSON.parse(paid(voucher, { type: 'requires_action' })) };
    shown.data.object.next_action = { type: 'oxxo_display_details' };
    await inbox.play([JSON.stringify(shown)]);
    expect(daysFromNow((await holdOf(voucher))?.expiresAt)).toBe(21);
  });

  it('that begins after the end is recorded, and nothing is held anew', async () => {
    const one = await buying({ openedAt: new Date(Date.now() - HOUR_MS) });
    await inbox.play([pending(one)]);
    expect(await now(one)).toMatchObject({ prolongedUntil: null });
    expect(await walletOf(one)).toEqual({ balance: 2000, held: 2000 });
    await debit(one.customerId, 2000);
    expect(await walletOf(one)).toEqual({ balance: 0, held: 0 });
  });

  it('does nothing where it fails at once', async () => {
    const one = await buying();
    await inbox.play([failed(one)]);
    expect((await holdOf(one))?.expiresAt).toEqual(one.checkout.expiresAt);
    expect(await now(one)).toMatchObject({ state: 'open', prolongedUntil: null });
  });

  it('keeps a checkout without a hold too', async () => {
    const one = await buying({ balance: 0 });
    await inbox.play([pending(one)]);
    expect(daysFromNow((await now(one)).prolongedUntil)).toBe(21);
    await inbox.play([failed(one)]);
    expect(await now(one)).toMatchObject({ prolongedUntil: null });
  });
});

describe('captures by hand', () => {
  const adyen = (one: Purchase, item: Parameters<typeof adyenDelivery>[0][number]) =>
    adyenDelivery([{ merchantReference: one.checkout.checkoutId, currency: 'USD', ...item }]);
  const authorised = (one: Purchase, value = 3000) =>
    adyen(one, { eventCode: 'AUTHORISATION', pspReference: one.paymentId, value });
  const capture = (one: Purchase, id: string, value: number, success = true) =>
    adyen(one, {
      eventCode: success ? 'CAPTURE' : 'CAPTURE_FAILED',
      pspReference: `${one.paymentId}_${id}`,
      originalReference: one.paymentId,
      value,
    });

  it('complete it together, and their failure counts as a refund, until they are captured again', async () => {
    const one = await buying();
    await inbox.play([authorised(one)], sources.adyen);
    expect(daysFromNow((await holdOf(one))?.expiresAt)).toBe(21);
    await inbox.play([capture(one, 'a', 1000)], sources.adyen);
    expect(await now(one)).toMatchObject({ state: 'open' });
    await inbox.play([capture(one, 'b', 2000)], sources.adyen);
    expect(await now(one)).toMatchObject({ state: 'completed', captured: 2000, sourceId: 'src_adyen' });
    await inbox.play([capture(one, 'a', 1000, false), capture(one, 'b', 2000, false)], sources.adyen);
    expect(await movedBy(one)).toEqual(['-2000 hold_captured', '+2000 checkout_refunded']);
    expect(await now(one)).toMatchObject({ walletReturned: 2000, paymentRefunded: 3000 });
    await inbox.play([capture(one, 'c', 3000)], sources.adyen);
    expect(await movedBy(one)).toEqual([
      '-2000 hold_captured',
      '+2000 checkout_refunded',
      '-2000 checkout_refund_reversal',
    ]);
    expect(await now(one)).toMatchObject({ walletReturned: 0, paymentRefunded: 0 });
  });

  it('that end below what was agreed are parked', async () => {
    const one = await buying();
    await inbox.play([authorised(one), capture(one, 'a', 1000)], sources.adyen);
    await inbox.play(
      [
        adyen(one, {
          eventCode: 'CANCELLATION',
          pspReference: `${one.paymentId}_end`,
          originalReference: one.paymentId,
          value: 0,
        }),
      ],
      sources.adyen,
    );
    expect(await parkedFor(one)).toEqual(['checkout_mismatch']);
    expect(await now(one)).toMatchObject({ state: 'open' });
  });
});

describe('refunds of its payment', () => {
  it('example 10: return the wallet’s part in proportion, exact at the end', async () => {
    const one = await buying();
    await inbox.play([
      paid(one),
      refunded(one, 'a', 1000),
      refunded(one, 'a', 1000),
      refunded(one, 'b', 1000),
      refunded(one, 'c', 1000),
    ]);
    expect(await movedBy(one)).toEqual([
      '-2000 hold_captured',
      '+666 checkout_refunded',
      '+667 checkout_refunded',
      '+667 checkout_refunded',
    ]);
    expect(await now(one)).toMatchObject({ walletReturned: 2000, paymentRefunded: 3000, overRefunded: false });
    expect((await toldOf(one)).filter((type) => type === 'checkout.refunded')).toHaveLength(3);
  });

  it('example 11: go back to the lots that were taken from, the last taken first', async () => {
    const customerId = await funded(1500);
    const terms = { kind: 'promo', name: 'Spring', priority: 50, end: null } as const;
    await run([posting({ customerId, amountMinor: 500, terms })], new Date(Date.now() - 24 * HOUR_MS));
    const checkout = await openAt(database.pool, opening(customerId, 5000));
    const one = { customerId, checkout, paymentId: `pi_lots_${customerId}` };
    const inLots = async () => {
      const [wallet] = (await readWallets(autocommit(database.pool), MERCHANT, [customerId])).filter(
        ({ currency }) => currency === 'USD',
      );
      return [wallet?.balance, wallet?.inLots];
    };
    await inbox.play([paid(one)]);
    expect(await inLots()).toEqual([0, 0]);
    await inbox.play([refunded(one, 'a', 1000)]);
    expect(await inLots()).toEqual([666, 0]);
    await inbox.play([refunded(one, 'b', 1000)]);
    expect(await inLots()).toEqual([1333, 0]);
    await inbox.play([refunded(one, 'c', 1000)]);
    expect(await inLots()).toEqual([2000, 500]);
    // Taken again, it leaves first where it was put.
    await inbox.play([refunded(one, 'c', 1000, 'failed')]);
    expect(await inLots()).toEqual([1333, 0]);
  });

  it.each(['expired', 'voided'] as const)(
    'go back as credit of the same kind where the lot that was taken from was %s meanwhile, for the time that it had left',
    async (how) => {
      const customerId = await funded(0);
      const opened = new Date();
      const later = (hours: number) => new Date(opened.getTime() + hours * HOUR_MS);
      const terms = { kind: 'promo', name: 'Spring', priority: 50, end: { at: later(2) } } as const;
      await run([posting({ customerId, amountMinor: 500, terms })], opened);
      const checkout = await openAt(
        database.pool,
        opening(customerId, 1300, { wallet: { use: 'max', most: 300, requireFull: false } }),
        opened,
      );
      const one = { customerId, checkout, paymentId: `pi_ended_${customerId}` };
      await inbox.play([paid(one)]);
      if (how === 'voided') {
        const lot = { merchantId: MERCHANT, customerId, currency: 'USD', lotNo: 1 };
        await run(
          [{ op: 'void_lot', ...lot, amountMinor: null, reason: 'a mistake', idempotencyKey: `void ${customerId}` }],
          later(1),
        );
      }
      // Seen from then on: what is left of it has ended, too.
      Object.assign(inbox.services, { clock: { now: () => later(3) } });
      await inbox.play([refunded(one, 'a', 500), refunded(one, 'b', 500)]);
      Object.assign(inbox.services, { clock: systemClock });
      const { rows } = await database.pool.query(
        'select kind, name, priority, remaining, extract(epoch from expires_at) as ends from lot where customer_id = $1 order by lot_no',
        [customerId],
      );
      expect(rows).toEqual([
        { kind: 'promo', name: 'Spring', priority: 50, remaining: 150, ends: expect.anything() },
        { kind: 'promo', name: 'Spring', priority: 50, remaining: 150, ends: expect.anything() },
      ]);
      for (const { ends } of rows) {
        expect(Number(ends) * 1000).toBeGreaterThan(later(4.9).getTime());
        expect(Number(ends) * 1000).toBeLessThanOrEqual(later(5).getTime());
      }
      expect(await now(one)).toMatchObject({ walletReturned: 300, paymentRefunded: 1000 });
      expect((await walletOf(one)).balance).toBe(300);
      await inbox.play([refunded(one, 'b', 500, 'failed')]);
      expect((await walletOf(one)).balance).toBe(150);
    },
  );

  it('of one that was short return no more than was taken', async () => {
    const one = await buying({ openedAt: new Date(Date.now() - HOUR_MS) });
    await debit(one.customerId, 1200);
    await inbox.play([paid(one), refunded(one, 'a', 3000)]);
    expect(await movedBy(one)).toEqual(['-800 hold_captured', '+800 checkout_refunded']);
  });

  it('that fail after all take back, though that leaves a debt', async () => {
    const one = await buying();
    await inbox.play([paid(one), refunded(one, 'a', 3000)]);
    await debit(one.customerId, 2000);
    await inbox.play([refunded(one, 'a', 3000, 'failed')]);
    expect(await movedBy(one)).toEqual([
      '-2000 hold_captured',
      '+2000 checkout_refunded',
      '-2000 checkout_refund_reversal',
    ]);
    expect(await walletOf(one)).toEqual({ balance: -2000, held: 0 });
    expect(await now(one)).toMatchObject({ walletReturned: 0, paymentRefunded: 0 });
  });

  it('beyond the order take back what was bought with it, and disputes that alone', async () => {
    const one = await buying({ balance: 10, total: 40, allowCreditPurchase: true });
    await inbox.play([paid(one), refunded(one, 'a', 40)]);
    expect(await movedBy(one)).toEqual([
      '-10 hold_captured',
      '+20 payment',
      '+10 checkout_refunded',
      '-10 payment_reversal',
    ]);
    const other = await buying({ balance: 10, total: 40, allowCreditPurchase: true });
    await inbox.play([paid(other), disputed(other, 50, 'needs_response')]);
    expect(await walletOf(other)).toEqual({ balance: 20, held: 0 });
    await inbox.play([disputed(other, 50, 'lost')]);
    expect(await movedBy(other)).toEqual(['-10 hold_captured', '+20 payment', '-20 dispute']);
    await inbox.play([disputed(other, 50, 'won')]);
    expect(await walletOf(other)).toEqual({ balance: 20, held: 0 });
  });

  it('are recorded alone where the merchant returns by hand', async () => {
    const one = await buying({ walletRefunds: 'manual' });
    await inbox.play([paid(one), refunded(one, 'a', 3000)]);
    expect(await movedBy(one)).toEqual(['-2000 hold_captured']);
    expect(await now(one)).toMatchObject({ walletReturned: 0, paymentRefunded: 3000 });
  });

  it('that are told in one batch with the payment return the same', async () => {
    const one = await buying();
    const bodies = [paid(one), refunded(one, 'a', 1000), refunded(one, 'b', 1000), refunded(one, 'c', 1000)];
    await Promise.all(bodies.map((body) => inbox.deliver(body)));
    await inbox.settled();
    expect(await now(one)).toMatchObject({ state: 'completed', walletReturned: 2000, paymentRefunded: 3000 });
    expect(await walletOf(one)).toEqual({ balance: 2000, held: 0 });
  });
});

describe('a payment that has completed a checkout', () => {
  it('is given to nobody else', async () => {
    const one = await buying();
    await inbox.play([paid(one)]);
    const wanted = { merchantId: MERCHANT, paymentId: one.paymentId, sourceId: null, customerId: await funded(0) };
    const reassigning = reassignPayment(
      { pool: database.pool, settings: SETTINGS, clock: systemClock, onPosted: () => {} },
      { ...wanted, reason: 'of another', force: false, actor: 'cli' },
    );
    await expect(reassigning).rejects.toMatchObject({ refusal: { code: 'PAYMENT_OF_CHECKOUT' } });
  });

  it('gives no credit for a refund of one that was dismissed', async () => {
    const one = await buying();
    await inbox.play([paid(one, { amount: 2900 })], sources.payers);
    const [event] = await eventsOf(one);
    const handling = { merchantId: MERCHANT, eventId: event?.eventId ?? '', note: null, amountMinor: 0, entryId: null };
    await dismissEvent({ ...inbox.services, onPosted: () => {} }, handling);
    await inbox.play([refunded(one, 'a', 2900)], sources.payers);
    expect(await movedBy(one)).toEqual([]);
    expect(await now(one)).toMatchObject({ state: 'open' });
  });
});
