import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPaymentToken, revokePaymentToken } from '../../src/customers/payment-tokens.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { eventsOfPayment } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import type { Source } from '../../src/merchants/source.ts';
import type { TokenTerms } from '../../src/payments/token.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { BONUS_RATIO, expectBooksToAgree, MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';

/* A token in the notes of a Razorpay order or subscription, which its payments do not carry. */

let database: TestDatabase;
let inbox: TestInbox;
const razorpay = testSource('razorpay');
const SOURCES = {
  topup: razorpay,
  order: testSource('razorpay', { sourceId: 'src_goods', defaultPurpose: 'order' }),
  none: testSource('razorpay', { sourceId: 'src_nothing', defaultPurpose: 'none' }),
};

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: Object.values(SOURCES), namingWaitSeconds: 60 });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

let number = 0;
const fresh = (prefix: string) => `${prefix}${++number}`;
async function newCustomer(): Promise<string> {
  const [customerId = ''] = await makeCustomers(database.pool, [fresh('ordering')]);
  return customerId;
}
async function newToken(customerId: string, terms: Partial<TokenTerms> = {}): Promise<string> {
  const usual = { purpose: 'topup', currency: 'INR', amount: 1000, creditAmount: 1500 } as const;
  const rules = { currencies: SETTINGS.currencies, maxBonusRatio: BONUS_RATIO, now: new Date('2026-11-18T00:00:00Z') };
  const request = { merchantId: MERCHANT, customerId, ...usual, ...terms, expiresInSeconds: 2_592_000 };
  return (await transaction(database.pool, (tx) => createPaymentToken(tx, request, rules))).token;
}

interface Paid {
  readonly id: string;
  readonly amount?: number;
  readonly by?: string | null;
  /** What the payer may have written. */
  readonly own?: Readonly<Record<string, string>>;
  /** What the merchant wrote. */
  readonly notes?: Readonly<Record<string, string>>;
  readonly of?: 'order' | 'subscription';
  readonly series?: string;
}
const payment = ({ id, amount = 1000, by = null, own }: Paid) => ({
  ...{ id, amount, currency: 'INR', status: 'captured', captured: true, method: 'upi', email: 'void@razorpay.com' },
  ...{ order_id: `order_${id}`, invoice_id: null, customer_id: by, notes: own ?? [], created_at: 1_795_000_000 },
});
const captured = (paid: Paid) =>
  JSON.stringify({
    ...{ entity: 'event', event: 'payment.captured', contains: ['payment'], created_at: 1_795_000_100 },
    payload: { payment: { entity: payment(paid) } },
  });
const named = ({ of = 'order', ...paid }: Paid) =>
  JSON.stringify({
    ...{ entity: 'event', event: of === 'order' ? 'order.paid' : 'subscription.charged', contains: [of, 'payment'] },
    created_at: 1_795_000_100,
    payload: {
      [of]: { entity: { id: paid.series ?? `${of}_${paid.id}`, notes: paid.notes ?? [] } },
      payment: { entity: payment(paid) },
    },
  });

const rupees = (customerId: string) => inbox.balance(customerId, 'INR');
const eventsOf = (paymentId: string, { sourceId } = razorpay) =>
  eventsOfPayment(autocommit(database.pool), { merchantId: MERCHANT, sourceId, paymentId });
const told = (paymentId: string) => statesOf(paymentId, razorpay);
const statesOf = async (paymentId: string, source: Source) =>
  (await eventsOf(paymentId, source))
    .map(({ state, reason }) => (reason === null ? state : `${state} ${reason}`))
    .sort();
async function endWait(paymentId: string): Promise<void> {
  for (const { state, eventId } of await eventsOf(paymentId)) {
    if (state !== 'waiting') continue;
    const since = "update provider_event set waiting_since = now() - interval '1 day' where event_id = $1";
    await database.pool.query(since, [eventId]);
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: null });
  }
  await inbox.settled();
}
const play = (...bodies: readonly string[]) => inbox.play(bodies, razorpay);

describe.each(['order', 'subscription'] as const)('a token in the notes of a Razorpay %s', (of) => {
  it('is obeyed once, whatever the order of events, and however often they are told', async () => {
    const steps = fc.array(fc.constantFrom('captured', 'named'), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        steps.filter((all) => all.includes('named')),
        async (history) => {
          const [ada, id] = [await newCustomer(), fresh('pay_')];
          const notes = { wallet_token: await newToken(ada) };
          for (const what of history) {
            const body = what === 'named' ? named({ id, of, notes }) : captured({ id });
            await play(body, body.replace('"upi"', `"upi_${++number}"`));
          }
          expect(new Set(await told(id))).toEqual(new Set(['applied']));
          expect(await rupees(ada)).toBe(1500);
        },
      ),
      { numRuns: 6 },
    );
  });

  it('stands before what the payer wrote, and teaches the link', async () => {
    const [ada, bob, id, by] = [await newCustomer(), await newCustomer(), fresh('pay_'), fresh('cust_')];
    const own = { wallet_customer_id: bob };
    await play(named({ id, of, by, own, notes: { wallet_token: await newToken(ada) } }));
    await play(captured({ id: fresh('pay_'), by }));
    expect([await rupees(ada), await rupees(bob)]).toEqual([2500, 0]);
  });

  it('that comes after its payment was posted elsewhere is parked, and pays nobody twice', async () => {
    const [ada, id, by] = [await newCustomer(), fresh('pay_'), fresh('cust_')];
    await play(captured({ id, by }));
    await endWait(id);
    await play(named({ id, of, by, notes: { wallet_token: await newToken(ada) } }));
    expect(await told(id)).toEqual(['applied', 'parked named_late']);
    expect(await rupees(ada)).toBe(0);
  });

  it.each<[string, Partial<Paid>, Partial<TokenTerms>]>([
    ['less was paid', { amount: 900 }, {}],
    ['it is of another currency', {}, { currency: 'USD' }],
  ])('that must not be used since %s pays nobody, also not whom a link leads to', async (_, paid, terms) => {
    const [ada, bob, by] = [await newCustomer(), await newCustomer(), fresh('cust_')];
    await play(named({ id: fresh('pay_'), of, by, notes: { wallet_customer_id: ada } }));
    const notes = { wallet_token: await newToken(bob, terms) };
    for (const order of [0, 1]) {
      const id = fresh('pay_');
      const who = order === 0 ? by : fresh('cust_');
      const both = [named({ id, of, by: who, notes, ...paid }), captured({ id, by: who, ...paid })];
      await play(...(order === 0 ? both : both.toReversed()));
      await endWait(id);
      expect(await told(id)).toEqual(['parked bad_token', 'parked no_customer']);
    }
    expect([await rupees(ada), await rupees(bob)]).toEqual([1000, 0]);
  });

  it('that pays nobody leaves the payment to whom a person names at its replay, once', async () => {
    const [ada, bob, id] = [await newCustomer(), await newCustomer(), fresh('pay_')];
    const token = await newToken(bob);
    await revokePaymentToken(autocommit(database.pool), { merchantId: MERCHANT, customerId: bob, token }, new Date());
    await play(named({ id, of, notes: { wallet_token: token } }), captured({ id }));
    await endWait(id);
    expect(await told(id)).toEqual(['parked bad_token', 'parked no_customer']);
    const event = (await eventsOf(id)).find(({ reason }) => reason === 'bad_token');
    const replay = { merchantId: MERCHANT, eventId: event?.eventId ?? '', customerId: ada };
    await replayEvent(database.pool, inbox.boss, replay);
    await inbox.settled();
    expect(await told(id)).toEqual(['applied', 'applied']);
    expect([await rupees(ada), await rupees(bob)]).toEqual([1000, 0]);
  });

  it('names the later payments of the same one, and no other payment', async () => {
    const [ada, series] = [await newCustomer(), fresh(`${of}_`)];
    const notes = { wallet_token: await newToken(ada) };
    const [first, second, other] = [fresh('pay_'), fresh('pay_'), fresh('pay_')];
    await play(named({ id: first, of, series, notes }), named({ id: second, of, series, amount: 700, notes }));
    expect(await rupees(ada)).toBe(2200);
    await play(named({ id: other, of, notes }));
    expect(await told(other)).toEqual(['parked token_used']);
    expect(await rupees(ada)).toBe(2200);
  });
});

describe('an order that carries Bob’s token and has posted nothing yet', () => {
  it('is not paid to Ada, whom another event of the merchant names later', async () => {
    const [ada, bob, id] = [await newCustomer(), await newCustomer(), fresh('pay_')];
    const notes = { wallet_token: await newToken(bob, { purpose: 'order', creditAmount: null }) };
    await play(named({ id, notes }), named({ id, of: 'subscription', notes: { wallet_customer_id: ada } }));
    expect(await told(id)).toEqual(['applied', 'parked named_late']);
    const refund = {
      ...{ entity: 'event', event: 'refund.processed', contains: ['refund', 'payment'], created_at: 1_795_000_200 },
      payload: {
        refund: { entity: { id: fresh('rfnd_'), payment_id: id, amount: 400, currency: 'INR', notes: [] } },
        payment: { entity: payment({ id }) },
      },
    };
    await play(JSON.stringify(refund));
    expect([await rupees(ada), await rupees(bob)]).toEqual([0, 400]);
  });
});

describe('a token of an order whose payment.captured was applied before', () => {
  /** Ada, whom a link leads to. */
  const linked = async (source: Source) => {
    const [ada, by] = [await newCustomer(), fresh('cust_')];
    await inbox.play([named({ id: fresh('pay_'), by, amount: 1, notes: { wallet_customer_id: ada } })], source);
    return { ada, by, before: (await rupees(ada)) ?? 0 };
  };

  it.each([
    ['is for goods', 'order', 1000],
    ['grants less', 'topup', 800],
  ] as const)('is parked if it %s and the payment was credited as a top-up to whom the payer named', async (...row) => {
    const [, purpose, creditAmount] = row;
    const [ada, id] = [await newCustomer(), fresh('pay_')];
    const terms = purpose === 'order' ? { purpose, creditAmount: null } : { creditAmount };
    const own = { wallet_customer_id: ada };
    await play(captured({ id, own }), named({ id, own, notes: { wallet_token: await newToken(ada, terms) } }));
    expect(await told(id)).toEqual(['applied', 'parked named_late']);
    expect(await rupees(ada)).toBe(1000);
  });

  it.each([
    ['topup', 500],
    ['order', 1500],
    ['none', 1500],
  ] as const)('grants what it is for if the source takes payments for %s', async (defaultPurpose, added) => {
    const source = SOURCES[defaultPurpose];
    const { ada, by, before } = await linked(source);
    const [id, other] = [fresh('pay_'), fresh('pay_')];
    const notes = { wallet_token: await newToken(ada) };
    await inbox.play([captured({ id, by })], source);
    expect(await rupees(ada)).toBe(before + 1500 - added);
    const paid = named({ id, by, notes });
    await inbox.play([paid, paid.replace('"upi"', '"card"'), named({ id: other, by, notes })], source);
    expect(await rupees(ada)).toBe(before + 1500);
    expect(await statesOf(id, source)).toEqual(['applied', 'applied', 'applied']);
    expect(await statesOf(other, source)).toEqual(['parked token_used']);
  });

  it('takes over a payment that posted nothing to whom a link led', async () => {
    const source = SOURCES.order;
    const { ada, by } = await linked(source);
    const [bob, id] = [await newCustomer(), fresh('pay_')];
    const notes = { wallet_token: await newToken(bob) };
    await inbox.play([captured({ id, by }), named({ id, by, notes })], source);
    expect([await rupees(ada), await rupees(bob)]).toEqual([0, 1500]);
  });

  it('is parked if it must not be used', async () => {
    const { ada, by, before } = await linked(razorpay);
    const id = fresh('pay_');
    const notes = { wallet_token: await newToken(ada, { amount: 2000, creditAmount: null }) };
    await play(captured({ id, by }), named({ id, by, notes }));
    expect(await told(id)).toEqual(['applied', 'parked bad_token']);
    expect(await rupees(ada)).toBe(before + 1000);
  });

  it('keeps the payer from being paid by his own word once it is parked', async () => {
    const [ada, bob, id] = [await newCustomer(), await newCustomer(), fresh('pay_')];
    const own = { wallet_customer_id: bob };
    const notes = { wallet_token: await newToken(ada, { amount: 2000, creditAmount: null }) };
    await play(named({ id, notes, own }), captured({ id, own }));
    expect(await told(id)).toEqual(['parked bad_token', 'parked no_customer']);
    expect(await rupees(bob)).toBe(0);
  });
});

it('names the renewals of a subscription whose token its first payment carries too', async () => {
  const [ada, series, first, second] = [await newCustomer(), fresh('sub_'), fresh('pay_'), fresh('pay_')];
  const notes = { wallet_token: await newToken(ada) };
  const of = 'subscription';
  await play(captured({ id: first, own: notes }), named({ id: first, of, series, own: notes, notes }));
  await play(named({ id: second, of, series, amount: 700, notes }));
  expect(await told(second)).toEqual(['applied']);
  expect(await rupees(ada)).toBe(2200);
});
