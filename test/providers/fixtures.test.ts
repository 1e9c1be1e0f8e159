import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { providerFixture, within } from '../support/provider-fixtures.ts';
import { dodoRefund, razorpayDispute, razorpayRefund } from '../support/signing.ts';
import { interpret, summary } from './reading.ts';

const STRIPE_PAYMENT = 'pi_3PqRsLkdIwHu7ix01gdX8aVt';
const DODO_PAYMENT = 'pay_0NWZ61Wd5ZgM5xH2BjyTn';
const RAZORPAY_PAYMENT = 'pay_DESlfW9H8K9uqM';

/** Each later provider has its table in a test file of its own. */
const FIRST_PROVIDERS = ['stripe', 'dodo', 'razorpay'] as const;

/** Amounts of payments that are not paid are null, and so are missing between the two spaces. */
const FIXTURES: Readonly<Record<(typeof FIRST_PROVIDERS)[number], Readonly<Record<string, string>>>> = {
  stripe: {
    'payment_intent.succeeded': `payment ${STRIPE_PAYMENT} succeeded 5000 USD`,
    'payment_intent.payment_failed': `payment ${STRIPE_PAYMENT} failed  USD`,
    'payment_intent.processing': `payment ${STRIPE_PAYMENT} pending  USD`,
    'payment_intent.requires_action': `payment ${STRIPE_PAYMENT} pending  USD`,
    'payment_intent.created': 'ignored',
    'refund.created': `refund ${STRIPE_PAYMENT} succeeded 2000 USD`,
    'refund.updated': `refund ${STRIPE_PAYMENT} succeeded 2000 USD`,
    'refund.failed': `refund ${STRIPE_PAYMENT} failed 2000 USD`,
    'charge.dispute.created': `dispute ${STRIPE_PAYMENT} open 5000 USD`,
    'charge.dispute.updated': `dispute ${STRIPE_PAYMENT} open 5000 USD`,
    'charge.dispute.funds_withdrawn': `dispute ${STRIPE_PAYMENT} open 5000 USD`,
    'charge.dispute.funds_reinstated': `dispute ${STRIPE_PAYMENT} won 5000 USD`,
    'charge.dispute.closed': `dispute ${STRIPE_PAYMENT} lost 5000 USD`,
    'charge.succeeded': 'ignored',
    'charge.refunded': `refund ${STRIPE_PAYMENT} succeeded 2000 USD`,
    'charge.refund.updated': `refund ${STRIPE_PAYMENT} succeeded 2000 USD`,
    'checkout.session.completed': 'ignored',
    'invoice.paid': 'ignored',
    'invoice_payment.paid': `payment ${STRIPE_PAYMENT} pending  `,
    'payment_method.attached': 'ignored',
    'customer.updated': 'ignored',
    'v1.payment_intent.succeeded': 'parked unsupported_payload',
    'v1.billing.meter.error_report_triggered': 'ignored',
  },
  dodo: {
    'payment.succeeded': `payment ${DODO_PAYMENT} succeeded 4720 USD`,
    'payment.succeeded.set-up': 'payment pay_0NWZ6SetUp succeeded 0 USD',
    'payment.failed': `payment ${DODO_PAYMENT} failed  USD`,
    'payment.cancelled': `payment ${DODO_PAYMENT} failed  USD`,
    'payment.processing': `payment ${DODO_PAYMENT} pending  USD`,
    'refund.succeeded': `refund ${DODO_PAYMENT} succeeded 2000 USD`,
    'refund.succeeded.full-without-amount': `refund ${DODO_PAYMENT} succeeded  `,
    'refund.succeeded.partial-without-amount': 'parked unknown_amount',
    'refund.failed': `refund ${DODO_PAYMENT} failed 2000 USD`,
    'dispute.opened': `dispute ${DODO_PAYMENT} open 4720 USD`,
    'dispute.challenged': `dispute ${DODO_PAYMENT} open 4720 USD`,
    'dispute.lost': `dispute ${DODO_PAYMENT} lost 4720 USD`,
    'dispute.accepted': `dispute ${DODO_PAYMENT} lost 4720 USD`,
    'dispute.expired': `dispute ${DODO_PAYMENT} lost 4720 USD`,
    'dispute.won': `dispute ${DODO_PAYMENT} won 4720 USD`,
    'dispute.cancelled': `dispute ${DODO_PAYMENT} won 4720 USD`,
    'subscription.renewed': 'ignored',
    'credit.added': 'ignored',
  },
  razorpay: {
    'payment.captured': `payment ${RAZORPAY_PAYMENT} succeeded 50000 INR`,
    'payment.failed': `payment ${RAZORPAY_PAYMENT} failed  INR`,
    'payment.authorized': 'ignored',
    'order.paid': 'ignored',
    'refund.created': `refund ${RAZORPAY_PAYMENT} pending 20000 INR`,
    'refund.processed': `refund ${RAZORPAY_PAYMENT} succeeded 20000 INR`,
    'refund.processed.auto-refund': 'ignored',
    'refund.failed': `refund ${RAZORPAY_PAYMENT} failed 20000 INR`,
    'refund.speed_changed': 'ignored',
    'payment.dispute.created': `dispute ${RAZORPAY_PAYMENT} open 50000 INR`,
    'payment.dispute.under_review': `dispute ${RAZORPAY_PAYMENT} open 50000 INR`,
    'payment.dispute.action_required': `dispute ${RAZORPAY_PAYMENT} open 50000 INR`,
    'payment.dispute.lost': `dispute ${RAZORPAY_PAYMENT} lost 50000 INR`,
    'payment.dispute.won': `dispute ${RAZORPAY_PAYMENT} won 50000 INR`,
    'payment.dispute.closed': `dispute ${RAZORPAY_PAYMENT} withdrawn 50000 INR`,
  },
};

describe.each(FIRST_PROVIDERS)('every documented payload of %s', (provider) => {
  it('has its line in the table', () => {
    const files = readdirSync(new URL(`../fixtures/providers/${provider}/`, import.meta.url));
    expect(files.sort()).toEqual(
      Object.keys(FIXTURES[provider])
        .map((name) => `${name}.json`)
        .sort(),
    );
  });

  it.each(Object.entries(FIXTURES[provider]))('%s → %s', (name, expected) => {
    const body = providerFixture(provider, name);
    const interpretation = interpret(provider, body);
    expect(summary(interpretation)).toBe(expected);
    expect(interpretation.eventType).toBe(provider === 'razorpay' ? body.event : body.type);
  });
});

describe('a fact carries all that the event has of it', () => {
  it('a Stripe payment', () => {
    expect(interpret('stripe', providerFixture('stripe', 'payment_intent.succeeded'))).toEqual({
      kind: 'facts',
      eventType: 'payment_intent.succeeded',
      livemode: false,
      facts: [
        {
          kind: 'payment',
          paymentId: STRIPE_PAYMENT,
          state: 'succeeded',
          amountMinor: 5000,
          currency: 'USD',
          customer: { id: 'cus_QhJ4nT8wZr2LmB', email: 'ada@example.com', name: null },
          metadata: { wallet_customer_id: 'cus_ada' },
          occurredAt: new Date(1793188801_000),
          triedAt: new Date('2026-10-28T11:59:50.000Z'),
        },
      ],
    });
  });

  it.each(['payment_method.attached', 'customer.updated'])('%s of Stripe: who may pay with something else', (name) => {
    const ignored = { kind: 'ignored', eventType: name, reason: 'moves no money', livemode: false };
    const body = providerFixture('stripe', name);
    const ofPayer = { ...ignored, payer: 'cus_QhJ4nT8wZr2LmB' };
    expect(interpret('stripe', body)).toEqual(ofPayer);
    const data = within(body, 'data');
    // A new e-mail address says nothing of that; older versions do not say what is new.
    const isUpdate = name === 'customer.updated';
    data.previous_attributes = { email: 'ada@example.org' };
    expect(interpret('stripe', body)).toEqual(isUpdate ? ignored : ofPayer);
    data.previous_attributes = { default_source: null };
    expect(interpret('stripe', body)).toEqual(ofPayer);
    delete data.previous_attributes;
    expect(interpret('stripe', body)).toEqual(ofPayer);
    // Nobody has to look at one that cannot be read.
    Object.assign(data, { object: { id: 7, customer: ['cus_a'] } });
    expect(interpret('stripe', body)).toEqual(ignored);
  });

  it('a Dodo refund', () => {
    const metadata = { wallet_purpose: 'order', ticket: '77' };
    const body = dodoRefund({ paymentId: 'pay_1', refundId: 'ref_1', amount: 300, metadata });
    expect(interpret('dodo', body)).toEqual({
      kind: 'facts',
      eventType: 'refund.succeeded',
      facts: [
        {
          kind: 'refund',
          paymentId: 'pay_1',
          refundId: 'ref_1',
          state: 'succeeded',
          amountMinor: 300,
          currency: 'USD',
          customer: { id: 'cus_0NWZ5YTVcVqZ3cbs7hTqb', email: 'ravi@example.com', name: 'Ravi Kumar' },
          metadata: { wallet_purpose: 'order' },
          occurredAt: new Date('2026-10-28T09:30:00.123Z'),
        },
      ],
    });
  });

  it('a Razorpay refund, with the customer and the notes of its payment', () => {
    const body = razorpayRefund({
      paymentId: 'pay_1',
      refundId: 'rfnd_1',
      amount: 700,
      customer: 'cust_1',
      email: 'g@example.com',
      paymentNotes: { wallet_customer_id: 'cus_g', wallet_purpose: 'topup' },
      notes: { wallet_purpose: 'order' },
      createdSeconds: 1_793_275_200,
    });
    expect(interpret('razorpay', body)).toMatchObject({
      facts: [
        {
          kind: 'refund',
          refundId: 'rfnd_1',
          amountMinor: 700,
          customer: { id: 'cust_1', email: 'g@example.com', name: null },
          metadata: { wallet_customer_id: 'cus_g', wallet_purpose: 'order' },
          occurredAt: new Date(1_793_275_200_000),
        },
      ],
    });
  });

  it('a dispute', () => {
    expect(
      interpret('razorpay', razorpayDispute({ paymentId: 'pay_1', disputeId: 'disp_1', amount: 9 })),
    ).toMatchObject({
      facts: [
        { kind: 'dispute', paymentId: 'pay_1', disputeId: 'disp_1', state: 'open', amountMinor: 9, currency: 'INR' },
      ],
    });
  });
});
