import type { Command } from 'commander';
import { text } from '../http/fields.ts';
import { describePayment, type PaymentResponse } from '../http/payments.ts';
import { formatMinor } from '../money.ts';
import { addMerchantCommand, takes } from './command.ts';
import { eventTable } from './events.ts';
import { heading, properties, table } from './output.ts';
import { entryTable } from './wallets.ts';

/** What happened to a payment. */
export function addPaymentCommands(program: Command): void {
  const group = program
    .command('payments')

    .description("Providers' payments: show what happened to one");

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
}

function life(one: PaymentResponse): string {
  const money = (amount: number | null, currency = one.currency) =>
    amount === null ? null : currency === null ? String(amount) : formatMinor(amount, currency);
  const part = (id: string, { status, amount, currency, credited, taken }: Part) => [
    id,
    status,
    money(amount, currency ?? one.currency) ?? 'the rest',
    money(credited),
    money(taken),
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
  });
  const refunds = one.refunds.map((refund) => part(refund.refund_id, refund));
  const disputes = one.disputes.map((dispute) => part(dispute.dispute_id, dispute));
  return [
    facts,
    ...(refunds.length === 0 ? [] : ['', table(['refund', ...columns], refunds, '')]),
    ...(disputes.length === 0 ? [] : ['', table(['dispute', ...columns], disputes, '')]),
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
}
