import { invariant } from '../errors.ts';
import type { EventType, LotTerms } from '../ledger/entry.ts';
import { bonusKey, checkoutKey, movedBonusKey, type PostingCause, paymentKey } from '../ledger/keys.ts';
import { BASE_PRIORITY } from '../ledger/lots/lot.ts';
import { type HoldsDue, holdsDue } from './dispute-holds.ts';
import type { HeldTarget, PartTarget, Payment, PaymentPart } from './payment.ts';

/** What is to be posted for a payment. Pure. */

/** One entry to write on account of a payment. */
export interface DuePosting {
  /** The index of the part that causes it, or null for the payment itself. */
  readonly part: number | null;
  readonly isCredit: boolean;
  readonly eventType: EventType;
  readonly amountMinor: number;
  /** The part's own currency if it has one: what a refund gave before its payment arrived is taken back in the same currency. */
  readonly currency: string | null;
  /** The entry's idempotency key, by which the ledger refuses a second posting of the same thing. */
  readonly key: string;
  /** The keys of its own entries before, or of its part's, which this one undoes or does again: credit goes back to where it was taken from. */
  readonly restores?: readonly string[];
  /** Of what it takes back: the keys of the entries that gave it. */
  readonly origins?: readonly string[];
  /** Of what it gives that ends. */
  readonly terms?: LotTerms;
  readonly referenceObjectId: string;
}

interface Due extends HoldsDue {
  readonly due: readonly DuePosting[];
}

/**
 * The entries that lead from what was posted to `target`, what is to be held of the wallet after them, and the payment as it is
 * then. A target already reached gives none. What is taken of a bonus goes first, so that it meets the base; what is given of it goes
 * last, so that a debt is repaid with what was paid. What a checkout took goes back to where it came from.
 */
export function postingsDue(payment: Payment, target: HeldTarget): Due {
  const due: DuePosting[] = [];
  const paid = { posted: payment.postedCredit, goal: target.credit, postings: payment.postings };
  const bonus = { posted: payment.postedBonus, goal: target.bonus, postings: payment.bonusPostings };
  const add = (one: DuePosting | null) => {
    if (one !== null) due.push(one);
    return one === null ? 0 : 1;
  };
  const ofPayment = { part: null, currency: payment.currency, referenceObjectId: payment.paymentId };
  const dueBonus = () =>
    changeOf(bonus, (number) => keyOfBonus(payment, number), {
      ...{ ...ofPayment, up: 'bonus', down: 'bonus_reversal' },
      ...{ terms: bonusTerms(payment), origins: originsOfBonus(payment) },
    });
  const duePaid = () =>
    changeOf(paid, (number) => paymentKey(payment.keyVersion, causeOf(payment), number), {
      ...{ ...ofPayment, up: 'payment', down: 'payment_reversal' },
      ...{ terms: paidTerms(payment), origins: originsOfPaid(payment) },
    });
  const takesBonus = target.bonus < payment.postedBonus;
  const before = takesBonus ? add(dueBonus()) : 0;
  const paidPostings = payment.postings + add(duePaid());
  const dueReturn = () => {
    const counts = { posted: payment.postedReturn, goal: target.returned, postings: paidPostings };
    return changeOf(counts, (number) => paymentKey(payment.keyVersion, causeOf(payment), number), {
      ...{ ...ofPayment, ...RETURNS },
    });
  };
  const postings = paidPostings + add(dueReturn());
  const bonusPostings = payment.bonusPostings + before + (takesBonus ? 0 : add(dueBonus()));
  const parts = payment.parts.map((part, index) => {
    const goal = target.parts[index] ?? { credit: 0, take: 0, bonusTake: 0 };
    const own = dueOfPart(payment, { part, index, goal });
    due.push(...own.due);
    return own.part;
  });
  const { undone: bonusUndone, paid: bonusPaid } = target;
  const posted = { postedCredit: target.credit, postedReturn: target.returned, postings };
  const after = { ...payment, ...posted, postedBonus: target.bonus, bonusPostings, parts };
  return {
    due: payment.purpose === 'checkout' ? ofCheckout(payment, due) : due,
    ...holdsDue({ ...after, ...(bonusPostings > 0 ? { bonusUndone, bonusPaid } : {}) }, target.holds),
  };
}

interface PartDue {
  readonly part: PaymentPart;
  readonly index: number;
  readonly goal: PartTarget;
}

function dueOfPart(
  payment: Payment,
  { part, index, goal }: PartDue,
): { due: readonly DuePosting[]; part: PaymentPart } {
  const due: DuePosting[] = [];
  const shared = { part: index, currency: part.currency ?? payment.currency, referenceObjectId: part.partId };
  let { postings, bonusPostings } = part;
  const add = (posted: number, goal: number, ways: Ways) => {
    const keyOf = (number: number) => paymentKey(payment.keyVersion, causeOf(payment, part), number);
    const one = changeOf({ posted, goal, postings }, keyOf, { ...shared, ...ways });
    if (one === null) return;
    postings += 1;
    due.push(one);
  };
  const addBonus = () => {
    const counts = { posted: -part.postedBonusTake, goal: -goal.bonusTake, postings: bonusPostings };
    const one = changeOf(counts, (number) => keyOfBonus(payment, number, part), {
      ...{ ...shared, up: 'bonus', down: 'bonus_reversal', origins: originsOfBonus(payment) },
      // What was taken from another wallet leaves no trace in this one.
      ...(payment.moves > 0 ? { terms: bonusTerms(payment) } : {}),
    });
    if (one === null) return;
    bonusPostings += 1;
    due.push(one);
  };
  const takesBonus = goal.bonusTake > part.postedBonusTake;
  if (takesBonus) addBonus();
  add(
    part.postedCredit,
    goal.credit,
    payment.purpose === 'checkout' ? RETURNS : { up: 'refund', down: 'refund_reversal' },
  );
  const [up, down]: [EventType, EventType] =
    part.kind === 'dispute' ? ['dispute_reversal', 'dispute'] : ['payment', 'payment_reversal'];
  add(-part.postedTake, -goal.take, { up, down, origins: originsOfPaid(payment) });
  if (!takesBonus) addBonus();
  // The currency of its first entry is the part's own from now on.
  const currency = postings > part.postings ? (part.currency ?? payment.currency) : part.currency;
  const posted = { postedCredit: goal.credit, postedTake: goal.take, postings };
  return { due, part: { ...part, currency, ...posted, postedBonusTake: goal.bonusTake, bonusPostings } };
}

const RETURNS = { up: 'checkout_refunded', down: 'checkout_refund_reversal' } as const;
const isReturn = ({ eventType }: DuePosting) => eventType === RETURNS.up || eventType === RETURNS.down;

/** What goes back of the wallet's part of a checkout undoes what was taken for it, but for what went back of that before. */
function ofCheckout(payment: Payment, due: readonly DuePosting[]): readonly DuePosting[] {
  const { checkoutId } = payment;
  invariant(checkoutId !== null, 'a payment of no checkout');
  if (!due.some(isReturn)) return due;
  const taken = [checkoutKey(checkoutId, 'capture'), checkoutKey(checkoutId, 'collect')];
  const keys = [...taken, ...postedKeys(payment)];
  return due.map((one) => {
    keys.push(one.key);
    if (!isReturn(one)) return one;
    return { ...one, restores: keys.slice(0, -1).slice(-MOST_RESTORED), referenceObjectId: checkoutId };
  });
}

interface Ways {
  readonly up: EventType;
  readonly down: EventType;
  readonly terms?: LotTerms | null;
  readonly origins?: readonly string[];
}

interface Counts {
  readonly posted: number;
  readonly goal: number;
  readonly postings: number;
}

/** The entry that leads from what was posted to the goal; null if that is reached. */
function changeOf(
  { posted, goal, postings }: Counts,
  keyOf: (number: number) => string,
  { up, down, terms, origins = [], ...shared }: Ways & Pick<DuePosting, 'part' | 'currency' | 'referenceObjectId'>,
): DuePosting | null {
  const change = goal - posted;
  if (change === 0) return null;
  const isCredit = change > 0;
  return {
    ...{
      ...shared,
      isCredit,
      eventType: isCredit ? up : down,
      amountMinor: Math.abs(change),
      key: keyOf(postings + 1),
    },
    ...restoring(keyOf, postings + 1),
    ...(isCredit && terms !== null && terms !== undefined ? { terms } : {}),
    ...(!isCredit && origins.length > 0 ? { origins } : {}),
  };
}

/** So many earlier entries are looked at to find where credit goes back to; what others took goes to the base. */
const MOST_RESTORED = 200;

/** The keys of the entries before this one, the newest of them if they are many: news without end must not cost ever more. */
function restoring(keyOf: (number: number) => string, count: number): Pick<DuePosting, 'restores'> {
  const first = Math.max(1, count - MOST_RESTORED);
  return count > 1 ? { restores: Array.from({ length: count - first }, (_, index) => keyOf(first + index)) } : {};
}

export function bonusTerms({ bonusDays }: Payment): LotTerms {
  return { kind: 'promo', name: null, priority: BASE_PRIORITY, end: bonusDays === null ? null : { days: bonusDays } };
}

function paidTerms({ paidDays, bonusSplit }: Payment): LotTerms | null {
  const isLot = paidDays !== null && bonusSplit;
  return isLot ? { kind: 'paid', name: null, priority: BASE_PRIORITY, end: { days: paidDays } } : null;
}

/** So many keys are looked at under which credit of a kind came to its wallet, by the payment itself and by its parts. Without moves there is one, but for captures. */
const MOST_ORIGINS = 100;

/** The keys of the entries that gave the payment's bonus, here and wherever it was moved to. Empty if it has none. */
export function originsOfBonus(payment: Payment): readonly string[] {
  const { bonusPostings, moves, paymentId } = payment;
  const keySource = payment.keySource ?? payment.sourceId;
  if (bonusPostings === 0) return [];
  const parts = payment.parts.filter((part) => moves > 0 && part.bonusPostings > 0);
  const own = [...keysOfBonus(payment), ...numbered(moves, (number) => movedBonusKey(keySource, paymentId, number))];
  // What a part gives back of what it took from another wallet opens a lot of its own.
  const ofParts = parts
    .slice(-MOST_ORIGINS)
    .flatMap((part) => newest(part.bonusPostings, (n) => keyOfBonus(payment, n, part)));
  return [...own, ...ofParts.slice(-MOST_ORIGINS)];
}

/** The keys of the entries by which the bonus was given and taken on account of the payment itself, or of what a part took and gave back. */
export function keysOfBonus(payment: Payment, part?: PaymentPart): readonly string[] {
  return numbered((part ?? payment).bonusPostings, (number) => keyOfBonus(payment, number, part));
}

/** The same of what was paid, which has lots only if it ends. What was moved does not. */
export function originsOfPaid(payment: Payment): readonly string[] {
  if (paidTerms(payment) === null) return [];
  return newest(payment.postings, (number) => paymentKey(payment.keyVersion, causeOf(payment), number));
}

/** The first, by which most was given, and of the others the newest. */
function newest(count: number, keyOf: (number: number) => string): string[] {
  const skipped = Math.max(0, count - MOST_ORIGINS);
  return numbered(count - skipped, (number) => keyOf(number === 1 ? 1 : number + skipped));
}

function numbered(count: number, keyOf: (number: number) => string): string[] {
  return Array.from({ length: count }, (_, index) => keyOf(index + 1));
}

function keyOfBonus({ sourceId, keySource, paymentId }: Payment, number: number, part?: PaymentPart): string {
  return bonusKey(keySource ?? sourceId, part === undefined ? { paymentId } : { paymentId, part }, number);
}

function causeOf({ sourceId: ownSource, keySource, paymentId }: Payment, part?: PaymentPart): PostingCause {
  const sourceId = keySource ?? ownSource;
  if (part === undefined) return { sourceId, kind: 'payment', paymentId };
  return { sourceId, kind: part.kind, paymentId, partId: part.partId };
}

/**
 * The keys of all entries a payment has caused so far.
 * @param version given if it differs from the payment's, for entries that a process of the former release may have posted
 */
export function postedKeys(payment: Payment, version = payment.keyVersion): string[] {
  const keys = (postings: number, part?: PaymentPart) =>
    numbered(postings, (number) => paymentKey(version, causeOf(payment, part), number));
  const bonusKeys = (postings: number, part?: PaymentPart) =>
    numbered(postings, (number) => keyOfBonus(payment, number, part));
  return [
    ...keys(payment.postings),
    ...bonusKeys(payment.bonusPostings),
    ...payment.parts.flatMap((part) => [...keys(part.postings, part), ...bonusKeys(part.bonusPostings, part)]),
  ];
}
