import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eraseCustomer } from '../../src/customers/erase.ts';
import { setLink } from '../../src/customers/links.ts';
import { reassignPayment } from '../../src/customers/reassign.ts';
import { onCitus } from '../../src/db/backend.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { RefusalError } from '../../src/errors.ts';
import { dismissEvent, resolveEvent } from '../../src/inbox/dismiss.ts';
import { eventsOfPayment } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { seizeSources } from '../../src/merchants/adoption-store.ts';
import type { Source } from '../../src/merchants/source.ts';
import { paymentLife } from '../../src/payments/life.ts';
import { adoptSource, planAdoption } from '../../src/reconciliation/adopt.ts';
import { checkoutNow, openAt, opening } from '../support/checkouts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { razorpayDispute, razorpayPayment, razorpayRefund } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/** A source takes over from another: any history that is split over the two ends as if it had come in by one. */

let database: TestDatabase;
let inbox: TestInbox;
let made = 0;
const sources: Source[] = [];

beforeAll(async () => {
  database = await createTestDatabase(30);
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

/** Two sources, an account, a customer and a payment, none of which anybody else uses. */
async function world() {
  made += 1;
  const [customerId = ''] = await makeCustomers(database.pool, [`adopt${made}`]);
  const newSource = (name: string, provider: 'razorpay' | 'stripe' = 'razorpay') => {
    const one = testSource(provider, { sourceId: `src_${name}${made}`, metadata: 'all' });
    sources.push(one);
    return one;
  };
  const account = `acc_${made}`;
  const of = (body: string) => JSON.stringify({ ...JSON.parse(body), account_id: account });
  const paymentId = `pay_${made}`;
  const notes = { wallet_customer_id: customerId };
  return {
    ...{ customerId, newSource, paymentId },
    old: newSource('old'),
    replacement: newSource('new'),
    payment: (change: object = {}) =>
      of(razorpayPayment({ paymentId, amount: 10_000, currency: 'INR', customer: null, notes, ...change })),
    refund: (refundId: string, amount: number) =>
      of(
        razorpayRefund({
          paymentId,
          refundId: `${refundId}${made}`,
          amount,
          currency: 'INR',
          customer: null,
          paymentNotes: notes,
        }),
      ),
    dispute: (type: 'created' | 'lost' | 'won', amount: number) =>
      of(razorpayDispute({ paymentId, disputeId: `disp_${made}`, type, amount, currency: 'INR' })),
    balance: () => inbox.balance(customerId, 'INR'),
  };
}

const services = () => ({ ...inbox.services, pool: database.pool });
const adopt = async (from: Source, into: Source, merchantId = MERCHANT) => {
  const adoption = await adoptSource(services(), { merchantId, from: from.sourceId, into: into.sourceId });
  await inbox.settled();
  return adoption;
};
const refusalOf = async (asked: Promise<unknown>) => {
  const error = await asked.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return error instanceof RefusalError ? error.refusal : error;
};
/** Holds sources as one that adopts does. @returns lets go of them */
async function seize(...held: readonly Source[]): Promise<() => Promise<void>> {
  const [seized, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const adopting = transaction(database.pool, async (tx) => {
    const ids = held.map(({ sourceId }) => sourceId);
    await seizeSources(tx, ids);
    seized.resolve();
    await released.promise;
  });
  await seized.promise;
  return () => {
    released.resolve();
    return adopting;
  };
}
/** Lets one source adopt another up to its very end, everything moved and nothing committed. */
async function adoptHalfway(from: Source, into: Source) {
  const client = await database.pool.connect();
  await client.query('begin');
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const note = 'insert into source_adoption values ($1, $2, $3, now())';
  await client.query(note, [MERCHANT, from.sourceId, into.sourceId]);
  const adopted = adopt(from, into);
  /** Until so many wait for this adoption, itself included. */
  const waiting = (count: number) =>
    eventually(`${count} to wait for an adoption`, async () => {
      if (onCitus()) return (await waitingForLocks(database.pool)) >= count;
      const blocked = await database.pool.query(
        `with recursive waits (pid) as (
           select $1::integer union select a.pid from waits w join pg_stat_activity a on w.pid = any (pg_blocking_pids(a.pid)))
         select pid from waits`,
        [rows[0]?.pid],
      );
      return blocked.rows.length > count;
    });
  await waiting(1);
  return {
    waiting,
    finish: async () => {
      await client.query('rollback');
      client.release();
      return adopted;
    },
  };
}
const eventsAt = ({ sourceId }: Source, paymentId: string) =>
  eventsOfPayment(autocommit(database.pool), { merchantId: MERCHANT, sourceId, paymentId });
const handledAt = async (paymentId: string) => {
  const { rows } = await database.pool.query<{ at: string; amount: number | null }>(
    'select source_id as at, amount from handled_movement where payment_id = $1 order by 1',
    [paymentId],
  );
  return rows;
};
const byHand = (eventId: string, amountMinor: number | null) => ({
  ...{ merchantId: MERCHANT, eventId, note: 'by hand', amountMinor, entryId: null },
});
const lives = (paymentId: string) => paymentLife(autocommit(database.pool), MERCHANT, paymentId);

describe('a source that adopts another one', () => {
  it('takes over what paid a checkout, whose refunds go back by it', async () => {
    const one = await world();
    const credit = posting({ customerId: one.customerId, currency: 'INR', amountMinor: 5000 });
    await transaction(database.pool, (tx) => postBatch(tx, [credit], { ...SETTINGS, now: new Date() }));
    const checkout = await openAt(
      database.pool,
      opening(one.customerId, 15_000, { currency: 'INR', gatewayMinimum: 0 }),
    );
    const notes = { wallet_checkout_id: checkout.checkoutId };
    await inbox.play([one.payment({ notes })], one.old);
    expect(await one.balance()).toBe(0);
    await inbox.play([one.payment({ notes, email: 'buyer@example.com' })], one.replacement);
    await adopt(one.old, one.replacement);
    const adopted = { state: 'completed', sourceId: one.replacement.sourceId, paymentId: one.paymentId };
    expect(await checkoutNow(database.pool, checkout)).toMatchObject(adopted);
    expect(await one.balance()).toBe(0);
    await inbox.play([one.refund('r', 10_000)], one.replacement);
    expect(await one.balance()).toBe(5000);
  });

  it('takes along whatever refers to a payment', async () => {
    const { rows } = await database.pool.query(
      "select conrelid::regclass::text as name, conname from pg_constraint where confrelid = 'payment'::regclass and confupdtype <> 'c' and not condeferred",
    );
    expect(rows).toEqual([]);
  });

  it('finds the payments of the other: a refund and a dispute of an old top-up take back what it gave', async () => {
    const { old, replacement, payment, refund, dispute, balance, paymentId } = await world();
    await inbox.play([payment(), refund('rfnd_a', 2_000)], old);
    // It came by the new address before anybody adopted anything.
    await inbox.play([refund('rfnd_b', 3_000)], replacement);
    expect(await balance()).toBe(8_000);
    const pair = { merchantId: MERCHANT, from: old.sourceId, into: replacement.sourceId };
    expect(await planAdoption(services(), pair)).toMatchObject({ payments: 1, events: 2 });
    expect(await balance()).toBe(8_000);
    expect(await adopt(old, replacement)).toMatchObject({ payments: 1, events: 2 });
    expect(await balance()).toBe(5_000);
    await inbox.play([refund('rfnd_c', 1_000), dispute('lost', 4_000)], replacement);
    expect(await balance()).toBe(0);
    const [life, ...others] = await lives(paymentId);
    expect(others).toEqual([]);
    expect(life?.payment).toMatchObject({ sourceId: replacement.sourceId, keySource: old.sourceId });
    expect(life?.entries).toHaveLength(5);
    expect(await adopt(old, replacement)).toMatchObject({ payments: 0, links: 0, events: 0, accounts: [] });
  });

  it('keeps the keys of a payment that was given to another customer, before it was adopted and after', async () => {
    const { old, replacement, payment, refund, paymentId, balance } = await world();
    const [other = '', third = ''] = await makeCustomers(database.pool, [`other${made}`, `third${made}`]);
    const give = (sourceId: string, customerId: string) =>
      reassignPayment(
        { pool: database.pool, clock: inbox.services.clock, settings: inbox.services.settings, onPosted: () => {} },
        {
          merchantId: MERCHANT,
          sourceId,
          paymentId,
          customerId,
          actor: 'api',
          reason: 'the wrong account',
          force: false,
        },
      );
    await inbox.play([payment(), refund('rfnd_a', 2_000)], old);
    await give(old.sourceId, other);
    await adopt(old, replacement);
    await give(replacement.sourceId, third);
    await inbox.play([refund('rfnd_b', 3_000)], replacement);
    expect([await balance(), await inbox.balance(other, 'INR'), await inbox.balance(third, 'INR')]).toEqual([
      0, 0, 5_000,
    ]);
    expect((await lives(paymentId))[0]?.entries).toHaveLength(7);
  });

  it('knows that news of a payment is parked, whichever of the two it came to', async () => {
    const { old, replacement, payment, refund, paymentId, customerId } = await world();
    const unusable = { wallet_customer_id: customerId, wallet_credit_amount: 'much' };
    await inbox.play([refund('rfnd_a', 2_000)], old);
    await inbox.play([payment({ notes: unusable })], replacement);
    await adopt(old, replacement);
    expect((await lives(paymentId)).map((life) => [life.payment.state, life.payment.heardOf])).toEqual([
      ['unknown', true],
    ]);
  });

  it('is told nothing new by what either of them had told before, whichever address it comes by', async () => {
    const { old, replacement, payment, refund, balance, paymentId } = await world();
    const [paid, back] = [payment(), refund('rfnd_a', 2_500)];
    await inbox.play([paid, back], old);
    await adopt(old, replacement);
    for (const source of [old, replacement, old]) await inbox.play([paid, back], source);
    // The same news in another delivery.
    await inbox.play([payment({ createdSeconds: 1_790_000_001 })], old);
    await inbox.play([payment({ createdSeconds: 1_790_000_002 })], replacement);
    expect(await balance()).toBe(7_500);
    expect((await lives(paymentId)).map(({ payment: { sourceId } }) => sourceId)).toEqual([replacement.sourceId]);
  });

  it('gets what the old address still receives, and its links, but keeps the links of its own', async () => {
    const { old, replacement, payment, balance, customerId, paymentId } = await world();
    const named = { customer: `cust_${made}` };
    await inbox.play([payment(named)], old);
    await adopt(old, replacement);
    await inbox.play([payment({ ...named, paymentId: `${paymentId}_next`, notes: [] })], old);
    expect(await balance()).toBe(20_000);
    const [life] = await lives(`${paymentId}_next`);
    expect(life?.payment).toMatchObject({ sourceId: replacement.sourceId, keySource: null, customerId });
  });

  it('keeps a link of its own that was erased before one of the other that everybody sees', async () => {
    const { customerId: ada, old, replacement, payment } = await world();
    const [bob = '', cat = ''] = await makeCustomers(database.pool, [`erasing${made}`, `seen${made}`]);
    const db = autocommit(database.pool);
    const link = (source: Source, customerId: string, providerCustomerId: string) =>
      setLink(db, { merchantId: MERCHANT, sourceId: source.sourceId, providerCustomerId, customerId }, new Date());
    const [shared, own] = [`cust_shared${made}`, `cust_own${made}`];
    await link(replacement, bob, shared);
    await transaction(database.pool, (tx) =>
      eraseCustomer(tx, { merchantId: MERCHANT, customerId: bob, withTexts: false }, new Date()),
    );
    await link(old, cat, shared);
    await link(old, ada, own);
    await adopt(old, replacement);
    const pay = (customer: string) => payment({ paymentId: `pay_of_${customer}`, customer, notes: [] });
    await inbox.play([pay(shared), pay(own)], replacement);
    const balances = [bob, cat, ada].map((customerId) => inbox.balance(customerId, 'INR'));
    expect(await Promise.all(balances)).toEqual([10_000, 0, 10_000]);
  });

  it('may be one that had adopted others, and may give back what it adopted', async () => {
    const { old, replacement, newSource, payment, refund, balance, paymentId } = await world();
    const third = newSource('third');
    await inbox.play([payment()], old);
    await adopt(old, replacement);
    expect(await refusalOf(adopt(old, third))).toEqual({ code: 'SOURCE_ADOPTED', into: replacement.sourceId });
    await adopt(replacement, third);
    await inbox.play([refund('rfnd_a', 1_000)], old);
    expect(await balance()).toBe(9_000);
    await adopt(third, old);
    await inbox.play([refund('rfnd_b', 1_000)], third);
    await inbox.play([refund('rfnd_c', 1_000)], replacement);
    expect(await balance()).toBe(7_000);
    const [life] = await lives(paymentId);
    expect(life?.payment).toMatchObject({ sourceId: old.sourceId, keySource: null });
  });

  it('may take over one that the environment has no more', async () => {
    const { old, replacement, payment, refund, balance } = await world();
    await inbox.play([payment()], old);
    sources.splice(sources.indexOf(old), 1);
    await inbox.play([refund('rfnd_a', 10_000)], replacement);
    await adopt(old, replacement);
    expect(await balance()).toBe(0);
  });

  it('is refused, naming the payment, where both had posted the same one', async () => {
    const { old, replacement, payment, balance, paymentId } = await world();
    const nameless = JSON.stringify({ ...JSON.parse(payment()), account_id: undefined });
    await inbox.play([nameless], old);
    await inbox.play([nameless], replacement);
    expect(await balance()).toBe(20_000);
    expect(await refusalOf(adopt(old, replacement))).toEqual({
      ...{ code: 'PAYMENTS_AT_BOTH', paymentIds: [paymentId], isAll: true },
    });
    expect(await lives(paymentId)).toHaveLength(2);
  });

  it('is of the same merchant, provider and mode, and another than the one it adopts', async () => {
    const { old, replacement, newSource, payment } = await world();
    await inbox.play([payment()], old);
    const other = newSource('other', 'stripe');
    const live = { ...newSource('live'), mode: 'live' as const };
    sources.push({ ...live, sourceId: `${live.sourceId}_live` });
    expect(await refusalOf(adopt(old, other))).toMatchObject({ code: 'INVALID_FIELD', field: 'from' });
    expect(await refusalOf(adopt(old, old))).toMatchObject({ code: 'INVALID_FIELD', field: 'from' });
    expect(await refusalOf(adopt(old, { ...live, sourceId: `${live.sourceId}_live` }))).toMatchObject({
      code: 'MODE_DIFFERS',
    });
    expect(await refusalOf(adopt(old, replacement, 'bus_other'))).toEqual({ code: 'NO_SUCH_SOURCE' });
    expect(await refusalOf(adopt({ ...old, sourceId: 'src_nobody' }, replacement))).toEqual({ code: 'NO_SUCH_SOURCE' });
  });

  it('makes the events of both wait meanwhile, and loses none', async () => {
    const { old, replacement, payment, refund, balance } = await world();
    const release = await seize(old, replacement);
    await inbox.deliver(payment(), old);
    await inbox.deliver(refund('rfnd_a', 4_000), replacement);
    const bystander = await world();
    await inbox.deliver(bystander.payment(), bystander.old);
    await expect.poll(() => bystander.balance(), { timeout: 10_000 }).toBe(10_000);
    expect(await balance()).toBe(0);
    await release();
    await adopt(old, replacement);
    expect(await balance()).toBe(6_000);
  });

  it('gets what somebody handles by hand while it adopts: it is written down with the payment', async () => {
    const { old, replacement, payment, refund, customerId, paymentId, balance } = await world();
    const unusable = { wallet_customer_id: customerId, wallet_credit_amount: 'much' };
    await inbox.play([payment({ notes: unusable })], old);
    const [parked] = await eventsAt(old, paymentId);
    const adoption = await adoptHalfway(old, replacement);
    const dismissed = dismissEvent(services(), byHand(parked?.eventId ?? '', 10_000));
    await adoption.waiting(2);
    await adoption.finish();
    expect(await dismissed).toMatchObject({ state: 'dismissed', sourceId: replacement.sourceId });
    expect(await handledAt(paymentId)).toEqual([{ at: replacement.sourceId, amount: 10_000 }]);
    // What was credited by hand is what a refund takes from.
    await inbox.play([payment({ paymentId: `${paymentId}_other` }), refund('rfnd_a', 4_000)], replacement);
    expect(await balance()).toBe(6_000);
  });

  it('gets what is said later of an event that both had received and somebody had handled', async () => {
    const { old, replacement, payment, customerId, paymentId } = await world();
    const both = payment({ notes: { wallet_customer_id: customerId, wallet_credit_amount: 'much' } });
    for (const source of [old, replacement]) await inbox.play([both], source);
    const [twin] = await eventsAt(old, paymentId);
    await dismissEvent(services(), byHand(twin?.eventId ?? '', null));
    await adopt(old, replacement);
    await resolveEvent(services(), byHand(twin?.eventId ?? '', 10_000));
    expect(await handledAt(paymentId)).toEqual([{ at: replacement.sourceId, amount: 10_000 }]);
  });

  it('keeps the payment that has a hold, though it was credited by hand and posted nothing', async () => {
    const { old, replacement, payment, dispute, customerId, paymentId } = await world();
    await inbox.play([payment({ notes: { wallet_customer_id: customerId, wallet_credit_amount: 'much' } })], old);
    const [parked] = await eventsAt(old, paymentId);
    await dismissEvent(services(), byHand(parked?.eventId ?? '', 10_000));
    await inbox.play([payment({ paymentId: `${paymentId}_other` }), dispute('created', 4_000)], old);
    await database.pool.query(
      `insert into payment (merchant_id, source_id, payment_id, provider, refunds, disputes, capture, state, key_version, created_at, updated_at)
       select merchant_id, $1, payment_id, provider, refunds, disputes, capture, 'unknown', key_version, created_at, updated_at
       from payment where source_id = $2 and payment_id = $3`,
      [replacement.sourceId, old.sourceId, paymentId],
    );
    const held = async () => {
      const { rows } = await database.pool.query(
        "select held from wallet where currency = 'INR' and customer_id = $1",
        [customerId],
      );
      return rows;
    };
    expect(await held()).toEqual([{ held: 4_000 }]);
    await adopt(replacement, old);
    await expectBooksToAgree(database.pool);
    await inbox.play([dispute('won', 4_000)], old);
    expect(await held()).toEqual([{ held: 0 }]);
  });

  it.each([
    ['the one that adopts', 'replacement', 'old'],
    ['the adopted one', 'old', 'replacement'],
  ] as const)('holds no more for a dispute of %s that was handled by hand at the other', async (_, home, other) => {
    const one = await world();
    await inbox.play([one.payment(), one.dispute('created', 10_000)], one[home]);
    const held = async () => {
      const { rows } = await database.pool.query<{ held: number }>(
        "select held from wallet where customer_id = $1 and currency = 'INR'",
        [one.customerId],
      );
      return rows[0]?.held;
    };
    expect(await held()).toBe(10_000);
    const ofAnother = JSON.stringify({ ...JSON.parse(one.dispute('lost', 10_000)), account_id: `acc_other${made}` });
    await inbox.play([ofAnother], one[other]);
    // Nobody tells that source of the payment, so that its dispute is parked once it has waited.
    const [event] = await eventsAt(one[other], one.paymentId);
    const eventId = event?.eventId ?? '';
    await database.pool.query(
      "update provider_event set waiting_since = now() - interval '1 day' where event_id = $1",
      [eventId],
    );
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: null });
    await inbox.settled();
    await dismissEvent(services(), byHand(eventId, 0));
    expect(await held()).toBe(10_000);
    await adopt(one.old, one.replacement);
    expect(await held()).toBe(0);
    await expectBooksToAgree(database.pool);
  });

  it('closes what the release before had dismissed at the other, also where both had received it', async () => {
    const [moved, twice] = [await world(), await world()];
    for (const { old, replacement, payment, customerId, paymentId } of [moved, twice]) {
      const unusable = payment({ notes: { wallet_customer_id: customerId, wallet_credit_amount: 'much' } });
      await inbox.play([unusable], old);
      if (paymentId === twice.paymentId) await inbox.play([unusable], replacement);
      // That release wrote no movements down.
      await database.pool.query(
        "update provider_event set state = 'dismissed', reason = null where source_id = $1 and payment_id = $2",
        [old.sourceId, paymentId],
      );
      await adopt(old, replacement);
      await inbox.play([payment()], replacement);
    }
    expect([await moved.balance(), await twice.balance()]).toEqual([0, 0]);
  });

  it('has an event that says what was posted, though its own delivery of it was dismissed', async () => {
    const { old, replacement, payment, refund, paymentId, balance } = await world();
    await inbox.play([payment()], old);
    await inbox.play([payment()], replacement);
    const [foreign] = await eventsAt(replacement, paymentId);
    expect(foreign?.state).toBe('parked');
    await dismissEvent(services(), byHand(foreign?.eventId ?? '', null));
    await adopt(old, replacement);
    const [own] = await eventsAt(replacement, paymentId);
    expect(own).toMatchObject({ state: 'applied', effect: 'none', reason: null });
    expect(own?.detail).toContain(`applied at ${old.sourceId} before`);
    await inbox.play([refund('rfnd_a', 1_000)], replacement);
    expect(await balance()).toBe(9_000);
    await expectBooksToAgree(database.pool);
  });

  it('has a payment that is being given to another customer meanwhile given there, or says that it is gone', async () => {
    const { old, replacement, payment, paymentId, balance } = await world();
    const [other = ''] = await makeCustomers(database.pool, [`meanwhile${made}`]);
    await inbox.play([payment()], old);
    const giving = {
      ...{ merchantId: MERCHANT, paymentId, customerId: other, reason: 'wrong', force: false },
      actor: 'api' as const,
    };
    const reassigning = { ...services(), onPosted: () => {} };
    const adoption = await adoptHalfway(old, replacement);
    const named = refusalOf(reassignPayment(reassigning, { ...giving, sourceId: old.sourceId }));
    const found = reassignPayment(reassigning, { ...giving, sourceId: null });
    await adoption.waiting(3);
    await adoption.finish();
    await found;
    expect(await named).toEqual({ code: 'NO_SUCH_PAYMENT' });
    expect([await balance(), await inbox.balance(other, 'INR')]).toEqual([0, 10_000]);
  });

  it('gets what comes by the old address once it is not being adopted itself', async () => {
    const { old, replacement, newSource, payment, refund, balance } = await world();
    const third = newSource('third');
    await inbox.play([payment()], old);
    await adopt(old, replacement);
    const release = await seize(replacement, third);
    await inbox.deliver(refund('rfnd_a', 4_000), old);
    const bystander = await world();
    await inbox.deliver(bystander.payment(), bystander.old);
    await expect.poll(() => bystander.balance(), { timeout: 10_000 }).toBe(10_000);
    expect(await balance()).toBe(10_000);
    await release();
    await inbox.settled();
    expect(await balance()).toBe(6_000);
  });

  it('ends every history that was split over the two as one source would have', async () => {
    const where = fc.constantFrom('old', 'new', 'both');
    const told = fc.record({
      order: fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 3 }),
      where: fc.array(where, { minLength: 6, maxLength: 6 }),
      adoptAt: fc.nat(6),
    });
    await fc.assert(
      fc.asyncProperty(told, async (history) => {
        const [split, whole] = [await world(), await world()];
        const bodies = ({ payment, refund, dispute }: typeof split) => [
          ...[payment(), refund('rfnd_a', 1_000), refund('rfnd_b', 2_500), dispute('created', 3_000)],
          ...[dispute('lost', 3_000), payment({ type: 'failed' })],
        ];
        const ofSplit = bodies(split);
        const ofWhole = bodies(whole);
        for (const [step, index] of history.order.entries()) {
          if (step === history.adoptAt) await adopt(split.old, split.replacement);
          const place = history.where[index];
          if (place !== 'new') await inbox.play([ofSplit[index] ?? ''], split.old);
          if (place !== 'old') await inbox.play([ofSplit[index] ?? ''], split.replacement);
          await inbox.play([ofWhole[index] ?? ''], whole.old);
        }
        if (history.adoptAt >= history.order.length) await adopt(split.old, split.replacement);
        expect(await split.balance()).toBe(await whole.balance());
      }),
      { numRuns: 40 },
    );
  });
});

it('goes on with whom an invoice names, and with which payments are known to pay it', async () => {
  const { customerId, newSource } = await world();
  const [from, into] = [newSource('invoices', 'stripe'), newSource('adopter', 'stripe')];
  const invoice = (n: number) => `in_1x${made}x${n}`;
  const event = (n: number, type: string, object: object) =>
    JSON.stringify({
      ...{ id: `evt_${made}_${type}_${n}`, object: 'event', type, created: 1_795_000_000, livemode: false },
      data: { object },
    });
  const metadata = { wallet_customer_id: customerId };
  const paid = (n: number) =>
    event(n, 'invoice.paid', { id: invoice(n), customer: null, parent: { subscription_details: { metadata } } });
  const tie = (n: number) =>
    event(n, 'invoice_payment.paid', { invoice: invoice(n), payment: { payment_intent: `pi_${made}_${n}` } });
  const intent = (n: number, more: object = {}) =>
    event(n, 'payment_intent.succeeded', {
      ...{ id: `pi_${made}_${n}`, amount_received: 1000, currency: 'usd', customer: null, metadata: {}, ...more },
    });
  await inbox.play([paid(1), tie(2)], from);
  await adopt(from, into);
  await inbox.play([intent(1, { payment_details: { order_reference: invoice(1) } }), paid(2), intent(2)], into);
  expect(await inbox.balance(customerId)).toBe(2000);
});
