import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, json, milliseconds, named, nullable, oneOf, smallint, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, omit, type Row, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { DisputeFact, Fact, MovementFact, PaymentFact, ProviderCustomer, RefundFact } from './fact.ts';
import { factName } from './handled.ts';
import type { Handled, PaymentIntent } from './payment.ts';
import type { PaymentPurpose } from './purpose.ts';
import { OWN_PAYMENT_KEY, type PaymentKey, paymentKeyText } from './tables.ts';

/** A fact without the provider's customer and without its times, which have columns of their own. */
type StoredFact =
  | Omit<PaymentFact, 'customer' | 'metadata' | 'occurredAt'>
  | Omit<RefundFact, 'customer' | 'metadata' | 'occurredAt'>
  | Omit<DisputeFact, 'occurredAt' | 'openedAt'>
  | Omit<MovementFact, 'occurredAt'>;

const HANDLED = table('handled_movement', {
  merchantId: text,
  sourceId: text,
  paymentId: text,
  eventId: text,
  ordinal: smallint<number>(),
  fact: json<StoredFact>(),
  decidedAt: nullable(milliseconds),
  openedAt: nullable(milliseconds),
  purpose: nullable(oneOf<PaymentPurpose>()),
  creditAmount: nullable(bigint),
  customerId: nullable(text),
  amountMinor: named('amount', nullable(bigint)),
  entryId: nullable(text),
  note: nullable(text),
  handledAt: timestamptz,
});

type HandledRow = Row<typeof HANDLED.shape>;

/** One fact of a dismissed event, to be stored. */
export interface NewHandled extends PaymentKey, Omit<Handled, 'handledAt'> {
  readonly ordinal: number;
}

/** Stores what the facts of a dismissed event told, in place of what was stored for this event before. */
export async function saveHandled(
  tx: Tx,
  { merchantId, handled }: { readonly merchantId: string; readonly handled: readonly NewHandled[] },
  now: Date,
): Promise<void> {
  if (handled.length > 0) await SAVE_HANDLED.run(tx, { merchantId, handled: handled.map((one) => toRow(one, now)) });
}

const OWN_HANDLED = omit(HANDLED.shape, 'merchantId');

const SAVE_HANDLED = statement({
  params: { merchantId: text, handled: rowsOf(OWN_HANDLED) },
  text: ({ merchantId, handled }) => `
    insert into handled_movement (merchant_id, ${columns(OWN_HANDLED)})
    select ${merchantId}, ${columns(OWN_HANDLED, 'n')}
    from ${handled('n')}
    on conflict (merchant_id, source_id, payment_id, event_id, ordinal) do update
    set amount = excluded.amount, entry_id = excluded.entry_id, note = excluded.note, customer_id = excluded.customer_id,
      handled_at = excluded.handled_at, is_reopened = false`,
});

/** What was handled by hand of these payments, the oldest first. */
export async function readHandled(
  db: Queryable,
  keys: readonly PaymentKey[],
): Promise<(PaymentKey & { handled: Handled })[]> {
  const rows = await ofEachMerchant(keys, (merchantId, own) => READ_HANDLED.all(db, { merchantId, keys: own }));
  return rows.map((row) => {
    const { merchantId, sourceId, paymentId } = row;
    return { merchantId, sourceId, paymentId, handled: toHandled(row) };
  });
}

const READ_HANDLED = statement({
  name: 'read-handled-movements',
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: HANDLED.shape,
  text: ({ merchantId, keys }) => `
    select ${columns(HANDLED.shape, 'h')}
    from handled_movement h join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    where not h.is_reopened
    order by h.handled_at, h.event_id, h.ordinal`,
});

/** What was handled by hand of a group, and the payment that is its payment. */
export interface HandledTie extends PaymentKey {
  readonly groupId: string;
}

/** Moves what was handled under a group's id, while its payment was not known, to that payment. The groups must be locked. */
export async function tieHandled(tx: Tx, ties: readonly HandledTie[]): Promise<void> {
  for (const [merchantId, own] of Map.groupBy(ties, (tie) => tie.merchantId))
    await TIE_HANDLED.run(tx, { merchantId, ties: own });
}

const TIE_HANDLED = statement({
  params: { merchantId: text, ties: rowsOf({ ...OWN_PAYMENT_KEY, groupId: text }) },
  text: ({ merchantId, ties }) => `
    update handled_movement h
    set payment_id = t.payment_id, fact = (h.fact - 'ofGroup') || jsonb_object(array['paymentId', t.payment_id])
    from ${ties('t')}
    where h.merchant_id = ${merchantId} and h.source_id = t.source_id and h.payment_id = t.group_id`,
});

/** What was handled by hand of what one event told, in its order. */
export async function handledOfEvent(
  db: Queryable,
  event: { readonly merchantId: string; readonly eventId: string },
): Promise<readonly Handled[]> {
  return (await OF_EVENT.all(db, event)).map(toHandled);
}

/**
 * Reopens what the event told, also for other dismissed events of the payment that told the same: else those would still
 * say that it was handled.
 */
export async function reopenHandled(tx: Tx, merchantId: string, eventId: string): Promise<void> {
  const own = await OF_EVENT.all(tx, { merchantId, eventId });
  const names = new Set(own.map((row) => `${paymentKeyText(row)} ${factName(toFact(row))}`));
  const alike = (await readHandled(tx, own)).filter((one) =>
    names.has(`${paymentKeyText(one)} ${factName(one.handled.fact)}`),
  );
  const eventIds = [...new Set([eventId, ...alike.map(({ handled }) => handled.eventId)])];
  if (own.length > 0) await REOPEN_HANDLED.run(tx, { merchantId, eventIds });
}

const OF_EVENT = statement({
  params: { merchantId: text, eventId: text },
  row: HANDLED.shape,
  text: ({ merchantId, eventId }) => `
    select ${columns(HANDLED.shape)} from handled_movement
    where merchant_id = ${merchantId} and event_id = ${eventId}
    order by ordinal`,
});

const REOPEN_HANDLED = statement({
  params: { merchantId: text, eventIds: array(text) },
  text: ({ merchantId, eventIds }) => `
    update handled_movement set is_reopened = true
    where merchant_id = ${merchantId} and event_id = any (${eventIds})`,
});

function toRow(one: NewHandled, handledAt: Date): Omit<HandledRow, 'merchantId'> {
  const { sourceId, paymentId, eventId, ordinal, fact, intent, customerId, amountMinor, entryId, note } = one;
  return {
    ...{ sourceId, paymentId, eventId, ordinal, customerId, amountMinor, entryId, note, handledAt },
    fact: toStored(fact),
    decidedAt: fact.occurredAt?.getTime() ?? null,
    openedAt: (fact.kind === 'dispute' ? fact.openedAt?.getTime() : null) ?? null,
    purpose: intent?.purpose ?? null,
    creditAmount: intent?.creditAmount ?? null,
  };
}

function toStored(fact: Fact): StoredFact {
  switch (fact.kind) {
    case 'payment':
    case 'refund': {
      const { customer: _c, metadata: _m, occurredAt: _o, ...rest } = fact;
      return rest;
    }
    case 'dispute': {
      const { occurredAt: _o, openedAt: _p, ...rest } = fact;
      return rest;
    }
    case 'movement': {
      const { occurredAt: _o, ...rest } = fact;
      return rest;
    }
  }
}

function toHandled(row: HandledRow): Handled {
  const { eventId, purpose, creditAmount, customerId, amountMinor, entryId, note, handledAt } = row;
  const intent: PaymentIntent | null = purpose === null ? null : { purpose, creditAmount };
  return { eventId, fact: toFact(row), intent, customerId, amountMinor, entryId, note, handledAt };
}

const NOBODY: ProviderCustomer = { id: null, email: null, name: null };

function toFact({ fact, decidedAt, openedAt }: HandledRow): Fact {
  const occurredAt = decidedAt === null ? null : new Date(decidedAt);
  switch (fact.kind) {
    case 'payment':
    case 'refund':
      return { ...fact, occurredAt, customer: NOBODY, metadata: {} };
    case 'dispute':
      return { ...fact, occurredAt, openedAt: openedAt === null ? null : new Date(openedAt) };
    case 'movement':
      return { ...fact, occurredAt };
  }
}
