import { MARK, type SimulatedMoney, simulatedMetadata } from './simulated-money.ts';

/** Simulated events of Paddle, Polar and Lemon Squeezy, who sell in their own name, as their adapters read them. */

type Made = { readonly type: string; readonly data: Readonly<Record<string, unknown>> };

const PADDLE_DISPUTES = {
  open: { action: 'chargeback', status: 'pending_approval' },
  lost: { action: 'chargeback', status: 'approved' },
  won: { action: 'chargeback_reverse', status: 'approved' },
} as const;

/** Each adjustment of a dispute has an id of its own, `newId`. Amounts are texts. */
export function paddleData(money: SimulatedMoney, newId: string): Made {
  const { paymentId, currency: currency_code, amountMinor } = money;
  const amount = String(amountMinor);
  const common = { currency_code, customer_id: null };
  const adjustment = { ...common, transaction_id: paymentId, totals: { total: amount, currency_code } };
  switch (money.kind) {
    case 'payment': {
      const details = { totals: { grand_total: amount, currency_code } };
      const transaction = { id: paymentId, status: 'completed', custom_data: simulatedMetadata(money), details };
      return { type: 'transaction.completed', data: { ...common, ...transaction } };
    }
    case 'refund':
      return {
        type: 'adjustment.created',
        data: { id: money.refundId, action: 'refund', status: 'approved', ...adjustment },
      };
    case 'dispute':
      return {
        type: 'adjustment.created',
        data: { id: `adj_${MARK}${newId}`, ...PADDLE_DISPUTES[money.state], ...adjustment },
      };
  }
}

/** Null for a dispute, since Polar sends no event for it. */
export function polarData(money: SimulatedMoney): Made | null {
  const { paymentId, amountMinor } = money;
  const common = { currency: money.currency.toLowerCase(), customer_id: null };
  switch (money.kind) {
    case 'payment': {
      const order = { id: paymentId, status: 'paid', due_amount: amountMinor, metadata: simulatedMetadata(money) };
      return { type: 'order.paid', data: { ...common, ...order } };
    }
    case 'refund': {
      const refund = { id: money.refundId, order_id: paymentId, status: 'succeeded', metadata: {} };
      return { type: 'refund.created', data: { ...common, ...refund, amount: amountMinor, tax_amount: 0 } };
    }
    case 'dispute':
      return null;
  }
}

/** A refund tells the sum refunded so far. Null for a dispute, since Lemon Squeezy sends no event for it. */
export function lemonSqueezyResource(
  money: SimulatedMoney,
  now: Date,
): (Made & { readonly custom_data: Readonly<Record<string, string>> }) | null {
  if (money.kind === 'dispute') return null;
  const id = money.paymentId.slice('order_'.length);
  const common = { currency: money.currency, test_mode: true, customer_id: null, created_at: now.toISOString() };
  const custom_data = simulatedMetadata(money);
  if (money.kind === 'payment') {
    const attributes = { ...common, status: 'paid', total: money.amountMinor };
    return { type: 'order_created', custom_data, data: { type: 'orders', id, attributes } };
  }
  const { paidMinor: total, refundedMinor: refunded_amount } = money;
  const status = refunded_amount >= total ? 'refunded' : 'partial_refund';
  const attributes = { ...common, status, total, refunded_amount, refunded_at: now.toISOString() };
  return { type: 'order_refunded', custom_data, data: { type: 'orders', id, attributes } };
}
