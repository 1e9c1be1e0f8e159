import { type Tx, transaction } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { outgoingMessage } from '../outgoing/catalogue.ts';
import { messageIdFrom } from '../outgoing/message-ids.ts';
import type { OutgoingMessage } from '../outgoing/outgoing.ts';
import { leaveMessages } from '../outgoing/unsent.ts';
import { readPayments } from '../payments/store.ts';
import { type PaymentKey, paymentKeyText } from '../payments/tables.ts';
import { type SettledItem, settleItems } from './item-store.ts';
import type { Run } from './run.ts';
import type { ReconcileServices } from './services.ts';

/**
 * Marks what was missing and is applied by now as healed, a part of it if it is much, and leaves one `payment.reconciled` message
 * for each payment, in one transaction.
 * @returns how many items were settled
 */
export async function settleRun(services: ReconcileServices, run: Run): Promise<number> {
  const settled = await transaction(services.pool, async (tx) => {
    const items = await settleItems(tx, run);
    const now = services.clock.now();
    const messages = await reconciledMessages(tx, run, { items, now });
    await leaveMessages(tx, messages, now);
    return items.length;
  });
  if (settled > 0) services.onPosted();
  return settled;
}

async function reconciledMessages(
  tx: Tx,
  run: Run,
  { items, now }: { readonly items: readonly SettledItem[]; readonly now: Date },
): Promise<readonly OutgoingMessage[]> {
  const { merchantId, sourceId, runId, provider } = run;
  const healed = items.filter((item) => item.outcome === 'healed');
  const byPayment = [...Map.groupBy(healed, (item) => item.paymentId ?? item.objectId)];
  const keys = byPayment.map(([paymentId]): PaymentKey => ({ merchantId, sourceId, paymentId }));
  const payments = await readPayments(tx, keys);
  return byPayment.map(([paymentId, ofPayment]) => {
    const payment = payments.get(paymentKeyText({ merchantId, sourceId, paymentId }));
    invariant(payment !== undefined, 'an event was applied to a payment that is not there');
    const objects = ofPayment.map(({ kind, objectId }) => ({ kind, id: objectId }));
    const identity = [merchantId, runId, paymentId, ...objects.flatMap(({ kind, id }) => [kind, id])];
    return outgoingMessage(
      'payment.reconciled',
      { merchantId, messageId: messageIdFrom(identity), at: now },
      {
        payment_id: paymentId,
        source_id: sourceId,
        provider,
        customer_id: payment.customerId,
        purpose: payment.purpose,
        currency: payment.currency,
        amount_paid: payment.amountPaid,
        credited: payment.postedCredit,
        healed: objects,
        reconciliation_id: runId,
      },
    );
  });
}
