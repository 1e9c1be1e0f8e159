import type { Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { newId } from '../ids.ts';
import { type OutgoingData, type OutgoingEventType, outgoingMessage } from '../outgoing/catalogue.ts';
import type { OutgoingMessage } from '../outgoing/outgoing.ts';
import { leaveMessages } from '../outgoing/unsent.ts';
import type { TopUpNotice } from './outcome.ts';
import type { TopUp } from './tables.ts';

/** Leaves what is told, in the transaction that makes it true. Whoever commits it wakes the announcer. */
export async function tellOfTopUps(tx: Tx, notices: readonly TopUpNotice[], now: Date): Promise<void> {
  await leaveMessages(
    tx,
    notices.map((one) => messageOf(one, now)),
    now,
  );
}

/** What a payment has to carry to be credited as a top-up. */
export function metadataOf({ customerId, topUpId }: Pick<TopUp, 'customerId' | 'topUpId'>) {
  return { wallet_customer_id: customerId, wallet_purpose: 'topup', wallet_topup_id: topUpId } as const;
}

function messageOf(notice: TopUpNotice, now: Date): OutgoingMessage {
  const say = <Type extends OutgoingEventType>(merchantId: string, type: Type, data: OutgoingData<Type>) =>
    outgoingMessage(type, { merchantId, messageId: newId('message'), at: now }, data);
  switch (notice.kind) {
    case 'requested': {
      const { topUp, expiresAt } = notice;
      const data = { ...dataOf(topUp), metadata: metadataOf(topUp), expires_at: expiresAt.toISOString() };
      return say(topUp.merchantId, 'topup.requested', data);
    }
    case 'succeeded': {
      const { topUp, amountPaid, isLate } = notice;
      const { paymentId, sourceId } = topUp;
      invariant(paymentId !== null && sourceId !== null, 'a top-up succeeded without a payment');
      const payment = { payment_id: paymentId, source_id: sourceId, amount_paid: amountPaid, late: isLate };
      return say(topUp.merchantId, 'topup.succeeded', { ...dataOf(topUp), ...payment });
    }
    case 'failed': {
      const { topUp, isHard, nextAttemptAt } = notice;
      const { reason, declineCode } = topUp;
      invariant(reason !== null, 'a top-up failed without a reason');
      return say(topUp.merchantId, 'topup.failed', {
        ...{ ...dataOf(topUp), reason, decline_code: declineCode, hard: isHard },
        next_attempt_at: nextAttemptAt?.toISOString() ?? null,
      });
    }
    case 'paid_twice': {
      const { topUp, paymentId } = notice;
      const payments = { payment_id: paymentId, first_payment_id: topUp.paymentId };
      return say(topUp.merchantId, 'topup.paid_twice', { ...dataOf(topUp), ...payments });
    }
    case 'suspended': {
      const { merchantId, suspendedReason: reason, suspendedAt, declineCode } = notice.rule;
      invariant(reason !== null && suspendedAt !== null, 'a rule was suspended without a reason');
      const since = suspendedAt.toISOString();
      return say(merchantId, 'topup.suspended', {
        ...walletOf(notice.rule),
        reason,
        decline_code: declineCode,
        since,
      });
    }
    case 'resumed':
      return say(notice.rule.merchantId, 'topup.resumed', { ...walletOf(notice.rule), cause: notice.cause });
    case 'blocked': {
      const { rule, block: reason, until } = notice;
      return say(rule.merchantId, 'topup.blocked', { ...walletOf(rule), reason, until: until.toISOString() });
    }
  }
}

function walletOf({ customerId, currency }: Pick<TopUp, 'customerId' | 'currency'>) {
  return { customer_id: customerId, currency };
}

function dataOf(topUp: TopUp) {
  const { topUpId, origin, amount, createdAt } = topUp;
  return { ...walletOf(topUp), topup_id: topUpId, origin, amount, created_at: createdAt.toISOString() };
}
