import type { Payment, PaymentPart } from './payment.ts';

/**
 * How much each part of a payment counts, before the limit of what was paid. If a provider tells the same money in two families
 * of events, this file makes it count once.
 */

const DAY_MS = 24 * 3_600_000;

/** Whether a part has another currency than its payment. It cannot be compared with what was paid, so its event is parked. */
export function isForeign(payment: Payment, part: Pick<PaymentPart, 'currency'>): boolean {
  return part.currency !== null && payment.currency !== null && part.currency !== payment.currency;
}

/**
 * @param paid the amount of a part that has none of its own
 * @returns an amount for each part, in the same order, whatever the source's refund policy is
 */
export function countedAmounts(payment: Payment, paid: number): readonly number[] {
  const { parts } = payment;
  const amounts = parts.map((part) =>
    part.role === 'informs' || isForeign(payment, part) ? 0 : movedMinor(part, paid),
  );
  for (const [index, amount] of informedRefunds(payment).entries()) if (amount !== null) amounts[index] = amount;
  withoutReleases(payment, amounts);
  let returned = informedDisputes(payment, amounts, paid);
  const reinstated = sumOf(
    payment.movements.filter((one) => one.kind === 'reinstatement' && one.state === 'succeeded'),
  );
  // The status `reversed` of a chargeback and a reversal tell the same money.
  const reversed = parts.reduce((sum, part, index) => sum + (isReversed(part) ? (amounts[index] ?? 0) : 0), 0);
  returned += Math.max(reinstated, reversed);
  for (const [index, { kind }] of parts.entries()) {
    if (kind !== 'dispute') continue;
    const less = Math.min(returned, amounts[index] ?? 0);
    amounts[index] = (amounts[index] ?? 0) - less;
    returned -= less;
  }
  return amounts;
}

const sumOf = (all: readonly { readonly amountMinor: number | null }[]): number =>
  all.reduce((sum, { amountMinor }) => sum + (amountMinor ?? 0), 0);

const isReversed = ({ kind, role, state }: PaymentPart): boolean =>
  kind === 'dispute' && role === 'movement' && state === 'won';

/** What a part moves by itself. */
function movedMinor(part: PaymentPart, paid: number): number {
  const { kind, role, state, amountMinor } = part;
  const counts =
    kind === 'refund' ? state === 'succeeded' : state === 'lost' || (role === 'movement' && state === 'won');
  return counts ? (amountMinor ?? paid) : 0;
}

/**
 * A running total beside single refunds counts by what it is more than those, whatever became of them. What had failed before it was
 * told is no longer in it, and is added to it.
 */
function informedRefunds({ parts }: Payment): readonly (number | null)[] {
  const single = parts.filter(({ kind, role }) => kind === 'refund' && role !== 'informs');
  const failedBefore = (at: number | null): number =>
    sumOf(single.filter((one) => one.state === 'failed' && at !== null && (firstDecidedAt(one) ?? at) < at));
  const totalOf = ({ amountMinor, reports }: PaymentPart): number =>
    Math.max(amountMinor ?? 0, ...reports.map((one) => (one.amountMinor ?? 0) + failedBefore(one.at)));
  return parts.map((part) => {
    const isTotal = part.kind === 'refund' && part.role === 'informs' && part.amountMinor !== null;
    return isTotal ? Math.max(0, totalOf(part) - sumOf(single)) : null;
  });
}

/** Takes what was never captured off those refunds that may be only its release. */
function withoutReleases({ parts, movements }: Payment, amounts: number[]): void {
  const rests = movements.filter(({ kind }) => kind === 'uncaptured').flatMap(({ reports }) => reports);
  let rest = rests.length === 0 ? 0 : Math.min(...rests.map(({ amountMinor }) => amountMinor ?? 0));
  for (const [index, { kind, reports }] of parts.entries()) {
    if (kind !== 'refund' || !reports.every(({ mark }) => mark === 'release')) continue;
    const less = Math.min(rest, amounts[index] ?? 0);
    amounts[index] = (amounts[index] ?? 0) - less;
    rest -= less;
  }
}

/**
 * Disputes of the role `informs`, the oldest first. The money of a lost one may also be told by reversals of the payment and
 * by refunds that were made during the dispute; each of those is used once. What remains counts by itself. A dispute that was
 * won gives back what reversals took.
 * @param amounts gets what remains
 * @returns how much is given back
 */
function informedDisputes(payment: Payment, amounts: number[], paid: number): number {
  const { parts } = payment;
  const all = parts.map((part, index) => ({ part, index, left: amounts[index] ?? 0 }));
  const isInforming = ({ part }: (typeof all)[number]) =>
    part.kind === 'dispute' && part.role === 'informs' && !isForeign(payment, part);
  const reversals = all.filter(({ part }) => part.kind === 'dispute' && part.role === 'movement').toSorted(byAge);
  const refunds = all.filter(({ part }) => part.kind === 'refund').toSorted(byAge);
  const use = (from: typeof all, wanted: number): number => {
    let rest = wanted;
    for (const one of from) {
      const used = Math.min(rest, one.left);
      one.left -= used;
      rest -= used;
    }
    return wanted - rest;
  };
  let returned = 0;
  for (const { part, index } of all.filter(isInforming).toSorted(byAge)) {
    if (part.state !== 'lost' && part.state !== 'won') continue;
    const amount = part.amountMinor ?? paid;
    const reversed = use(reversals, amount);
    if (part.state === 'won') returned += reversed;
    else
      amounts[index] =
        amount -
        reversed -
        use(
          refunds.filter((one) => isDuring(part, one.part)),
          amount - reversed,
        );
  }
  return returned;
}

interface Aged {
  readonly part: PaymentPart;
}

/** The oldest first, by when they were opened or else decided. Those without a time come last, in a fixed order. */
function byAge(a: Aged, b: Aged): number {
  const [left, right] = [ageOf(a.part), ageOf(b.part)];
  if (left !== right) return left - right;
  return a.part.partId < b.part.partId ? -1 : 1;
}

const ageOf = (part: PaymentPart): number => part.openedAt ?? decidedAt(part) ?? Number.MAX_SAFE_INTEGER;

/** When the state that counts was decided, by the latest report. */
function decidedAt({ state, reports }: PaymentPart): number | null {
  const times = reports.flatMap((one) => (one.state === state && one.at !== null ? [one.at] : []));
  return times.length === 0 ? null : Math.max(...times);
}

/** When this state was first told: later repetitions do not make a refund later. */
function firstDecidedAt({ state, reports }: PaymentPart): number | null {
  const times = reports.flatMap((one) => (one.state === state && one.at !== null ? [one.at] : []));
  return times.length === 0 ? null : Math.min(...times);
}

/** Whether a refund was decided from the opening of a dispute to a day after its end. */
function isDuring(dispute: PaymentPart, refund: PaymentPart): boolean {
  const [from, to, at] = [dispute.openedAt, decidedAt(dispute), firstDecidedAt(refund)];
  if (from === null || at === null) return true;
  return at >= from && (to === null || at <= to + DAY_MS);
}
