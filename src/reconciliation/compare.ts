import { isDeepStrictEqual } from 'node:util';
import { postingsDue } from '../payments/due.ts';
import type { Fact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { movementOf, partOf, record, withoutTimes } from '../payments/record.ts';
import { openRound } from '../payments/report.ts';
import { settle } from '../payments/settle.ts';

/**
 * How a fact of the provider compares with what is recorded of its payment. `missing`: it is not recorded here, and applying
 * it would change the payment. `nothing`: it moves no money and never did.
 */
export type Comparison =
  | { readonly kind: 'matched' | 'missing' | 'nothing' }
  | {
      readonly kind: 'differing';
      readonly reason: string;
      /** It is recorded, but its entries are not posted: its event is parked, or a person corrected the wallet by hand. */
      readonly isStuck?: true;
    };

const NOTHING: Comparison = { kind: 'nothing' };
const MISSING: Comparison = { kind: 'missing' };

/**
 * Compares what the provider says now with its payment as it is recorded (null: not at all). Pure. A fact is missing
 * exactly if recording it would change the payment, so that it is taken in once and matches afterwards.
 */
export function compare(payment: Payment | null, fact: Fact): Comparison {
  if (isIdle(payment, fact)) return NOTHING;
  if (payment === null) return MISSING;
  if (!isDeepStrictEqual(moneyOf(record(payment, fact, null)), moneyOf(payment))) return MISSING;
  const reason = disagreement(payment, fact);
  if (reason !== null) return { kind: 'differing', reason };
  const { due } = postingsDue(payment, settle(payment, payment.refunds));
  const isStuck = payment.state === 'succeeded' && due.length > 0;
  if (!isStuck) return { kind: 'matched' };
  return { kind: 'differing', reason: 'is known here, but its entries are not posted', isStuck };
}

/** Whether a fact has moved no money and contradicts nothing that is recorded here as having moved money. */
function isIdle(payment: Payment | null, fact: Fact): boolean {
  switch (fact.kind) {
    case 'payment':
      return (fact.state !== 'succeeded' || fact.amountMinor === 0) && payment?.state !== 'succeeded';
    case 'refund':
      return fact.state !== 'succeeded' && (payment === null || partOf(payment, fact)?.state !== 'succeeded');
    case 'dispute':
      return fact.state === 'withdrawn' && (payment === null || partOf(payment, fact) === undefined);
    case 'movement':
      return fact.state !== 'succeeded' && (payment === null || movementOf(payment, fact) === undefined);
  }
}

/**
 * What events tell of a payment. What follows from that is compared by its entries. Times are left out: it does not matter
 * when an event told it. But a later round of a dispute may be open here though it was decided as an earlier one was.
 */
function moneyOf(payment: Payment): unknown {
  const { state, amountPaid, currency, parts, movements } = withoutTimes(payment);
  const rounds = payment.parts.map(({ kind, reports }) => kind === 'dispute' && openRound(reports));
  return { state, amountPaid, currency, parts, movements, rounds };
}

/** Where the provider now says something else than its events did; null if nowhere. */
function disagreement(payment: Payment, fact: Fact): string | null {
  const known =
    fact.kind === 'payment'
      ? { state: payment.state, amountMinor: payment.amountPaid, currency: payment.currency }
      : fact.kind === 'movement'
        ? movementOf(payment, fact)
        : partOf(payment, fact);
  if (known === undefined) return null;
  // A dispute that was withdrawn may be recorded as won or lost as well.
  const mayDiffer = fact.kind === 'dispute' && fact.state === 'withdrawn';
  if (known.state !== fact.state && !mayDiffer) return `is ${known.state} here and ${fact.state} at the provider`;
  if (known.currency !== null && fact.currency !== null && known.currency !== fact.currency) {
    return `is in ${known.currency} here and in ${fact.currency} at the provider`;
  }
  if (known.amountMinor !== null && fact.amountMinor !== null && known.amountMinor !== fact.amountMinor) {
    return `is ${known.amountMinor} here and ${fact.amountMinor} at the provider, in minor units`;
  }
  return null;
}
