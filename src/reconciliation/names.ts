import type { Tx } from '../db/transaction.ts';
import { newId } from '../ids.ts';
import type { NewEvent } from '../inbox/store-events.ts';
import type { Source } from '../merchants/source.ts';
import { readGroups } from '../payments/group-store.ts';
import { PROVIDERS } from '../providers/index.ts';
import type { Reading } from './reading.ts';
import type { ReconcileServices } from './services.ts';
import { storeInParts } from './store-parts.ts';

/**
 * Takes in the events that say whose the payments of a group are, and which of them, where no webhook brought them. They are the
 * provider's own events, so a webhook that comes later is a repeat. Which payment an invoice was paid by matters only if that
 * invoice names somebody.
 */
export async function takeNames(
  { boss }: Pick<ReconcileServices, 'boss'>,
  tx: Tx,
  { source, readings, now }: { readonly source: Source; readonly readings: readonly Reading[]; readonly now: Date },
): Promise<void> {
  const { merchantId, sourceId, provider } = source;
  const namings = readings.filter(({ isNaming }) => isNaming);
  const groupIds = namings.flatMap(({ facts }) => facts.flatMap(groupOf));
  const groups = await readGroups(
    tx,
    groupIds.map((groupId) => ({ merchantId, sourceId, groupId })),
  );
  const named = new Map(
    groups
      .filter(({ customerId, tokenHash }) => (customerId ?? tokenHash) !== null)
      .map(({ groupId, paymentIds }) => [groupId, paymentIds]),
  );
  const isNews = ({ facts }: Reading) =>
    facts.every((fact) => groupOf(fact).some((id) => named.get(id)?.includes(fact.paymentId) === false));
  const events = namings.filter(isNews).map(({ listed: { body }, eventType }): NewEvent => {
    const deliveryKey = PROVIDERS[provider].deliveryKey({ rawBody: body, headers: {} });
    const event = { eventId: newId('event'), merchantId, sourceId, provider, deliveryKey, eventType, body };
    return { ...event, state: 'pending', detail: null, receivedAt: now, origin: 'reconciliation' };
  });
  await storeInParts(boss, tx, events);
}

const groupOf = (fact: Reading['facts'][number]): readonly string[] =>
  fact.kind === 'payment' && fact.groupId !== undefined ? [fact.groupId] : [];
