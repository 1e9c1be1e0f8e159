import { ofEachMerchant } from '../db/by-merchant.ts';
import { nullable, present, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { BODY, EVENT, type ProviderEvent } from '../inbox/events.ts';
import { type KeptFacts, readStored } from '../inbox/kept-facts.ts';
import { withDecisionTimes } from '../inbox/reread.ts';
import type { Fact, RefundFact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { OWN_PAYMENT_KEY, PAYMENT_KEY, type PaymentKey } from '../payments/tables.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';

/** An event as the audit reads it again. Its body is null if it was not applied. */
interface StoredEvent {
  readonly provider: string;
  readonly state: string;
  readonly origin: ProviderEvent['origin'];
  readonly receivedAt: Date;
  readonly body: Buffer | null;
  /** What is kept of it once its body is gone; null while that is there. */
  readonly facts: KeptFacts | null;
}

/** What an applied event says, read again from its body, or from what is kept of it: then no body proves it any more. */
export function readAgain(event: Omit<StoredEvent, 'state'>): readonly Fact[] {
  const name = PROVIDER_NAMES.find((known) => known === event.provider);
  const { body, facts } = event;
  const reading = name === undefined || body === null ? null : readStored(name, { body, facts });
  return reading?.kind === 'facts' ? withDecisionTimes(event, reading.facts) : [];
}

/** What the events that are noted with the payment say. The refund of a group is of the payment that it is noted with. */
export function factsOf(payment: Payment, events: readonly StoredEvent[]): readonly Fact[] {
  const facts = events.flatMap(readAgain);
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

/** The events that are noted with these payments, oldest first. */
export function eventsOf(db: Queryable, keys: readonly PaymentKey[]) {
  return ofEachMerchant(keys, (merchantId, own) => EVENTS_OF.all(db, { merchantId, keys: own }));
}

const EVENTS_OF = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: {
    ...PAYMENT_KEY,
    ...{ paymentId: present(text), provider: text, state: text },
    ...{ origin: EVENT.shape.origin, receivedAt: timestamptz, body: nullable(BODY.body), facts: BODY.facts },
  },
  text: ({ merchantId, keys }) => `
    select ${columns(PAYMENT_KEY, 'e')}, e.provider, e.state, e.origin, e.received_at,
      case when e.state = 'applied' then e.body end as body, e.facts
    from provider_event e join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    order by e.received_at, e.event_id`,
});
