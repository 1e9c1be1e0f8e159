import { bigint, present, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { BODY, EVENT } from '../inbox/events.ts';
import type { Fact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { type PaymentKey, paymentKeyText } from '../payments/tables.ts';
import { readAgain } from './stored-facts.ts';

/**
 * An event is noted with one payment, though it may tell of several: a delivery of Adyen holds several items, or a refund by its
 * own id, and a dispute at PayPal may be about several transactions.
 */

/** A payment, and the ids by which an event that is noted with another one may tell of it. */
export interface Sought {
  readonly key: PaymentKey;
  readonly ids: readonly string[];
}

export function soughtOf({ merchantId, sourceId, paymentId, parts }: Payment): Sought {
  const refunds = parts.filter(({ kind }) => kind === 'refund').map(({ partId }) => partId);
  return { key: { merchantId, sourceId, paymentId }, ids: [paymentId, ...refunds] };
}

/** Few enough that large bodies are no burden: a megabyte each is the most. */
const EVENTS_PER_PAGE = 25;

/**
 * What events that are noted with other payments say of these ones: every such event of their sources is read once, whatever the
 * number of payments, since nothing finds an event by what its body tells.
 * @returns the facts by the text of the payment's key
 */
export async function factsElsewhere(
  db: Queryable,
  sought: readonly Sought[],
): Promise<ReadonlyMap<string, readonly Fact[]>> {
  const found = new Map<string, Fact[]>();
  const bySource = Map.groupBy(sought, ({ key: { merchantId, sourceId } }) => JSON.stringify([merchantId, sourceId]));
  for (const own of bySource.values()) await readSource(db, own, found);
  return found;
}

async function readSource(db: Queryable, sought: readonly Sought[], found: Map<string, Fact[]>): Promise<void> {
  const [first] = sought;
  if (first === undefined) return;
  const { merchantId, sourceId } = first.key;
  const pairs = sought.flatMap(({ key, ids }) => ids.map((id) => ({ id, key })));
  const byId = Map.groupBy(pairs, ({ id }) => id);
  let after = { afterPaymentId: '', afterEventId: '' };
  for (;;) {
    const events = await NEXT_EVENTS.all(db, { merchantId, sourceId, ...after, limit: EVENTS_PER_PAGE });
    for (const event of events) {
      for (const fact of readAgain(event)) {
        for (const { key } of byId.get(fact.paymentId) ?? []) {
          if (key.paymentId === event.paymentId) continue;
          const name = paymentKeyText(key);
          const facts = found.get(name) ?? [];
          facts.push(fact);
          found.set(name, facts);
        }
      }
    }
    const last = events.at(-1);
    if (last === undefined) return;
    after = { afterPaymentId: last.paymentId, afterEventId: last.eventId };
  }
}

const NEXT_EVENTS = statement({
  params: { merchantId: text, sourceId: text, afterPaymentId: text, afterEventId: text, limit: bigint },
  row: {
    ...{ eventId: text, paymentId: present(text), provider: text },
    ...{ origin: EVENT.shape.origin, receivedAt: timestamptz, body: BODY.body, facts: BODY.facts },
  },
  text: (p) => `
    select e.event_id, e.payment_id, e.provider, e.origin, e.received_at, e.body, e.facts
    from provider_event e
    where e.merchant_id = ${p.merchantId} and e.source_id = ${p.sourceId} and e.state = 'applied'
      and (e.provider = 'adyen' or (e.provider = 'paypal' and e.event_type like 'CUSTOMER.DISPUTE.%'))
      and e.payment_id is not null and (e.payment_id, e.event_id) > (${p.afterPaymentId}, ${p.afterEventId})
    order by e.payment_id, e.event_id
    limit ${p.limit}`,
});
