import { isDeepStrictEqual } from 'node:util';
import type { Fact } from '../payments/fact.ts';
import { type Payment, record } from '../payments/payment.ts';
import { postingsDue, settle } from '../payments/settle.ts';

/**
 * How a fact of the provider's stands to what we know of its payment. `missing`: we have not heard of it, and to apply
 * it would say so. `nothing`: it moves no money and never did.
 */
export type Comparison =
  | { readonly kind: 'matched' | 'missing' | 'nothing' }
  | {
      readonly kind: 'differing';
      readonly reason: string;
      /** It is recorded, and what follows from it is not posted: its event is parked, or somebody dealt with it by hand. */
      readonly isStuck?: true;
    };

const NOTHING: Comparison = { kind: 'nothing' };
const MISSING: Comparison = { kind: 'missing' };

/**
 * Compares what the provider says now with the life of its payment (null: never heard of). Pure. It is missing exactly
 * if recording it would change the payment, so that taking it in once is enough.
 */
export function compare(payment: Payment | null, fact: Fact): Comparison {
  if (isIdle(payment, fact)) return NOTHING;
  if (payment === null) return MISSING;
  if (!isDeepStrictEqual(said(record(payment, fact, null)), said(payment))) return MISSING;
  const reason = disagreement(payment, fact);
  if (reason !== null) return { kind: 'differing', reason };
  const { due } = postingsDue(payment, settle(payment, payment.refunds));
  const isStuck = payment.state === 'succeeded' && due.length > 0;
  if (!isStuck) return { kind: 'matched' };
  return { kind: 'differing', reason: 'is known here, but its entries are not posted', isStuck };
}

/** What has not moved money, and undoes nothing that we believe has. */
function isIdle(payment: Payment | null, fact: Fact): boolean {
  switch (fact.kind) {
    case 'payment':
      return (fact.state !== 'succeeded' || fact.amountMinor === 0) && payment?.state !== 'succeeded';
    case 'refund':
      return fact.state !== 'succeeded' && partOf(payment, fact)?.state !== 'succeeded';
    case 'dispute':
      return fact.state === 'withdrawn' && partOf(payment, fact) === undefined;
  }
}

/** The part of a payment's life that events tell; what follows from it is compared by its entries. */
function said({ state, amountPaid, currency, parts }: Payment): unknown {
  return { state, amountPaid, currency, parts };
}

/** Where the provider now says less than it once told us; events only ever say more. */
function disagreement(payment: Payment, fact: Fact): string | null {
  const known =
    fact.kind === 'payment'
      ? { state: payment.state, amountMinor: payment.amountPaid, currency: payment.currency }
      : partOf(payment, fact);
  if (known === undefined) return null;
  // That a dispute was withdrawn contradicts neither that it was won nor that it was lost.
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

function partOf(payment: Payment | null, fact: Exclude<Fact, { kind: 'payment' }>) {
  const partId = fact.kind === 'refund' ? fact.refundId : fact.disputeId;
  return payment?.parts.find((part) => part.kind === fact.kind && part.partId === partId);
}
