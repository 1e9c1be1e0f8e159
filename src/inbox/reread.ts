import type { Tx } from '../db/transaction.ts';
import type { Fact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { reread } from '../payments/reread.ts';
import { type PaymentKey, paymentKeyText } from '../payments/tables.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import { bodiesApplied } from './applied-bodies.ts';
import type { ProviderEvent } from './events.ts';
import { readStored } from './kept-facts.ts';

/**
 * The payments; those that the release before stored are made anew from the bodies of their applied events. That posts nothing
 * by itself: the event that touches such a payment now posts the difference.
 */
export async function withFormerRead(
  tx: Tx,
  payments: ReadonlyMap<string, Payment>,
  touched: readonly { readonly key: PaymentKey; readonly source: { readonly provider: ProviderName } }[],
): Promise<Map<string, Payment>> {
  const providers = new Map(touched.map(({ key, source }) => [paymentKeyText(key), source.provider]));
  const read = new Map(payments);
  for (const [key, payment] of payments) {
    const provider = providers.get(key);
    if (!payment.isUnread || provider === undefined) continue;
    read.set(key, reread(payment, await factsApplied(tx, payment, provider)));
  }
  return read;
}

async function factsApplied(tx: Tx, key: PaymentKey, provider: ProviderName): Promise<readonly Fact[]> {
  const events = await bodiesApplied(tx, key);
  return events.flatMap((event) => {
    const interpretation = readStored(provider, event);
    return interpretation.kind === 'facts' ? withDecisionTimes(event, interpretation.facts) : [];
  });
}

/** An API does not say when a dispute was decided, so what it tells counts as decided when it was read. */
export function withDecisionTimes(
  { origin, receivedAt }: Pick<ProviderEvent, 'origin' | 'receivedAt'>,
  facts: readonly Fact[],
): readonly Fact[] {
  if (origin !== 'reconciliation') return facts;
  return facts.map((fact) => (fact.kind === 'dispute' ? { ...fact, occurredAt: receivedAt } : fact));
}
