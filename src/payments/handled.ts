import type { Fact } from './fact.ts';
import type { Handled, Payment, PaymentPart, Target } from './payment.ts';
import { record } from './record.ts';

/**
 * What was handled by hand. It never posts but it counts: the other movements of the payment post only their own share. That is
 * the target of everything, less the target of the handled movements alone.
 */

/**
 * Whether a fact tells something that was handled by hand. `alike`: the same, so that nothing is to be done. `other`: in another
 * state or amount, which a person must judge. Null if it was not handled.
 */
export function handledBefore(payment: Payment, fact: Fact): 'alike' | 'other' | null {
  const same = payment.handled.filter((one) => factName(one.fact) === factName(fact));
  if (same.length === 0) return null;
  if (same.some((one) => isAlike(one.fact, fact))) return 'alike';
  return isKnownOtherwise(payment, fact) ? null : 'other';
}

/** Two facts of one payment tell of the same thing if this is equal. */
export function factName(fact: Fact): string {
  switch (fact.kind) {
    case 'payment':
      return 'payment';
    case 'refund':
      return `refund ${fact.refundId}`;
    case 'dispute':
      return `dispute ${fact.disputeId}`;
    case 'movement':
      return `${fact.movement} ${fact.movementId}`;
  }
}

function isAlike(a: Fact, b: Fact): boolean {
  return a.state === b.state && a.amountMinor === b.amountMinor && a.currency === b.currency;
}

/** Whether it was posted before other news of it was dismissed; then it may be told again. */
function isKnownOtherwise(payment: Payment, fact: Fact): boolean {
  if (fact.kind === 'payment') return payment.state === 'succeeded';
  if (fact.kind === 'movement') return false;
  const part = payment.parts.find((one) => isOfPart(fact, one));
  return part?.state === fact.state && part.amountMinor === fact.amountMinor && part.currency === fact.currency;
}

export function isOfPart(fact: Fact, { kind, partId }: Pick<PaymentPart, 'kind' | 'partId'>): boolean {
  return factName(fact) === `${kind} ${partId}`;
}

/** The payment as if what was handled by hand had been applied. */
export function wholeOf(payment: Payment): Payment {
  return effective(payment).reduce((life, { fact, intent }) => {
    const part = life.parts.find((one) => isOfPart(fact, one));
    const isForeign = part !== undefined && part.currency !== null && part.currency !== fact.currency;
    return isForeign ? life : record(life, fact, intent);
  }, payment);
}

/** What counts as handled. If the payment itself has posted, dismissed news of its success does not. */
function effective({ state, handled }: Payment): readonly Handled[] {
  return state === 'succeeded' ? handled.filter(({ fact }) => fact.kind !== 'payment') : handled;
}

/** The customer in whose wallet the payment was handled by hand, or null. */
export function handledCustomer({ handled }: Payment): string | null {
  return handled.find(({ customerId }) => customerId !== null)?.customerId ?? null;
}

export interface Net {
  readonly target: Target;
  /** True if it depends on an amount that nobody told, or would have to undo what was handled by hand. */
  readonly isUnclear: boolean;
}

/**
 * What to post for a payment with movements that were handled by hand.
 * @param targetOf what a wallet should have received for a payment; `granted` is given if it differs from what the payment tells
 */
export function netOfHandled(payment: Payment, targetOf: (life: Payment, granted?: number) => Target): Net {
  const own = ownOf(payment, targetOf);
  const isClosed = (part: PaymentPart) => payment.handled.some(({ fact }) => isOfPart(fact, part));
  const closed = own.life.parts.filter(isClosed);
  const open = own.life.parts.filter((part) => !isClosed(part));
  // Money that was given back by hand does not count against a chargeback, since it would then be given back twice.
  const closedNames = new Set(payment.handled.map(({ fact }) => factName(fact)));
  const movements = own.life.movements.filter(
    ({ kind, movementId }) => kind !== 'reinstatement' || !closedNames.has(`${kind} ${movementId}`),
  );
  const all = targetOf({ ...own.life, parts: [...closed, ...open], movements }, own.granted);
  const withoutReturns = movements.filter(({ kind }) => kind !== 'reinstatement');
  const alone = targetOf({ ...own.life, parts: closed, movements: withoutReturns }, own.granted);
  const shares = all.parts.slice(closed.length).map((share) => ({ ...share }));
  let isUnclear = own.isUnclear && shares.some(({ take }) => take > 0);
  for (const side of ['credit', 'take', 'bonusTake'] as const) {
    const sum = (parts: Target['parts']) => parts.reduce((total, part) => total + part[side], 0);
    let excess = sum(shares) - (sum(all.parts) - sum(alone.parts));
    for (const share of shares.toReversed()) {
      const less = Math.max(0, Math.min(excess, share[side]));
      share[side] -= less;
      excess -= less;
    }
    if (excess > 0) isUnclear = true;
  }
  const parts = payment.parts.map((part) => {
    const index = open.findIndex(({ kind, partId }) => kind === part.kind && partId === part.partId);
    const { postedCredit: credit, postedTake: take, postedBonusTake: bonusTake } = part;
    return shares[index] ?? { credit, take, bonusTake };
  });
  const credit = own.credit ?? all.credit;
  const hasUnknownAmount = payment.handled.some(({ fact }) => fact.kind !== 'movement' && fact.isOfUnknownAmount);
  if (credit < 0 || ((own.isUnknown || hasUnknownAmount) && open.length > 0)) isUnclear = true;
  return { target: { ...all, credit: Math.max(0, credit), parts }, isUnclear };
}

interface Own {
  readonly life: Payment;
  /** What to credit for the payment itself beside what was handled by hand; null if nothing of it was handled by hand. */
  readonly credit: number | null;
  /** The whole credit of the payment, of which refunds take their share; undefined if nothing was handled by hand. */
  readonly granted: number | undefined;
  /** True if it is not known how much was granted by hand. */
  readonly isUnclear: boolean;
  /** True if it is not known what it was for either. */
  readonly isUnknown: boolean;
}

/** One thing that was handled by hand, and what it put into the wallet. */
export interface HandledShare {
  readonly fact: Fact;
  /** In minor units, negative if it was taken; null if nobody told it, or if it cannot be known from what was told. */
  readonly given: number | null;
}

/**
 * What was handled by hand, each once. Two events may tell the same fact alike, and one entry may stand for several facts: then one
 * of them counts, if only one has an amount, that one. What one thing came to in several states or amounts adds up, since
 * each was handled for itself.
 */
export function handledShares(
  payment: Payment,
  handled: readonly Handled[] = effective(payment),
): readonly HandledShare[] {
  const alike = [...Map.groupBy(handled, ({ fact }) => likeness(fact)).values()];
  const facts = alike.flatMap((same) => same.find(({ amountMinor }) => amountMinor !== null) ?? same.slice(0, 1));
  const once = facts.filter(
    ({ entryId }, index) => entryId === null || facts.findIndex((one) => one.entryId === entryId) === index,
  );
  return once.map(({ fact, amountMinor }) => {
    if (amountMinor === null || mayCountTwice(handled, fact)) return { fact, given: null };
    // Neither 0 nor -0 says that anything was given.
    return { fact, given: amountMinor === 0 ? 0 : amountMinor * directionOf(payment, fact) };
  });
}

const likeness = (fact: Fact) => `${factName(fact)} ${fact.state} ${fact.amountMinor} ${fact.currency}`;

/**
 * Whether it was handled in this state, then in another one, and then in this one again. The last may repeat the first report, or the
 * same may have happened a second time. A person decides: the amount 0, or the entry of the first, says that it is a repetition.
 */
function mayCountTwice(handled: readonly Handled[], fact: Fact): boolean {
  const moving = handled.filter((one) => factName(one.fact) === factName(fact) && one.amountMinor !== 0);
  const isSame = (one: Handled) => likeness(one.fact) === likeness(fact);
  const same = moving.filter(isSame);
  const [first] = same;
  if (first?.entryId !== null && same.every(({ entryId }) => entryId === first?.entryId)) return false;
  return moving.findLastIndex(isSame) - moving.findIndex(isSame) >= same.length;
}

/** 1 if somebody who handles this fact gives to the wallet, -1 if he takes from it. */
function directionOf(payment: Payment, fact: Fact): 1 | -1 {
  switch (fact.kind) {
    case 'payment':
      return 1;
    case 'refund': {
      const isCredit = payment.purpose !== 'topup' || payment.refunds === 'credit';
      return isCredit === (fact.state !== 'failed') ? 1 : -1;
    }
    case 'dispute':
      return fact.state === 'won' ? 1 : -1;
    case 'movement': {
      const isLess =
        fact.movement === 'end' ||
        (fact.movement === 'adjustment' && fact.amountMinor < (payment.amountPaid ?? Number.NEGATIVE_INFINITY));
      return isLess === (fact.state === 'failed') ? 1 : -1;
    }
  }
}

/** The share of the payment itself, if its success or captures were handled by hand. */
function ownOf(payment: Payment, targetOf: (life: Payment) => Target): Own {
  const whole = wholeOf(payment);
  const closed = effective(payment).filter(
    ({ fact }) => fact.kind === 'payment' || (fact.kind === 'movement' && fact.movement !== 'reinstatement'),
  );
  if (closed.length === 0) return { life: whole, credit: null, granted: undefined, isUnclear: false, isUnknown: false };
  const done = handledShares(payment, closed);
  const isUnclear = done.some(({ given }) => given === null);
  const handledAmount = done.reduce((sum, { given }) => sum + (given ?? 0), 0);
  // A payment that was credited by hand counts as a top-up, whatever the event itself would have been.
  const purpose = handledAmount > 0 ? 'topup' : whole.purpose;
  const life: Payment = { ...whole, purpose };
  // If no capture was handled by hand, the authorisation is no part of what was handled by hand.
  const isCaptured = closed.some(({ fact }) => fact.kind === 'movement' && fact.movement === 'capture');
  const nothing = {
    state: 'unknown',
    amountPaid: null,
    paidAt: null,
    waitedOut: false,
    parts: [],
    movements: payment.movements.filter(
      ({ kind }) => isCaptured && (kind === 'authorisation' || kind === 'adjustment'),
    ),
  } as const;
  const alone = wholeOf({ ...payment, ...nothing, handled: closed });
  const aloneCredit = targetOf({ ...alone, purpose }).credit;
  const credit = targetOf(life).credit - aloneCredit;
  const granted = Math.max(0, credit) + (isUnclear ? aloneCredit : handledAmount);
  return { life, credit, granted, isUnclear, isUnknown: isUnclear && purpose === null && whole.state === 'succeeded' };
}
