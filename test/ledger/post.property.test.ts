import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PostInput } from '../../src/ledger/book-changes.ts';
import {
  type Entry,
  EVENT_TYPES,
  idempotencyText,
  MAY_OVERDRAW,
  type Posting,
  type Wallet,
  walletKeyText,
} from '../../src/ledger/entry.ts';
import { type PostedBatch, type PostingResult, post } from '../../src/ledger/post.ts';
import { MAX_AMOUNT_MINOR } from '../../src/money.ts';
import { MERCHANT } from '../support/ledger.ts';
import { postInput, wallet } from '../support/wallets.ts';

/**
 * Aim: a batch of any size decides as if each posting had come alone. Method: a model that does one posting at a time
 * with exact integers and a plain map, beside `post`, over batches whose amounts keep to the edges of the balances.
 */

const RUNS = { numRuns: 1000 };
const MAX = BigInt(MAX_AMOUNT_MINOR);

/** An amount, exact or relative to what the wallet holds when its turn comes. */
type AmountPlan = { readonly exact: number } | { readonly beyondBalance: number };

interface Plan extends Omit<Posting, 'amountMinor'> {
  readonly amount: AmountPlan;
}

const amountPlan: fc.Arbitrary<AmountPlan> = fc.oneof(
  fc.constantFrom(1, 2, 10, 1000, MAX_AMOUNT_MINOR - 1, MAX_AMOUNT_MINOR).map((exact) => ({ exact })),
  fc.integer({ min: 1, max: 3000 }).map((exact) => ({ exact })),
  fc.constantFrom(-1, 0, 1).map((beyondBalance) => ({ beyondBalance })),
);

const plan: fc.Arbitrary<Plan> = fc.record({
  merchantId: fc.constant(MERCHANT),
  // `cus_none` has no wallets, and nobody has one in XTS.
  customerId: fc.constantFrom('cus_a', 'cus_a', 'cus_b', 'cus_none'),
  currency: fc.constantFrom('USD', 'USD', 'INR', 'XTS'),
  eventType: fc.constantFrom(...EVENT_TYPES),
  isCredit: fc.boolean(),
  reason: fc.constantFrom(null, 'why'),
  referenceObjectId: fc.constant(null),
  metadata: fc.constant(null),
  idempotencyKey: fc.constantFrom(null, null, 'k1', 'k2', 'k3'),
  amount: amountPlan,
});

const plans = fc.array(plan, { maxLength: 40 });
const openingBalance = fc.constantFrom(0, 0, 5, 1000, MAX_AMOUNT_MINOR, -7);

interface ModelResult {
  readonly kind: string;
  readonly seq?: number;
  readonly balance?: number;
}

/** One posting at a time over plain maps, in exact integers. */
class Model {
  readonly balances = new Map<string, bigint>();
  readonly versions = new Map<string, number>();
  readonly #requests = new Map<string, { request: string; outcome: ModelResult }>();

  constructor(wallets: readonly Wallet[]) {
    for (const one of wallets) {
      this.balances.set(walletKeyText(one), BigInt(one.balance));
      this.versions.set(walletKeyText(one), one.version);
    }
  }

  /** The plan as a posting, with the amount that is interesting at this moment. */
  concrete({ amount, ...rest }: Plan): Posting {
    if ('exact' in amount) return { ...rest, amountMinor: amount.exact };
    const wanted = Number(this.balances.get(walletKeyText(rest)) ?? 0n) + amount.beyondBalance;
    return { ...rest, amountMinor: Math.min(Math.max(wanted, 1), MAX_AMOUNT_MINOR) };
  }

  apply(posting: Posting): ModelResult {
    const key = posting.idempotencyKey === null ? null : `${posting.customerId} ${posting.idempotencyKey}`;
    const request = JSON.stringify(posting);
    const earlier = key === null ? undefined : this.#requests.get(key);
    if (earlier !== undefined) {
      return earlier.request === request
        ? { ...earlier.outcome, kind: 'repeated' }
        : { kind: 'IDEMPOTENCY_KEY_REUSED' };
    }
    const outcome = this.#decide(posting);
    if (key !== null && outcome.kind === 'created') this.#requests.set(key, { request, outcome });
    return outcome;
  }

  #decide(posting: Posting): ModelResult {
    const text = walletKeyText(posting);
    const balance = this.balances.get(text);
    if (posting.currency === 'XTS') return { kind: 'UNSUPPORTED_CURRENCY' };
    if (balance === undefined) return { kind: 'CUSTOMER_NOT_FOUND' };
    const after = balance + BigInt(posting.isCredit ? posting.amountMinor : -posting.amountMinor);
    if (!posting.isCredit && after < 0n && !MAY_OVERDRAW.has(posting.eventType)) {
      return { kind: 'INSUFFICIENT_WALLET_FUNDS' };
    }
    if (after > MAX || after < -MAX) return { kind: 'BALANCE_LIMIT_EXCEEDED' };
    const seq = (this.versions.get(text) ?? 0) + 1;
    this.balances.set(text, after);
    this.versions.set(text, seq);
    return { kind: 'created', seq, balance: Number(after) };
  }
}

function inModelTerms(outcome: PostingResult): ModelResult {
  if (outcome.kind === 'refused') return { kind: outcome.refusal.code };
  return { kind: outcome.kind, seq: outcome.entry.seq, balance: outcome.entry.afterBalance };
}

function openWallets(balance: number): Wallet[] {
  return ['cus_a', 'cus_b'].flatMap((customerId) =>
    ['USD', 'INR'].map((currency) => wallet({ customerId, currency, balance, version: 3 })),
  );
}

/** What the store would find when the next batch comes. */
function afterwards(input: PostInput, { wallets, entries }: PostedBatch): PostInput {
  const keyed = entries.filter((entry) => entry.idempotencyKey !== null);
  return {
    ...input,
    wallets: new Map([...input.wallets, ...wallets.map((one): [string, Wallet] => [walletKeyText(one), one])]),
    known: new Map([...input.known, ...keyed.map((entry): [string, Entry] => [idempotencyText(entry), entry])]),
  };
}

describe('post', () => {
  it('decides every batch as the model does', () => {
    fc.assert(
      fc.property(openingBalance, plans, (opening, batch) => {
        const wallets = openWallets(opening);
        const model = new Model(wallets);
        const postings: Posting[] = [];
        const expected = batch.map((one) => {
          const posting = model.concrete(one);
          postings.push(posting);
          return model.apply(posting);
        });
        const input = postInput(wallets);
        const result = post(postings, input);
        expect(result.outcomes.map(inModelTerms)).toEqual(expected);
        for (const [text, one] of afterwards(input, result).wallets) {
          expect([BigInt(one.balance), one.version]).toEqual([model.balances.get(text), model.versions.get(text)]);
        }
      }),
      RUNS,
    );
  });

  it('comes to the same wherever a batch is cut in two', () => {
    fc.assert(
      fc.property(openingBalance, plans, fc.nat(40), (opening, batch, cut) => {
        const model = new Model(openWallets(opening));
        const postings = batch.map((one) => {
          const posting = model.concrete(one);
          model.apply(posting);
          return posting;
        });
        const input = postInput(openWallets(opening));
        const whole = post(postings, input);
        const first = post(postings.slice(0, cut), input);
        const between = afterwards(input, first);
        const second = post(postings.slice(cut), between);
        expect([...first.outcomes, ...second.outcomes].map(inModelTerms)).toEqual(whole.outcomes.map(inModelTerms));
        expect([...first.entries, ...second.entries]).toEqual(whole.entries);
        expect([...first.alerts, ...second.alerts]).toEqual(whole.alerts);
        expect(afterwards(between, second).wallets).toEqual(afterwards(input, whole).wallets);
      }),
      RUNS,
    );
  });

  it('conserves money, chains entries, changes only wallets with entries, and overdraws only where it may', () => {
    fc.assert(
      fc.property(openingBalance, plans, (opening, batch) => {
        const model = new Model(openWallets(opening));
        const postings = batch.map((one) => {
          const posting = model.concrete(one);
          model.apply(posting);
          return posting;
        });
        const input = postInput(openWallets(opening));
        const { wallets, entries } = post(postings, input);
        for (const [text, before] of input.wallets) {
          const own = entries.filter((entry) => walletKeyText(entry) === text);
          const after = wallets.find((one) => walletKeyText(one) === text);
          let { balance, version } = before;
          for (const entry of own) {
            expect([entry.seq, entry.beforeBalance]).toEqual([version + 1, balance]);
            expect(Number.isSafeInteger(entry.afterBalance)).toBe(true);
            if (entry.afterBalance < 0 && !entry.isCredit) expect(MAY_OVERDRAW.has(entry.eventType)).toBe(true);
            balance += entry.isCredit ? entry.amountMinor : -entry.amountMinor;
            version += 1;
            expect(entry.afterBalance).toBe(balance);
          }
          expect(after && [after.balance, after.version]).toEqual(own.length === 0 ? undefined : [balance, version]);
        }
        const keys = entries.flatMap((entry) => (entry.idempotencyKey === null ? [] : [idempotencyText(entry)]));
        expect(new Set(keys).size).toBe(keys.length);
      }),
      RUNS,
    );
  });
});
