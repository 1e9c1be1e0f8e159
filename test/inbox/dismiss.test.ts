import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reassignPayment } from '../../src/customers/reassign.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { dismissEvent, type Handling, resolveEvent } from '../../src/inbox/dismiss.ts';
import { eventsOfPayment, listEvents } from '../../src/inbox/events.ts';
import { withPaymentsOfRefunds } from '../../src/inbox/payments-of-refunds.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { entryId } from '../../src/ledger/entry.ts';
import { postBatch } from '../../src/ledger/store.ts';
import type { Source } from '../../src/merchants/source.ts';
import { PARK_REASONS } from '../../src/payments/fact.ts';
import { lockGroups } from '../../src/payments/group-store.ts';
import { describePayment } from '../../src/views/payment.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { paymentFact, refundFact } from '../support/payments.ts';
import { stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/* Events that are told at once and do not wait for their payment: what is parked, and what people do about it. */

let database: TestDatabase;
let inbox: TestInbox;
const topups = testSource('stripe');
const orders = testSource('stripe', { sourceId: 'src_orders', defaultPurpose: 'order' });
const nothing = testSource('stripe', { sourceId: 'src_nothing', defaultPurpose: 'none' });
const credits = testSource('stripe', { sourceId: 'src_credits', refunds: 'credit' });

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [topups, orders, nothing, credits], waitSeconds: 0 });
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

/** Delivers each once the one before it was applied or parked, wherever it waited meanwhile. */
async function tell(source: Source, ...bodies: readonly string[]): Promise<void> {
  for (const body of bodies) {
    await inbox.deliver(body, source);
    await eventually('nothing to wait any more', async () => {
      const { pending = 0, waiting = 0 } = await inbox.states();
      return pending + waiting === 0;
    });
  }
}

let made = 0;
async function newCustomer(): Promise<string> {
  made += 1;
  const [id = ''] = await makeCustomers(database.pool, [`byhand${made}`]);
  return id;
}

const stateOf = async ({ sourceId }: Source, paymentId: string): Promise<string[]> => {
  const events = await eventsOfPayment(autocommit(database.pool), { merchantId: MERCHANT, sourceId, paymentId });
  return events.map(({ state, reason }) => (reason === null ? state : `${state} ${reason}`));
};

/** Dismisses the newest event of a payment. */
async function dismiss({ sourceId }: Source, paymentId: string, done: Partial<Handling> = {}): Promise<string> {
  const events = await eventsOfPayment(autocommit(database.pool), { merchantId: MERCHANT, sourceId, paymentId });
  const eventId = events.at(-1)?.eventId ?? '';
  const nothing = { note: 'by hand', amountMinor: null, entryId: null };
  await dismissEvent(inbox.services, { merchantId: MERCHANT, eventId, ...nothing, ...done });
  return eventId;
}

/** What somebody does by hand in a wallet. */
async function byHand(customer: string, amountMinor: number): Promise<string> {
  const done = { customerId: customer, amountMinor: Math.abs(amountMinor), isCredit: amountMinor > 0 };
  const [outcome] = await transaction(database.pool, (tx) =>
    postBatch(tx, [posting(done)], { ...SETTINGS, now: new Date() }),
  );
  if (outcome?.kind !== 'created') throw new Error('nothing was written by hand');
  return entryId(outcome.entry);
}

const usd = { currency: 'usd' } as const;
const refundOf = (paymentId: string, amount: number, more: object = {}) =>
  stripeRefund({ paymentId, amount, ...usd, status: 'succeeded', ...more });
const paidBy = (customer: string, paymentId: string, amount: number) =>
  stripePaymentSucceeded({ paymentId, amount, ...usd, metadata: { wallet_customer_id: customer } });

describe('the refund of a payment that was never heard of', () => {
  it.each([
    ['parks where top-ups are sold', topups, 0, 'parked unknown_payment'],
    ['parks where nothing is sold', nothing, 0, 'parked unknown_payment'],
    ['is credited where orders are sold', orders, 2500, 'applied'],
    ['is credited where every refund becomes credit', credits, 2500, 'applied'],
  ])('%s', async (_, source, balance, state) => {
    const customer = await newCustomer();
    const paymentId = `pi_unheard_${source.sourceId}`;
    const refund = { paymentId, amount: 2500, currency: 'usd', metadata: { wallet_customer_id: customer } };
    await tell(source, stripeRefund({ ...refund, status: 'succeeded' }));
    expect([await stateOf(source, paymentId), await inbox.balance(customer)]).toEqual([[state], balance]);
  });

  it('that names nobody is parked for its payment, and nobody is asked to name a wallet', async () => {
    await tell(orders, stripeRefund({ paymentId: 'pi_nobody', amount: 2500, currency: 'usd', metadata: {} }));
    expect(await stateOf(orders, 'pi_nobody')).toEqual(['parked unknown_payment']);
    expect(PARK_REASONS.unknown_payment).not.toMatch(/credit|wallet/);
  });

  it('and its lost dispute take what is theirs once the payment comes after all', async () => {
    const customer = await newCustomer();
    const paymentId = 'pi_after_all';
    const refund = stripeRefund({ paymentId, amount: 400, currency: 'usd', status: 'succeeded' });
    const dispute = stripeDispute({ type: 'closed', paymentId, amount: 500, currency: 'usd', status: 'lost' });
    await tell(topups, refund, dispute);
    expect(await stateOf(topups, paymentId)).toEqual(['parked unknown_payment', 'parked unknown_payment']);
    const metadata = { wallet_customer_id: customer };
    await tell(topups, stripePaymentSucceeded({ paymentId, amount: 1000, currency: 'usd', metadata }));
    expect([await stateOf(topups, paymentId), await inbox.balance(customer)]).toEqual([
      ['applied', 'applied', 'applied'],
      100,
    ]);
  });
});

describe('an event that was handled by hand', () => {
  it('never posts, though its payment comes after all', async () => {
    const customer = await newCustomer();
    await tell(orders, refundOf('pi_late', 5000));
    await byHand(customer, 5000);
    await dismiss(orders, 'pi_late');
    await tell(orders, paidBy(customer, 'pi_late', 5000));
    expect([await stateOf(orders, 'pi_late'), await inbox.balance(customer)]).toEqual([['dismissed', 'applied'], 5000]);
  });

  it('told again alike does nothing, and in another state or amount is parked', async () => {
    const customer = await newCustomer();
    const refund = { refundId: 're_again' };
    await tell(orders, refundOf('pi_again', 5000, refund));
    await dismiss(orders, 'pi_again');
    await tell(
      orders,
      paidBy(customer, 'pi_again', 6000),
      refundOf('pi_again', 5000, refund),
      refundOf('pi_again', 4000, refund),
      refundOf('pi_again', 5000, { ...refund, type: 'failed', status: 'failed' }),
    );
    const parked = 'parked handled_by_hand';
    expect(await stateOf(orders, 'pi_again')).toEqual(['dismissed', 'applied', 'applied', parked, parked]);
    expect(await inbox.balance(customer)).toBe(0);
  });

  it.each([5000, 4000, null])('leaves to another refund its own share, handled as %s', async (amountMinor) => {
    const customer = await newCustomer();
    const paymentId = `pi_share_${amountMinor}`;
    await tell(orders, refundOf(paymentId, 5000));
    await dismiss(orders, paymentId, { amountMinor });
    await tell(orders, paidBy(customer, paymentId, 6000), refundOf(paymentId, 2000));
    expect(await inbox.balance(customer)).toBe(1000);
  });

  it('which was a payment, is taken back as far as it was credited by hand', async () => {
    const customer = await newCustomer();
    for (const [amountMinor, taken] of [
      [1000, -500],
      [500, -250],
      [0, 0],
    ] as const) {
      const paymentId = `pi_credited_${amountMinor}`;
      const before = (await inbox.balance(customer)) ?? 0;
      await tell(topups, stripePaymentSucceeded({ paymentId, amount: 1000, ...usd, customer: null, metadata: {} }));
      const done = amountMinor === 0 ? { amountMinor } : { entryId: await byHand(customer, amountMinor) };
      const eventId = await dismiss(topups, paymentId);
      await resolveEvent(inbox.services, {
        merchantId: MERCHANT,
        eventId,
        note: 'done',
        amountMinor: null,
        entryId: null,
        ...done,
      });
      await tell(topups, refundOf(paymentId, 500));
      expect(await stateOf(topups, paymentId)).toEqual(['dismissed', 'applied']);
      expect(((await inbox.balance(customer)) ?? 0) - before).toBe(amountMinor + taken);
    }
  });

  it('which was a payment of unknown amount, leaves its refund to a person', async () => {
    const customer = await newCustomer();
    await tell(
      topups,
      stripePaymentSucceeded({ paymentId: 'pi_unknown', amount: 1000, ...usd, customer: null, metadata: {} }),
    );
    await byHand(customer, 1000);
    await dismiss(topups, 'pi_unknown');
    await tell(topups, refundOf('pi_unknown', 500));
    expect(await stateOf(topups, 'pi_unknown')).toEqual(['dismissed', 'parked handled_by_hand']);
    expect(await inbox.balance(customer)).toBe(1000);
  });

  it('is told with its payment, with the entry that did it', async () => {
    const customer = await newCustomer();
    await tell(orders, refundOf('pi_shown', 700, { refundId: 're_shown' }));
    const entry = await byHand(customer, 700);
    const eventId = await dismiss(orders, 'pi_shown', { entryId: entry });
    const [shown] = await describePayment(autocommit(database.pool), MERCHANT, 'pi_shown');
    expect(shown?.handled_by_hand).toMatchObject([
      { event_id: eventId, kind: 'refund', object_id: 're_shown', amount_told: 700, amount: 700, entry_id: entry },
    ]);
  });

  it('wants an entry of that currency, and of a customer that exists', async () => {
    const customer = await newCustomer();
    await tell(orders, refundOf('pi_wrong', 700, { currency: 'eur' }));
    const entry = await byHand(customer, 700);
    for (const entryId of [entry, 'ent_cus_x_USD_1', 'nonsense']) {
      await expect(dismiss(orders, 'pi_wrong', { entryId })).rejects.toMatchObject({
        refusal: { code: 'INVALID_FIELD' },
      });
    }
    expect(await stateOf(orders, 'pi_wrong')).toEqual(['parked unknown_payment']);
  });

  it('posts after all once a replay opens it again', async () => {
    const customer = await newCustomer();
    await tell(orders, refundOf('pi_open', 300));
    const eventId = await dismiss(orders, 'pi_open');
    await tell(orders, paidBy(customer, 'pi_open', 1000));
    const replay = { merchantId: MERCHANT, eventId, customerId: null };
    await expect(replayEvent(database.pool, inbox.boss, replay)).rejects.toMatchObject({
      refusal: { code: 'EVENT_HANDLED_BY_HAND' },
    });
    await replayEvent(database.pool, inbox.boss, { ...replay, reopens: true });
    await inbox.settled();
    expect([await stateOf(orders, 'pi_open'), await inbox.balance(customer)]).toEqual([['applied', 'applied'], 300]);
  });
});

describe('a payment that is reassigned after several things of it were handled by hand', () => {
  const reassign = (paymentId: string, customerId: string) =>
    reassignPayment(
      { pool: database.pool, settings: SETTINGS, clock: inbox.services.clock, onPosted: () => {} },
      { merchantId: MERCHANT, paymentId, sourceId: null, customerId, reason: 'wrong', force: false, actor: 'api' },
    );

  it.each<[string, (paymentId: string, state: 'first' | 'then') => string]>([
    [
      'a dispute that was lost and then won',
      (paymentId, state) =>
        stripeDispute({
          paymentId,
          disputeId: `du_${paymentId}`,
          amount: 300,
          ...usd,
          status: state === 'first' ? 'lost' : 'won',
        }),
    ],
    [
      'a refund that succeeded and then failed',
      (paymentId, state) =>
        refundOf(paymentId, 300, { refundId: `re_${paymentId}`, status: state === 'first' ? 'succeeded' : 'failed' }),
    ],
  ])('leaves nothing with whom it was taken from: %s', async (_, told) => {
    const [wrong, right] = [await newCustomer(), await newCustomer()];
    const paymentId = `pi_reassigned_${made}`;
    await tell(topups, told(paymentId, 'first'));
    await dismiss(topups, paymentId, { amountMinor: 300 });
    await tell(topups, paidBy(wrong, paymentId, 1000));
    await byHand(wrong, -300);
    await tell(topups, told(paymentId, 'then'));
    await byHand(wrong, 300);
    await dismiss(topups, paymentId, { amountMinor: 300 });
    await reassign(paymentId, right);
    expect([await inbox.balance(wrong), await inbox.balance(right)]).toEqual([0, 1000]);
  });

  it('takes no more than posted, though another customer was credited for it by hand', async () => {
    const [wrong, other, right] = [await newCustomer(), await newCustomer(), await newCustomer()];
    const paymentId = 'pi_credited_twice';
    await byHand(wrong, 5000);
    await tell(topups, paidBy(wrong, paymentId, 1000), paidBy(other, paymentId, 1000));
    await byHand(other, 1000);
    await dismiss(topups, paymentId, { amountMinor: 1000 });
    await reassign(paymentId, right);
    expect([await inbox.balance(wrong), await inbox.balance(other), await inbox.balance(right)]).toEqual([
      5000, 1000, 1000,
    ]);
  });
});

describe('what a payer made up', () => {
  it('is no customer of what was handled by hand, and later news of the payment is parked at once', async () => {
    const customer = await newCustomer();
    await tell(topups, paidBy('cus_typo', 'pi_typo', 1000));
    await byHand(customer, 1000);
    await dismiss(topups, 'pi_typo', { amountMinor: 1000 });
    await tell(topups, stripeRefund({ paymentId: 'pi_typo', amount: 300, ...usd, status: 'pending' }));
    await tell(topups, refundOf('pi_typo', 300, { refundId: 're_typo' }));
    expect(await stateOf(topups, 'pi_typo')).toEqual(['dismissed', 'applied', 'parked no_customer']);
    expect(await inbox.balance(customer)).toBe(1000);
  });
});

describe('one thing that two events told', () => {
  it('is open again by a replay of either', async () => {
    const customer = await newCustomer();
    const nobody = { paymentId: 'pi_twice', amount: 1000, currency: 'usd', customer: null, email: null, metadata: {} };
    const told = ['evt_twice_1', 'evt_twice_2'].map((eventId) => stripePaymentSucceeded({ ...nobody, eventId }));
    await tell(topups, ...told);
    const key = { merchantId: MERCHANT, sourceId: topups.sourceId, paymentId: 'pi_twice' };
    const [first, second] = await eventsOfPayment(autocommit(database.pool), key);
    const done = { note: null, amountMinor: 0, entryId: null };
    for (const event of [first, second])
      await dismissEvent(inbox.services, { merchantId: MERCHANT, eventId: event?.eventId ?? '', ...done });
    const replay = { merchantId: MERCHANT, eventId: first?.eventId ?? '', customerId: customer, reopens: true };
    await replayEvent(database.pool, inbox.boss, replay);
    await inbox.settled();
    expect(await inbox.balance(customer)).toBe(1000);
  });
});

describe('what an event is closed with', () => {
  const handledOf = async (paymentId: string) =>
    (await describePayment(autocommit(database.pool), MERCHANT, paymentId))[0]?.handled_by_hand;

  it('is what it tells, also where its source is not configured any more', async () => {
    await tell(orders, refundOf('pi_no_source', 700, { refundId: 're_no_source' }));
    const query = { state: 'parked', pageSize: 100, pageNumber: 0 } as const;
    const events = await listEvents(autocommit(database.pool), MERCHANT, query);
    const eventId = events.find((event) => event.paymentId === 'pi_no_source')?.eventId ?? '';
    const services = { ...inbox.services, sources: { find: async () => null } };
    const handling = { merchantId: MERCHANT, eventId, note: 'gone', amountMinor: 700, entryId: null };
    expect(await dismissEvent(services, handling)).toMatchObject({ state: 'dismissed' });
    expect(await handledOf('pi_no_source')).toMatchObject([{ object_id: 're_no_source', amount: 700, note: 'gone' }]);
  });

  it.each(['contradictory', 'known_at_another_source', 'foreign_account', 'order_not_completed'])(
    'is nothing where it was parked as %s',
    async (reason) => {
      const customer = await newCustomer();
      const paymentId = `pi_closes_nothing_${reason}`;
      await tell(orders, refundOf(paymentId, 700));
      await database.pool.query('update provider_event set reason = $1 where payment_id = $2', [reason, paymentId]);
      await dismiss(orders, paymentId, { entryId: await byHand(customer, 700) });
      expect([await stateOf(orders, paymentId), (await handledOf(paymentId)) ?? []]).toEqual([['dismissed'], []]);
    },
  );

  it('is nothing where its body cannot be read, and any entry of the merchant may be named', async () => {
    const customer = await newCustomer();
    await tell(orders, refundOf('pi_unread', 700));
    await database.pool.query("update provider_event set body = '{}' where payment_id = 'pi_unread'");
    await dismiss(orders, 'pi_unread', { entryId: await byHand(customer, 100) });
    expect([await stateOf(orders, 'pi_unread'), (await handledOf('pi_unread')) ?? []]).toEqual([['dismissed'], []]);
  });
});

describe('a refund that may be named where its payment should be', () => {
  it('is of its payment once it is known, and nothing else of its event is', async () => {
    const customer = await newCustomer();
    await tell(topups, paidBy(customer, 'pi_named', 1000), refundOf('pi_named', 300, { refundId: 're_named' }));
    const { merchantId, sourceId } = topups;
    const known = refundFact({ paymentId: 're_named', mayNameRefund: true });
    const rest = [
      refundFact({ paymentId: 're_named' }),
      refundFact({ paymentId: 're_unheard', mayNameRefund: true }),
      paymentFact({ paymentId: 're_named' }),
    ];
    const facts = await transaction(database.pool, (tx) =>
      withPaymentsOfRefunds(tx, { merchantId, sourceId }, [known, ...rest]),
    );
    expect(facts).toEqual([{ ...known, paymentId: 'pi_named', refundId: 're_named' }, ...rest]);
  });
});

describe('an event that the release before dismissed', () => {
  it('is closed with an unknown amount when news of its payment comes', async () => {
    const customer = await newCustomer();
    await tell(orders, refundOf('pi_before', 5000));
    await database.pool.query(
      "update provider_event set state = 'dismissed', reason = null, detail = 'by hand' where payment_id = 'pi_before'",
    );
    await tell(orders, paidBy(customer, 'pi_before', 6000), refundOf('pi_before', 2000));
    expect([await stateOf(orders, 'pi_before'), await inbox.balance(customer)]).toEqual([
      ['dismissed', 'applied', 'applied'],
      1000,
    ]);
    const [shown] = await describePayment(autocommit(database.pool), MERCHANT, 'pi_before');
    expect(shown?.handled_by_hand).toMatchObject([{ kind: 'refund', amount: null, note: 'by hand' }]);
  });

  it('is closed without waiting for its group, whose lock comes before that of any payment', async () => {
    const customer = await newCustomer();
    const body = JSON.parse(paidBy(customer, 'pi_before_group', 6000));
    body.data.object.invoice = 'in_before';
    await tell(topups, JSON.stringify(body));
    await database.pool.query(
      "update provider_event set state = 'dismissed', is_closed = false where payment_id = 'pi_before_group'",
    );
    await transaction(database.pool, async (other) => {
      await lockGroups(
        other,
        [{ merchantId: MERCHANT, sourceId: topups.sourceId, groupId: 'in_before', paymentId: null }],
        new Date(),
      );
      await tell(topups, refundOf('pi_before_group', 2000));
      const { rows } = await database.pool.query(
        "select amount from handled_movement where payment_id = 'pi_before_group'",
      );
      expect(rows).toEqual([{ amount: null }]);
    });
  });
});

describe('a payment that the release before recorded though its event was parked', () => {
  it('credits nothing by itself once it was credited by hand: its refund takes its share of that', async () => {
    const customer = await newCustomer();
    const success = { amount: 1000, currency: 'usd', customer: null, email: null, metadata: {} };
    await tell(topups, stripePaymentSucceeded({ paymentId: 'pi_recorded', ...success }));
    await database.pool.query(
      `update payment set state = 'succeeded', purpose = 'topup', amount_paid = 1000, currency = 'USD', heard_of = false
       where payment_id = 'pi_recorded'`,
    );
    const entry = await byHand(customer, 1000);
    await dismiss(topups, 'pi_recorded', { entryId: entry });
    await tell(topups, refundOf('pi_recorded', 300));
    expect(await inbox.balance(customer)).toBe(700);
  });
});

describe('an event that is parked', () => {
  it.each([
    ['foreign currency', { currency: 'sek' }],
    ['unusable metadata', { metadata: { wallet_purpose: '?' } }],
    ['unknown customer', { metadata: { wallet_customer_id: 'cus_nobody' } }],
    ['a bonus too large', { metadata: { wallet_credit_amount: '900000' } }],
  ])('for %s makes no customer and no link, and teaches its payment nothing', async (name, more) => {
    const paymentId = `pi_parked_${name.replaceAll(' ', '_')}`;
    const counts = async () =>
      (await database.pool.query('select (select count(*) from customer) c, (select count(*) from customer_link) l'))
        .rows;
    const before = await counts();
    await tell(
      topups,
      stripePaymentSucceeded({ paymentId, amount: 1000, ...usd, customer: `stranger_${name}`, ...more }),
    );
    expect(await stateOf(topups, paymentId)).toEqual([expect.stringMatching(/^parked /)]);
    expect(await counts()).toEqual(before);
    const [shown] = await describePayment(autocommit(database.pool), MERCHANT, paymentId);
    expect(shown).toMatchObject({ status: 'unknown', customer_id: null, amount_paid: null, entries: [] });
  });
});
