import { text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Tx } from '../db/transaction.ts';
import type { SourceKey } from '../merchants/source.ts';
import { paymentsOfParts } from '../payments/lookups.ts';
import type { LockedEvent, Verdict } from './events.ts';

/**
 * Thin events carry no data, so they are parked. An endpoint that gets both forms is told the same by a snapshot; once that is
 * applied, the thin event is closed, since nothing is left to do about it.
 */

interface Work {
  readonly event: Pick<LockedEvent, 'merchantId' | 'sourceId' | 'eventType'>;
  /** The id of what changed: a payment, a refund or a dispute. */
  readonly paymentId: string | null;
  verdict: Verdict;
}

const CLOSED: Verdict = {
  state: 'ignored',
  reason: null,
  detail: 'a thin event; the event with its data was applied',
  effect: null,
};

/** Closes the thin events of a batch whose snapshots are applied. Almost no batch has one, so each is asked for by itself. */
export async function closeThinEvents(tx: Tx, works: readonly Work[]): Promise<void> {
  for (const work of works) {
    const { event, paymentId: objectId } = work;
    if (work.verdict.reason !== 'unsupported_payload' || objectId === null) continue;
    const eventType = event.eventType.replace(/^v1\./, '');
    const paymentId = await paymentOf(tx, event, { eventType, objectId });
    const { merchantId, sourceId } = event;
    const asked = { merchantId, sourceId, eventType, paymentId: paymentId ?? '' };
    if (paymentId !== null && (await SNAPSHOT_APPLIED.first(tx, asked)) !== null) work.verdict = CLOSED;
  }
}

async function paymentOf(
  tx: Tx,
  { merchantId, sourceId }: SourceKey,
  { eventType, objectId }: { readonly eventType: string; readonly objectId: string },
): Promise<string | null> {
  if (eventType.startsWith('payment_intent.')) return objectId;
  const kind = eventType.startsWith('refund.') ? 'refund' : 'dispute';
  return (await paymentsOfParts(tx, { merchantId, sourceId, kind }, [objectId])).get(objectId) ?? null;
}

const SNAPSHOT_APPLIED = statement({
  params: { merchantId: text, sourceId: text, paymentId: text, eventType: text },
  row: { eventId: text },
  text: ({ merchantId, sourceId, paymentId, eventType }) => `
    select event_id from provider_event
    where merchant_id = ${merchantId} and source_id = ${sourceId} and payment_id = ${paymentId}
      and event_type = ${eventType} and state = 'applied'
    limit 1`,
});
