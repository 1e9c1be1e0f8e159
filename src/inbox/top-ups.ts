import { eachMerchant } from '../db/by-merchant.ts';
import type { Tx } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { walletKeyText } from '../ledger/entry.ts';
import type { Source } from '../merchants/source.ts';
import type { Fact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { isBeingTried, isTriedAgain } from '../payments/record.ts';
import { type PaymentKey, paymentAt } from '../payments/tables.ts';
import { isPaidByAnother, mayBeFor, type NamedTopUp, renewsTopUp, topUpIdOf } from '../payments/top-up.ts';
import { isInFlight, type TopUpNews } from '../top-ups/attempt.ts';
import { lockTopUps, topUpOfPayment, topUpsByIds } from '../top-ups/attempt-store.ts';
import { suspend } from '../top-ups/outcome.ts';
import { type Heard, recordNews } from '../top-ups/record.ts';
import type { TopUpRule } from '../top-ups/rule.ts';
import { lockRules, saveRule } from '../top-ups/store.ts';
import type { TopUp } from '../top-ups/tables.ts';
import { tellOfTopUps } from '../top-ups/tell.ts';

interface Step {
  readonly source: Source;
  readonly fact: Fact;
  readonly key: PaymentKey;
}

type LaterStep = (tx: Tx, now: Date) => Promise<void>;

/** The top-ups that the payments of a batch name, and what becomes of them by it. */
export class TopUps {
  readonly #topUps: Map<string, TopUp>;
  readonly #rules: Map<string, TopUpRule>;
  /** As far as the payments of the batch have paid them. */
  #named: ReadonlyMap<string, NamedTopUp>;
  readonly #ofPayments: ReadonlyMap<string, string>;
  #due: readonly LaterStep[] = [];

  private constructor(topUps: readonly TopUp[], rules: readonly TopUpRule[], ofPayments: ReadonlyMap<string, string>) {
    this.#topUps = new Map(topUps.map((one) => [idText(one.merchantId, one.topUpId), one]));
    this.#named = new Map(topUps.map((one) => [idText(one.merchantId, one.topUpId), namedBy(one)]));
    this.#rules = new Map(rules.map((rule) => [walletKeyText(rule), rule]));
    this.#ofPayments = ofPayments;
  }

  /**
   * Locks the top-ups that these facts name, and those whose payments are disputed, after the rules of their wallets. Asks for nothing
   * where there are none, as is usual.
   */
  static async lock(tx: Tx, steps: readonly Step[], before: ReadonlyMap<string, Payment>): Promise<TopUps> {
    const named = steps.flatMap(({ source, fact, key: { merchantId } }) => {
      const topUpId = topUpIdOf(fact, source);
      return topUpId === null ? [] : [{ merchantId, topUpId }];
    });
    const ofPayments = new Map<string, string>();
    for (const step of steps) {
      if (!isNewDispute(step, before)) continue;
      const { merchantId, sourceId, paymentId } = step.key;
      const disputed = await topUpOfPayment(tx, { merchantId, sourceId, paymentId });
      if (disputed === null) continue;
      named.push(disputed);
      ofPayments.set(disputeText(step.key, step.fact), disputed.topUpId);
    }
    const found: TopUp[] = [];
    const rules: TopUpRule[] = [];
    await eachMerchant(named, async (merchantId, own) => {
      const ids = [...new Set(own.map(({ topUpId }) => topUpId))];
      const wallets = new Map((await topUpsByIds(tx, merchantId, ids)).map((one) => [walletKeyText(one), one]));
      if (wallets.size === 0) return;
      rules.push(...(await lockRules(tx, [...wallets.values()])));
      found.push(...(await lockTopUps(tx, merchantId, ids)));
    });
    return new TopUps(found, rules, ofPayments);
  }

  /** The top-up that the fact names, as the payments before it in the batch left it; null if there is none. */
  named(source: Source, fact: Fact): NamedTopUp | null {
    const id = topUpIdOf(fact, source);
    return id === null ? null : (this.#named.get(idText(source.merchantId, id)) ?? null);
  }

  /** @returns what forgets all that is noted from now on: it was of an event that is not applied */
  mark(): () => void {
    const [named, due] = [this.#named, this.#due];
    return () => {
      this.#named = named;
      this.#due = due;
    };
  }

  #later(step: LaterStep): void {
    this.#due = [...this.#due, step];
  }

  /** Notes what a fact says of a top-up. */
  note(step: Step, before: Payment, after: Payment): void {
    const { source, fact, key } = step;
    const disputed = this.#ofPayments.get(disputeText(key, fact));
    if (disputed !== undefined) this.#suspend(idText(key.merchantId, disputed));
    const topUp = this.named(source, fact);
    if (topUp === null || fact.kind !== 'payment') return;
    const text = idText(key.merchantId, topUp.topUpId);
    if (fact.state === 'succeeded') this.#paid(text, { topUp, fact, before, after });
    // A failure that is told late says nothing of the try that was begun since.
    else if (
      mayBeFor(topUp, after, fact) &&
      (fact.state === 'failed' ? !isTriedAgain(after) : isBeingTried(fact, after))
    )
      this.#tried(text, fact, after);
  }

  #paid(text: string, { topUp, fact, before, after }: Paid): void {
    const { customerId, currency, amountPaid, postings, paymentId, sourceId } = after;
    // A person may have given the payment to somebody else, and a part of it may be still to come.
    const isOf = customerId === topUp.customerId && currency === topUp.currency && (amountPaid ?? 0) >= topUp.amount;
    if (!isOf || postings === 0 || before.postings > 0) return;
    if (isPaidByAnother(topUp, after)) {
      if (!renewsTopUp(topUp, after, fact)) this.#tellOfSecond(text, paymentId);
      return;
    }
    const seriesId = fact.seriesId ?? null;
    this.#named = new Map(this.#named).set(text, { ...topUp, paidBy: { sourceId, paymentId }, seriesId });
    const news = { kind: 'paid', paymentId } as const;
    this.#hear(text, { news, amountPaid: amountPaid ?? 0, sourceId, seriesId });
  }

  #tried(text: string, fact: Extract<Fact, { kind: 'payment' }>, { sourceId, paymentId }: Payment): void {
    const topUp = this.#at(text);
    // Another try of somebody else says nothing about the one that is under way.
    const isOfAnother =
      (topUp.sourceId !== null && topUp.sourceId !== sourceId) ||
      (topUp.paymentId !== null && topUp.paymentId !== paymentId);
    if (isOfAnother) return;
    const { code: declineCode = null, isHard = false } = fact.decline ?? {};
    const news: TopUpNews =
      fact.state === 'failed'
        ? { kind: 'payment_failed', paymentId, declineCode, isHard }
        : { kind: 'payment_pending', paymentId };
    this.#hear(text, { news, sourceId });
  }

  #hear(text: string, heard: Omit<Heard, 'now'>): void {
    this.#later(async (tx, now) => {
      const topUp = this.#at(text);
      const rule = this.#rules.get(walletKeyText(topUp)) ?? null;
      const recorded = await recordNews(tx, { rule, topUp }, { ...heard, now });
      if (recorded === null) return;
      this.#topUps.set(text, recorded.topUp);
      if (recorded.rule !== null) this.#rules.set(walletKeyText(topUp), recorded.rule);
    });
  }

  #tellOfSecond(text: string, paymentId: string): void {
    this.#later(async (tx, now) => {
      await tellOfTopUps(tx, [{ kind: 'paid_twice', topUp: this.#at(text), paymentId }], now);
    });
  }

  /** Whoever disputes what he was charged for is not charged again before somebody has looked. */
  #suspend(text: string): void {
    this.#later(async (tx, now) => {
      const rule = this.#rules.get(walletKeyText(this.#at(text)));
      if (rule === undefined || rule.endedAt !== null || rule.suspendedReason === 'disputed') return;
      const suspended = suspend(rule, { reason: 'disputed', method: rule.suspendedMethod, now });
      await saveRule(tx, suspended);
      await tellOfTopUps(tx, [{ kind: 'suspended', rule: suspended }], now);
      this.#rules.set(walletKeyText(rule), suspended);
    });
  }

  #at(text: string): TopUp {
    const topUp = this.#topUps.get(text);
    invariant(topUp !== undefined, 'what was noted of a top-up names one that is not locked');
    return topUp;
  }

  /** Writes what was noted, once the payments have posted. */
  async save(tx: Tx, now: Date): Promise<void> {
    for (const one of this.#due) await one(tx, now);
  }
}

interface Paid {
  readonly topUp: NamedTopUp;
  readonly fact: Extract<Fact, { kind: 'payment' }>;
  readonly before: Payment;
  readonly after: Payment;
}

function namedBy(topUp: TopUp): NamedTopUp {
  const { topUpId, customerId, currency, amount, state, sourceId, paymentId, seriesId, requestHash } = topUp;
  const isPaid = state === 'succeeded' && sourceId !== null && paymentId !== null;
  const isCharged = isInFlight(state) && requestHash !== null && sourceId !== null;
  return {
    ...{ topUpId, customerId, currency, amount, seriesId },
    paidBy: isPaid ? { sourceId, paymentId } : null,
    chargedBy: isCharged ? { sourceId, paymentId } : null,
  };
}

/** A dispute of which nothing was heard before, of a payment that was credited. */
function isNewDispute({ fact, key }: Step, before: ReadonlyMap<string, Payment>): boolean {
  if (fact.kind !== 'dispute' || (fact.state !== 'open' && fact.state !== 'lost')) return false;
  const { parts, purpose } = paymentAt(before, key);
  return purpose === 'topup' && !parts.some(({ kind, partId }) => kind === 'dispute' && partId === fact.disputeId);
}

const idText = (merchantId: string, topUpId: string) => `${merchantId}\0${topUpId}`;

function disputeText({ merchantId, sourceId, paymentId }: PaymentKey, fact: Fact): string {
  return `${merchantId}\0${sourceId}\0${paymentId}\0${fact.kind === 'dispute' ? fact.disputeId : ''}`;
}
