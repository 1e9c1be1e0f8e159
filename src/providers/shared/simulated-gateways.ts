import { decimals } from '../../money.ts';
import type { AdyenItem } from './signed-delivery.ts';
import { type SimulatedMoney, simulatedMetadata } from './simulated-money.ts';

/** Simulated events of the gateways Adyen and Cashfree, as their adapters read them. */

const ADYEN_DISPUTES = {
  open: 'NOTIFICATION_OF_CHARGEBACK',
  lost: 'CHARGEBACK',
  won: 'CHARGEBACK_REVERSED',
} as const;

/** Simulated money as an item of an Adyen notification; amounts are in minor units. */
export function adyenItem(money: SimulatedMoney): AdyenItem {
  const { paymentId, currency, amountMinor: value } = money;
  const amount = { value, currency };
  const merchantReference = new URLSearchParams(simulatedMetadata(money)).toString();
  const ofPayment = { originalReference: paymentId, merchantReference: '', amount };
  switch (money.kind) {
    case 'payment':
      return { eventCode: 'AUTHORISATION', pspReference: paymentId, merchantReference, amount };
    case 'refund':
      return { eventCode: 'REFUND', pspReference: money.refundId, ...ofPayment };
    case 'dispute':
      return { eventCode: ADYEN_DISPUTES[money.state], pspReference: money.disputeId, ...ofPayment };
  }
}

const CASHFREE_DISPUTES = {
  open: ['DISPUTE_CREATED', 'CHARGEBACK_CREATED'],
  lost: ['DISPUTE_CLOSED', 'CHARGEBACK_MERCHANT_LOST'],
  won: ['DISPUTE_CLOSED', 'CHARGEBACK_MERCHANT_WON'],
} as const;

/** Simulated money as type and data of a Cashfree webhook; amounts are in major units. */
export function cashfreeData(money: SimulatedMoney): { type: string; data: Readonly<Record<string, unknown>> } {
  const { paymentId: cf_payment_id, currency, amountMinor } = money;
  // Cashfree writes the major unit as a number.
  const amount = Number(`${amountMinor}e-${decimals(currency)}`);
  switch (money.kind) {
    case 'payment': {
      const payment = { cf_payment_id, payment_status: 'SUCCESS', payment_amount: amount, payment_currency: currency };
      return { type: 'PAYMENT_SUCCESS_WEBHOOK', data: { order: { order_tags: simulatedMetadata(money) }, payment } };
    }
    case 'refund': {
      const refund = { cf_refund_id: money.refundId, cf_payment_id, refund_status: 'SUCCESS' };
      const ofMoney = { refund_amount: amount, refund_currency: currency };
      return { type: 'REFUND_STATUS_WEBHOOK', data: { refund: { ...refund, ...ofMoney } } };
    }
    case 'dispute': {
      const [type, dispute_status] = CASHFREE_DISPUTES[money.state];
      const dispute = { dispute_id: money.disputeId, dispute_type: 'CHARGEBACK', dispute_status };
      const ofMoney = { dispute_amount: amount, dispute_amount_currency: currency };
      return { type, data: { dispute: { ...dispute, ...ofMoney }, order_details: { cf_payment_id } } };
    }
  }
}
