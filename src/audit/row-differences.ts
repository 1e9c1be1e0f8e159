import { paidByCaptures } from '../payments/captures.ts';
import type { Fact } from '../payments/fact.ts';
import { factName } from '../payments/handled.ts';
import type { Movement, Payment, PaymentPart } from '../payments/payment.ts';
import { record } from '../payments/record.ts';

/** What rows say of a refund, a dispute or another movement, and its events too. */
type RowState = Pick<PaymentPart, 'state' | 'amountMinor' | 'currency'>;

/**
 * Records once more what a payment's applied events tell, from nothing, and compares what that comes to with what its rows
 * say: its refunds and disputes, its other movements, and what was paid. What was handled by hand is left out, since
 * news of it is applied without being recorded; so are the parts of payments that the release before stored under ids it
 * made up.
 * @param facts what the applied events say of this payment, in any order
 * @returns the first row that says something else, in words; null if there is none
 */
export function firstDifference(payment: Payment, facts: readonly Fact[]): string | null {
  // What was captured is of a payment that was told before, in whatever order the deliveries came in.
  const inOrder = facts.toSorted((a, b) => Number(b.kind === 'payment') - Number(a.kind === 'payment'));
  const afresh = inOrder.reduce<Payment>((life, fact) => record(life, fact, null), {
    ...payment,
    ...{ state: 'unknown', amountPaid: null, paidAt: null, currency: null, parts: [], movements: [] },
  });
  const isHandled = handledIn(payment);
  const partRows = payment.keyVersion === 1 ? [] : differences(nameParts(payment), nameParts(afresh));
  const [off] = [...partRows, ...differences(nameMovements(payment), nameMovements(afresh))].filter(
    ({ name }) => !isHandled(name),
  );
  if (off !== undefined) return `its ${off.name} is ${say(off.row)}, and its events say ${say(off.afresh)}`;
  return paidOtherwise(payment, afresh);
}

/** Whether what has this name was handled by hand. Captures are of one payment, and stand or fall with it. */
function handledIn({ handled }: Payment): (name: string) => boolean {
  const names = new Set(handled.map(({ fact }) => factName(fact)));
  const isOfWhole = handled.some(({ fact }) => fact.kind === 'payment' || fact.kind === 'movement');
  return (name) => names.has(name) || (isOfWhole && !/^(?:refund|dispute) /.test(name));
}

function paidOtherwise(payment: Payment, afresh: Payment): string | null {
  if (payment.state !== 'succeeded' || handledIn(payment)('payment')) return null;
  const { amountPaid } = paidByCaptures(payment) ?? payment;
  if (payment.amountPaid !== amountPaid) return `paid is ${payment.amountPaid}, and its captures come to ${amountPaid}`;
  if (afresh.state !== 'succeeded' || afresh.amountPaid === payment.amountPaid) return null;
  return `paid is ${payment.amountPaid}, and its events say ${afresh.amountPaid}`;
}

const nameParts = ({ parts }: Payment): ReadonlyMap<string, RowState> =>
  new Map(parts.map((part) => [`${part.kind} ${part.partId}`, part]));

const nameMovements = ({ movements }: Payment): ReadonlyMap<string, RowState> =>
  new Map(movements.map((one: Movement) => [`${one.kind} ${one.movementId}`, one]));

interface Difference {
  readonly name: string;
  readonly row: RowState | undefined;
  readonly afresh: RowState | undefined;
}

function differences(
  rows: ReadonlyMap<string, RowState>,
  afresh: ReadonlyMap<string, RowState>,
): readonly Difference[] {
  const names = [...new Set([...rows.keys(), ...afresh.keys()])];
  return names
    .map((name) => ({ name, row: rows.get(name), afresh: afresh.get(name) }))
    .filter(({ row, afresh: events }) => !isSame(row, events));
}

function isSame(row: RowState | undefined, afresh: RowState | undefined): boolean {
  if (row === undefined || afresh === undefined) return row === afresh;
  // What names no currency is posted in its payment's, which is its own from then on.
  const isCurrencySame = afresh.currency === null || row.currency === afresh.currency;
  // Releases before noted no amount of a dispute that was won at PayPal, though its event names one.
  const isAmountSame = row.amountMinor === afresh.amountMinor || (row.state === 'won' && row.amountMinor === null);
  return row.state === afresh.state && isAmountSame && isCurrencySame;
}

function say(one: RowState | undefined): string {
  return one === undefined ? 'nothing' : `${one.state} ${one.amountMinor ?? 'all'} ${one.currency ?? ''}`.trim();
}
