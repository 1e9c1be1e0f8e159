import type { Command } from 'commander';
import { reassignPayment } from '../customers/reassign.ts';
import { requireCustomer } from '../customers/store.ts';
import { formatMinor } from '../money.ts';
import { type ListedPayment, listPayments, sourcesWithPayments } from '../payments/list.ts';
import type { Payment } from '../payments/payment.ts';
import { text } from '../views/fields.ts';
import { describePayment, type PaymentResponse } from '../views/payment.ts';
import { addMerchantCommand, flag, takes } from './command.ts';
import type { CliContext } from './context.ts';
import { eventTable } from './events.ts';
import { giveUp } from './give-up.ts';
import { alignRight, heading, properties, table, time } from './output.ts';
import { moreAfter, pageOptions, toPage } from './paging.ts';
import { id, oneOf, past } from './values.ts';
import { entryTable } from './wallets.ts';

const PAYMENT_STATES = ['unknown', 'pending', 'failed', 'succeeded'] as const satisfies readonly Payment['state'][];
/** Enough for most questions, and little to read through for a rare state or customer. */
const DEFAULT_DAYS = 30;

/** What happened to payments. */
export function addPaymentCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: 'List payments, newest first',
    details: `Without --since, those of the last ${DEFAULT_DAYS} days.`,
    takes: {
      state: takes('--state <state>', PAYMENT_STATES.join(', '), oneOf(PAYMENT_STATES).optional()),
      customer: takes('--customer <id>', 'cus_…', text(300, 1).optional()),
      source: takes('--source <id>', 'src_…, as "npx chokin sources list" shows it', id.optional()),
      since: takes(
        '--since <time>',
        `first heard of from here on: 2026-11-01, or 3d (default: ${DEFAULT_DAYS}d)`,
        past.prefault(`${DEFAULT_DAYS}d`),
      ),
      ...pageOptions,
    },
    async run({ state, customer, source, since, limit, page }, { db, clock, admin }, { merchantId }) {
      const found = await listPayments(db, merchantId, {
        state: state ?? null,
        customerId: customer ?? null,
        sourceId: source ?? null,
        since: since(clock.now()),
        ...toPage({ limit, page }),
      });
      if (found.length === 0 && customer !== undefined) await requireCustomer(db, merchantId, customer);
      if (found.length === 0 && source !== undefined) await requireSource({ admin, db }, merchantId, source);
      const more = moreAfter(found.length, limit, `--page ${page + 1}`);
      return { json: { items: found.map(paymentSummary) }, text: `${paymentTable(found)}${more}` };
    },
  });

  addMerchantCommand(group, {
    name: 'show',
    summary: 'Show the whole life of a payment: refunds, disputes, entries, events',
    details: 'One for each source that knows a payment of this id.',
    takes: { paymentId: takes('<payment-id>', "the provider's id, such as pi_…", text(300, 1)) },
    async run({ paymentId }, { db }, { merchantId }) {
      const items = await describePayment(db, merchantId, paymentId);
      return { json: { items }, text: items.map(life).join('\n\n\n') };
    },
  });

  addMerchantCommand(group, {
    name: 'reassign',
    summary: 'Give a payment to another customer, with what it left in the wallet',
    details:
      'What the provider tells of it from now on is posted there, too. Links stay: see "npx chokin links --help".',
    takes: {
      paymentId: takes('<payment-id>', "the provider's id, such as pi_…", text(300, 1)),
      customerId: takes('<customer-id>', 'cus_…, whose it is from now on', text(300, 1)),
      from: takes('--from <customer-id>', "cus_…: only if it is still that one's", text(300, 1).optional()),
      reason: takes('--reason <text>', 'both entries say it', text(500, 1)),
      source: takes('--source <id>', 'src_…, where two sources know a payment of this id', id.optional()),
      force: flag('--force', 'leave a wallet in debt that has spent the money'),
    },
    async run({ paymentId, customerId, from, reason, source, force }, context, { merchantId }) {
      const { pool, settings, clock, db } = context;
      const waker = await context.waker();
      await reassignPayment(
        { pool, settings, clock, onPosted: () => waker.wake() },
        {
          ...{ merchantId, paymentId, customerId, fromCustomerId: from ?? null, reason },
          ...{ sourceId: source ?? null, force, actor: 'cli' },
        },
      );
      const items = await describePayment(db, merchantId, paymentId);
      return { json: { items }, text: items.map(life).join('\n\n\n') };
    },
  });
}

/** One that is configured or stored, or that payments came in by. @throws {GivenUpError} if there is none of that id */
async function requireSource(
  { admin, db }: Pick<CliContext, 'admin' | 'db'>,
  merchantId: string,
  sourceId: string,
): Promise<void> {
  const isKnown =
    (await admin.sources.find(db, merchantId, sourceId)) !== null ||
    (await sourcesWithPayments(db, merchantId)).includes(sourceId);
  if (!isKnown) giveUp(`There is no source ${sourceId}; "npx chokin sources list" shows them.`);
}

function paymentSummary({ payment: one, provider, createdAt }: ListedPayment) {
  return {
    payment_id: one.paymentId,
    source_id: one.sourceId,
    business_id: one.merchantId,
    provider,
    status: one.state,
    purpose: one.purpose,
    customer_id: one.customerId,
    currency: one.currency,
    amount_paid: one.amountPaid,
    credit_amount: one.creditAmount,
    credited: one.postedCredit,
    created_at: createdAt.toISOString(),
  };
}

function paymentTable(payments: readonly ListedPayment[]): string {
  const money = (amount: number | null, currency: string | null) =>
    amount === null || currency === null ? '' : formatMinor(amount, currency);
  const paid = alignRight(payments.map(({ payment: one }) => money(one.amountPaid, one.currency)));
  const credited = alignRight(payments.map(({ payment: one }) => money(one.postedCredit, one.currency)));
  return table(
    ['payment', 'first heard of', 'source', 'state', 'purpose', 'paid', 'credited', 'customer'],
    payments.map(({ payment: one, createdAt }, row) => [
      one.paymentId,
      time(createdAt.toISOString()),
      one.sourceId,
      one.state,
      one.purpose,
      paid[row] ?? '',
      credited[row] ?? '',
      one.customerId,
    ]),
    'No payments. --since reaches further back.',
  );
}

function life(one: PaymentResponse): string {
  const money = (amount: number | null, currency = one.currency) =>
    amount === null ? null : currency === null ? String(amount) : formatMinor(amount, currency);
  const part = (id: string, { status, amount, currency, credited, taken, bonus_taken: ofBonus }: Part) => [
    id,
    status,
    money(amount, currency ?? one.currency) ?? 'the rest',
    money(credited),
    money(taken + ofBonus),
  ];
  const columns = ['status', 'amount', 'credited', 'taken'];
  const facts = properties({
    payment: one.payment_id,
    source: one.source_id,
    status: one.status,
    purpose: one.purpose,
    customer: one.customer_id,
    paid: money(one.amount_paid),
    grants: money(one.credit_amount),
    credited: money(one.credited),
    bonus: one.bonus === 0 ? null : money(one.bonus),
  });
  const refunds = one.refunds.map((refund) => part(refund.refund_id, refund));
  const moved = (id: string, { status, amount, currency }: Pick<Part, 'status' | 'amount' | 'currency'>) => [
    id,
    status,
    money(amount, currency ?? one.currency),
  ];
  const captures = one.captures.map((capture) => moved(capture.capture_id, capture));
  const reinstatements = one.reinstatements.map((back) => moved(back.reinstatement_id, back));
  const disputes = one.disputes.map((dispute) => part(dispute.dispute_id, dispute));
  return [
    facts,
    ...(refunds.length === 0 ? [] : ['', table(['refund', ...columns], refunds, '')]),
    ...(disputes.length === 0 ? [] : ['', table(['dispute', ...columns], disputes, '')]),
    ...(captures.length === 0 ? [] : ['', table(['capture', 'status', 'amount'], captures, '')]),
    ...(reinstatements.length === 0 ? [] : ['', table(['reinstatement', 'status', 'amount'], reinstatements, '')]),
    ...one.moves.map((each) => `moved from ${each.from_customer_id} to ${each.to_customer_id}: ${each.reason}`),
    '',
    heading('Entries'),
    entryTable(one.entries),
    '',
    heading('Events'),
    eventTable(one.events),
  ].join('\n');
}

interface Part {
  readonly status: string;
  readonly amount: number | null;
  readonly currency: string | null;
  readonly credited: number;
  readonly taken: number;
  readonly bonus_taken: number;
}
