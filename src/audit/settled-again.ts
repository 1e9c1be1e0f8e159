import { ofEachMerchant } from '../db/by-merchant.ts';
import { bigint, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import type { Checkout } from '../ledger/checkouts/checkout.ts';
import { isCompletedByAnother, withTerms } from '../payments/checkout.ts';
import { checkoutSums } from '../payments/checkout-shares.ts';
import type { Fact, PaymentFact } from '../payments/fact.ts';
import { hasTouchedWallet, type Payment } from '../payments/payment.ts';
import { settle } from '../payments/settle.ts';
import { readPayments } from '../payments/store.ts';
import { OWN_PAYMENT_KEY, PAYMENT_KEY, type PaymentKey, paymentKeyText } from '../payments/tables.ts';
import { carriedHash, type PaymentToken } from '../payments/token.ts';
import { readTokens } from '../payments/token-store.ts';
import { checkoutsOf } from '../payments/with-checkouts.ts';
import { type Disagreement, MAX_PER_RULE } from './check.ts';
import { factsElsewhere, type Sought, soughtOf } from './facts-elsewhere.ts';
import { firstDifference } from './row-differences.ts';
import { eventsOf, factsAbout, factsIn, factsOf, type NotedEvent, tokensOfEvents } from './stored-facts.ts';

/**
 * Rule 5c: what was posted for a payment is what its stored facts settle to, and those facts are what the stored bodies of its
 * applied events tell. A payment is left out if one of its events is not finished or waits for a person. Where a body is gone, the
 * facts that are kept of it are judged instead, and the payment is counted as one that no body proves.
 */

export const SETTLED_AGAIN = '5c settled again: what was posted is what its events come to';
const PAYMENTS_PER_PAGE = 50;

/**
 * So many payments are gathered of which events of other payments may tell, before those are read: all of their source once, since no
 * index finds them. Of 50,000 deliveries of Adyen with two payments each, every second one is such: a run took 18 seconds and 280 MB.
 */
const SOUGHT_TOGETHER = 20_000;

/** A payment at fault, as it was when it was read. */
interface Suspect {
  readonly key: PaymentKey;
  readonly updatedAt: Date;
  readonly detail: string;
  /** Set if events that are noted with other payments may explain it. */
  readonly sought: Sought | null;
}

export interface SettledAgain {
  readonly disagreements: readonly Disagreement[];
  /** How many payments were judged by facts that are kept of events, since the bodies of these are gone. */
  readonly judgedByFacts: number;
}

/** @param since payments are judged that changed from then on; null for all */
export async function checkSettledAgain(db: Queryable, since: Date | null): Promise<SettledAgain> {
  const found: Disagreement[] = [];
  let judgedByFacts = 0;
  let sought: Suspect[] = [];
  let after: PaymentKey = { merchantId: '', sourceId: '', paymentId: '' };
  for (;;) {
    const keys = await NEXT_PAYMENTS.all(db, {
      afterMerchantId: after.merchantId,
      afterSourceId: after.sourceId,
      afterPaymentId: after.paymentId,
      changedSince: since ?? new Date(0),
      limit: PAYMENTS_PER_PAGE,
    });
    const last = keys.at(-1);
    const { suspects, byFacts } = await judge(db, { keys, elsewhere: null });
    judgedByFacts += byFacts;
    sought.push(...suspects.filter((one) => one.sought !== null));
    const atOnce = suspects.filter((one) => one.sought === null);
    found.push(...(await unchanged(db, atOnce)));
    if (last === undefined || sought.length >= SOUGHT_TOGETHER) {
      found.push(...(await checkElsewhere(db, sought)));
      sought = [];
    }
    if (last === undefined || found.length >= MAX_PER_RULE)
      return { disagreements: found.slice(0, MAX_PER_RULE), judgedByFacts };
    after = last;
  }
}

/** Judges payments again, with what events say that are noted with other payments. */
async function checkElsewhere(db: Queryable, sought: readonly Suspect[]): Promise<readonly Disagreement[]> {
  const found: Disagreement[] = [];
  const elsewhere = await factsElsewhere(
    db,
    sought.flatMap((one) => one.sought ?? []),
  );
  for (let index = 0; index < sought.length && found.length < MAX_PER_RULE; index += PAYMENTS_PER_PAGE) {
    const keys = sought.slice(index, index + PAYMENTS_PER_PAGE).map(({ key, updatedAt }) => ({ ...key, updatedAt }));
    const { suspects } = await judge(db, { keys, elsewhere });
    found.push(...(await unchanged(db, suspects)));
  }
  return found;
}

interface Judging {
  readonly keys: readonly (PaymentKey & { readonly updatedAt: Date })[];
  /** What events of other payments say, by the payment's key; null if they have not been read. */
  readonly elsewhere: ReadonlyMap<string, readonly Fact[]> | null;
}

/** @returns the payments at fault, and how many were judged by facts without bodies */
async function judge(
  db: Queryable,
  { keys, elsewhere }: Judging,
): Promise<{ readonly suspects: readonly Suspect[]; readonly byFacts: number }> {
  const payments = await readPayments(db, keys);
  const checkouts = await checkoutsOf(db, payments);
  const events = Map.groupBy(await eventsOf(db, keys), paymentKeyText);
  const tokens = await readTokens(
    db,
    [...payments.values()].flatMap(({ merchantId, tokenHash }) =>
      tokenHash === null ? [] : [{ merchantId, tokenHash }],
    ),
  );
  const toRead: ToRead[] = [];
  const suspects = keys.flatMap(({ updatedAt, ...key }): Suspect[] => {
    const stored = payments.get(paymentKeyText(key));
    if (stored === undefined) return [];
    const checkout = checkouts.get(paymentKeyText(key)) ?? null;
    const payment = withTerms(stored, checkout);
    const own = events.get(paymentKeyText(key)) ?? [];
    const others = elsewhere?.get(paymentKeyText(key)) ?? [];
    const suspect = { key, updatedAt, sought: null };
    const sought = elsewhere === null ? soughtOf(payment) : null;
    const hasNoEvent =
      hasTouchedWallet(payment) && !own.some(({ state }) => state === 'applied') && others.length === 0;
    const withoutEvent = hasNoEvent
      ? [{ ...suspect, detail: 'it moved money, and no applied event tells of it', sought }]
      : [];
    if (own.some(({ state }) => state !== 'applied' && state !== 'ignored')) return withoutEvent;
    // What was read before the events of other payments has been judged by then.
    const detail = elsewhere === null ? (unsettled(payment) ?? misstated(payment, checkout)) : null;
    if (detail !== null) return [...withoutEvent, { ...suspect, detail }];
    if (hasNoEvent) return withoutEvent;
    toRead.push({ payment, own, others, suspect: { ...suspect, sought } });
    return [];
  });
  const read = await factsIn(
    db,
    toRead.flatMap(({ own }) => own),
  );
  for (const { payment, own: events, others, suspect } of toRead) {
    const facts = events.flatMap(({ eventId }) => read.get(eventId) ?? []);
    const own = [...factsOf(payment, facts), ...factsAbout(payment, others)];
    const detail = contradicted(payment, own, { tokens, ofGroup: await tokensOfGroup(db, payment, own) });
    if (detail !== null) suspects.push({ ...suspect, detail });
  }
  return { suspects, byFacts: toRead.filter(({ own }) => own.some(({ isKept }) => isKept)).length };
}

/** A payment about which what its events say must be read. */
interface ToRead {
  readonly payment: Payment;
  readonly own: readonly NotedEvent[];
  readonly others: readonly Fact[];
  readonly suspect: Omit<Suspect, 'detail'>;
}

/** Those that did not change meanwhile; what changes while it is read is left for the next run. */
async function unchanged(db: Queryable, suspects: readonly Suspect[]): Promise<readonly Disagreement[]> {
  const now = await ofEachMerchant(
    suspects.map(({ key }) => key),
    (merchantId, keys) => UPDATED_AT.all(db, { merchantId, keys }),
  );
  const times = new Map(now.map(({ updatedAt, ...key }) => [paymentKeyText(key), updatedAt.getTime()]));
  return suspects
    .filter(({ key, updatedAt }) => times.get(paymentKeyText(key)) === updatedAt.getTime())
    .map(({ key, detail }) => ({
      rule: SETTLED_AGAIN,
      subject: `${key.merchantId}/${key.sourceId}/${key.paymentId}`,
      detail,
    }));
}

/** What settling again would still post; null for nothing. */
function unsettled(payment: Payment): string | null {
  const { credit, returned, bonus, parts, holds } = settle(payment, payment.refunds);
  if (credit !== payment.postedCredit)
    return `it comes to a credit of ${credit}, and ${payment.postedCredit} was posted`;
  if (returned !== payment.postedReturn)
    return `it comes to ${returned} that went back, and ${payment.postedReturn} was posted`;
  if (bonus !== payment.postedBonus) return `it comes to a bonus of ${bonus}, and ${payment.postedBonus} was posted`;
  // The parts of payments that the release before stored are judged once an event touches them and they are read again.
  if (payment.keyVersion === 1) return null;
  const [off] = payment.parts.filter(
    (part, index) =>
      part.postedCredit !== parts[index]?.credit ||
      part.postedTake !== parts[index]?.take ||
      part.postedBonusTake !== parts[index]?.bonusTake,
  );
  if (off !== undefined) return `its ${off.kind} ${off.partId} comes to something else than what was posted`;
  const [held] = payment.parts.filter(({ holdWanted }, index) => holdWanted !== holds[index]);
  return held === undefined
    ? null
    : `its dispute ${held.partId} may take something else than the ${held.holdWanted} to be held`;
}

/** What its checkout says otherwise of it than its refunds come to; null for nothing. */
function misstated(payment: Payment, checkout: Checkout | null): string | null {
  if (checkout === null || payment.checkout === undefined || isCompletedByAnother(checkout, payment)) return null;
  const { refunded } = checkoutSums(payment);
  const { paymentRefunded } = checkout;
  return refunded === paymentRefunded
    ? null
    : `${refunded} of it was refunded, and its checkout says ${paymentRefunded}`;
}

/** What is known of the tokens of payments. */
interface KnownTokens {
  readonly tokens: readonly PaymentToken[];
  /** The hashes that events tell of the payment's group. */
  readonly ofGroup: readonly string[];
}

/** Asks only if the payment follows a token that no event of its own carries, as those of subscriptions do. */
async function tokensOfGroup(db: Queryable, payment: Payment, facts: readonly Fact[]): Promise<readonly string[]> {
  const { merchantId, sourceId, groupId, tokenHash } = payment;
  if (groupId === null || tokenHash === null || facts.some((fact) => carriedHash(fact) === tokenHash)) return [];
  return tokensOfEvents(db, { merchantId, sourceId, groupId });
}

/** What the events' own words contradict in a payment; null for nothing. */
function contradicted(payment: Payment, facts: readonly Fact[], tokens: KnownTokens): string | null {
  const detail = payment.isUnread ? null : firstDifference(payment, facts);
  return detail ?? completesWithoutEvent(payment, facts) ?? grantsWithoutEvent(payment, successesIn(facts), tokens);
}

/** A checkout is named by the payment's own events, whoever wrote its id there. */
function completesWithoutEvent({ purpose, checkoutId }: Payment, facts: readonly Fact[]): string | null {
  const own = facts.filter((fact) => fact.kind === 'payment');
  if (purpose !== 'checkout' || own.length === 0) return null;
  const isNamed = own.some(({ metadata }) => metadata.wallet_checkout_id === checkoutId);
  return isNamed ? null : `no event of it names its checkout ${checkoutId}`;
}

/** What a payment that was paid at once grants, or is in, though no event of it says so; null for nothing. */
function grantsWithoutEvent(payment: Payment, successes: readonly PaymentFact[], tokens: KnownTokens): string | null {
  const isAtOnce = payment.movements.every(({ kind }) => kind === 'uncaptured' || kind === 'reinstatement');
  if (payment.state !== 'succeeded' || !isAtOnce || successes.length === 0) return null;
  if (successes.every(({ currency }) => currency !== payment.currency))
    return `no event of it is in ${payment.currency}`;
  const { creditAmount, tokenHash, bonusAmount, bonusRuleId, purpose } = payment;
  if (purpose === 'checkout') return null;
  if (tokenHash !== null) return grantedOtherwise(payment, successes, tokens);
  const isBonusNamed = successes.some(({ metadata }) => Number(metadata.wallet_bonus_amount) === bonusAmount);
  if (bonusAmount !== null && bonusAmount > 0 && bonusRuleId === null && !isBonusNamed)
    return `it gives a bonus of ${bonusAmount}, and no event of it says so`;
  const isNamed = successes.some(({ metadata }) => Number(metadata.wallet_credit_amount) === creditAmount);
  return creditAmount === null || isNamed ? null : `it grants ${creditAmount}, and no event of it says so`;
}

/** What a payment by a token grants, against the terms of the token that its events carry; null if they agree. */
function grantedOtherwise(
  { merchantId, tokenHash, customerId, creditAmount, bonusAmount, agreedAmount, paymentId, moves }: Payment,
  successes: readonly PaymentFact[],
  { tokens, ofGroup }: KnownTokens,
): string | null {
  const isCarried =
    successes.some((fact) => carriedHash(fact) === tokenHash) || ofGroup.some((hash) => hash === tokenHash);
  if (!isCarried) return 'no event of it carries its token';
  const token = tokens.find((one) => one.merchantId === merchantId && one.tokenHash === tokenHash);
  if (token === undefined) return 'its token is not there';
  // A payment that granted nothing has not used its token.
  if (token.usedPaymentId !== paymentId) return token.usedPaymentId === null ? null : 'another payment used its token';
  const isOwners = moves > 0 || token.customerId === customerId;
  const isBonus = token.bonusAmount === null || token.bonusAmount === bonusAmount;
  const isSo = isOwners && isBonus && token.creditAmount === creditAmount && token.amount === agreedAmount;
  return isSo ? null : `it grants ${creditAmount} to ${customerId}, and its token says otherwise`;
}

function successesIn(facts: readonly Fact[]): readonly PaymentFact[] {
  return facts.filter(
    (fact): fact is PaymentFact => fact.kind === 'payment' && fact.state === 'succeeded' && !fact.isAuthorisation,
  );
}

const AFTER = { afterMerchantId: text, afterSourceId: text, afterPaymentId: text };

const NEXT_PAYMENTS = statement({
  acrossMerchants: 'the books are audited as a whole',
  params: { ...AFTER, changedSince: timestamptz, limit: bigint },
  row: { ...PAYMENT_KEY, updatedAt: timestamptz },
  text: (p) => `
    select ${columns(PAYMENT_KEY, 'p')}, p.updated_at from payment p
    where (p.merchant_id, p.source_id, p.payment_id) > (${p.afterMerchantId}, ${p.afterSourceId}, ${p.afterPaymentId})
      and p.updated_at >= ${p.changedSince}
    order by ${columns(PAYMENT_KEY, 'p')}
    limit ${p.limit}`,
});

const UPDATED_AT = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: { ...PAYMENT_KEY, updatedAt: timestamptz },
  text: ({ merchantId, keys }) => `
    select ${columns(PAYMENT_KEY, 'p')}, p.updated_at
    from payment p join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)`,
});
