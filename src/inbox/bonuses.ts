import type { Wanted, Whose } from '../customers/resolve.ts';
import type { Tx } from '../db/transaction.ts';
import { walletKeyText } from '../ledger/entry.ts';
import { type LedgerSettings, lockWallets } from '../ledger/store.ts';
import { livesLeft, partText } from '../payments/bonus-ends.ts';
import { type BonusLoss, readLosses } from '../payments/bonus-losses.ts';
import { type BonusRule, isPaidTopUp, type Offers, type TopUpHistory } from '../payments/bonus-rule.ts';
import { listBonusRules, readTopUps, type StoredTopUps, type TopUpsKey } from '../payments/bonus-rule-store.ts';
import type { Decision } from '../payments/decision.ts';
import type { DuePosting } from '../payments/due.ts';
import type { Fact } from '../payments/fact.ts';
import { hasTouchedWallet, type Payment } from '../payments/payment.ts';
import { type PaymentKey, paymentAt, paymentKeyText } from '../payments/tables.ts';

/** A fact that is about to be decided. */
interface Step {
  readonly fact: Fact;
  readonly key: PaymentKey;
}

/** A step, and whom it asks for. */
interface Asking extends Step {
  readonly wanted: Wanted | null;
}

interface Before {
  /** As they are by now. */
  readonly payments: ReadonlyMap<string, Payment>;
  /** What is to be posted before. */
  readonly due: readonly (readonly { readonly payment: Payment }[])[];
}

interface Batch {
  readonly services: { readonly settings: LedgerSettings };
  readonly tx: Tx;
  readonly now: Date;
}

/** Thrown before an event whose bonus may be lost by what is ordered before it in its batch. It wants a transaction of its own. */
export class LossesMayChange extends Error {
  override readonly name = 'LossesMayChange';
}

/** What a hold kept beyond its end comes back for a moment, and ends again. */
const LEAST_LIFE_MS = 1_000;

interface Known {
  /** What became of each payment's bonus, by the payment's key. */
  readonly losses: ReadonlyMap<string, BonusLoss>;
  /** For how long what its parts took could still be spent, of payments that were moved; by the payment's key, and then by the part's. */
  readonly lives: ReadonlyMap<string, ReadonlyMap<string, number | null>>;
  /** By the merchant's id. */
  readonly rules: ReadonlyMap<string, readonly BonusRule[]>;
  readonly topUps: readonly StoredTopUps[];
}

/**
 * What must be known of wallets before bonuses are decided: what became of those that payments gave, and what else their customers paid
 * where a rule asks for it. It is read under the lock of the wallets, which is kept until all is posted: of two first top-ups at once,
 * one is the first. Nothing is locked or read where no bonus is at stake, as with most events.
 */
export class Bonuses {
  readonly #losses: ReadonlyMap<string, BonusLoss>;
  readonly #lives: Known['lives'];
  readonly #rules: ReadonlyMap<string, readonly BonusRule[]>;
  readonly #topUps: ReadonlyMap<string, StoredTopUps>;
  readonly #now: Date;

  private constructor(now: Date, { losses, lives, rules, topUps }: Known) {
    this.#losses = losses;
    this.#lives = lives;
    this.#rules = rules;
    this.#topUps = new Map(topUps.map((one) => [walletKeyText(one), one]));
    this.#now = now;
  }

  /** @param before the payments, which are locked */
  static async read(
    { services: { settings }, tx, now }: Batch,
    steps: readonly Asking[],
    { before, whose }: { readonly before: ReadonlyMap<string, Payment>; readonly whose: Whose },
  ): Promise<Bonuses> {
    const rules = await readRules(tx, steps, before);
    const touched = steps.map((step) => ({ step, payment: paymentAt(before, step.key) }));
    const withBonus = new Map(
      touched.flatMap(({ payment }) => (hasBonus(payment) ? [[paymentKeyText(payment), payment]] : [])),
    );
    if (rules.size === 0 && withBonus.size === 0)
      return new Bonuses(now, { losses: new Map(), lives: new Map(), rules, topUps: [] });
    const wallets = touched.flatMap(({ step, payment }) => walletsOf(step, payment, whose));
    // All at once and in order, as whoever posts locks them.
    const moment = { ...settings, now };
    await lockWallets(tx, wallets, moment);
    const losses = await readLosses(tx, [...withBonus.values()], moment);
    const lives = new Map<string, ReadonlyMap<string, number | null>>();
    for (const [text, payment] of withBonus) lives.set(text, await livesLeft(tx, payment));
    const topUps = rules.size === 0 ? [] : await readTopUps(tx, unique(wallets), [...before.values()]);
    return new Bonuses(now, { losses, lives, rules, topUps });
  }

  /** The payment with what of its bonus expired or was voided by now. */
  withLosses(payment: Payment): Payment {
    const loss = this.#losses.get(paymentKeyText(payment));
    return loss === undefined ? payment : { ...payment, bonusLost: loss.lost };
  }

  /**
   * What is lost was read before anything of these is posted. A hold that they let go of ends what it kept of a bonus that is over, so
   * that they have to be posted before more is decided for its payment.
   */
  mayBeStale(key: PaymentKey, { payments, due }: Before): boolean {
    if (this.#losses.size === 0) return false;
    const payment = paymentAt(payments, key);
    const isKept = this.#losses.get(paymentKeyText(payment))?.isKept === true;
    return isKept && due.some((some) => some.some((one) => ownerText(one.payment) === ownerText(payment)));
  }

  /** What a part gives back at another owner than it was taken from lasts as long as it would have where it was. */
  withLivesLeft(decision: Decision): Decision {
    return { ...decision, due: decision.due.map((one) => this.#withLifeLeft(decision.payment, one)) };
  }

  #withLifeLeft(payment: Payment, due: DuePosting): DuePosting {
    const part = due.part === null ? undefined : payment.parts[due.part];
    if (part === undefined || due.terms === undefined) return due;
    const left = this.#lives.get(paymentKeyText(payment))?.get(partText(part));
    if (left === undefined) return due;
    const now = this.#losses.get(paymentKeyText(payment))?.at ?? this.#now;
    const end = left === null ? null : { at: new Date(now.getTime() + Math.max(left, LEAST_LIFE_MS)) };
    return { ...due, terms: { ...due.terms, end } };
  }

  /** What is offered on a payment of the batch. @param life the payments of the batch as they are by now */
  offersBeside(life: ReadonlyMap<string, Payment>): Offers | null {
    if (this.#rules.size === 0) return null;
    return {
      rules: [...this.#rules.values()].flat(),
      historyOf: (payment) => this.#historyOf(payment, life),
      now: this.#now,
    };
  }

  /** Null if it was not read whose the payment is by now. */
  #historyOf(payment: Payment, life: ReadonlyMap<string, Payment>): TopUpHistory | null {
    const { merchantId, customerId, currency } = payment;
    const own = paymentKeyText(payment);
    const beside = [...life.values()].filter(
      (one) =>
        one.merchantId === merchantId &&
        one.customerId === customerId &&
        one.currency === currency &&
        paymentKeyText(one) !== own,
    );
    const stored =
      customerId === null || currency === null
        ? undefined
        : this.#topUps.get(walletKeyText({ merchantId, customerId, currency }));
    if (stored === undefined) return null;
    const uses = new Map<string, number>();
    for (const ruleId of [...stored.ruleIds, ...beside.map((one) => one.bonusRuleId)]) {
      if (ruleId !== null) uses.set(ruleId, (uses.get(ruleId) ?? 0) + 1);
    }
    return { hasOther: stored.hasOther || beside.some(isPaidTopUp), uses };
  }
}

/** A currency need not be told of all that is posted, so whose it is says enough. */
function ownerText({ merchantId, customerId }: Payment): string {
  return `${merchantId}\0${customerId ?? ''}`;
}

function hasBonus({ bonusPostings, customerId, currency }: Payment): boolean {
  return bonusPostings > 0 && customerId !== null && currency !== null;
}

/** The rules of merchants by whose rules something may be decided now; none where they have none. */
async function readRules(
  tx: Tx,
  steps: readonly Step[],
  before: ReadonlyMap<string, Payment>,
): Promise<ReadonlyMap<string, readonly BonusRule[]>> {
  const asking = steps.filter(({ fact, key }) => {
    const { bonusSplit, bonusAmount } = paymentAt(before, key);
    return (fact.kind === 'payment' || fact.kind === 'movement') && bonusSplit && bonusAmount === null;
  });
  const rules = new Map<string, readonly BonusRule[]>();
  for (const merchantId of new Set(asking.map(({ key }) => key.merchantId))) {
    const own = await listBonusRules(tx, merchantId);
    if (own.length > 0) rules.set(merchantId, own);
  }
  return rules;
}

/** Where it is posted, as far as that is known before it is decided: its success says the currency, and may name another customer. */
function walletsOf({ fact, wanted }: Asking, payment: Payment, whose: Whose): readonly TopUpsKey[] {
  const found = wanted === null ? null : whose.find(wanted);
  const named = found !== null && 'customerId' in found && !hasTouchedWallet(payment) ? found.customerId : null;
  const isSuccess = fact.kind === 'payment' && fact.state === 'succeeded' && !hasTouchedWallet(payment);
  const currency = isSuccess ? (fact.currency ?? payment.currency) : (payment.currency ?? fact.currency);
  const { merchantId } = payment;
  if (currency === null) return [];
  const customerIds = new Set([payment.customerId, named].filter((one) => one !== null));
  return [...customerIds].map((customerId) => ({ merchantId, customerId, currency }));
}

function unique(keys: readonly TopUpsKey[]): readonly TopUpsKey[] {
  return [...new Map(keys.map((key) => [walletKeyText(key), key])).values()];
}
