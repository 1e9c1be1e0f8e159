import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { orderedBy } from '../../src/inbox/post-due.ts';
import { settledHolds } from '../../src/inbox/settle-holds.ts';
import { type Posting, type Wallet, type WalletAlert, walletKeyText } from '../../src/ledger/entry.ts';
import type { Hold } from '../../src/ledger/holds/hold.ts';
import { type LedgerCommand, post } from '../../src/ledger/post.ts';
import { withHoldNos, withLifted } from '../../src/payments/dispute-holds.ts';
import { type DisputeFact, type Fact, STAGES } from '../../src/payments/fact.ts';
import type { Payment } from '../../src/payments/payment.ts';
import { settle } from '../../src/payments/settle.ts';
import { type Circumstances, tell } from '../support/deciding.ts';
import { MERCHANT, posting } from '../support/ledger.ts';
import { disputeFact, movementFact, newPayment, paymentFact, refundFact } from '../support/payments.ts';
import { NOW, postInput, wallet } from '../support/wallets.ts';

const KEY = { merchantId: MERCHANT, customerId: 'cus_a', currency: 'USD' };

/** One payment and the wallet that it tops up: facts are decided and what is due is posted, as the inbox does. */
class DisputedWallet {
  payment: Payment;
  wallet: Wallet;
  readonly holds = new Map<number, Hold>();
  readonly alerts: WalletAlert[] = [];
  /** What waits for its payment. */
  waiting: Fact[] = [];
  readonly #circumstances: Circumstances;

  constructor({ balance = 0, payment = {}, ...circumstances }: World = {}) {
    this.wallet = wallet({ balance });
    this.payment = newPayment(payment);
    this.#circumstances = circumstances;
  }

  tell(...facts: readonly Fact[]): this {
    for (const fact of facts) {
      const decision = tell([fact], this.#circumstances, this.payment);
      const { payment, due, holds, verdict } = decision;
      expect(verdict.state).not.toBe('parked');
      if (verdict.state === 'waiting') this.waiting.push(fact);
      const postings = due.map(
        ({ amountMinor, isCredit, eventType, key: idempotencyKey }): Posting =>
          posting({ amountMinor, isCredit, eventType, idempotencyKey }),
      );
      const reason = 'a payment';
      const ordered = orderedBy(decision).flatMap((one) =>
        'key' in one ? [] : [{ op: 'hold_disputes' as const, ...KEY, paymentId: 'p', reason, ...one }],
      );
      const outcomes = this.post(...postings, ...ordered);
      const held = outcomes.at(-1);
      this.payment = held?.kind === 'disputes_held' ? withHoldNos(payment, holds, held.holdNos) : payment;
      this.#agree();
    }
    return this;
  }

  post(...commands: readonly LedgerCommand[]) {
    const known = [...this.holds.values()];
    const result = post(commands, postInput([this.wallet], { holds: known }));
    this.wallet = result.wallets.find((one) => walletKeyText(one) === walletKeyText(this.wallet)) ?? this.wallet;
    for (const hold of [...(result.holds?.open ?? []), ...(result.holds?.closed ?? [])])
      this.holds.set(hold.holdNo, hold);
    this.alerts.push(...result.alerts.filter(({ kind }) => kind === 'hold_placed' || kind === 'hold_lifted'));
    return result.outcomes;
  }

  /** An operator lifts what a dispute holds. */
  lift(disputeId: string, now = NOW): this {
    const part = this.payment.parts.find(({ partId }) => partId === disputeId);
    if (part === undefined) throw new Error(`no dispute ${disputeId}`);
    const lifted = withLifted(this.payment, part, { actor: 'cli', now });
    const { command, after } = settledHolds(lifted, { reason: 'lifted', releaseReason: 'it was won' });
    if (command === null) throw new Error('nothing was held');
    const [held] = this.post(command);
    this.payment = held?.kind === 'disputes_held' ? withHoldNos(after, command.disputes, held.holdNos) : after;
    this.#agree();
    return this;
  }

  /** What rules 5c and 8e of the audit say. */
  #agree(): void {
    const { parts } = this.payment;
    expect(settle(this.payment, 'auto').holds).toEqual(parts.map(({ holdWanted }) => holdWanted));
    const open = [...this.holds.values()].filter(({ state, kind }) => state === 'open' && kind === 'dispute');
    const named = parts.flatMap(({ holdNo, holdWanted, partId }) =>
      holdNo === null ? [] : [{ holdNo, holdWanted, partId }],
    );
    expect(named.map(({ holdNo }) => holdNo).sort()).toEqual(open.map(({ holdNo }) => holdNo).sort());
    for (const { holdNo, holdWanted, partId } of named) {
      const hold = this.holds.get(holdNo);
      expect(hold?.referenceObjectId).toBe(partId);
      expect(hold?.amountMinor).toBeLessThanOrEqual(holdWanted);
    }
    expect(this.wallet.openHolds).toBe([...this.holds.values()].filter(({ state }) => state === 'open').length);
  }

  /** Balance and what is held, and what each dispute wants. */
  get state() {
    const wanted = this.payment.parts.flatMap(({ kind, holdWanted }) => (kind === 'dispute' ? [holdWanted] : []));
    return [this.wallet.balance, this.wallet.held, wanted];
  }

  heldFor(disputeId: string): number {
    const open = [...this.holds.values()].find((one) => one.state === 'open' && one.referenceObjectId === disputeId);
    return open?.amountMinor ?? 0;
  }
}

interface World extends Circumstances {
  readonly balance?: number;
  readonly payment?: Partial<Payment>;
}

const DAY_MS = 24 * 3_600_000;
const day = (number: number) => new Date(Date.UTC(2026, 1, number));
const paid = (amountMinor: number, metadata = {}) => paymentFact({ amountMinor, metadata });
const refunded = (amountMinor: number, refundId = 'a') => refundFact({ amountMinor, refundId });
const dispute = (state: DisputeFact['state'], amountMinor: number | null, more: Partial<DisputeFact> = {}) =>
  disputeFact({ state, amountMinor, stage: STAGES.chargeback, occurredAt: day(state === 'open' ? 1 : 9), ...more });
const debit = (amountMinor: number) => posting({ amountMinor, isCredit: false });

describe('the examples of holds for disputes', () => {
  it('example 9: an open dispute holds what is there, a later top-up is free, and losing takes all', () => {
    const open = () => {
      const world = new DisputedWallet().tell(paid(2000));
      world.post(debit(1500));
      world.tell(dispute('open', 2000));
      expect(world.state).toEqual([500, 500, [2000]]);
      expect(world.post(debit(1))[0]).toMatchObject({ kind: 'refused', refusal: { available: 0 } });
      world.post(posting({ amountMinor: 700 }));
      expect(world.wallet.balance - world.wallet.held).toBe(700);
      return world;
    };
    expect(open().tell(dispute('lost', 2000)).state).toEqual([-800, 0, [0]]);
    expect(open().tell(dispute('won', 2000)).state).toEqual([1200, 0, [0]]);
    expect(open().tell(dispute('withdrawn', 2000)).state).toEqual([1200, 0, [0]]);
  });

  it('example 10: a refund lowers the hold of an open dispute, and losing it takes the rest', () => {
    const world = new DisputedWallet().tell(paid(2000), dispute('open', 2000));
    expect(world.state).toEqual([2000, 2000, [2000]]);
    world.tell(refunded(500));
    expect(world.state).toEqual([1500, 1500, [1500]]);
    expect(world.tell(dispute('lost', 2000)).state).toEqual([0, 0, [0]]);
  });
});

describe('what an open dispute holds', () => {
  const first = (state: DisputeFact['state'], amount = 6000) => dispute(state, amount, { disputeId: 'd1' });
  const second = (state: DisputeFact['state'], amount = 6000) =>
    dispute(state, amount, { disputeId: 'd2', occurredAt: day(state === 'open' ? 2 : 8) });

  it('two disputes of more than the whole hold the whole, and one grows by what the other frees', () => {
    const world = new DisputedWallet().tell(paid(10_000), first('open'), second('open'));
    expect(world.state).toEqual([10_000, 10_000, [6000, 4000]]);
    world.tell(first('won'));
    expect([world.heldFor('d1'), world.heldFor('d2')]).toEqual([0, 6000]);
    expect(world.tell(second('lost')).state).toEqual([4000, 0, [0, 0]]);
  });

  it('grows by what comes back of the payment itself, which is disputed too', () => {
    const world = new DisputedWallet().tell(paid(10_000), first('open'), first('lost'), second('open'));
    expect(world.state).toEqual([4000, 4000, [0, 4000]]);
    world.tell(first('won'), dispute('won', 6000, { disputeId: 'd1', stage: STAGES.arbitration, occurredAt: day(10) }));
    expect(world.state).toEqual([10_000, 6000, [0, 6000]]);
    expect(world.tell(second('lost')).state).toEqual([4000, 0, [0, 0]]);
    const refund = refundFact({ amountMinor: 4000 });
    const failed = new DisputedWallet().tell(paid(10_000), dispute('open', 10_000), refund);
    expect(failed.state).toEqual([6000, 6000, [6000]]);
    expect(failed.tell({ ...refund, state: 'failed' }).state).toEqual([10_000, 10_000, [10_000]]);
  });

  it('grows by no later top-up', () => {
    const world = new DisputedWallet().tell(paid(10_000), first('open'));
    world.post(debit(4000), posting({ amountMinor: 9000 }));
    world.tell(second('open'));
    expect([world.heldFor('d1'), world.heldFor('d2')]).toEqual([6000, 4000]);
    const poor = new DisputedWallet().tell(paid(10_000));
    poor.post(debit(9000));
    poor.tell(first('open'), second('open'));
    expect([poor.heldFor('d1'), poor.heldFor('d2')]).toEqual([1000, 0]);
    poor.post(posting({ amountMinor: 5000 }));
    poor.tell(refunded(1));
    expect([poor.heldFor('d1'), poor.heldFor('d2')]).toEqual([1000, 0]);
  });

  it('includes the bonus that the payment granted', () => {
    const world = new DisputedWallet().tell(paid(9000, { wallet_credit_amount: '10000' }), dispute('open', 9000));
    expect(world.state).toEqual([10_000, 10_000, [10_000]]);
  });

  it('is nothing more where as much was lost before', () => {
    const world = new DisputedWallet().tell(paid(10_000), dispute('open', 3000), dispute('lost', 3000));
    expect(world.state).toEqual([7000, 0, [0]]);
    world.tell(dispute('open', 3000, { stage: STAGES.preArbitration, occurredAt: day(10) }));
    expect(world.state).toEqual([7000, 0, [0]]);
    world.tell(dispute('open', 4000, { stage: STAGES.arbitration, occurredAt: day(11) }));
    expect(world.state).toEqual([7000, 1000, [1000]]);
  });

  it('ends with a decision that tells no stage, whose round is the last one told before it', () => {
    const ended = (state: DisputeFact['state'], more: Partial<DisputeFact> = {}) =>
      new DisputedWallet()
        .tell(paid(1000), dispute('open', 1000))
        .tell(dispute(state, 1000, { stage: STAGES.none, ...more }));
    expect(ended('won').state).toEqual([1000, 0, [0]]);
    expect(ended('withdrawn').state).toEqual([1000, 0, [0]]);
    expect(ended('won', { occurredAt: null }).state).toEqual([1000, 0, [0]]);
    expect(ended('won', { occurredAt: day(1) }).state).toEqual([1000, 0, [0]]);
    const again = dispute('open', 1000, { stage: STAGES.preArbitration, occurredAt: day(10) });
    expect(ended('won').tell(again).state).toEqual([1000, 1000, [1000]]);
    // It was of the round before, and is told late.
    const late = new DisputedWallet().tell(paid(1000), dispute('open', 1000), again);
    expect(late.tell(dispute('won', 1000, { stage: STAGES.none })).state).toEqual([1000, 1000, [1000]]);
  });

  it('is held under another key when it is opened again after it was won', () => {
    const world = new DisputedWallet().tell(paid(1000), dispute('open', 1000), dispute('won', 1000));
    expect(world.state).toEqual([1000, 0, [0]]);
    world.tell(dispute('open', 1000, { stage: STAGES.preArbitration, occurredAt: day(10) }));
    expect(world.state).toEqual([1000, 1000, [1000]]);
    const keys = [...world.holds.values()].map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toEqual(['src_stripe:hold_dispute:p:d', 'src_stripe:hold_dispute:p:d#2']);
  });

  it.each<[string, World, readonly Fact[]]>([
    ['of an order', { source: { defaultPurpose: 'order' } }, [paid(1000), dispute('open', 1000)]],
    ['that is only an inquiry', {}, [paid(1000), dispute('open', 1000, { stage: STAGES.inquiry })]],
    ['where the source says so', { source: { disputes: 'record' } }, [paid(1000), dispute('open', 1000)]],
    ['of a payment that never succeeded', {}, [paymentFact({ state: 'failed' }), dispute('open', 1000)]],
    ['of which all was refunded before', {}, [paid(1000), refunded(1000), dispute('open', 1000)]],
    ['told again after it was decided', {}, [paid(1000), dispute('won', 1000), dispute('open', 1000)]],
  ])('is nothing %s', (_, circumstances, facts) => {
    const world = new DisputedWallet({ ...circumstances, balance: 5000 }).tell(...facts);
    expect(world.wallet.held).toBe(0);
    expect(world.holds.size).toBe(0);
  });

  it('is placed once the payment comes that it was told before', () => {
    expect(new DisputedWallet().tell(dispute('open', 600), paid(1000)).state).toEqual([1000, 600, [600]]);
  });

  it('example 14: is placed also where the wallet has as many open holds as a merchant may have', () => {
    const world = new DisputedWallet({ balance: 1000 }).tell(paid(1000));
    world.wallet = { ...world.wallet, openHolds: 1000, holdSeq: 1000, held: 1000 };
    const terms = { partial: false, expiresInSeconds: 900, reason: null, referenceObjectId: null, metadata: null };
    const place = { op: 'place', ...KEY, ...terms, amountMinor: 1, idempotencyKey: 'api:one_more' } as const;
    expect(world.post(place)[0]).toMatchObject({ refusal: { code: 'HOLD_LIMIT_EXCEEDED' } });
    const disputes = [{ disputeId: 'd', idempotencyKey: 'k', before: 0, wanted: 1000 }];
    const outcome = world.post({
      op: 'hold_disputes',
      ...KEY,
      paymentId: 'p',
      reason: 'a payment',
      returned: 0,
      disputes,
    });
    expect(outcome).toMatchObject([{ kind: 'disputes_held', holdNos: [1001], wallet: { held: 2000 } }]);
  });

  it('comes first, since the wallet had a debt that the payment pays', () => {
    const world = new DisputedWallet({ balance: -300 }).tell(paid(1000), dispute('open', 1000));
    expect(world.state).toEqual([700, 700, [1000]]);
  });

  it('leaves what other holds set aside, and what a claw-back took', () => {
    const world = new DisputedWallet().tell(paid(1000), dispute('open', 800));
    const terms = { partial: false, expiresInSeconds: 900, reason: null, referenceObjectId: null, metadata: null };
    world.post({ op: 'place', ...KEY, ...terms, amountMinor: 200, idempotencyKey: 'api:k' });
    world.tell(refunded(500));
    // 500 are left of the balance, 200 of them are the merchant's.
    expect([world.wallet.balance, world.heldFor('d')]).toEqual([500, 300]);
    const refused = world.post({ op: 'release', ...KEY, holdNo: 1, reason: null });
    expect(refused[0]).toMatchObject({ kind: 'refused', refusal: { code: 'HOLD_OWNED', kind: 'dispute' } });
  });

  it('is told of when it is placed, and whenever it becomes less or more', () => {
    const world = new DisputedWallet().tell(paid(1000), dispute('open', 1000), refunded(400), dispute('won', 1000));
    const told = world.alerts.map(({ kind, details }) => {
      const { wanted = null, held = null, available = null } = details !== null && 'wanted' in details ? details : {};
      return [kind, wanted, held, available];
    });
    expect(told).toEqual([
      ['hold_placed', 1000, 1000, 0],
      ['hold_lifted', 600, 600, 0],
      ['hold_lifted', 0, 0, 600],
    ]);
    expect(world.alerts[0]?.details).toMatchObject({ paymentId: 'p', disputeId: 'd', holdId: 'hold_cus_a_USD_1' });
  });

  it('stays what it was where nobody can say any more what losing it would take', () => {
    const world = new DisputedWallet().tell(paid(1000), first('open', 600), second('open', 600));
    expect([world.heldFor('d1'), world.heldFor('d2')]).toEqual([600, 400]);
    const fact = refundFact({ refundId: 'r', isOfUnknownAmount: true });
    const handling = { eventId: 'e', intent: null, customerId: null, amountMinor: null, entryId: null, note: null };
    const unclear = { ...world.payment, handled: [{ ...handling, fact, handledAt: NOW }] };
    expect(settle(unclear, 'auto').holds).toEqual([600, 400]);
    const decided = unclear.parts.map((part) =>
      part.partId === 'd1'
        ? { ...part, reports: part.reports.map((one) => ({ ...one, state: 'won' as const })) }
        : part,
    );
    expect(settle({ ...unclear, parts: decided }, 'auto').holds).toEqual([0, 400]);
  });

  it('keeps its payment with the customer in whose wallet it is, and in its currency', () => {
    const fact = movementFact({ movement: 'capture' });
    const handling = { eventId: 'e', intent: null, customerId: 'cus_a', entryId: null, note: null };
    const byHand = { ...handling, fact, amountMinor: 1000, handledAt: NOW };
    const told = (...facts: readonly Fact[]) =>
      new DisputedWallet({ balance: 1000, payment: { capture: 'manual', handled: [byHand] } }).tell(
        paymentFact({ isAuthorisation: true }),
        ...facts,
      );
    const world = told(dispute('open', 600));
    expect([world.payment.customerId, world.payment.postings, world.state]).toEqual(['cus_a', 0, [1000, 600, [600]]]);
    const named = paymentFact({ state: 'pending', named: { customerId: 'cus_b', by: 'order' } });
    const other = { customer: { customerId: 'cus_b' } };
    expect(tell([named], other, world.payment).verdict).toMatchObject({ state: 'parked', reason: 'named_late' });
    const assigned = tell([paymentFact({ state: 'pending' })], { ...other, isAssigned: true }, world.payment);
    expect(assigned.payment.customerId).toBe('cus_a');
    const renamed = tell([paymentFact({ state: 'pending', currency: 'EUR' })], {}, world.payment);
    expect(renamed.verdict).toMatchObject({ state: 'parked', reason: 'currency_changed' });
  });

  it('is no more than what reversals and refunds of the same money leave, where it only informs of that', () => {
    const informs = { role: 'informs', openedAt: day(1) } as const;
    const reversal = disputeFact({ disputeId: 'r', state: 'lost', role: 'movement', amountMinor: 300 });
    const world = new DisputedWallet().tell(paid(1000), dispute('open', 1000, informs));
    expect(world.state).toEqual([1000, 1000, [1000]]);
    world.tell(reversal, refundFact({ amountMinor: 200, occurredAt: day(3) }));
    expect([world.wallet.balance, world.heldFor('d')]).toEqual([500, 500]);
    expect(world.tell(dispute('lost', 1000, informs)).wallet).toMatchObject({ balance: 0, held: 0 });
  });
});

describe('a hold that an operator lifted', () => {
  const lifted = () => new DisputedWallet().tell(paid(1000), dispute('open', 600)).lift('d');
  const later = (state: DisputeFact['state'], date: number, more: Partial<DisputeFact> = {}) =>
    dispute(state, 600, { occurredAt: day(date), ...more });

  it('ends with the reason on it, and is told of', () => {
    const own = lifted();
    expect(own.state).toEqual([1000, 0, [0]]);
    expect(own.holds.get(1)).toMatchObject({ state: 'released', released: 600, releaseReason: 'it was won' });
    expect(own.alerts.map(({ kind }) => kind)).toEqual(['hold_placed', 'hold_lifted']);
    expect(own.payment.parts[0]?.lifted).toEqual({
      ...{ stage: STAGES.chargeback, at: day(1).getTime(), actor: 'cli', liftedAt: NOW.getTime() },
    });
  });

  it('is not placed again by more news of the same round, whenever it comes', () => {
    expect(lifted().tell(later('open', 5), later('open', 1, { amountMinor: 700 })).state).toEqual([1000, 0, [0]]);
  });

  it.each([
    ['of a later stage', [later('open', 3, { stage: STAGES.arbitration })]],
    ['that is opened after the one before was decided', [later('won', 9), later('open', 12)]],
  ])('is placed anew for a round %s', (_, news) => {
    expect(lifted().tell(...news).state).toEqual([1000, 600, [600]]);
  });

  it('may be lifted again in that round, though an earlier one was decided', () => {
    const own = lifted().tell(later('won', 9), later('open', 12));
    expect(own.lift('d').tell(later('open', 13)).state).toEqual([1000, 0, [0]]);
  });

  it('is no reason not to take what the dispute costs once it is lost', () => {
    expect(lifted().tell(later('lost', 9)).state).toEqual([400, 0, [0]]);
  });

  it('leaves the holds of other disputes', () => {
    const other = dispute('open', 300, { disputeId: 'e', occurredAt: day(2) });
    const own = new DisputedWallet().tell(paid(1000), dispute('open', 600), other);
    expect(own.lift('d').state).toEqual([1000, 300, [0, 300]]);
  });

  it('of a round without a time counts as of the time at which it was lifted', () => {
    const own = new DisputedWallet().tell(paid(1000), later('open', 1, { occurredAt: null }));
    expect(own.lift('d', day(4)).tell(later('open', 6)).state).toEqual([1000, 0, [0]]);
    expect(own.tell(later('won', 9), later('open', 12)).state).toEqual([1000, 600, [600]]);
  });
});

describe('holds for disputes over histories', () => {
  const amount = fc.oneof(fc.constantFrom(1, 300, 1000, 1200), fc.integer({ min: 1, max: 1300 }));
  const states = ['open', 'withdrawn', 'lost', 'won'] as const;
  const rounds = (disputeId: string) =>
    fc
      .array(
        fc.record({
          state: fc.constantFrom(...states),
          stage: fc.constantFrom(STAGES.none, STAGES.chargeback, STAGES.preArbitration),
          amountMinor: fc.option(amount),
          occurredAt: fc.integer({ min: 1, max: 20 }).map((number) => new Date(day(1).getTime() + number * DAY_MS)),
        }),
        { minLength: 1, maxLength: 4 },
      )
      .map((all): Fact[] => all.map((one) => disputeFact({ ...one, disputeId })));
  const refunds = fc
    .array(
      fc.record({
        refundId: fc.constantFrom('a', 'b'),
        amountMinor: amount,
        state: fc.constantFrom('succeeded' as const, 'failed' as const),
      }),
      {
        maxLength: 3,
      },
    )
    .map((all): Fact[] => all.map((one) => refundFact(one)));
  const history = fc
    .tuple(rounds('d1'), rounds('d2'), refunds, fc.subarray([paid(1000), paymentFact({ state: 'failed' })]))
    .map((groups) => groups.flat())
    .chain((facts) =>
      fc.record({
        inOrder: fc.constant(facts),
        shuffled: fc
          .array(fc.constantFrom(...facts), { maxLength: 4 })
          .chain((again) => fc.shuffledSubarray([...facts, ...again], { minLength: facts.length + again.length })),
        spent: fc.array(fc.integer({ min: -1500, max: 1500 }), { minLength: 12, maxLength: 12 }),
      }),
    );

  /** Tells the facts, and what waits once the payment is there; between them the wallet is spent from and topped up. */
  function play(facts: readonly Fact[], { spent = [] as readonly number[], record = false } = {}) {
    const world = new DisputedWallet(record ? { source: { disputes: 'record' } } : {});
    for (const [index, fact] of facts.entries()) {
      world.tell(fact);
      if (world.payment.state === 'succeeded') world.tell(...world.waiting.splice(0));
      const change = spent[index] ?? 0;
      if (change < 0) world.post(debit(-change));
      if (change > 0) world.post(posting({ amountMinor: change }));
      const { parts, postedCredit } = world.payment;
      const taken = parts.reduce((sum, part) => sum + part.postedTake, 0);
      const wanted = parts.reduce((sum, part) => sum + part.holdWanted, 0);
      // Whatever is decided how, no more is lost than was granted.
      expect(taken + wanted).toBeLessThanOrEqual(postedCredit);
      expect(world.wallet.held).toBeLessThanOrEqual(wanted);
    }
    return world;
  }

  it('want the same in any order and with any repetition, and never more than is left of the payment', () => {
    fc.assert(
      fc.property(history, ({ inOrder, shuffled, spent }) => {
        const wantedOf = ({ payment }: DisputedWallet) =>
          payment.parts
            .filter(({ kind }) => kind === 'dispute')
            .map(({ partId, holdWanted }) => [partId, holdWanted])
            .sort();
        expect(wantedOf(play(shuffled, { spent }))).toEqual(wantedOf(play(inOrder)));
      }),
      { numRuns: 1000 },
    );
  });

  it('leave nothing held once all is decided, and no balance but that of recording alone', () => {
    const ends: readonly Fact[] = ['d1', 'd2'].map((disputeId, index) =>
      disputeFact({
        disputeId,
        state: index === 0 ? 'lost' : 'won',
        amountMinor: 700,
        stage: STAGES.arbitration,
        occurredAt: NOW,
      }),
    );
    fc.assert(
      fc.property(history, ({ shuffled }) => {
        const world = play([...shuffled, ...ends]);
        expect([world.wallet.held, world.wallet.openHolds]).toEqual([0, 0]);
        expect(world.payment.parts.every(({ holdNo }) => holdNo === null)).toBe(true);
        expect(world.wallet.balance).toBe(play([...shuffled, ...ends], { record: true }).wallet.balance);
      }),
      { numRuns: 1000 },
    );
  });
});
