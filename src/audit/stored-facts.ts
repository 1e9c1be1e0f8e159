import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, boolean, nullable, present, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { BODY, EVENT, type ProviderEvent } from '../inbox/events.ts';
import { type KeptFacts, readStored } from '../inbox/kept-facts.ts';
import { withDecisionTimes } from '../inbox/reread.ts';
import type { Fact, RefundFact } from '../payments/fact.ts';
import { type GroupKey, readGroups } from '../payments/group-store.ts';
import type { Payment } from '../payments/payment.ts';
import { OWN_PAYMENT_KEY, PAYMENT_KEY, type PaymentKey } from '../payments/tables.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';

/** An event as the audit reads it again. Its body is null if it is gone. */
interface StoredEvent {
  readonly provider: string;
  readonly origin: ProviderEvent['origin'];
  readonly receivedAt: Date;
  readonly body: Buffer | null;
  /** What is kept of it once its body is gone; null while that is there. */
  readonly facts: KeptFacts | null;
}

/** What an applied event says, read again from its body, or from what is kept of it: then no body proves it any more. */
export function readAgain(event: StoredEvent): readonly Fact[] {
  const reading = readingOf(event);
  return reading?.kind === 'facts' ? withDecisionTimes(event, reading.facts) : [];
}

function readingOf({ provider, body, facts }: Pick<StoredEvent, 'provider' | 'body' | 'facts'>) {
  const name = PROVIDER_NAMES.find((known) => known === provider);
  return name === undefined || body === null ? null : readStored(name, { body, facts });
}

/** The hashes of the tokens that applied events tell of a group of payments. */
export async function tokensOfEvents(
  db: Queryable,
  { merchantId, sourceId, groupId }: GroupKey,
): Promise<readonly string[]> {
  const [group] = await readGroups(db, [{ merchantId, sourceId, groupId }]);
  // An event that names a group is noted with one of its payments, or with the group if none was known then.
  const paymentIds = [groupId, ...(group?.paymentIds ?? [])];
  const known = await NAMING_EVENTS.all(db, { merchantId, sourceId, paymentIds });
  return known.flatMap((event) => {
    const reading = readingOf(event);
    return (reading?.kind === 'facts' ? reading.naming?.token?.hash : undefined) ?? [];
  });
}

/** Events that tell money name no group: those that do are few, and small. */
const NAMING_EVENTS = statement({
  params: { merchantId: text, sourceId: text, paymentIds: array(text) },
  row: { provider: text, body: nullable(BODY.body), facts: BODY.facts },
  text: ({ merchantId, sourceId, paymentIds }) => `
    select e.provider, e.body, e.facts from provider_event e
    where e.merchant_id = ${merchantId} and e.source_id = ${sourceId} and e.payment_id = any (${paymentIds})
      and e.state = 'applied' and e.event_type like 'invoice%'`,
});

/** What the events that are noted with the payment say. The refund of a group is of the payment that it is noted with. */
export function factsOf(payment: Payment, facts: readonly Fact[]): readonly Fact[] {
  return factsAbout(
    payment,
    facts.map((fact) => (fact.kind === 'refund' && fact.ofGroup ? { ...fact, paymentId: payment.paymentId } : fact)),
  );
}

/** Of some facts, what they say of the payment itself. */
export function factsAbout(payment: Payment, facts: readonly Fact[]): readonly Fact[] {
  return facts
    .flatMap((fact) => (fact.kind === 'refund' ? refundIn(payment, fact) : [fact]))
    .filter(({ paymentId }) => paymentId === payment.paymentId);
}

/** A refund that may be named where a payment should be is told of its payment, once that knows it. */
function refundIn({ paymentId, state, parts }: Payment, fact: RefundFact): readonly Fact[] {
  if (!fact.mayNameRefund) return [fact];
  const knows = (id: string) => parts.some(({ kind, partId }) => kind === 'refund' && partId === id);
  if (fact.paymentId !== paymentId)
    return knows(fact.paymentId) ? [{ ...fact, paymentId, refundId: fact.paymentId }] : [];
  // What was first taken for a payment and turned out to be a refund has been told of that refund's payment.
  return state === 'unknown' && !knows(fact.refundId) ? [] : [fact];
}

/** An event of a payment, without what it says. */
export interface NotedEvent extends PaymentKey {
  readonly eventId: string;
  readonly state: string;
  /** Whether facts are kept of it, since its body is gone. */
  readonly isKept: boolean;
  /** About how much memory it takes to read what it says. */
  readonly bytes: number;
}

/** The events that are noted with these payments, oldest first. */
export function eventsOf(db: Queryable, keys: readonly PaymentKey[]): Promise<readonly NotedEvent[]> {
  return ofEachMerchant(keys, (merchantId, own) => EVENTS_OF.all(db, { merchantId, keys: own }));
}

const EVENTS_OF = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: { ...PAYMENT_KEY, paymentId: present(text), eventId: text, state: text, isKept: boolean, bytes: bigint },
  text: ({ merchantId, keys }) => `
    select ${columns(PAYMENT_KEY, 'e')}, e.event_id, e.state, e.facts is not null as is_kept,
      (coalesce(octet_length(e.body), 0) + coalesce(pg_column_size(e.facts), 0))::bigint as bytes
    from provider_event e join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    order by e.received_at, e.event_id`,
});

/** The most bytes of bodies that are read at once, unless one alone is larger: any merchant may sign many large events of a payment. */
const PART_BYTES = 8 * 1024 * 1024;

/** What applied events say, by the id of each. Bodies are read a few at a time, and let go. */
export async function factsIn(
  db: Queryable,
  events: readonly NotedEvent[],
): Promise<ReadonlyMap<string, readonly Fact[]>> {
  const read = new Map<string, readonly Fact[]>();
  const applied = events.filter(({ state }) => state === 'applied');
  for (let from = 0, to = 0; from < applied.length; from = to) {
    let bytes = 0;
    while (to < applied.length && (to === from || bytes + (applied[to]?.bytes ?? 0) <= PART_BYTES)) {
      bytes += applied[to]?.bytes ?? 0;
      to += 1;
    }
    const stored = await ofEachMerchant(applied.slice(from, to), (merchantId, own) =>
      BODIES_OF.all(db, { merchantId, eventIds: own.map(({ eventId }) => eventId) }),
    );
    for (const { eventId, ...event } of stored) read.set(eventId, readAgain(event));
  }
  return read;
}

const BODIES_OF = statement({
  params: { merchantId: text, eventIds: array(text) },
  row: {
    eventId: text,
    provider: text,
    ...{ origin: EVENT.shape.origin, receivedAt: timestamptz, body: nullable(BODY.body), facts: BODY.facts },
  },
  text: ({ merchantId, eventIds }) => `
    select e.event_id, e.provider, e.origin, e.received_at, e.body, e.facts
    from provider_event e where e.merchant_id = ${merchantId} and e.event_id = any (${eventIds})`,
});
