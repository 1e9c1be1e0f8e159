import type { Fact } from './fact.ts';
import { hasTouchedWallet, type Payment, type PaymentPart } from './payment.ts';
import { asFormer, isFormerId, record } from './record.ts';

/**
 * The payment without what only parked events told of it, which the former release recorded too. If it moved no money and no
 * applied event tells a success, it counts only as heard of.
 */
function withoutParked(payment: Payment, facts: readonly Fact[]): Payment {
  if (hasTouchedWallet(payment) || facts.some(({ kind, state }) => kind === 'payment' && state === 'succeeded'))
    return payment;
  return {
    ...payment,
    ...{ state: 'unknown', purpose: null, customerId: null, currency: null, amountPaid: null, creditAmount: null },
    ...{ waitedOut: false, heardOf: payment.heardOf || payment.state !== 'unknown' },
  };
}

/**
 * A payment whose parts the former release stored, made again from its events: with the provider's own ids, times and captures.
 * Entries keep the keys that they were posted with. That release made up ids for some parts; such parts count nothing any more,
 * and their entries stand for the parts that now tell the same money.
 * @param facts of the events that were applied, in their order
 */
export function reread(payment: Payment, facts: readonly Fact[]): Payment {
  const own = facts.filter((fact) => fact.paymentId === payment.paymentId);
  const afresh = own.reduce<Payment>((life, fact) => record(life, fact, null), {
    ...withoutParked(payment, own),
    ...{ parts: [], movements: [] },
  });
  const isSame = (a: PaymentPart) => (b: PaymentPart) => a.kind === b.kind && a.partId === b.partId;
  const before = payment.parts.flatMap((old) => {
    const now = afresh.parts.find(isSame(old));
    if (now !== undefined) return [{ ...now, ...postedOf(old), currency: old.currency ?? now.currency }];
    // Only events that are parked, dismissed or waiting told of this part. It comes back when they are applied.
    if (old.postings === 0 && old.holds === 0) return [];
    const hasReplacement = isFormerId(old) && afresh.parts.some(({ kind }) => kind === old.kind);
    return [hasReplacement ? asFormer(old) : old];
  });
  const added = afresh.parts.filter((now) => !payment.parts.some(isSame(now)));
  return { ...afresh, parts: [...before, ...added].map((part, ordinal) => ({ ...part, ordinal })), isUnread: false };
}

function postedOf(part: PaymentPart) {
  const { postedCredit, postedTake, postings, postedBonusTake, bonusPostings, holdWanted, holdNo, holds, lifted } =
    part;
  return { postedCredit, postedTake, postings, postedBonusTake, bonusPostings, holdWanted, holdNo, holds, lifted };
}
