import { describe, expect, it } from 'vitest';
import type { CaptureHold, Hold, PlaceHold } from '../../../src/ledger/holds/hold.ts';
import { holdId, parseHoldId } from '../../../src/ledger/holds/hold.ts';
import { type CommandResult, type LedgerCommand, post } from '../../../src/ledger/post.ts';
import { MERCHANT, posting } from '../../support/ledger.ts';
import { NOW, postInput, wallet } from '../../support/wallets.ts';

/** Each example is one wallet of `cus_a` in USD, whose commands follow one another. */

const KEY = { merchantId: MERCHANT, customerId: 'cus_a', currency: 'USD' };

let keys = 0;

function place(amountMinor: number, overrides: Partial<PlaceHold> = {}): PlaceHold {
  keys += 1;
  return {
    ...{
      ...KEY,
      op: 'place',
      amountMinor,
      partial: false,
      expiresInSeconds: 900,
      reason: null,
      referenceObjectId: null,
    },
    ...{ metadata: null, idempotencyKey: `place-${keys}` },
    ...overrides,
  };
}

function capture(amountMinor: number | null, overrides: Partial<CaptureHold> = {}): CaptureHold {
  return {
    ...{ ...KEY, op: 'capture', holdNo: 1, amountMinor, isFinal: true, beyond: 'refuse', late: 'refuse' },
    ...{ reason: null, metadata: null, idempotencyKey: null },
    ...overrides,
  };
}

const debit = (amountMinor: number) => posting({ amountMinor, isCredit: false });
const credit = (amountMinor: number) => posting({ amountMinor });
const refundOfTopUp = (amountMinor: number) => posting({ amountMinor, isCredit: false, eventType: 'payment_reversal' });
const release = (holdNo = 1) => ({ ...KEY, op: 'release', holdNo, reason: null }) as const;
const change = (amountMinor: number, holdNo = 1) =>
  ({ ...KEY, op: 'change', holdNo, amountMinor, expiresInSeconds: null }) as const;

/** A wallet with this balance, to which commands are given one after another. */
function withBalance(balance: number) {
  let input = postInput([wallet({ balance })]);
  const alerts: unknown[] = [];
  const holds = new Map<number, Hold>();
  const read = () => [...input.wallets.values()][0];
  return {
    do(command: LedgerCommand, now = NOW): CommandResult {
      const result = post([command], { ...input, holds: [...holds.values()], now });
      for (const one of [...(result.holds?.open ?? []), ...(result.holds?.closed ?? [])]) holds.set(one.holdNo, one);
      for (const entry of result.entries) {
        if (entry.idempotencyKey === null) continue;
        const text = `${MERCHANT}\0cus_a\0${entry.idempotencyKey}`;
        input = { ...input, known: new Map([...input.known, [text, entry]]) };
      }
      if (result.wallets[0] !== undefined) input = postInput([result.wallets[0]], { known: input.known });
      alerts.push(...result.alerts.filter(({ kind }) => kind === 'hold_expired'));
      const [outcome] = result.outcomes;
      if (outcome === undefined) throw new Error('a command without an outcome');
      if (outcome.kind === 'captured' && outcome.entry !== null) holds.set(outcome.hold.holdNo, outcome.hold);
      return outcome;
    },
    hold: (holdNo = 1) => holds.get(holdNo),
    get balances() {
      const one = read();
      return one === undefined ? [] : [one.balance, one.held];
    },
    alerts,
  };
}

const refused = (code: string, facts: object = {}) => ({ kind: 'refused', refusal: { code, ...facts } });
const later = (seconds: number) => new Date(NOW.getTime() + seconds * 1000);

describe('the examples of holds', () => {
  it('example 1: six holds of 1000 on 5000: the sixth is refused', () => {
    const books = withBalance(5000);
    for (let count = 0; count < 5; count += 1) expect(books.do(place(1000)).kind).toBe('placed');
    const facts = { available: 0, required: 1000, shortfall: 1000 };
    expect(books.do(place(1000))).toMatchObject(refused('INSUFFICIENT_WALLET_FUNDS', facts));
    expect(books.balances).toEqual([5000, 5000]);
  });

  it('example 2: a capture for less releases the rest', () => {
    const books = withBalance(1000);
    books.do(place(500));
    const entry = { amountMinor: 120, afterBalance: 880, eventType: 'hold_captured', isCredit: false };
    const hold = { state: 'captured', captured: 120, released: 380 };
    expect(books.do(capture(120))).toMatchObject({ kind: 'captured', entry, hold, uncaptured: 0 });
    expect(books.balances).toEqual([880, 0]);
  });

  it('example 3: a hold is captured in parts, each once', () => {
    const books = withBalance(1000);
    books.do(place(500));
    const part = capture(200, { isFinal: false, idempotencyKey: 'api:a' });
    expect(books.do(part)).toMatchObject({ kind: 'captured', hold: { state: 'open', captured: 200 } });
    expect(books.balances).toEqual([800, 300]);
    expect(books.do(part)).toMatchObject({ kind: 'repeated', entry: { amountMinor: 200 } });
    expect(books.do({ ...part, amountMinor: 100 })).toMatchObject(refused('IDEMPOTENCY_KEY_REUSED'));
    expect(books.do({ ...part, holdNo: 2 })).toMatchObject(refused('IDEMPOTENCY_KEY_REUSED'));
    const rest = capture(300, { isFinal: false, idempotencyKey: 'api:b' });
    expect(books.do(rest)).toMatchObject({ kind: 'captured', hold: { state: 'captured', captured: 500, released: 0 } });
    expect(books.balances).toEqual([500, 0]);
  });

  it.each([
    [550, 'refuse', refused('HOLD_AMOUNT_EXCEEDED', { remaining: 500, required: 550 }), [600, 500]],
    [550, 'take', { kind: 'captured', entry: { amountMinor: 550 }, hold: { captured: 500, beyond: 50 } }, [50, 0]],
    [700, 'take', refused('INSUFFICIENT_WALLET_FUNDS', { available: 600, required: 700, shortfall: 100 }), [600, 500]],
    [700, 'up_to_balance', { kind: 'captured', entry: { amountMinor: 600 }, uncaptured: 100 }, [0, 0]],
  ] as const)(
    'example 4: a capture of %i of a hold of 500 on 600, beyond it: %s',
    (amount, beyond, outcome, balances) => {
      const books = withBalance(600);
      books.do(place(500));
      expect(books.do(capture(amount, { beyond }))).toMatchObject(outcome);
      expect(books.balances).toEqual(balances);
    },
  );

  it('example 5: a debit may take what is available and no more', () => {
    const books = withBalance(1000);
    books.do(place(900));
    const facts = { available: 100, required: 101, shortfall: 1 };
    expect(books.do(debit(101))).toMatchObject(refused('INSUFFICIENT_WALLET_FUNDS', facts));
    expect(books.do(debit(100)).kind).toBe('created');
    expect(books.balances).toEqual([900, 900]);
  });

  it('example 6: a hold that is over stands in nobody’s way, though no sweeper ran', () => {
    const books = withBalance(1000);
    books.do(place(900));
    expect(books.do(debit(800), later(899.999))).toMatchObject(
      refused('INSUFFICIENT_WALLET_FUNDS', { available: 100 }),
    );
    expect(books.do(debit(800), later(900)).kind).toBe('created');
    expect(books.hold()).toMatchObject({ state: 'expired', released: 900, closedAt: later(900) });
    expect(books.alerts).toMatchObject([
      {
        balance: 1000,
        details: { available: 1000, holds: [{ holdId: 'hold_cus_a_USD_1', amount: 900, expired: 900 }] },
      },
    ]);
  });

  it('example 7: a capture that comes too late is a debit, if that is wanted, once', () => {
    const books = withBalance(1000);
    books.do(place(300));
    expect(books.do(capture(300), later(900))).toMatchObject({
      ...refused('HOLD_NOT_OPEN', { state: 'expired' }),
      hold: { state: 'expired' },
    });
    const late = capture(300, { late: 'debit', idempotencyKey: 'api:late' });
    const hold = { state: 'expired', captured: 0, beyond: 300 };
    expect(books.do(late, later(901))).toMatchObject({ kind: 'captured', entry: { amountMinor: 300 }, hold });
    expect(books.do(late, later(902))).toMatchObject({ kind: 'repeated' });
    expect(books.do({ ...late, idempotencyKey: 'api:other' }, later(902))).toMatchObject(refused('HOLD_NOT_OPEN'));
    expect(books.do({ ...KEY, op: 'sweep' }, later(1000))).toMatchObject({ kind: 'swept' });
    expect(books.balances).toEqual([700, 0]);
    expect(books.alerts).toHaveLength(1);
  });

  it('of a checkout is debited for late when it is paid, once more for what was not there then, and never again', () => {
    const own = { ...KEY, holdNo: 1, kind: 'checkout', state: 'expired', amountMinor: 300 } as const;
    const late = (number: number, lateDebits: number) => {
      const hold: Hold = {
        ...{ ...own, captured: 0, beyond: 0, released: 300, lateDebits, expiresAt: NOW, reason: null },
        ...{
          releaseReason: null,
          referenceObjectId: null,
          metadata: null,
          idempotencyKey: 'checkout',
          fingerprint: '',
        },
        ...{ createdAt: NOW, closedAt: NOW },
      };
      const command = capture(100, { owner: 'checkout', late: 'debit', idempotencyKey: `checkout:${number}` });
      return post([command], postInput([wallet({ balance: 1000 })], { holds: [hold] })).outcomes[0];
    };
    expect(late(1, 0)).toMatchObject({ kind: 'captured', entry: { amountMinor: 100 }, hold: { lateDebits: 1 } });
    expect(late(2, 1)).toMatchObject({ kind: 'captured', entry: { amountMinor: 100 }, hold: { lateDebits: 2 } });
    expect(late(3, 2)).toMatchObject(refused('HOLD_NOT_OPEN'));
  });

  it('example 8: a capture never overdraws after a claw-back', () => {
    const books = withBalance(1000);
    books.do(place(800));
    books.do(refundOfTopUp(600));
    expect(books.balances).toEqual([400, 800]);
    const facts = { available: 400, required: 800, shortfall: 400 };
    expect(books.do(capture(800))).toMatchObject(refused('INSUFFICIENT_WALLET_FUNDS', facts));
    expect(books.hold()?.state).toBe('open');
    const outcome = { kind: 'captured', entry: { amountMinor: 400, afterBalance: 0 }, uncaptured: 400 };
    expect(books.do(capture(800, { beyond: 'up_to_balance' }))).toMatchObject(outcome);
    expect(books.balances).toEqual([0, 0]);
  });

  it('a capture that would take nothing and end nothing is refused, so that its key is not left for later', () => {
    const books = withBalance(100);
    books.do(place(60));
    books.do(place(40, { idempotencyKey: 'other' }));
    books.do(refundOfTopUp(100));
    const partly = capture(50, { isFinal: false, beyond: 'up_to_balance', idempotencyKey: 'api:part' });
    const facts = { available: 0, required: 50, shortfall: 50 };
    expect(books.do(partly)).toMatchObject(refused('INSUFFICIENT_WALLET_FUNDS', facts));
    const late = capture(50, { holdNo: 2, late: 'debit', beyond: 'up_to_balance', idempotencyKey: 'api:late' });
    expect(books.do(late, later(900))).toMatchObject(refused('INSUFFICIENT_WALLET_FUNDS', facts));
    books.do(credit(20), later(900));
    expect(books.do(late, later(900))).toMatchObject({ kind: 'captured', entry: { amountMinor: 20 }, uncaptured: 30 });
  });

  it('example 13: a batch decides in its order', () => {
    const opened = post([place(600)], postInput([wallet({ balance: 1000 })]));
    const input = postInput(opened.wallets, { holds: opened.holds?.open ?? [] });
    const { outcomes } = post([capture(120), place(500), place(500)], input);
    expect(outcomes).toMatchObject([
      { kind: 'captured', entry: { amountMinor: 120, afterBalance: 880 } },
      { kind: 'placed', hold: { holdNo: 2 } },
      refused('INSUFFICIENT_WALLET_FUNDS', { available: 380 }),
    ]);
  });

  it('example 14: a wallet has 1000 open holds at most', () => {
    const full = wallet({ balance: 5000, held: 1000, openHolds: 1000, holdSeq: 1000 });
    expect(post([place(1)], postInput([full])).outcomes).toMatchObject([
      refused('HOLD_LIMIT_EXCEEDED', { limit: 1000 }),
    ]);
  });

  it('example 15: a hold grows only by what is available', () => {
    const books = withBalance(1000);
    books.do(place(500));
    books.do(place(300));
    expect(books.do(change(1200))).toMatchObject(refused('INSUFFICIENT_WALLET_FUNDS', { available: 200 }));
    expect(books.do(change(700))).toMatchObject({ kind: 'changed', hold: { amountMinor: 700 } });
    expect(books.balances).toEqual([1000, 1000]);
  });
});

describe('a hold', () => {
  it('is placed for what is available, if that will do', () => {
    const books = withBalance(70);
    expect(books.do(place(100, { partial: true }))).toMatchObject({ kind: 'placed', hold: { amountMinor: 70 } });
    expect(books.do(place(100, { partial: true }))).toMatchObject(
      refused('INSUFFICIENT_WALLET_FUNDS', { available: 0 }),
    );
  });

  it('is placed once under a key, and shown as it stands where the request is repeated', () => {
    const books = withBalance(1000);
    const request = place(500);
    books.do(request);
    books.do(capture(100));
    const hold = { holdNo: 1, state: 'captured', captured: 100 };
    expect(books.do(request)).toMatchObject({ kind: 'held_before', hold });
    expect(books.do({ ...request, amountMinor: 400 })).toMatchObject(refused('IDEMPOTENCY_KEY_REUSED'));
    expect(books.balances).toEqual([900, 0]);
  });

  it('changes down to what was captured of it, which ends it, and no further', () => {
    const books = withBalance(1000);
    books.do(place(500));
    books.do(capture(200, { isFinal: false, idempotencyKey: 'api:a' }));
    expect(books.do(change(199))).toMatchObject(refused('INVALID_FIELD', { field: 'amount' }));
    const hold = { state: 'captured', amountMinor: 500, captured: 200, released: 300 };
    expect(books.do(change(200))).toMatchObject({ kind: 'changed', hold });
    books.do(place(100));
    expect(books.do(change(0, 2))).toMatchObject({ kind: 'changed', hold: { state: 'released', released: 100 } });
    expect(books.balances).toEqual([800, 0]);
  });

  it('that ended without a capture may be released again, one that was captured may not', () => {
    const books = withBalance(1000);
    books.do(place(100));
    books.do(release());
    expect(books.do(release())).toMatchObject({ kind: 'changed', hold: { state: 'released' } });
    books.do(place(100));
    expect(books.do(release(2), later(900))).toMatchObject({ kind: 'changed', hold: { state: 'expired' } });
    books.do(place(100));
    books.do(capture(1, { holdNo: 3 }));
    expect(books.do(release(3))).toMatchObject(refused('HOLD_NOT_OPEN', { state: 'captured' }));
    expect(books.do(release(4))).toMatchObject(refused('HOLD_NOT_FOUND'));
  });

  it('is not looked at by a credit, nor by what takes credit back', () => {
    const books = withBalance(100);
    books.do(place(100));
    expect(books.do(credit(1)).kind).toBe('created');
    expect(books.do(refundOfTopUp(500))).toMatchObject({ kind: 'created', entry: { afterBalance: -399 } });
    expect(books.do(capture(100, { beyond: 'up_to_balance' }))).toMatchObject({
      ...{ kind: 'captured', entry: null, uncaptured: 100 },
      hold: { state: 'released', captured: 0 },
    });
    expect(books.balances).toEqual([-399, 0]);
  });

  it('has an id that tells its wallet', () => {
    const id = holdId({ ...KEY, customerId: 'cus_a_USD_9', holdNo: 12 });
    expect(parseHoldId(id, 'cus_a_USD_9')).toEqual({ currency: 'USD', holdNo: 12 });
    for (const other of [
      'hold_cus_b_USD_1',
      'ent_cus_a_USD_1',
      'hold_cus_a_USD_0',
      'hold_cus_a_USD_',
      'hold_cus_a_usd_1',
    ])
      expect(parseHoldId(other, 'cus_a')).toBeNull();
  });
});
