import { eachMerchant } from '../db/by-merchant.ts';
import type { Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { type Checkout, endOfCheckout } from '../ledger/checkouts/checkout.ts';
import { lockCheckouts, saveCheckouts } from '../ledger/checkouts/store.ts';
import { captureFor, prolongFor } from '../ledger/checkouts/take.ts';
import { tellOfCheckouts } from '../outgoing/checkouts.ts';
import {
  checkoutIdOf,
  isCompletedByAnother,
  isLookedAt,
  isUnderWay,
  withNamedCheckout,
  withTerms,
} from '../payments/checkout.ts';
import { checkoutSums } from '../payments/checkout-shares.ts';
import type { Fact } from '../payments/fact.ts';
import { paymentsUnderWay } from '../payments/lookups.ts';
import type { Payment } from '../payments/payment.ts';
import { isBeingTried } from '../payments/record.ts';
import { type PaymentKey, paymentAt, paymentKeyText } from '../payments/tables.ts';
import { bothEffects } from './effect.ts';
import type { EventWork, Step } from './event-work.ts';
import type { Due, OwnedHold, OwnedHoldResult } from './post-due.ts';
import { UndoLog, UndoMap } from './undo.ts';

const DAY_MS = 24 * 3_600_000;
/** What is held for a checkout is held for so long while a payment of it is under way, as bank debits and vouchers are for weeks. */
const UNDER_WAY_MS = 21 * DAY_MS;
/** And for so long where another amount was paid, until a person has looked. */
const LOOKED_AT_MS = 7 * DAY_MS;

/** By how much an end is put off from now on, and from the agreed one at the most. */
const WHILE_UNDER_WAY = { byMs: UNDER_WAY_MS, mostMs: UNDER_WAY_MS };
const WHILE_LOOKED_AT = { byMs: LOOKED_AT_MS, mostMs: UNDER_WAY_MS + LOOKED_AT_MS };

/** A payment that completes a checkout in this batch. */
interface Completion {
  readonly key: PaymentKey;
  readonly work: EventWork;
  /** Null where the wallet pays nothing of it. */
  readonly command: OwnedHold | null;
}

/** Where something that is due comes from. */
type From = Omit<Due, 'ordered'>;

/** The checkouts that the payments of a batch name, and what becomes of them by it. */
export class Checkouts {
  readonly #log = new UndoLog();
  readonly #checkouts: UndoMap<string, Checkout>;
  readonly #changed = new UndoMap<string, true>(this.#log);
  readonly #completions = new UndoMap<string, Completion>(this.#log);
  /** Those of which it is known by now what the wallet paid. */
  readonly #completed = new UndoMap<string, true>(this.#log);
  /** What ends at another time, if its hold is still open. */
  readonly #ends = new UndoMap<OwnedHold, { readonly text: string; readonly until: Date | null }>(this.#log);
  /** Of which a payment is not under way any more. */
  readonly #stopped = new UndoMap<string, From>(this.#log);
  readonly #now: Date;

  private constructor(checkouts: readonly Checkout[], now: Date) {
    this.#checkouts = new UndoMap(
      this.#log,
      checkouts.map((one) => [textOf(one), one]),
    );
    this.#now = now;
  }

  /** @returns what forgets all that is noted from now on: it was of an event that is not applied */
  mark(): () => void {
    return this.#log.mark();
  }

  /** Locks the checkouts that these facts name, and those of their payments. Asks for nothing where there are none, as is usual. */
  static async lock(
    tx: Tx,
    { steps, before, now }: { steps: readonly Step[]; before: ReadonlyMap<string, Payment>; now: Date },
  ): Promise<Checkouts> {
    const named = steps.flatMap(({ fact, key }) => {
      const checkoutId = checkoutIdOf(fact, paymentAt(before, key));
      return checkoutId === null ? [] : [{ merchantId: key.merchantId, checkoutId }];
    });
    const found: Checkout[] = [];
    await eachMerchant(named, async (merchantId, own) => {
      const ids = [...new Set(own.map(({ checkoutId }) => checkoutId))];
      found.push(...(await lockCheckouts(tx, merchantId, ids)));
    });
    return new Checkouts(found, now);
  }

  /** The payments with what their refunds do by the checkouts that they have completed. */
  withTerms(payments: ReadonlyMap<string, Payment>): ReadonlyMap<string, Payment> {
    if (this.#checkouts.size === 0) return payments;
    return new Map([...payments].map(([text, payment]) => [text, withTerms(payment, this.#of(payment))]));
  }

  /** The checkout that the fact or its payment names, as the payments before it in the batch left it; null if there is none. */
  named(fact: Fact, payment: Payment): Checkout | null {
    const checkoutId = checkoutIdOf(fact, payment);
    return checkoutId === null ? null : (this.#checkouts.get(idText(payment.merchantId, checkoutId)) ?? null);
  }

  #of({ merchantId, checkoutId }: Payment): Checkout | null {
    return checkoutId === null ? null : (this.#checkouts.get(idText(merchantId, checkoutId)) ?? null);
  }

  /** Notes what an applied fact says of a checkout. @returns what is done for it before the payment's own entries */
  note({ work, fact, key }: Step, before: Payment, after: Payment): readonly Due[] {
    // A person may have given what was to pay it to somebody else.
    const checkout = this.#of(after) ?? this.#of(before);
    if (checkout === null || (fact.kind !== 'payment' && fact.kind !== 'movement')) return [];
    const from = { payment: after, provider: work.event.provider, traceParent: work.traceParent };
    if (after.purpose === 'checkout' && after.agreedAmount !== null) {
      if (before.agreedAmount !== null && before.purpose === 'checkout') return [];
      return this.#complete(checkout, { fact, key, work, from });
    }
    if (checkout.state !== 'open') return [];
    // A card was declined before, and the same payment is tried again by a slower way.
    if (isUnderWay(after) || isBeingTried(fact, after)) {
      // Nothing is held for weeks for who went away while his card was asked for a confirmation.
      if (fact.kind === 'payment' && fact.awaitsPayer === true) return [];
      const isNews = !isUnderWay(before) || before.checkoutId === null || checkout.prolongedUntil === null;
      return isNews ? this.#prolong(checkout, WHILE_UNDER_WAY, from) : [];
    }
    if (isUnderWay(before) || failedAgain(checkout, fact, before)) this.#stopped.set(textOf(checkout), from);
    return [];
  }

  #complete(checkout: Checkout, { fact, key, work, from }: Pick<Step, 'fact' | 'key' | 'work'> & { from: From }) {
    const text = idText(checkout.merchantId, checkout.checkoutId);
    if (this.#completed.has(text) || this.#completions.has(text)) return [];
    const command = checkout.holdNo === null ? null : captureFor(checkout);
    const { sourceId, paymentId } = from.payment;
    const seriesId = (fact.kind === 'payment' ? fact.seriesId : null) ?? null;
    // What could be captured is known once it has posted.
    this.#set({ ...checkout, state: 'completed', sourceId, paymentId, seriesId, completedAt: this.#now });
    this.#completions.set(text, { key, work, command });
    return command === null ? [] : [{ ...from, ordered: { hold: command } }];
  }

  /** An event was parked since another amount was paid than its checkout is of: what is held waits for a person. */
  noteParked(
    work: EventWork,
    { steps, payments }: { readonly steps: readonly Step[]; readonly payments: ReadonlyMap<string, Payment> },
  ): readonly Due[] {
    if (work.verdict.state !== 'parked' || work.verdict.reason !== 'checkout_mismatch') return [];
    return steps.flatMap(({ fact, key }) => {
      const payment = paymentAt(payments, key);
      const checkout = this.named(fact, payment);
      if (checkout === null || checkout.state !== 'open') return [];
      const from = { payment, provider: work.event.provider, traceParent: work.traceParent };
      return this.#prolong(checkout, WHILE_LOOKED_AT, from);
    });
  }

  /** The payments of such an event with the checkouts that they name, which wait until a person has looked. */
  withParked(work: EventWork, steps: readonly Step[], payments: Map<string, Payment>): Map<string, Payment> {
    if (work.verdict.reason !== 'checkout_mismatch') return payments;
    return steps.reduce((all, { fact, key }) => {
      const payment = paymentAt(all, key);
      const named = withNamedCheckout(payment, fact, this.named(fact, payment));
      return new Map(all).set(paymentKeyText(key), named);
    }, payments);
  }

  #prolong(checkout: Checkout, { byMs, mostMs }: typeof WHILE_UNDER_WAY, from: From): readonly Due[] {
    // Counted from the agreed end at the latest: else a buyer who begins one payment after the other would have it held for ever.
    const latest = checkout.expiresAt.getTime() + mostMs;
    const until = new Date(Math.min(this.#now.getTime() + byMs, latest));
    const end = endOfCheckout(checkout);
    // Once it is over, nothing is held anew.
    if (until <= end || end <= this.#now) return [];
    this.#stopped.delete(textOf(checkout));
    return this.#end(checkout, until, from);
  }

  /** Has it end at another time; null: as agreed. Where something is held, only if that has not ended. */
  #end(checkout: Checkout, until: Date | null, from: From): readonly Due[] {
    const text = idText(checkout.merchantId, checkout.checkoutId);
    const next = { ...checkout, prolongedUntil: until };
    if (checkout.holdNo === null) {
      this.#set(next);
      return [];
    }
    const command = prolongFor(checkout, endOfCheckout(next));
    this.#ends.set(command, { text, until });
    return [{ ...from, ordered: { hold: command } }];
  }

  /** The agreed ends of checkouts come back of which no payment is under way any more, once no person has to look. */
  async backToAgreed(tx: Tx, payments: ReadonlyMap<string, Payment>): Promise<readonly Due[]> {
    const due: Due[] = [];
    for (const [text, from] of this.#stopped.entries()) {
      const checkout = this.#at(text);
      if (checkout.state !== 'open' || checkout.prolongedUntil === null) continue;
      const stored = await paymentsUnderWay(tx, checkout.merchantId, checkout.checkoutId);
      const ofBatch = [...payments.values()].filter((one) => this.#of(one) === checkout);
      const others = stored.filter((one) => !payments.has(paymentKeyText(one)));
      const all = [...others, ...ofBatch];
      if (all.some(isUnderWay)) continue;
      const lookedAt = all.some(isLookedAt) ? this.#now.getTime() + LOOKED_AT_MS : 0;
      const until = new Date(Math.min(lookedAt, checkout.prolongedUntil.getTime()));
      due.push(...this.#end(checkout, until > checkout.expiresAt ? until : null, from));
    }
    return due;
  }

  /** What became of the holds. @returns the payments that are to be settled again, now that it is known what the wallet paid */
  heard(
    results: ReadonlyMap<OwnedHold, OwnedHoldResult>,
    payments: ReadonlyMap<string, Payment>,
  ): readonly { readonly payment: Payment; readonly work: EventWork }[] {
    for (const [command, { text, until }] of this.#ends.takeAll()) {
      if (results.get(command)?.kind === 'changed') this.#set({ ...this.#at(text), prolongedUntil: until });
    }
    return this.#completions.takeAll().map(([text, { key, work, command }]) => {
      this.#completed.set(text, true);
      const checkout = this.#at(text);
      const captured = command === null ? 0 : capturedBy(results.get(command));
      if (captured > 0)
        work.verdict = { ...work.verdict, effect: bothEffects(work.verdict.effect ?? 'none', 'debited') };
      const uncollected = checkout.walletPart - captured;
      const isShort = uncollected > 0;
      const paid = this.#set({
        ...{ ...checkout, captured, uncollected, prolongedUntil: null },
        ...(isShort ? { state: 'short', completedAt: null } : {}),
      });
      return { payment: withTerms(paymentAt(payments, key), paid), work };
    });
  }

  /** Writes what was noted, once the payments have posted, and leaves what is told of it. */
  async save(
    tx: Tx,
    { before, after }: Readonly<Record<'before' | 'after', ReadonlyMap<string, Payment>>>,
  ): Promise<void> {
    if (this.#checkouts.size === 0) return;
    const completed = this.#completed.keys().map((text) => this.#at(text));
    const refunded = [...after].flatMap(([text, payment]) => this.#refund(before.get(text), payment) ?? []);
    const changed = this.#changed.keys().map((text) => this.#at(text));
    await eachMerchant(changed, (merchantId, own) => saveCheckouts(tx, merchantId, own));
    const notices = [
      ...completed.map(
        (one) =>
          ({ type: one.state === 'short' ? 'checkout.short' : 'checkout.completed', text: textOf(one) }) as const,
      ),
      ...refunded.map((text) => ({ type: 'checkout.refunded', text }) as const),
    ];
    const messages = notices.map(({ type, text }) => ({ type, checkout: this.#at(text) }));
    await tellOfCheckouts(tx, messages, this.#now);
  }

  /** What went back by a payment's refunds. @returns the checkout's text if that is news */
  #refund(before: Payment | undefined, after: Payment): string | null {
    const checkout = this.#of(after);
    if (checkout === null || after.checkout === undefined || isCompletedByAnother(checkout, after)) return null;
    const sums = checkoutSums(after);
    const returned = before?.checkout === undefined ? 0 : checkoutSums(before).returned;
    const walletReturned = checkout.walletReturned + sums.returned - returned;
    const { refunded: paymentRefunded } = sums;
    if (walletReturned === checkout.walletReturned && paymentRefunded === checkout.paymentRefunded) return null;
    const overRefunded = walletReturned + sums.orderRefunded > checkout.total;
    this.#set({ ...checkout, walletReturned, paymentRefunded, overRefunded });
    return textOf(checkout);
  }

  #at(text: string): Checkout {
    const checkout = this.#checkouts.get(text);
    invariant(checkout !== undefined, 'what was noted of a checkout names one that is not locked');
    return checkout;
  }

  #set(checkout: Checkout): Checkout {
    const text = textOf(checkout);
    this.#checkouts.set(text, checkout);
    this.#changed.set(text, true);
    return checkout;
  }
}

/** Whether a payment that had failed before and was tried again has failed once more, and not only that first failure is told late. */
function failedAgain({ prolongedUntil }: Checkout, fact: Fact, before: Payment): boolean {
  if (fact.kind !== 'payment' || fact.state !== 'failed' || before.state !== 'failed' || prolongedUntil === null)
    return false;
  return (fact.occurredAt?.getTime() ?? 0) >= prolongedUntil.getTime() - UNDER_WAY_MS;
}

function capturedBy(result: OwnedHoldResult | undefined): number {
  if (result?.kind === 'captured' || result?.kind === 'repeated') return result.entry?.amountMinor ?? 0;
  return 0;
}

const idText = (merchantId: string, checkoutId: string) => `${merchantId}\0${checkoutId}`;
const textOf = ({ merchantId, checkoutId }: Checkout) => idText(merchantId, checkoutId);
