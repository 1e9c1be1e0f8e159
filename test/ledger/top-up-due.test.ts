import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Wallet, walletKeyText } from '../../src/ledger/entry.ts';
import { post } from '../../src/ledger/post.ts';
import { posting } from '../support/ledger.ts';
import { NOW, postInput, wallet } from '../support/wallets.ts';

const THRESHOLD = 100;

/** A wallet with a rule, and whether it stands on the list of those that are looked at. */
class Watched {
  wallet: Wallet;
  isListed: boolean;
  #keys = 0;

  constructor(balance: number) {
    this.wallet = wallet({ balance, version: 1, topUpBelow: THRESHOLD, updatedAt: NOW });
    // As whoever gives it the rule leaves it.
    this.isListed = balance < THRESHOLD;
  }

  /** One batch. @returns what it changes beside entries and balances */
  move(amounts: readonly number[]) {
    const commands = amounts.map((amount) => {
      this.#keys += 1;
      const { merchantId, customerId, currency } = this.wallet;
      const key = { merchantId, customerId, currency, idempotencyKey: `k${this.#keys}` };
      return posting({ ...key, amountMinor: Math.abs(amount), isCredit: amount > 0 });
    });
    const { wallets, holds } = post(commands, { ...postInput([this.wallet]), now: NOW });
    this.wallet = wallets.find((one) => walletKeyText(one) === walletKeyText(this.wallet)) ?? this.wallet;
    if (holds !== null && holds.fallen.length > 0) this.isListed = true;
    return holds;
  }

  /** What whoever looks at it does with its place, under its lock. */
  look(): void {
    if (this.wallet.balance >= THRESHOLD) this.isListed = false;
  }
}

describe('a wallet with a top-up rule', () => {
  it('stands on the work list whenever it is below its threshold, whatever is written and whenever it is looked at', () => {
    const batch = fc.array(
      fc.integer({ min: -150, max: 150 }).filter((amount) => amount !== 0),
      { minLength: 1, maxLength: 4 },
    );
    const steps = fc.array(fc.oneof(batch, fc.constant('look' as const)), { maxLength: 20 });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400 }), steps, (balance, all) => {
        const watched = new Watched(balance);
        for (const one of all) {
          if (one === 'look') watched.look();
          else watched.move(one);
          expect(watched.isListed || watched.wallet.balance >= THRESHOLD).toBe(true);
        }
      }),
    );
  });

  it('is put there by the debit that takes it below, and by no other', () => {
    const watched = new Watched(150);
    expect(watched.move([-50])).toBeNull();
    expect(watched.move([-1])?.fallen).toEqual([expect.objectContaining({ since: NOW, retryAt: NOW })]);
    expect(watched.move([-10])).toBeNull();
    expect(watched.move([20])).toBeNull();
    expect(watched.move([-10])?.fallen).toHaveLength(1);
  });

  it('costs its debits nothing more while it is far above, or below and waiting: what is written is the same as without a rule', () => {
    for (const balance of [1_000, 50]) {
      const ruled = new Watched(balance);
      expect(ruled.move([-10])).toBeNull();
    }
  });
});
