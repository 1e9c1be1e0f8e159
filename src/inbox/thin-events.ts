import { z } from 'zod';
import { text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, pick, type Row } from '../db/table.ts';
import type { Tx } from '../db/transaction.ts';
import type { SourceKey } from '../merchants/source.ts';
import { type Fact, objectIdOf } from '../payments/fact.ts';
import { paymentsOfParts } from '../payments/lookups.ts';
import { parseJson } from '../providers/shared/json.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';
import { BODY, EVENT, type LockedEvent, type Verdict } from './events.ts';
import { readStored } from './kept-facts.ts';

/**
 * Thin events carry no data, so they are parked. An endpoint that gets both forms is told the same by a snapshot; once that is
 * applied, the thin event is closed, since nothing is left to do about it. A snapshot of something else, or of an earlier time, says
 * nothing of it: what it tells may be lost.
 */

interface Work {
  readonly event: Pick<LockedEvent, 'merchantId' | 'sourceId' | 'eventType' | 'body'>;
  /** The id of what changed: a payment, a refund or a dispute. */
  readonly paymentId: string | null;
  verdict: Verdict;
}

const SUPERSEDED: Verdict = {
  state: 'ignored',
  reason: null,
  detail: 'a thin event; the event with its data was applied',
  effect: null,
};

/** Ignores the thin events of a batch whose snapshots are applied. Almost no batch has one, so each is asked for by itself. */
export async function ignoreSupersededThinEvents(tx: Tx, works: readonly Work[]): Promise<void> {
  for (const work of works) {
    const { event, paymentId: objectId } = work;
    if (work.verdict.reason !== 'unsupported_payload' || objectId === null) continue;
    const eventType = event.eventType.replace(/^v1\./, '');
    const paymentId = await paymentOf(tx, event, { eventType, objectId });
    const { merchantId, sourceId } = event;
    if (paymentId === null) continue;
    const snapshots = await SNAPSHOTS_APPLIED.all(tx, { merchantId, sourceId, eventType, paymentId });
    const at = createdAt(event.body);
    if (snapshots.some((snapshot) => tells(snapshot, { objectId, at }))) work.verdict = SUPERSEDED;
  }
}

const THIN = z.object({ created: z.coerce.date() });

/** When a thin event says that it was made, in whole seconds, as snapshots tell it; null if it does not say. */
function createdAt(body: Buffer): number | null {
  const parsed = parseJson(body);
  const { data } = THIN.safeParse(parsed.ok ? parsed.value : null);
  return data === undefined ? null : Math.floor(data.created.getTime() / 1000) * 1000;
}

/** Whether a snapshot tells of this object as it was at that time, or later. */
function tells(
  { provider, origin, receivedAt, ...stored }: Snapshot,
  { objectId, at }: { readonly objectId: string; readonly at: number | null },
): boolean {
  const name = PROVIDER_NAMES.find((known) => known === provider);
  const reading = name === undefined ? null : readStored(name, stored);
  if (at === null || reading?.kind !== 'facts') return false;
  // What an API told is as it was when it was read.
  const timeOf = ({ occurredAt }: Fact) => (origin === 'reconciliation' ? receivedAt : occurredAt);
  return reading.facts.some((fact) => objectIdOf(fact) === objectId && (timeOf(fact)?.getTime() ?? 0) >= at);
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

const SNAPSHOT = { ...pick(EVENT.shape, 'provider', 'origin', 'receivedAt'), ...pick(BODY, 'body', 'facts') };
type Snapshot = Row<typeof SNAPSHOT>;

const SNAPSHOTS_APPLIED = statement({
  params: { merchantId: text, sourceId: text, paymentId: text, eventType: text },
  row: SNAPSHOT,
  text: ({ merchantId, sourceId, paymentId, eventType }) => `
    select ${columns(SNAPSHOT)} from provider_event
    where merchant_id = ${merchantId} and source_id = ${sourceId} and payment_id = ${paymentId}
      and event_type = ${eventType} and state = 'applied'
    order by received_at desc limit 20`,
});
