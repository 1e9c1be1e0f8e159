import { text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, pick } from '../db/table.ts';
import type { Tx } from '../db/transaction.ts';
import type { PaymentKey } from '../payments/tables.ts';
import { BODY, EVENT, type LockedEvent } from './events.ts';

const READ_AGAIN = { ...pick(BODY, 'body', 'facts'), ...pick(EVENT.shape, 'origin', 'receivedAt') };

/** The bodies of the payment's applied events, or what is kept of them, oldest first. */
export async function bodiesApplied(
  tx: Tx,
  { merchantId, sourceId, paymentId }: PaymentKey,
): Promise<readonly Pick<LockedEvent, 'body' | 'facts' | 'origin' | 'receivedAt'>[]> {
  return BODIES_APPLIED.all(tx, { merchantId, sourceId, paymentId });
}

const BODIES_APPLIED = statement({
  params: { merchantId: text, sourceId: text, paymentId: text },
  row: READ_AGAIN,
  text: ({ merchantId, sourceId, paymentId }) => `
    select ${columns(READ_AGAIN)} from provider_event
    where merchant_id = ${merchantId} and source_id = ${sourceId} and payment_id = ${paymentId} and state = 'applied'
    order by received_at, event_id`,
});
