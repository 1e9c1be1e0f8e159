import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPaymentToken } from '../../src/customers/payment-tokens.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { dismissEvent } from '../../src/inbox/dismiss.ts';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import { getEvent, listEvents } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { postBatch } from '../../src/ledger/store.ts';
import type { Source } from '../../src/merchants/source.ts';
import { PARK_REASONS, type ParkReason } from '../../src/payments/fact.ts';
import { requestTopUp } from '../../src/top-ups/manage.ts';
import { eventResponse } from '../../src/views/event.ts';
import { openAt, opening } from '../support/checkouts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { BONUS_RATIO, expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { razorpayPayment, stripePayment, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { lemonSqueezyOrderRefund } from '../support/signing-more.ts';
import { adyenDelivery, paypalDispute } from '../support/signing-paypal-adyen-cashfree.ts';
import { eventually } from '../support/wait.ts';

/* Every reason for which an event is parked, reached by a real delivery: a parked event moves no money and teaches nothing. */

const sources = {
  topups: testSource('stripe'),
  orders: testSource('stripe', { sourceId: 'src_orders', defaultPurpose: 'order' }),
  payers: testSource('stripe', { sourceId: 'src_payers', metadata: 'customer' }),
  named: testSource('stripe', { sourceId: 'src_named', defaultPurpose: 'order', customerLinkRule: 'named' }),
  lemonsqueezy: testSource('lemonsqueezy'),
  paypal: testSource('paypal'),
  captures: testSource('adyen', { capture: 'manual' }),
  first: testSource('razorpay', { metadata: 'all' }),
  second: testSource('razorpay', { sourceId: 'src_second', metadata: 'all' }),
} satisfies Record<string, Source>;
/** It takes deliveries and is not configured any more when they are applied. */
const GONE = testSource('stripe', { sourceId: 'src_gone' });

let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: Object.values(sources), waitSeconds: 0 });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

interface Case {
  readonly customerId: string;
  readonly paymentId: string;
}

/** An event that is parked, and what comes before it, which is not. */
interface Row {
  readonly source: Source;
  /** What is told before, or done. */
  readonly before?: (one: Case) => Promise<void>;
  readonly body: (one: Case) => string | Promise<string>;
  /** The setting that advice or detail name, and the one with which a replay applies the event. */
  readonly mend?: readonly [setting: string, services: Partial<ApplyServices>];
  /** The event says which payment it is of, so that a refund of it is nobody's, though the source sells orders. */
  readonly isHeardOf?: true;
  readonly after?: () => Promise<unknown>;
}

const usd = { currency: 'usd' } as const;
const names = ({ customerId }: Case) => ({ wallet_customer_id: customerId, wallet_purpose: 'topup' });
const paid = (one: Case, more: object = {}) =>
  stripePaymentSucceeded({ paymentId: one.paymentId, amount: 1000, ...usd, metadata: names(one), ...more });
const refundOf = (one: Case, more: object = {}) =>
  stripeRefund({
    ...{ paymentId: one.paymentId, amount: 400, ...usd, status: 'succeeded', metadata: names(one) },
    ...more,
  });
const changed = (body: string, change: object) => JSON.stringify({ ...JSON.parse(body), ...change });
const adyen = (one: Case, item: Parameters<typeof adyenDelivery>[0][number]) =>
  adyenDelivery([{ merchantReference: one.customerId, currency: 'USD', ...item }]);

async function tell(source: Source, body: string): Promise<void> {
  await inbox.deliver(body, source);
  await eventually('nothing to wait any more', async () => {
    const { pending = 0, waiting = 0 } = await inbox.states();
    return pending + waiting === 0;
  });
}

async function tokenOf({ customerId }: Case): Promise<string> {
  const terms = { purpose: 'topup', currency: 'USD', amount: 1000, creditAmount: 1500 } as const;
  const request = { merchantId: MERCHANT, customerId, ...terms, expiresInSeconds: 2_592_000 };
  const rules = { currencies: SETTINGS.currencies, maxBonusRatio: BONUS_RATIO, now: new Date('2026-10-01T00:00:00Z') };
  return (await transaction(database.pool, (tx) => createPaymentToken(tx, request, rules))).token;
}

async function topUpOf({ customerId }: Case): Promise<string> {
  const request = {
    merchantId: MERCHANT,
    customerId,
    currency: 'USD',
    amount: 1000,
    idempotencyKey: 'k',
    session: null,
  };
  const moment = { currencies: SETTINGS.currencies, now: new Date() };
  return (await transaction(database.pool, (tx) => requestTopUp(tx, request, moment))).topUp.topUpId;
}

/** Of 1000, of which the wallet pays nothing. */
async function checkoutOf({ customerId }: Case): Promise<string> {
  const wallet = { use: 'none', most: null, requireFull: false } as const;
  return (await openAt(database.pool, opening(customerId, 1000, { wallet }))).checkoutId;
}

let account = 0;
const razorpay = (one: Case, account_id: string | undefined) =>
  changed(
    razorpayPayment({ paymentId: one.paymentId, amount: 1000, currency: 'INR', customer: null, notes: names(one) }),
    {
      account_id,
    },
  );

const ROWS: { readonly [Reason in ParkReason]: Row } = {
  malformed: { source: sources.orders, body: (one) => paid(one, { amount: -1 }) },
  wrong_mode: { source: sources.orders, body: (one) => paid(one, { livemode: true }) },
  unknown_amount: {
    source: sources.lemonsqueezy,
    body: () => lemonSqueezyOrderRefund({ refundedAmount: 0, status: 'partial_refund', testMode: true }),
  },
  unsupported_currency: {
    source: sources.orders,
    body: (one) => paid(one, { currency: 'gbp' }),
    mend: ['WALLET_CURRENCIES', { settings: { ...SETTINGS, currencies: new Set(['USD', 'INR', 'GBP']) } }],
    isHeardOf: true,
  },
  unknown_currency: { source: sources.orders, body: (one) => paid(one, { currency: 'xyz' }) },
  unknown_customer: {
    source: sources.orders,
    body: (one) => paid(one, { metadata: { ...names(one), wallet_customer_id: 'cus_nobody' } }),
    isHeardOf: true,
  },
  customer_mismatch: {
    source: sources.orders,
    before: (one) => tell(sources.orders, refundOf(one)),
    body: async (one) => {
      const [other = ''] = await makeCustomers(database.pool, [`other_${one.paymentId}`]);
      return paid(one, { metadata: { wallet_customer_id: other } });
    },
  },
  no_customer: { source: sources.named, body: (one) => paid(one, { metadata: {} }), isHeardOf: true },
  unknown_payment: { source: sources.topups, body: (one) => refundOf(one) },
  invalid_metadata: {
    source: sources.orders,
    body: (one) => paid(one, { metadata: { ...names(one), wallet_purpose: 'gift' } }),
    isHeardOf: true,
  },
  bad_token: {
    source: sources.orders,
    body: (one) => paid(one, { metadata: { ...names(one), wallet_token: `wt_${'0'.repeat(32)}` } }),
    isHeardOf: true,
  },
  token_used: {
    source: sources.orders,
    body: async (one) => {
      const metadata = { wallet_token: await tokenOf(one) };
      await tell(sources.orders, paid({ ...one, paymentId: `${one.paymentId}_first` }, { metadata }));
      expect(await inbox.balance(one.customerId)).toBe(1500);
      return paid(one, { metadata });
    },
    isHeardOf: true,
  },
  unknown_checkout: {
    source: sources.orders,
    body: (one) => paid(one, { metadata: { ...names(one), wallet_checkout_id: `chk_${'0'.repeat(26)}` } }),
    isHeardOf: true,
  },
  checkout_mismatch: {
    source: sources.orders,
    body: async (one) => paid(one, { amount: 999, metadata: { wallet_checkout_id: await checkoutOf(one) } }),
    isHeardOf: true,
  },
  checkout_paid_twice: {
    source: sources.payers,
    body: async (one) => {
      const metadata = { wallet_checkout_id: await checkoutOf(one) };
      await tell(sources.payers, paid({ ...one, paymentId: `${one.paymentId}_first` }, { metadata }));
      return paid(one, { metadata });
    },
    isHeardOf: true,
  },
  unknown_topup: {
    source: sources.topups,
    body: (one) => paid(one, { metadata: { ...names(one), wallet_topup_id: `top_${'0'.repeat(26)}` } }),
    isHeardOf: true,
  },
  topup_mismatch: {
    source: sources.topups,
    body: async (one) => paid(one, { amount: 999, metadata: { ...names(one), wallet_topup_id: await topUpOf(one) } }),
    isHeardOf: true,
  },
  topup_paid_twice: {
    source: sources.payers,
    body: async (one) => {
      const metadata = { wallet_customer_id: one.customerId, wallet_topup_id: await topUpOf(one) };
      await tell(sources.payers, paid({ ...one, paymentId: `${one.paymentId}_first` }, { metadata }));
      return paid(one, { metadata });
    },
    isHeardOf: true,
  },
  bonus_too_large: {
    source: sources.orders,
    body: (one) => paid(one, { metadata: { ...names(one), wallet_credit_amount: '2001' } }),
    mend: ['MAX_BONUS_RATIO', { maxBonusRatio: { ...BONUS_RATIO, numerator: 3n } }],
    isHeardOf: true,
  },
  currency_mismatch: {
    source: sources.topups,
    before: (one) => tell(sources.topups, paid(one)),
    body: (one) => refundOf(one, { currency: 'inr' }),
  },
  currency_changed: {
    source: sources.topups,
    before: (one) => tell(sources.topups, paid(one)),
    body: (one) => paid(one, { currency: 'inr' }),
  },
  named_late: {
    source: sources.first,
    before: (one) => tell(sources.first, razorpay(one, undefined)),
    body: async (one) => {
      const [other = ''] = await makeCustomers(database.pool, [`other_${one.paymentId}`]);
      const order = { order: { entity: { id: 'order_1', notes: { wallet_customer_id: other } } } };
      const { payload } = JSON.parse(razorpay(one, undefined));
      return changed(razorpay(one, undefined), { event: 'order.paid', payload: { ...order, ...payload } });
    },
  },
  contradictory: {
    source: sources.topups,
    before: (one) => tell(sources.topups, paid(one)),
    body: ({ paymentId }) => stripePayment({ type: 'payment_failed', paymentId, createdSeconds: 1_999_999_999 }),
  },
  overcaptured: {
    source: sources.captures,
    before: (one) =>
      tell(sources.captures, adyen(one, { eventCode: 'AUTHORISATION', pspReference: one.paymentId, value: 1000 })),
    body: (one) => {
      const capture = { pspReference: `${one.paymentId}_c`, originalReference: one.paymentId };
      return adyen(one, { eventCode: 'CAPTURE', value: 1001, ...capture });
    },
  },
  order_not_completed: {
    source: sources.captures,
    body: (one) =>
      adyen(one, { eventCode: 'ORDER_CLOSED', success: 'false', pspReference: one.paymentId, value: 1000 }),
  },
  handled_by_hand: {
    source: sources.topups,
    before: async (one) => {
      const refund = refundOf(one, { refundId: `re_${one.paymentId}` });
      await tell(sources.topups, refund);
      const { eventId = '' } = (await parkedOf(one.paymentId)) ?? {};
      const done = { note: 'given back in cash', amountMinor: null, entryId: null };
      await dismissEvent(inbox.services, { merchantId: MERCHANT, eventId, ...done });
    },
    body: (one) => refundOf(one, { refundId: `re_${one.paymentId}`, type: 'updated', amount: 300 }),
  },
  balance_limit: {
    source: sources.topups,
    before: async ({ customerId }) => {
      const most = posting({ customerId, amountMinor: Number.MAX_SAFE_INTEGER - 999 });
      await transaction(database.pool, (tx) => postBatch(tx, [most], { ...SETTINGS, now: new Date() }));
    },
    body: (one) => paid(one),
  },
  foreign_account: { source: sources.orders, body: (one) => changed(paid(one), { account: 'acct_connected' }) },
  known_at_another_source: {
    source: sources.second,
    before: async (one) => {
      // Both had payments before the account they share was known.
      account += 1;
      for (const source of [sources.first, sources.second])
        await tell(source, razorpay({ ...one, paymentId: `${one.paymentId}_${source.sourceId}` }, undefined));
      await tell(sources.first, razorpay(one, `acc_${account}`));
    },
    body: (one) => razorpay(one, `acc_${account}`),
  },
  source_missing: { source: GONE, body: (one) => paid(one) },
  manual_correction: {
    source: sources.paypal,
    body: ({ paymentId }) => paypalDispute({ paymentIds: [paymentId], disputeId: `PP-${paymentId}`, outcome: 'NONE' }),
  },
  apply_failed: {
    source: sources.orders,
    before: async ({ paymentId }) => {
      await database.pool.query(
        `alter table payment add constraint poison check (payment_id <> '${paymentId}') not valid`,
      );
      await inbox.boss.updateQueue('apply-provider-event', { retryLimit: 0 });
    },
    body: (one) => paid(one),
    after: () => database.pool.query('alter table payment drop constraint poison'),
  },
  unsupported_payload: {
    source: sources.orders,
    body: (one) => changed(paid(one), { object: 'v2.core.event', type: 'v1.payment_intent.succeeded' }),
  },
};

async function parkedOf(paymentId: string) {
  const page = { state: 'parked', pageSize: 100, pageNumber: 0 } as const;
  return (await listEvents(autocommit(database.pool), MERCHANT, page)).find((event) => event.paymentId === paymentId);
}

const TABLES = [
  ...['entry', 'customer', 'customer_link', 'payment_token', 'payment_part', 'payment_movement', 'payment_move'],
  ...['handled_movement', 'source_account', 'wallet'],
];
/** A payment of which nothing but its name is known says nothing. */
const PAYMENTS = `select to_jsonb(p) - 'heard_of' - 'updated_at' as row from payment p
  where state <> 'unknown' or num_nonnulls(purpose, customer_id, amount_paid, token_hash) > 0 or postings > 0`;

/** Everything that money follows from. */
async function everything(): Promise<Record<string, unknown>> {
  const texts = [PAYMENTS, ...TABLES.map((name) => `select to_jsonb(t) - 'updated_at' as row from ${name} t`)];
  const read = await Promise.all(
    texts.map(async (text) => (await database.pool.query(`select row from (${text}) r order by row::text`)).rows),
  );
  return Object.fromEntries(['payment', ...TABLES].map((name, index) => [name, read[index]]));
}

const SETTING = /[A-Z][A-Z]+_[A-Z_]+[A-Z]/g;
const REASONS = Object.keys(PARK_REASONS).filter((name): name is ParkReason => name in ROWS);

describe('an event that is parked', () => {
  it('has a row here for every reason that there is', () => {
    expect(Object.keys(ROWS).sort()).toEqual(Object.keys(PARK_REASONS).sort());
  });

  it.each(REASONS)('as %s moves no money and teaches nothing, told once, told again and replayed', async (reason) => {
    const { source, before, body, mend, isHeardOf, after } = ROWS[reason];
    const [customerId = ''] = await makeCustomers(database.pool, [`of_${reason}`]);
    const one = { customerId, paymentId: `pi_${reason}` };
    await before?.(one);
    const told = await body(one);
    const known = await everything();
    const eventsBefore = new Set((await listAll()).map(({ eventId }) => eventId));
    await tell(source, told);
    const event = (await listAll()).find(({ eventId }) => !eventsBefore.has(eventId));
    expect(event).toMatchObject({ state: 'parked', reason });
    expect(await everything()).toEqual(known);

    const { eventId = '', detail } = event ?? {};
    const { advice } = eventResponse((await getEvent(autocommit(database.pool), MERCHANT, eventId)) ?? fail());
    expect(advice?.length).toBeGreaterThan(20);
    expect(`${advice} ${detail}`.match(SETTING) ?? []).toEqual(mend === undefined ? [] : [mend[0]]);

    await tell(source, told);
    expect(await everything()).toEqual(known);
    const replay = { merchantId: MERCHANT, eventId, customerId: null };
    await replayEvent(database.pool, inbox.boss, replay);
    await inbox.settled();
    await eventually('it to be parked again', async () => (await stateOf(eventId)) === `parked ${reason}`);
    expect(await everything()).toEqual(known);

    // Its source sells orders: the refund of a payment that nothing was heard of would be credited.
    if (isHeardOf === true) await tell(source, refundOf(one));
    expect(await everything()).toEqual(known);
    await after?.();
  });
});

describe('a setting that the advice names', () => {
  it.each(REASONS.filter((reason) => ROWS[reason].mend !== undefined))('mends what is parked as %s', async (reason) => {
    const { source, body, mend: [, services] = ['', {}] } = ROWS[reason];
    const [customerId = ''] = await makeCustomers(database.pool, [`mended_${reason}`]);
    const one = { customerId, paymentId: `pi_mended_${reason}` };
    await tell(source, await body(one));
    const { eventId = '' } = (await parkedOf(one.paymentId)) ?? {};
    expect(await stateOf(eventId)).toBe(`parked ${reason}`);
    const before = { ...inbox.services };
    Object.assign(inbox.services, services);
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: null });
    await eventually('it to be applied', async () => (await stateOf(eventId)) === 'applied null');
    Object.assign(inbox.services, before);
  });
});

function fail(): never {
  throw new Error('the event is not there');
}

function listAll() {
  return listEvents(autocommit(database.pool), MERCHANT, { state: null, pageSize: 1000, pageNumber: 0 });
}

async function stateOf(eventId: string): Promise<string> {
  const event = await getEvent(autocommit(database.pool), MERCHANT, eventId);
  return `${event?.state} ${event?.reason}`;
}
