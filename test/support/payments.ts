import { invariant } from '../../src/errors.ts';
import { KEY_VERSION } from '../../src/ledger/keys.ts';
import { type DuePosting, postingsDue } from '../../src/payments/due.ts';
import type {
  DisputeFact,
  Fact,
  MovementFact,
  PaymentFact,
  ProviderCustomer,
  RefundFact,
} from '../../src/payments/fact.ts';
import type { Payment, PaymentIntent } from '../../src/payments/payment.ts';
import type { RefundPolicy } from '../../src/payments/purpose.ts';
import { record } from '../../src/payments/record.ts';
import { settle } from '../../src/payments/settle.ts';

const PAYMENT_ID = 'p';

const CUSTOMER: ProviderCustomer = { id: 'prov_1', email: null, name: null };

/** A payment of which nothing is known yet. */
export function newPayment(overrides: Partial<Payment> = {}): Payment {
  return {
    merchantId: 'bus_default',
    sourceId: 'src_stripe',
    paymentId: PAYMENT_ID,
    state: 'unknown',
    purpose: null,
    checkoutId: null,
    customerId: null,
    namedBy: null,
    groupId: null,
    refunds: 'auto',
    disputes: 'hold',
    capture: 'automatic',
    currency: null,
    amountPaid: null,
    creditAmount: null,
    bonusSplit: true,
    ...{ bonusAmount: null, bonusPrice: null, bonusRuleId: null, bonusDays: null, paidDays: null },
    tokenHash: null,
    agreedAmount: null,
    waitedOut: false,
    heardOf: false,
    paidAt: null,
    failedAt: null,
    pendingAt: null,
    isUnread: false,
    postedCredit: 0,
    postedReturn: 0,
    postings: 0,
    ...{ postedBonus: 0, bonusPostings: 0, bonusLost: 0, bonusLostBefore: 0, bonusUndone: 0, bonusPaid: null },
    keyVersion: KEY_VERSION,
    moves: 0,
    keySource: null,
    parts: [],
    movements: [],
    handled: [],
    ...overrides,
  };
}

export function paymentFact(overrides: Partial<PaymentFact> = {}): PaymentFact {
  return {
    kind: 'payment',
    paymentId: PAYMENT_ID,
    state: 'succeeded',
    amountMinor: 1000,
    currency: 'USD',
    customer: CUSTOMER,
    metadata: {},
    occurredAt: null,
    ...overrides,
  };
}

export function refundFact(overrides: Partial<RefundFact> = {}): RefundFact {
  return {
    kind: 'refund',
    paymentId: PAYMENT_ID,
    refundId: 'a',
    state: 'succeeded',
    amountMinor: 1000,
    currency: 'USD',
    customer: CUSTOMER,
    metadata: {},
    occurredAt: null,
    ...overrides,
  };
}

export function disputeFact(overrides: Partial<DisputeFact> = {}): DisputeFact {
  return {
    kind: 'dispute',
    paymentId: PAYMENT_ID,
    disputeId: 'd',
    state: 'lost',
    amountMinor: 1000,
    currency: 'USD',
    occurredAt: null,
    ...overrides,
  };
}

export function movementFact(overrides: Partial<MovementFact> = {}): MovementFact {
  return {
    kind: 'movement',
    paymentId: PAYMENT_ID,
    movement: 'capture',
    movementId: 'm',
    state: 'succeeded',
    amountMinor: 1000,
    currency: 'USD',
    occurredAt: null,
    ...overrides,
  };
}

/** Something that happens to a payment: a fact arrives, or the wait for it is over. */
export type Happening = Fact | 'waited';

/** The payment after a happening and after its entries, and those entries. Posting again must give none. */
export function step(
  payment: Payment,
  happening: Happening,
  intent: PaymentIntent,
  policy: RefundPolicy,
): { payment: Payment; due: readonly DuePosting[] } {
  const told = happening === 'waited' ? waitedOut(payment) : record(payment, happening, intent);
  const { due, after } = postingsDue(told, settle(told, policy));
  invariant(postingsDue(after, settle(after, policy)).due.length === 0, 'entries are due again once they are posted');
  return { payment: after, due };
}

/** The payment after the wait of an early refund, as `decide` makes it. */
function waitedOut(payment: Payment): Payment {
  if (payment.state !== 'unknown') return payment;
  const refund = payment.parts.find((part) => part.kind === 'refund');
  return { ...payment, waitedOut: true, currency: payment.currency ?? refund?.currency ?? null };
}

const PART_STATES = { refund: ['pending', 'succeeded', 'failed'], dispute: ['open', 'lost', 'won'] } as const;

/**
 * Reads happenings from a text such as `paid 1000; refund a 400 EUR; refund a 400 failed; dispute d 1000 lost; waited`.
 * A refund has succeeded and a dispute is open unless the text says otherwise; `all` stands for an amount not given.
 */
export function happenings(text: string): Happening[] {
  return text
    .split(';')
    .map((part) => part.trim().split(' '))
    .map(([what = '', ...words]): Happening => {
      const currency = words.find((word) => /^[A-Z]{3}$/.test(word)) ?? 'USD';
      const amount = words.find((word) => /^\d+$/.test(word));
      const amountMinor = amount === undefined ? null : Number(amount);
      const [id = ''] = words;
      const stateOf = <State extends string>(states: readonly State[], usual: State) =>
        states.find((state) => words.includes(state)) ?? usual;
      switch (what) {
        case 'waited':
          return 'waited';
        case 'paid':
          return paymentFact({ amountMinor, currency });
        case 'pending':
        case 'failed':
          return paymentFact({ state: what, amountMinor, currency: null });
        case 'refund':
          return refundFact({ refundId: id, state: stateOf(PART_STATES.refund, 'succeeded'), amountMinor, currency });
        case 'dispute':
          return disputeFact({ disputeId: id, state: stateOf(PART_STATES.dispute, 'open'), amountMinor, currency });
        default:
          throw new Error(`no such happening: ${what}`);
      }
    });
}

/** Lets everything happen in order to a new payment, posting after each; returns the payment and every entry. */
export function play(
  all: readonly Happening[],
  intent: PaymentIntent,
  policy: RefundPolicy,
): { payment: Payment; entries: DuePosting[] } {
  let payment = newPayment();
  const entries: DuePosting[] = [];
  for (const happening of all) {
    const { payment: next, due } = step(payment, happening, intent, policy);
    payment = next;
    entries.push(...due);
  }
  return { payment, entries };
}

/** Entries as a text such as `+1000 payment; -400 payment_reversal`; a currency other than USD is named. */
export function entriesText(entries: readonly DuePosting[]): string {
  const texts = entries.map(({ isCredit, amountMinor, eventType, currency }) => {
    const suffix = currency === 'USD' ? '' : ` ${currency}`;
    return `${isCredit ? '+' : '-'}${amountMinor} ${eventType}${suffix}`;
  });
  return texts.join('; ');
}
