import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { createPaymentToken, revokePaymentToken } from '../../src/customers/payment-tokens.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { eventsOfPayment } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import type { TokenTerms } from '../../src/payments/token.ts';
import { adoptSource } from '../../src/reconciliation/adopt.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { BONUS_RATIO, expectBooksToAgree, MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';

/* A token on a Stripe subscription: invoices tell of it, and their PaymentIntents do not carry it. */

let database: TestDatabase;
let inbox: TestInbox;
const stripe = testSource('stripe');
const replaced = testSource('stripe', { sourceId: 'src_replaced' });
const replacing = testSource('stripe', { sourceId: 'src_replacing' });

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [stripe, replaced, replacing], namingWaitSeconds: 60 });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

const NOW = 1_795_000_000;
const DAY = 86_400;
let number = 0;
const fresh = (prefix: string) => `${prefix}${++number}`;
async function newCustomer(): Promise<string> {
  const [customerId = ''] = await makeCustomers(database.pool, [fresh('subscriber')]);
  return customerId;
}
async function newToken(customerId: string, terms: Partial<TokenTerms> = {}): Promise<string> {
  const usual = { purpose: 'topup', currency: 'USD', amount: 2000, creditAmount: 3000 } as const;
  const rules = { currencies: SETTINGS.currencies, maxBonusRatio: BONUS_RATIO, now: new Date((NOW - DAY) * 1000) };
  const request = { merchantId: MERCHANT, customerId, ...usual, ...terms, expiresInSeconds: 10 * DAY };
  return (await transaction(database.pool, (tx) => createPaymentToken(tx, request, rules))).token;
}

interface Invoiced {
  readonly id: string;
  readonly invoice: string;
  readonly subscription: string;
  readonly by: string;
  readonly amount?: number;
  readonly at?: number;
  /** What stands on the subscription. */
  readonly on?: Readonly<Record<string, string>>;
  /** What the PaymentIntent carries itself. */
  readonly own?: Readonly<Record<string, string>>;
}
const event = (type: string, object: object, at = NOW, version = '2026-10-28.endive') =>
  JSON.stringify({
    ...{ id: fresh('evt_'), object: 'event', type, created: at, livemode: false, data: { object } },
    api_version: version,
  });
const intent = ({ id, by, amount = 2000, at = NOW, own = {} }: Invoiced, more: object = {}, version?: string) =>
  event(
    'payment_intent.succeeded',
    {
      ...{ id, object: 'payment_intent', amount, amount_received: amount, currency: 'usd', customer: by },
      ...{ metadata: own, status: 'succeeded', created: at, ...more },
    },
    at,
    version,
  );
const tell = {
  hidden: (paid: Invoiced) => intent(paid),
  shown: (paid: Invoiced) => intent(paid, { payment_details: { order_reference: paid.invoice } }),
  invoicePaid: ({ invoice, by, subscription, on = {}, at = NOW }: Invoiced) => {
    const parent = { type: 'subscription_details', subscription_details: { subscription, metadata: on } };
    const object = { id: invoice, object: 'invoice', customer: by, currency: 'usd', amount_paid: 2000, parent };
    return event('invoice.paid', object, at + 5);
  },
  invoicePayment: ({ id, invoice, at = NOW }: Invoiced) =>
    event(
      'invoice_payment.paid',
      {
        ...{ id: fresh('inpay_'), object: 'invoice_payment', amount_paid: 2000, currency: 'usd', invoice },
        ...{ status: 'paid', payment: { type: 'payment_intent', payment_intent: id } },
      },
      at + 5,
    ),
} as const;
type Step = keyof typeof tell;

/** An invoice of a new subscription of a new customer of Stripe. */
const invoiced = (more: Partial<Invoiced> = {}): Invoiced => {
  return { id: fresh('pi_'), invoice: fresh('in_1'), subscription: fresh('sub_'), by: fresh('cus_s'), ...more };
};
/** The next invoice of the same subscription. */
const renewed = (before: Invoiced, more: Partial<Invoiced> = {}): Invoiced => {
  return { ...before, id: fresh('pi_'), invoice: fresh('in_1'), ...more };
};
const play = (paid: Invoiced, ...steps: readonly Step[]) =>
  inbox.play(
    steps.map((step) => tell[step](paid)),
    stripe,
  );
const eventsOf = (paymentId: string, groupId: string | null = null) =>
  eventsOfPayment(autocommit(database.pool), { merchantId: MERCHANT, sourceId: stripe.sourceId, paymentId, groupId });
const told = async ({ id, invoice }: Pick<Invoiced, 'id' | 'invoice'>) =>
  (await eventsOf(id, invoice)).map(({ eventType, state, reason }) =>
    [eventType.split('.')[0], state, ...(reason === null ? [] : [reason])].join(' '),
  );
const replay = async (paid: Invoiced, eventType: string, customerId: string | null) => {
  const one = (await eventsOf(paid.id, paid.invoice)).find((known) => known.eventType.startsWith(eventType));
  await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId: one?.eventId ?? '', customerId });
  await inbox.settled();
};
async function endWait(paid: Invoiced): Promise<void> {
  for (const { state, eventId } of await eventsOf(paid.id)) {
    if (state !== 'waiting') continue;
    const since = "update provider_event set waiting_since = now() - interval '1 day' where event_id = $1";
    await database.pool.query(since, [eventId]);
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: null });
  }
  await inbox.settled();
}
const shuffled = (steps: readonly Step[]) => fc.shuffledSubarray([...steps], { minLength: steps.length });

describe('a token on a Stripe subscription', () => {
  it('is obeyed once by its first payment, in any order and however often it is told', async () => {
    const histories = fc.oneof(
      shuffled(['shown', 'invoicePaid']),
      shuffled(['shown', 'invoicePaid', 'invoicePayment']),
      fc.constantFrom<Step[]>(
        ['invoicePayment', 'hidden', 'invoicePaid'],
        ['invoicePayment', 'invoicePaid', 'hidden'],
        ['invoicePaid', 'invoicePayment', 'hidden'],
      ),
    );
    await fc.assert(
      fc.asyncProperty(histories, fc.boolean(), async (history, isTogether) => {
        const ada = await newCustomer();
        const paid = invoiced({ on: { wallet_token: await newToken(ada) } });
        const again = [...history, ...history.toReversed()];
        if (isTogether) await play(paid, ...again);
        else for (const step of again) await play(paid, step);
        expect(await inbox.balance(ada)).toBe(3000);
        expect((await told(paid)).every((one) => one.endsWith(' applied'))).toBe(true);
      }),
      { numRuns: 12 },
    );
  });

  it.each([
    ['its invoice first', ['invoicePaid', 'shown']],
    ['its payment first', ['shown', 'invoicePaid']],
    ['its payment known before its invoice', ['invoicePayment', 'hidden', 'invoicePaid']],
    ['its invoice known before its payment', ['invoicePaid', 'invoicePayment', 'hidden']],
    ['its payment, which a link finds', ['hidden', 'invoicePaid', 'invoicePayment']],
  ] as const)('is obeyed in one batch of events: %s', async (_, steps) => {
    const ada = await newCustomer();
    const by = fresh('cus_s');
    await play(invoiced({ by, own: { wallet_customer_id: ada } }), 'hidden');
    const paid = invoiced({ by, on: { wallet_token: await newToken(ada) } });
    for (const step of steps) await inbox.deliver(tell[step](paid), stripe);
    await inbox.settled();
    expect(await inbox.balance(ada)).toBe(5000);
  });

  it('is used by one of two payments of its invoice, which were credited before it was told', async () => {
    const ada = await newCustomer();
    const by = fresh('cus_s');
    await play(invoiced({ by, own: { wallet_customer_id: ada } }), 'hidden');
    const paid = invoiced({ by, on: { wallet_token: await newToken(ada) } });
    const rest = { ...paid, id: fresh('pi_') };
    for (const one of [paid, rest]) await play(one, 'hidden', 'invoicePayment');
    expect(await inbox.balance(ada)).toBe(6000);
    await play(paid, 'invoicePaid');
    expect(await inbox.balance(ada)).toBe(7000);
  });

  it('names every later payment of the subscription, which is credited what it paid, in any order of all events', async () => {
    const steps = [0, 1].flatMap((which) => (['shown', 'invoicePaid'] as const).map((step) => [which, step] as const));
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(steps, { minLength: steps.length }), async (history) => {
        const ada = await newCustomer();
        const first = invoiced({ on: { wallet_token: await newToken(ada) } });
        const invoices = [first, renewed(first)];
        for (const [which, step] of [...history, ...history]) await play(invoices[which] ?? first, step);
        // One of the two payments is granted the terms, the other what it paid.
        expect(await inbox.balance(ada)).toBe(5000);
      }),
      { numRuns: 8 },
    );
  });

  it('names them also after it has ended, whatever they pay, and its refunds take their share', async () => {
    const ada = await newCustomer();
    const first = invoiced({ on: { wallet_token: await newToken(ada) } });
    await play(first, 'invoicePaid', 'shown');
    const later = renewed(first, { amount: 700, at: NOW + 60 * DAY });
    await play(later, 'shown', 'invoicePaid');
    expect(await inbox.balance(ada)).toBe(3700);
    const refund = { id: fresh('re_'), object: 'refund', amount: 1000, currency: 'usd', payment_intent: first.id };
    await inbox.play([event('refund.created', { ...refund, status: 'succeeded', metadata: {} })], stripe);
    expect(await inbox.balance(ada)).toBe(2200);
  });

  it('in the older versions of the API is obeyed by the subscription that the invoice names itself', async () => {
    const ada = await newCustomer();
    const first = invoiced();
    const metadata = { wallet_token: await newToken(ada) };
    const old = ({ id, invoice, by, subscription }: Invoiced) => [
      intent({ ...first, id }, { invoice }, '2024-06-20'),
      event(
        'invoice.paid',
        {
          ...{ id: invoice, object: 'invoice', customer: by, currency: 'usd', amount_paid: 2000 },
          ...{ subscription, subscription_details: { metadata }, payment_intent: id },
        },
        NOW,
        '2024-06-20',
      ),
    ];
    await inbox.play([...old(first), ...old(renewed(first))], stripe);
    expect(await inbox.balance(ada)).toBe(5000);
  });

  it('that the merchant replaces is obeyed anew by the next payment, and names those after it', async () => {
    const ada = await newCustomer();
    const first = invoiced({ on: { wallet_token: await newToken(ada) } });
    const on = { wallet_token: await newToken(ada, { creditAmount: 2500 }) };
    await play(first, 'shown', 'invoicePaid');
    const second = renewed(first, { on });
    await play(second, 'shown', 'invoicePaid');
    expect(await inbox.balance(ada)).toBe(5500);
    await play(renewed(second), 'invoicePaid', 'shown');
    await play(renewed(first), 'invoicePaid', 'shown');
    expect(await inbox.balance(ada)).toBe(9500);
  });

  it('that its first payment carries too is used once, and names the renewals', async () => {
    await fc.assert(
      fc.asyncProperty(shuffled(['shown', 'invoicePaid', 'invoicePayment']), async (history) => {
        const ada = await newCustomer();
        const metadata = { wallet_token: await newToken(ada) };
        const first = invoiced({ on: metadata, own: metadata });
        await play(first, ...history);
        for (const step of history) await play(first, step);
        expect(await inbox.balance(ada)).toBe(3000);
        await play(renewed(first, { own: {} }), 'shown', 'invoicePaid');
        expect(await inbox.balance(ada)).toBe(5000);
      }),
      { numRuns: 6 },
    );
  });

  it('stands before another one that its payment carries', async () => {
    const [ada, bob] = [await newCustomer(), await newCustomer()];
    const own = { wallet_token: await newToken(bob) };
    await play(invoiced({ on: { wallet_token: await newToken(ada) }, own }), 'invoicePaid', 'shown');
    expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([3000, 0]);
    // Nobody has used it.
    await play(invoiced({ own }), 'hidden');
    expect(await inbox.balance(bob)).toBe(3000);
  });

  it('for goods credits their refund to its customer', async () => {
    const ada = await newCustomer();
    const paid = invoiced({ on: { wallet_token: await newToken(ada, { purpose: 'order', creditAmount: null }) } });
    await play(paid, 'shown', 'invoicePaid');
    expect(await inbox.balance(ada)).toBe(0);
    const refund = { id: fresh('re_'), object: 'refund', amount: 800, currency: 'usd', payment_intent: paid.id };
    await inbox.play([event('refund.created', { ...refund, status: 'succeeded', metadata: {} })], stripe);
    expect(await inbox.balance(ada)).toBe(800);
  });

  it('leads what cannot be found by its invoice to its customer, by the customer of Stripe', async () => {
    const ada = await newCustomer();
    const paid = invoiced({ on: { wallet_token: await newToken(ada) } });
    await play(paid, 'invoicePaid');
    await expectBooksToAgree(database.pool);
    await play(paid, 'hidden');
    expect(await inbox.balance(ada)).toBe(2000);
    // What its terms grant beyond that, once it is told which invoice it paid; once.
    await play(paid, 'invoicePayment');
    await play(paid, 'invoicePayment', 'invoicePaid', 'hidden');
    expect(await inbox.balance(ada)).toBe(3000);
  });
});

describe('a token on a Stripe subscription that must not be used', () => {
  const linked = async () => {
    const [cat, by] = [await newCustomer(), fresh('cus_s')];
    await play(invoiced({ by, own: { wallet_customer_id: cat }, amount: 1 }), 'hidden');
    return { cat, by };
  };

  it.each<[string, (token: string, bob: string) => Promise<unknown>, Readonly<Record<string, string>>]>([
    ['nobody made it', async () => {}, { wallet_token: `wt_${'0'.repeat(32)}` }],
    ['it is no token', async () => {}, { wallet_token: 'ada' }],
    [
      'it was revoked',
      (token, customerId) =>
        revokePaymentToken(autocommit(database.pool), { merchantId: MERCHANT, customerId, token }, new Date()),
      {},
    ],
    [
      'another subscription has used it',
      (token) => play(invoiced({ on: { wallet_token: token } }), 'invoicePaid', 'shown'),
      {},
    ],
  ])('since %s pays nobody, whatever the order, also not whom a link leads to', async (_, end, on) => {
    for (const steps of [
      ['invoicePaid', 'shown'],
      ['shown', 'invoicePaid'],
    ] as const) {
      const [{ cat, by }, bob] = [await linked(), await newCustomer()];
      const token = await newToken(bob);
      await end(token, bob);
      const before = (await inbox.balance(bob)) ?? 0;
      const paid = invoiced({ by: steps[0] === 'shown' ? fresh('cus_s') : by, on: { wallet_token: token, ...on } });
      await play(paid, ...steps);
      await endWait(paid);
      expect((await told(paid)).toSorted()).toEqual([
        expect.stringMatching(/^invoice parked (?:bad_token|token_used)$/),
        'payment_intent parked no_customer',
      ]);
      expect([await inbox.balance(cat), await inbox.balance(bob)]).toEqual([1, before]);
      await replay(paid, 'invoice', cat);
      expect((await told(paid)).toSorted()).toEqual(['invoice applied', 'payment_intent applied']);
      expect([await inbox.balance(cat), await inbox.balance(bob)]).toEqual([2001, before]);
    }
  });

  it.each<[string, Partial<Invoiced>, Partial<TokenTerms>]>([
    ['less was paid', { amount: 1900 }, {}],
    ['it is of another currency', {}, { currency: 'INR' }],
    ['it had ended', { at: NOW + 30 * DAY }, {}],
  ])('since %s parks its payment, which a person gives to somebody for what was paid', async (_, more, terms) => {
    const [{ cat, by }, bob] = [await linked(), await newCustomer()];
    const paid = invoiced({ by, on: { wallet_token: await newToken(bob, terms) }, ...more });
    await play(paid, 'invoicePaid', 'shown', 'invoicePayment');
    expect((await told(paid)).filter((one) => one.startsWith('payment_intent'))).toEqual([
      'payment_intent parked bad_token',
    ]);
    expect([await inbox.balance(cat), await inbox.balance(bob)]).toEqual([1, 0]);
    await replay(paid, 'payment_intent', bob);
    expect(await inbox.balance(bob, 'USD')).toBe(more.amount ?? 2000);
  });

  it('since another customer is named beside it pays neither, in any order', async () => {
    for (const steps of [
      ['invoicePaid', 'shown'],
      ['shown', 'invoicePaid'],
    ] as const) {
      const [ada, bob] = [await newCustomer(), await newCustomer()];
      const paid = invoiced({ on: { wallet_token: await newToken(bob), wallet_customer_id: ada } });
      await play(paid, ...steps);
      await endWait(paid);
      expect((await told(paid)).toSorted()).toEqual(['invoice parked bad_token', 'payment_intent parked no_customer']);
      expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([0, 0]);
    }
  });

  it('is obeyed where the same customer is named beside it', async () => {
    const ada = await newCustomer();
    const on = { wallet_token: await newToken(ada), wallet_customer_id: ada };
    await play(invoiced({ on }), 'shown', 'invoicePaid', 'invoicePayment');
    expect(await inbox.balance(ada)).toBe(3000);
  });
});

describe('a token on a Stripe subscription that comes after its payment was posted', () => {
  it('to somebody else is parked, and pays nobody twice', async () => {
    const ada = await newCustomer();
    const paid = invoiced({ on: { wallet_token: await newToken(ada) } });
    await play(paid, 'hidden', 'invoicePayment', 'invoicePaid');
    expect(await told(paid)).toEqual([
      'payment_intent applied',
      'invoice_payment applied',
      'invoice parked named_late',
    ]);
    expect(await inbox.balance(ada)).toBe(0);
    // The payments after it are named all the same.
    await play(renewed(paid), 'invoicePaid', 'shown');
    expect(await inbox.balance(ada)).toBe(3000);
  });

  it('is parked if it must not be used, and keeps those that wait from going by a link', async () => {
    const [ada, bob] = [await newCustomer(), await newCustomer()];
    const paid = invoiced({ on: { wallet_token: await newToken(ada, { amount: 2500, creditAmount: null }) } });
    await play({ ...paid, own: { wallet_customer_id: bob } }, 'shown');
    const other = { ...paid, id: fresh('pi_'), by: fresh('cus_s') };
    await play(other, 'shown');
    await play(paid, 'invoicePaid');
    await endWait(other);
    expect(await told(paid)).toEqual(['payment_intent applied', 'invoice parked bad_token']);
    expect((await told(other))[0]).toBe('payment_intent parked no_customer');
    expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([0, 2000]);
  });
});

describe('the tokens of invoices', () => {
  it('go with their payments where another source takes over', async () => {
    const ada = await newCustomer();
    const first = invoiced({ on: { wallet_token: await newToken(ada) } });
    await inbox.play([tell.invoicePaid(first)], replaced);
    await adoptSource(
      { ...inbox.services, pool: database.pool },
      { merchantId: MERCHANT, from: replaced.sourceId, into: replacing.sourceId },
    );
    await inbox.play([tell.shown(first)], replacing);
    expect(await inbox.balance(ada)).toBe(3000);
  });

  it('are known to the audit by the events that tell of them', async () => {
    const ada = await newCustomer();
    const paid = invoiced({ on: { wallet_token: await newToken(ada) } });
    await play(paid, 'invoicePaid', 'shown');
    const swap = (from: string, to: string) =>
      database.pool.query(
        `update provider_event set body = decode(replace(encode(body, 'hex'), $1, $2), 'hex')
         where event_type = 'invoice.paid' and payment_id = $3`,
        [Buffer.from(from).toString('hex'), Buffer.from(to).toString('hex'), paid.invoice],
      );
    const [token = ''] = Object.values(paid.on ?? {});
    await swap(token, `wt_${'1'.repeat(32)}`);
    const { disagreements } = await audit(autocommit(database.pool));
    expect(disagreements).toEqual([
      expect.objectContaining({ detail: expect.stringContaining('no event of it carries its token') }),
    ]);
    await swap(`wt_${'1'.repeat(32)}`, token);
  });
});
