import type { Tx } from '../db/transaction.ts';
import type { HoldDisputes } from '../ledger/holds/hold.ts';
import { type LedgerMoment, postBatch } from '../ledger/store.ts';
import { holdsDue, withHoldNos } from '../payments/dispute-holds.ts';
import { lockPayment, saveHoldsOf } from '../payments/move-store.ts';
import type { Payment } from '../payments/payment.ts';
import { settle } from '../payments/settle.ts';
import { readPayments } from '../payments/store.ts';
import { type PaymentKey, paymentKeyText } from '../payments/tables.ts';

/**
 * Brings what is held for open disputes of these payments up to date, after something of them was handled by hand: that may be a
 * dispute, or a refund of the money that another one claims. No entry is posted.
 * @returns whether anything is held anew or no more
 */
export async function settleHolds(tx: Tx, keys: readonly PaymentKey[], moment: LedgerMoment): Promise<boolean> {
  const unique = new Map(keys.map((key) => [paymentKeyText(key), key]));
  // In the order in which events lock them, and all before any wallet.
  for (const [, key] of [...unique].sort(([a], [b]) => (a < b ? -1 : 1))) await lockPayment(tx, key);
  const payments = await readPayments(tx, [...unique.values()]);
  const due = [...payments.values()].flatMap((payment) => {
    const { command, after } = settledHolds(payment, {
      reason: `payment ${payment.paymentId}, of which something was handled by hand`,
    });
    return command === null ? [] : [{ command, after }];
  });
  const results = await postBatch(
    tx,
    due.map(({ command }) => command),
    moment,
  );
  for (const [index, { command, after }] of due.entries()) {
    const result = results[index];
    // In a currency that is not configured any more, what is held stays held until it is.
    if (result?.kind !== 'disputes_held') continue;
    await saveHoldsOf(tx, withHoldNos(after, command.disputes, result.holdNos));
  }
  return results.some(({ kind }) => kind === 'disputes_held');
}

/** What is to be held for a payment as it stands, and the payment then; no command where that is so already. */
export function settledHolds(
  payment: Payment,
  texts: Pick<HoldDisputes, 'reason' | 'releaseReason'>,
): { readonly command: HoldDisputes | null; readonly after: Payment } {
  const { holds: disputes, after } = holdsDue(payment, settle(payment, payment.refunds).holds);
  const { merchantId, customerId, currency, paymentId } = after;
  if (disputes.length === 0 || customerId === null || currency === null) return { command: null, after };
  const op = 'hold_disputes';
  return { command: { op, merchantId, customerId, currency, paymentId, ...texts, returned: 0, disputes }, after };
}
