import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../clock.ts';
import { findCustomers } from '../customers/store.ts';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, text } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, pick } from '../db/table.ts';
import { type Tx, transaction } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { type Entry, entryId, parseEntryId } from '../ledger/entry.ts';
import { getEntry } from '../ledger/history.ts';
import type { LedgerSettings } from '../ledger/store.ts';
import { adoptionsOf, awaitSources } from '../merchants/adoption-store.ts';
import type { Source } from '../merchants/source.ts';
import type { Sources } from '../merchants/sources.ts';
import { namedCustomer } from '../payments/decide.ts';
import type { Fact, ParkReason, PaymentFact } from '../payments/fact.ts';
import { handledOfEvent, type NewHandled, saveHandled } from '../payments/handled-store.ts';
import { readIntent } from '../payments/intent.ts';
import type { PaymentIntent } from '../payments/payment.ts';
import { readPayments } from '../payments/store.ts';
import type { PaymentKey } from '../payments/tables.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';
import { BODY, EVENT, type LockedEvent, type ProviderEvent, saveDismissal } from './events.ts';
import { joinGroups } from './groups.ts';
import { NOTHING_KEPT, readStored } from './kept-facts.ts';
import { withPaymentsOfRefunds } from './payments-of-refunds.ts';
import { withDecisionTimes } from './reread.ts';
import { settleHolds } from './settle-holds.ts';

/** What people handle by hand: the event is set aside, and what it told never posts. */

export interface DismissServices {
  readonly pool: Pool;
  readonly sources: Pick<Sources, 'find'>;
  readonly clock: Clock;
  readonly settings: LedgerSettings;
  /** Called after a commit that left something to announce. */
  readonly onPosted: () => void;
}

export interface Handling {
  readonly merchantId: string;
  readonly eventId: string;
  /** What was done instead; null to say nothing. */
  readonly note: string | null;
  /** What was credited or debited by hand, in minor units; 0 if nothing was owed, null if that is not said. */
  readonly amountMinor: number | null;
  /** The entry that did it; it says the amount. */
  readonly entryId: string | null;
}

/**
 * Dismissing events parked for these reasons closes no movement: another event or another source moves their money, or they
 * move none, so nobody has handled by hand what they tell.
 */
const CLOSE_NOTHING: ReadonlySet<ParkReason> = new Set([
  'contradictory',
  'known_at_another_source',
  'foreign_account',
  'order_not_completed',
  'named_late',
]);

/**
 * Sets a parked event aside that somebody has handled by hand, and closes its movements. Why it was parked stays in its
 * detail, before the note.
 * @throws {RefusalError} NO_SUCH_EVENT; EVENT_NOT_DISMISSIBLE unless it is parked; INVALID_FIELD for an entry that did not do it
 */
export function dismissEvent(services: DismissServices, handling: Handling): Promise<ProviderEvent> {
  return close(services, handling, ['parked']);
}

/**
 * As {@link dismissEvent}, also for an event that was dismissed before without saying what was done.
 * @throws {RefusalError} NO_SUCH_EVENT; EVENT_NOT_DISMISSIBLE unless it is parked or dismissed; INVALID_FIELD for an entry that did
 *   not do it; NOTHING_KEPT_OF_EVENT if its body is gone and nobody knows what it told
 */
export function resolveEvent(services: DismissServices, handling: Handling): Promise<ProviderEvent> {
  return close(services, handling, ['parked', 'dismissed']);
}

async function close(
  { pool, sources, clock, settings, onPosted }: DismissServices,
  handling: Handling,
  states: readonly ProviderEvent['state'][],
): Promise<ProviderEvent> {
  const closed = await transaction(pool, async (tx) => {
    const { merchantId, eventId, note } = handling;
    const sourceId = await keepFromAdoption(tx, { merchantId, eventId });
    const locked = await LOCK_WITH_BODY.first(tx, { merchantId, eventId });
    if (locked === null) return refuse({ code: 'NO_SUCH_EVENT' });
    const isNothingKept = locked.facts !== null && isDeepStrictEqual(locked.facts, NOTHING_KEPT);
    const former = isNothingKept ? await handledOfEvent(tx, { merchantId, eventId }) : [];
    const assignedCustomerId = locked.assignedCustomerId ?? former[0]?.customerId ?? null;
    const event = { ...locked, sourceId, assignedCustomerId };
    if (!states.includes(event.state)) refuse({ code: 'EVENT_NOT_DISMISSIBLE', state: event.state });
    // Otherwise it would be answered that the correction is tied to a payment, and none would show it.
    if (isNothingKept && former.length === 0 && locked.bodyRemovedAt !== null)
      refuse({ code: 'NOTHING_KEPT_OF_EVENT', removedAt: locked.bodyRemovedAt });
    const now = clock.now();
    const source = await sources.find(tx, merchantId, event.sourceId);
    const closed = event.reason !== null && CLOSE_NOTHING.has(event.reason) ? [] : await factsJoined(tx, event, source);
    const facts = isNothingKept ? former.map(({ fact }) => fact) : closed.filter((fact) => !isNameAlone(fact));
    const entry = handling.entryId === null ? null : await entryOf(tx, event, { facts, id: handling.entryId });
    const amountMinor = entry?.amountMinor ?? handling.amountMinor;
    const done = { source, facts, entry, note, amountMinor, customers: await customersNamed(tx, merchantId, facts) };
    const handled = toHandled(event, done);
    await saveHandled(tx, { merchantId, handled }, now);
    const isHeldAnew = await settleHolds(tx, handled, { ...settings, now });
    return { event: await saveDismissal(tx, { merchantId, eventId, note }, now), isHeldAnew };
  });
  if (closed.isHeldAnew) onPosted();
  return closed.event;
}

/**
 * Keeps everybody from adopting the event's source until the end of the transaction. It is locked before the event, which is the order
 * in which an adoption locks them.
 * @returns the source that has the event's payment. Movements are closed there, since nobody would look for them at another. An event
 * that both of two sources received stays at the one that was adopted
 */
async function keepFromAdoption(
  tx: Tx,
  named: { readonly merchantId: string; readonly eventId: string },
): Promise<string> {
  let held: readonly string[] = [];
  for (;;) {
    const event = (await SOURCE_OF.first(tx, named)) ?? refuse({ code: 'NO_SUCH_EVENT' });
    const [adoption] = await adoptionsOf(tx, [event]);
    const home = adoption?.intoSourceId ?? event.sourceId;
    const wanted = [event.sourceId, home];
    if (wanted.every((one) => held.includes(one))) return home;
    await awaitSources(tx, wanted);
    held = [...held, ...wanted];
  }
}

const SOURCE_OF = statement({
  params: { merchantId: text, eventId: text },
  row: pick(EVENT.shape, 'merchantId', 'sourceId'),
  text: ({ merchantId, eventId }) => `
    select merchant_id, source_id from provider_event where merchant_id = ${merchantId} and event_id = ${eventId}`,
});

const LOCK_WITH_BODY = statement({
  params: { merchantId: text, eventId: text },
  row: { ...EVENT.shape, ...BODY },
  text: ({ merchantId, eventId }) => `
    select ${columns(EVENT.shape)}, ${columns(BODY)} from provider_event
    where merchant_id = ${merchantId} and event_id = ${eventId} for update`,
});

/** What the event says, also if its source is not configured any more. */
function factsOf(event: LockedEvent, source: Source | null): readonly Fact[] {
  const provider = PROVIDER_NAMES.find((name) => name === (source?.provider ?? event.provider));
  const interpretation = provider === undefined ? null : readStored(provider, event);
  if (interpretation === null || interpretation.kind === 'ignored') return [];
  return withDecisionTimes(event, interpretation.facts ?? []);
}

/** The same, each of its payment as far as that is known. It locks groups, so no payment may be locked yet. */
async function factsJoined(tx: Tx, event: LockedEvent, source: Source | null): Promise<readonly Fact[]> {
  const entering = { event, facts: factsOf(event, source), paymentId: null, naming: null, ties: [] };
  await joinGroups(tx, [entering], event.receivedAt);
  return withPaymentsOfRefunds(tx, event, entering.facts);
}

/** News that only says whose a payment is moves no money that anybody could have handled. */
function isNameAlone(fact: Fact): boolean {
  return fact.kind === 'payment' && fact.state === 'pending' && (fact.named ?? fact.groupId) !== undefined;
}

/** The entry that somebody names, if it can have done what the event tells of. */
async function entryOf(
  tx: Tx,
  event: LockedEvent,
  { facts, id }: { readonly facts: readonly Fact[]; readonly id: string },
): Promise<Entry> {
  const { merchantId, sourceId } = event;
  const customerId = /^ent_(.+)_[A-Z]{3}_\d+$/.exec(id)?.[1] ?? '';
  const key = parseEntryId(id, customerId);
  const entry = key === null ? null : await getEntry(tx, { merchantId, customerId, currency: key.currency }, key.seq);
  const [fact] = facts;
  const wants = (what: string) => refuse({ code: 'INVALID_FIELD', field: 'entry_id', wants: what });
  if (entry === null) return wants('wants the id of an entry of yours');
  if (fact === undefined) return entry;
  if (fact.currency !== null && fact.currency !== entry.currency) return wants(`wants an entry in ${fact.currency}`);
  const payments = await readPayments(tx, [{ merchantId, sourceId, paymentId: fact.paymentId }]);
  const [payment] = [...payments.values()];
  const whose = payment?.customerId ?? event.assignedCustomerId ?? namedCustomer(fact);
  return whose !== null && whose !== entry.customerId ? wants(`wants an entry of ${whose}`) : entry;
}

interface Done {
  readonly source: Source | null;
  readonly facts: readonly Fact[];
  readonly entry: Entry | null;
  readonly note: string | null;
  readonly amountMinor: number | null;
  /** Those that the facts name and that are there. */
  readonly customers: ReadonlySet<string>;
}

/** A payer may have made a name up: a payment can only belong to a customer who is there. */
function customersNamed(tx: Tx, merchantId: string, facts: readonly Fact[]): Promise<ReadonlySet<string>> {
  return findCustomers(
    tx,
    merchantId,
    facts.map(namedCustomer).filter((id) => id !== null),
  );
}

/** The facts as they are closed. An amount is told of the event as a whole: its first fact has it. */
function toHandled(
  event: LockedEvent,
  { source, facts, entry, note, amountMinor, customers }: Done,
): readonly NewHandled[] {
  const { merchantId, sourceId, eventId } = event;
  return facts.map((fact, ordinal) => {
    const named = namedCustomer(fact);
    const known = named !== null && customers.has(named) ? named : null;
    const intent = fact.kind === 'payment' && source !== null ? intentOfDismissed(fact, source) : null;
    return {
      ...{ merchantId, sourceId, eventId, ordinal, fact, note },
      paymentId: fact.paymentId,
      intent: typeof intent === 'string' ? null : intent,
      customerId: entry?.customerId ?? event.assignedCustomerId ?? known,
      amountMinor: ordinal === 0 || amountMinor === null ? amountMinor : 0,
      entryId: entry === null ? null : entryId(entry),
    };
  });
}

/** A refund of what was to pay a checkout gives no wallet credit, also where the payment was handled by hand. */
function intentOfDismissed(fact: PaymentFact, source: Source): PaymentIntent | string {
  const { wallet_checkout_id: checkoutId, wallet_token: token } = fact.metadata;
  const isOfCheckout = checkoutId !== undefined && token === undefined;
  return isOfCheckout ? { purpose: 'checkout', creditAmount: null } : readIntent(fact.metadata, source);
}

/**
 * Closes the movements of these payments' events that the release before dismissed, which wrote none of them down: their
 * amount is unknown. Between locking the payments and reading them, so that nobody posts what is being closed. No group may be
 * locked any more by then, and none needs to be: what is handled under a group's id moves to its payment once that is known.
 */
export async function closeDismissedBefore(
  tx: Tx,
  { sources, payments }: { readonly sources: Pick<Sources, 'find'>; readonly payments: readonly PaymentKey[] },
  now: Date,
): Promise<void> {
  const events = await ofEachMerchant(payments, (merchantId, own) =>
    DISMISSED_BEFORE.all(tx, { merchantId, payments: own }),
  );
  for (const event of events) {
    const source = await sources.find(tx, event.merchantId, event.sourceId);
    const facts = await withPaymentsOfRefunds(tx, event, factsOf(event, source));
    const { merchantId, detail: note } = event;
    const customers = await customersNamed(tx, merchantId, facts);
    const done = { source, facts, entry: null, note, amountMinor: null, customers };
    await saveHandled(tx, { merchantId, handled: toHandled(event, done) }, event.settledAt ?? now);
  }
  for (const [merchantId, own] of Map.groupBy(events, (event) => event.merchantId)) {
    await MARK_CLOSED.run(tx, { merchantId, eventIds: own.map(({ eventId }) => eventId) });
  }
}

const DISMISSED_BEFORE = statement({
  name: 'events-dismissed-before',
  params: { merchantId: text, payments: rowsOf({ sourceId: text, paymentId: text }) },
  row: { ...EVENT.shape, ...BODY },
  text: ({ merchantId, payments }) => `
    select ${columns(EVENT.shape, 'e')}, ${columns(BODY, 'e')}
    from (
      select distinct ${merchantId}::text as merchant_id, x.event_id
      from ${payments('p')}
      cross join lateral (
        select x.event_id from provider_event x
        where x.merchant_id = ${merchantId} and x.source_id = p.source_id and x.payment_id = p.payment_id
          and x.state = 'dismissed' and not x.is_closed offset 0) x offset 0) n
    join provider_event e on e.merchant_id = n.merchant_id and e.event_id = n.event_id
    where e.state = 'dismissed' and not e.is_closed
    order by e.event_id
    for update of e`,
});

const MARK_CLOSED = statement({
  params: { merchantId: text, eventIds: array(text) },
  text: ({ merchantId, eventIds }) =>
    `update provider_event set is_closed = true where merchant_id = ${merchantId} and event_id = any (${eventIds})`,
});
